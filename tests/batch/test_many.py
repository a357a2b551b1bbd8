"""``retone.process_many``: an iterator of outcomes, in order, bounded, resumable."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import retone
from retone.errors import AudioError, SettingError

from .conftest import tree


def test_outcomes_come_in_the_order_of_the_items(clip, settings: Path, tmp_path: Path) -> None:
    paths = [clip(f"{i}.wav", seed=i) for i in (3, 1, 2)]
    items = [paths[0], {"input": paths[1], "amount": 0.5}, tmp_path / "none.wav", paths[2]]
    for status in ("done", "same"):
        found = list(
            retone.process_many(items, tmp_path / "out", verb="apply", settings=settings, workers=2)
        )
        assert [o.status for o in found] == [status, status, "failed", status]
        assert [o.input for o in found[:2]] == [str(p) for p in paths[:2]]
        assert "none.wav" in found[2].error and found[3].values["duration_s"] > 0


def test_work_begins_with_the_first_outcome(clip, settings: Path, tmp_path: Path) -> None:
    for i in range(30):
        clip(f"in/{i:02}.wav", seed=i)
    found = retone.process_many(
        [tmp_path / "in"], tmp_path / "out", verb="apply", settings=settings
    )
    assert not (tmp_path / "out").exists()
    next(found), next(found)
    assert len(list((tmp_path / "out").glob("*.wav"))) == 2
    found.close()
    again = retone.process_many(
        [tmp_path / "in"], tmp_path / "out", verb="apply", settings=settings
    )
    assert [o.status for o in again] == ["same"] * 2 + ["done"] * 28


def test_inspect_needs_no_folder(clip) -> None:
    (outcome,) = retone.process_many([clip("a.wav", seconds=1.0)], verb="inspect")
    assert outcome.values["sample_rate"] == 8000 and outcome.values["integrated_lufs"] < 0


def test_what_cannot_be_is_refused_at_once(clip, tmp_path: Path) -> None:
    path = clip("a.wav")
    for words, part in (
        ({"strenght": 1.0}, "strength"),
        ({"verb": "mach"}, "match"),
        ({"together": "one"}, "album"),
    ):
        with pytest.raises(SettingError, match=part):
            retone.process_many([path], tmp_path / "out", **words)
    with pytest.raises(SettingError, match="output"):
        retone.process_many([path], to=path)


@pytest.mark.parametrize("together", ["target", "album", "same-settings"])
@pytest.mark.parametrize("bad", ["none.wav", "bad.wav"])
def test_a_reference_that_cannot_be_read_is_refused_at_once(
    clip, tmp_path: Path, together: str, bad: str
) -> None:
    path = clip("a.wav", seconds=3.0)
    (tmp_path / "bad.wav").write_bytes(b"no recording")
    with pytest.raises(AudioError, match=bad):
        retone.process_many([path], tmp_path / "out", to=tmp_path / bad, together=together)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("before", ["", "done"])
def test_an_engine_that_cannot_work_leaves_the_folder_as_it_was(
    job, clip, tmp_path: Path, there: bool, before: str
) -> None:
    paths = [clip("a.wav")]
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
    if before:
        list(job(paths).run())

    def broken(*_, **__):
        raise SettingError("no process")
        yield

    def after() -> dict[str, str]:
        return tree(tmp_path) if (tmp_path / "out").exists() else {}

    found = after()
    one = dataclasses.replace(job([*paths, clip("b.wav", seed=2)]), engine=taking(broken))
    found |= {"b.wav": tree(tmp_path)["b.wav"]} if found else {}
    with pytest.raises(SettingError, match="no process"):
        list(one.run())
    kept = after()
    if before:  # what was begun is remembered beside what was done
        found.pop("out/.retone/ledger.jsonl"), kept.pop("out/.retone/ledger.jsonl")
    assert kept == found


def taking(engine):
    """The engine, after it has taken the first task, which the ledger notes."""

    def run(recipe, tasks, **how):
        next(tasks)
        yield from engine(recipe, tasks, **how)

    return run


@pytest.mark.parametrize("how", ["", ", together='same-settings'", ", together='album'"])
def test_a_script_without_a_guard_is_told_the_fix(clip, tmp_path: Path, how: str) -> None:
    """Its processes import it again and would start processes themselves."""
    clip("in/a.wav", seconds=3.0)
    verb = "'match', to='in/a.wav'" if how else "'inspect'"
    script = tmp_path / "script.py"
    script.write_text(
        "import retone\n"
        f"for outcome in retone.process_many(['in'], 'out', workers=1, verb={verb}{how}):\n"
        "    print(outcome.error)\n"
    )
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "memory" not in done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("retone.errors.SettingError") and '__name__ == "__main__"' in last
    assert not (tmp_path / "out").exists()
