"""Which recordings a job finds, and what their outputs are called."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import pytest

from retone.batch.plan import is_many, plan_of
from retone.batch.rows import Row
from retone.errors import DataError, SettingError


def outputs(rows: list[Row]) -> list[str]:
    return [row.output for row in rows if not row.problem]


def problems(rows: list[Row]) -> list[str]:
    return [row.problem for row in rows if row.problem]


def test_a_folder_keeps_its_tree_and_leaves_other_files_alone(clip, tmp_path: Path) -> None:
    for name in ("in/b.wav", "in/a.flac", "in/s/e.wav", "in/s/t/f.wav", "in/.hidden/g.wav"):
        clip(name)
    (tmp_path / "in" / "notes.txt").write_text("no recording")
    plan = plan_of([str(tmp_path / "in")], str(tmp_path / "out"))
    assert outputs(plan.rows) == ["a.flac", "b.wav", "s/e.wav", "s/t/f.wav"]
    assert not problems(plan.rows) and all(row.size > 0 for row in plan.rows)


def test_several_folders_keep_their_names(clip, tmp_path: Path) -> None:
    clip("one/a.wav"), clip("two/a.wav")
    plan = plan_of([str(tmp_path / "one"), str(tmp_path / "two")], str(tmp_path / "out"))
    assert outputs(plan.rows) == ["one/a.wav", "two/a.wav"]


@pytest.mark.parametrize("pattern", ["in/*/e?.wav", "in/**/*.wav", "in/[st]/*"])
def test_a_pattern_finds_what_a_shell_would(clip, tmp_path: Path, monkeypatch, pattern) -> None:
    for name in ("in/s/e1.wav", "in/s/e2.wav", "in/t/e1.wav"):
        clip(name)
    monkeypatch.chdir(tmp_path)
    shell = sorted(str(p) for p in Path().glob(pattern))
    found, listed = plan_of([pattern], "out").rows, plan_of(shell, "out").rows
    assert found == listed and outputs(found) == ["s/e1.wav", "s/e2.wav", "t/e1.wav"]
    assert is_many([pattern]) and not is_many([shell[0]])


def test_a_name_with_brackets_is_a_file_where_it_exists(clip, tmp_path: Path) -> None:
    path = clip("song [live].wav")
    assert not is_many([str(path)])
    assert outputs(plan_of([str(path)], str(tmp_path / "out")).rows) == ["song [live].wav"]


def test_of_two_inputs_for_one_output_the_one_that_keeps_its_name_is_made(clip, tmp_path) -> None:
    clip("in/a.wav"), clip("in/b.wav")
    (tmp_path / "in" / "a.wma").write_bytes(b"x")  # cannot be written, so becomes a.wav
    plan = plan_of([str(tmp_path / "in")], str(tmp_path / "out"))
    assert outputs(plan.rows) == ["a.wav", "b.wav"]
    (line,) = problems(plan.rows)
    assert "a.wma: " in line and "so would that of" in line
    assert line.index("a.wma") < line.rindex("a.wav")


def test_two_inputs_for_one_output_are_both_refused_and_the_rest_is_planned(clip, tmp_path) -> None:
    clip("in/b.wav")
    for name in ("a.wma", "a.ac3"):  # neither can be written, so both become a.wav
        (tmp_path / "in" / name).write_bytes(b"x")
    plan = plan_of([str(tmp_path / "in")], str(tmp_path / "out"))
    assert outputs(plan.rows) == ["b.wav"]
    assert all("so would that of" in line for line in problems(plan.rows))
    assert len(problems(plan.rows)) == 2


def test_patterns_without_a_match_are_no_job(clip, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"x\*\.wav matches no file"):
        plan_of([str(tmp_path / "x*.wav"), str(tmp_path / "y*.wav")], str(tmp_path / "out"))
    path = clip("a.wav")
    plan = plan_of([str(path), str(tmp_path / "x*.wav")], str(tmp_path / "out"))
    assert outputs(plan.rows) == ["a.wav"] and len(problems(plan.rows)) == 1


def test_a_folder_of_results_inside_the_inputs_is_never_an_input(clip, tmp_path: Path) -> None:
    clip("in/a.wav"), clip("in/out/a.wav")
    inside = tmp_path / "in" / "out"
    plan = plan_of([str(tmp_path / "in")], str(inside))
    assert outputs(plan.rows) == ["a.wav"] and plan.notes
    named = plan_of([str(inside / "a.wav"), str(tmp_path / "in" / "a.wav")], str(inside)).rows
    assert len(problems(named)) == 1 and len(outputs(named)) == 1
    same = plan_of([str(inside)], str(inside)).rows
    assert len(problems(same)) == 1


def test_links_are_followed_once_and_loops_are_one_line(clip, tmp_path: Path) -> None:
    clip("in/a/x.wav"), clip("far/y.wav")
    (tmp_path / "in" / "a" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "far").symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "a", target_is_directory=True)
    (tmp_path / "in" / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    plan = plan_of([str(tmp_path / "in")], str(tmp_path / "out"))
    assert outputs(plan.rows) == ["a/x.wav", "far/y.wav"]
    assert len(problems(plan.rows)) == 2 and len(plan.notes) == 1
    assert any("leads back" in p for p in problems(plan.rows))
    assert any("does not exist" in p for p in problems(plan.rows))


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_names_of_any_bytes(tmp_path: Path, clip) -> None:
    source = clip("a.wav").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"\xff\xfe.wav", "ü.wav".encode(), b"new\nline.wav", b"-o.wav", b"quote\"'.wav"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(source)
    rows = plan_of([str(folder)], str(tmp_path / "out")).rows
    assert sorted(os.fsencode(row.output) for row in rows) == sorted(names)
    assert not problems(rows)


def rows_as(kind: str, folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / f"list.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, ["input", "output", "to", "strength", "locks", "title"])
            table.writeheader()
            for row in rows:
                cells = dict(row)
                cells["to"] = ";".join(row.get("to", ()))  # type: ignore[arg-type]
                locks = row.get("locks") or {}
                cells["locks"] = " ".join(f"{k}={v}" for k, v in locks.items())  # type: ignore
                table.writerow(cells)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        names = ("input", "output", "to", "strength", "locks", "title")
        cells = [dict.fromkeys(names) | row for row in rows]
        for row in cells:
            row["locks"] = ";".join(f"{k}={v}" for k, v in (row["locks"] or {}).items())
        parquet.write_table(pyarrow.Table.from_pylist(cells), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_manifest_says_the_same(clip, tmp_path: Path, kind: str) -> None:
    for name in ("a.wav", "s/b.wav", "r1.wav", "r2.wav"):
        clip(name)
    path = rows_as(
        kind,
        tmp_path,
        [
            {"input": "a.wav", "to": ["r1.wav", "r2.wav"], "strength": 0.5, "title": "no option"},
            {"input": "s/b.wav", "output": "x/y.flac", "locks": {"compressor.ratio": 2.0}},
            {"input": "missing.wav"},
        ],
    )
    rows = plan_of([], str(tmp_path / "out"), manifests=[str(path)]).rows
    assert outputs(rows) == ["a.wav", "x/y.flac"] and len(problems(rows)) == 1
    assert rows[0].options == {
        "to": [str(tmp_path / "r1.wav"), str(tmp_path / "r2.wav")], "strength": 0.5
    }  # fmt: skip
    assert rows[1].options == {"locks": {"compressor.ratio": 2.0}}
    assert rows[1].input == str(tmp_path / "s" / "b.wav")


@pytest.mark.parametrize(
    "output", ["../x.wav", "/x.wav", "a/../../x.wav", ".retone/x.wav", "s3://b/x"]
)
def test_an_output_stays_below_the_folder(clip, tmp_path: Path, output: str) -> None:
    clip("a.wav")
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"input": "a.wav", "output": output}))
    rows = plan_of([str(path)], str(tmp_path / "out")).rows
    assert len(problems(rows)) == 1 and output in problems(rows)[0]


def test_one_recording_may_have_several_results(clip, tmp_path: Path) -> None:
    clip("a.wav")
    manifest = tmp_path / "m.csv"
    for column, values, names in (
        ("output", ("one.wav", "two.wav"), ["one.wav", "two.wav"]),
        ("format", ("wav", "mp3"), ["a.wav", "a.mp3"]),
    ):
        rows = "".join(f"a.wav,r.wav,{v}\n" for v in values)
        manifest.write_text(f"input,to,{column}\n{rows}")
        plan = plan_of([], str(tmp_path / "out"), manifests=[str(manifest)])
        assert outputs(plan.rows) == names and not problems(plan.rows)
    manifest.write_text("input,to,loudness\na.wav,r.wav,-20\na.wav,r.wav,-30\n")
    found = problems(plan_of([], str(tmp_path / "out"), manifests=[str(manifest)]).rows)
    assert len(found) == 2
    for text in found:
        assert text.endswith(
            "a.wav is listed 2 times, and each output would be a.wav. Give each row an output of "
            "its own."
        )


def test_bad_manifests_say_what_is_wrong(clip, tmp_path: Path) -> None:
    clip("a.wav")
    cases = {
        "name,to\na.wav,b.wav\n": (DataError, "input"),
        "input,strenght\na.wav,1\n": (DataError, "strength"),
        "": (SettingError, "no recording"),
    }
    for text, (kind, word) in cases.items():
        path = tmp_path / "m.csv"
        path.write_text(text)
        with pytest.raises(kind, match=word):
            plan_of([str(path)], str(tmp_path / "out"))
    path.write_text("input,strength\na.wav,much\na.wav,1\n,1\n")
    rows = plan_of([str(path)], str(tmp_path / "out")).rows
    assert ["much" in p for p in problems(rows)] == [True, False]


def test_an_unreadable_folder_is_one_line(clip, tmp_path: Path) -> None:
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("this user may read everything")
    clip("in/a.wav"), clip("in/locked/b.wav")
    (tmp_path / "in" / "locked").chmod(0)
    rows = plan_of([str(tmp_path / "in")], str(tmp_path / "out")).rows
    (tmp_path / "in" / "locked").chmod(0o700)
    assert outputs(rows) == ["a.wav"] and len(problems(rows)) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    for inputs in ([str(tmp_path / "in")], [str(tmp_path / "in" / "pipe.wav"), "other.wav"]):
        row = plan_of(inputs, str(tmp_path / "out")).rows[0]
        assert "pipe.wav is not a file" in row.problem
