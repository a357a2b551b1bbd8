"""Bad options and settings files, and work that is broken off: one sentence, nothing left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retone.errors import AudioError

from .test_bad_input import assert_refused, snapshot


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--lock", "compressor.rato=2"), ["compressor.rato", "Did you mean", "compressor.ratio"]),
        (("--lock", "ratio=2"), ["'ratio'", "compressor.ratio"]),
        (("--lock", "compressor.ratio=50"), ["compressor.ratio = 50", "1..20"]),
        (("--lock", "compressor.threshold_db=7"), ["compressor.threshold_db = 7", "-100..0"]),
        (("--lock", "compressor.ratio=nan"), ["compressor.ratio"]),
        (("--lock", "compressor.ratio"), ["compressor.ratio", "PARAM=VALUE"]),
        (("--lock", "compressor.ratio=two"), ["compressor.ratio=two", "PARAM=VALUE"]),
        (("--lock", "=2"), ["PARAM=VALUE"]),
        (("--amount", "2"), ["--amount", "'2'", "0 to 1"]),
        (("--amount", "nan"), ["--amount", "0 to 1"]),
        (("--amount", "half"), ["'half'", "0 to 1"]),
        (("--loudness", "abc"), ["'abc'", "match", "off", "-16"]),
        (("--loudness", "16"), ["'16'", "-70 to -5"]),
        (("--true-peak", "3"), ["'3'", "-20 to 0"]),
        (("--true-peak", "low"), ["'low'", "off"]),
        (("--estimator", "magic"), ["'magic'", "Did you mean", "match"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_bad_options(
    retone, record, tmp_path: Path, words: tuple[str, ...], parts: list[str]
) -> None:
    source, reference = record("a.wav"), record("b.wav")
    before = snapshot(tmp_path)
    assert_refused(retone("match", source, "--to", reference, *words), *parts)
    assert snapshot(tmp_path) == before


# --- settings files ---------------------------------------------------------------------------


def damaged(data: dict[str, Any]) -> str:
    return json.dumps(data)[:-40]


def other_version(data: dict[str, Any]) -> str:
    return json.dumps(data | {"retone_settings": 99})


def other_json(data: dict[str, Any]) -> str:
    return '{"name": "something else"}'


def a_list(data: dict[str, Any]) -> str:
    return "[1, 2]"


def nothing(data: dict[str, Any]) -> str:
    return ""


def unknown_parameter(data: dict[str, Any]) -> str:
    data["setting"]["compressor.rato"] = 2.0
    return json.dumps(data)


def missing_parameter(data: dict[str, Any]) -> str:
    del data["setting"]["compressor.ratio"]
    return json.dumps(data)


def out_of_range(data: dict[str, Any]) -> str:
    data["setting"]["compressor.ratio"] = 99
    return json.dumps(data)


def not_a_number(data: dict[str, Any]) -> str:
    data["setting"]["compressor.ratio"] = "two"
    return json.dumps(data)


def bad_ceiling(data: dict[str, Any]) -> str:
    data["level_plan"]["ceiling_dbtp"] = 6
    return json.dumps(data)


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (damaged, ["line", "column", "not valid JSON"]),
        (nothing, ["not valid JSON"]),
        (other_version, ["version 99", "reads version 1"]),
        (other_json, ["not a retone settings file"]),
        (a_list, ["expected an object"]),
        (unknown_parameter, ["compressor.rato", "compressor.ratio"]),
        (missing_parameter, ["compressor.ratio", "missing"]),
        (out_of_range, ["compressor.ratio = 99", "1..20"]),
        (not_a_number, ["compressor.ratio", "expected a number"]),
        (bad_ceiling, ["ceiling_dbtp", "6"]),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_bad_settings_files(retone, record, fixed, tmp_path: Path, spoil, parts) -> None:
    source = record("a.wav")
    retone("match", source, "--to", record("b.wav"), "-o", tmp_path / "m.wav")
    settings = tmp_path / "bad.json"
    settings.write_text(spoil(json.loads((tmp_path / "m.json").read_text())))
    before = snapshot(tmp_path)
    assert_refused(retone("apply", source, "--settings", settings), settings, *parts)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("case", ["missing", "folder", "recording"])
def test_settings_that_are_no_text(retone, record, tmp_path: Path, case: str) -> None:
    source = record("a.wav")
    wrong = {"missing": tmp_path / "no.json", "folder": tmp_path, "recording": source}[case]
    before = snapshot(tmp_path)
    assert_refused(retone("apply", source, "--settings", wrong), wrong, "settings file")
    assert snapshot(tmp_path) == before


def test_settings_in_another_locale(retone, record, fixed, tmp_path: Path, monkeypatch) -> None:
    """File names go into the settings file as UTF-8, whatever the system's encoding is."""
    source = record("größe 🎤.wav")
    retone("match", source, "--to", record("b.wav"), "-o", tmp_path / "m.wav")
    monkeypatch.setattr("locale.getpreferredencoding", lambda *a: "ascii")
    monkeypatch.setattr("locale.getencoding", lambda: "ascii")
    done = retone("apply", source, "--settings", tmp_path / "m.json")
    assert (done.code, done.err) == (0, "")


# --- broken off -------------------------------------------------------------------------------


class Failing:
    """An estimator that fails with the error it was made with."""

    name = "failing"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def estimate(self, *a: object, **k: object) -> None:
        raise self.error


def test_an_estimator_that_refuses(retone, record, use_estimator, tmp_path: Path) -> None:
    source, reference = record("a.wav"), record("b.wav")
    before = snapshot(tmp_path)
    use_estimator(Failing(AudioError("nothing fits: use another reference.")))
    assert_refused(retone("match", source, "--to", reference), "use another reference")
    assert snapshot(tmp_path) == before


def test_an_estimator_that_breaks_leaves_nothing(
    retone, record, use_estimator, tmp_path: Path
) -> None:
    source, reference = record("a.wav"), record("b.wav")
    before = snapshot(tmp_path)
    use_estimator(Failing(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        retone("match", source, "--to", reference)
    assert snapshot(tmp_path) == before


def test_too_little_memory_is_said_and_leaves_nothing(
    retone, record, use_estimator, tmp_path: Path
) -> None:
    source, reference = record("a.wav"), record("b.wav")
    before = snapshot(tmp_path)
    use_estimator(Failing(MemoryError()))
    assert_refused(retone("match", source, "--to", reference), "not enough memory")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    ("command", "blocks", "writing"),
    [("match", 0, False), ("match", 12, True), ("apply", 0, True), ("apply", 5, True)],
)
def test_ctrl_c_leaves_nothing(
    retone, record, fixed, tmp_path, monkeypatch, command, blocks, writing, force
) -> None:
    """While measuring, and in the middle of writing, when part of the output is on the disk."""
    from retone.process.render import Renderer

    source, reference = record("a.wav", seconds=3), record("b.wav")
    retone("match", source, "--to", reference, "-o", tmp_path / "m.wav")
    if force:
        for end in ("wav", "json", "html"):
            (tmp_path / f"o.{end}").write_text("mine")
    before = snapshot(tmp_path)
    real = Renderer.process_with_curves
    seen: list[int] = []
    on_disk: list[bool] = []

    def stop(self: Renderer, block: np.ndarray, **how: bool) -> Any:
        seen.append(1)
        if len(seen) > blocks:
            on_disk.append(any(p.name.endswith(".part") for p in tmp_path.iterdir()))
            raise KeyboardInterrupt
        return real(self, block, **how)

    monkeypatch.setattr("retone.process.render.block_frames", lambda channels: 16384)  # 9 blocks
    monkeypatch.setattr(
        "retone.process.render.KEPT_SAMPLES", 0
    )  # rendered twice, as a long file is
    monkeypatch.setattr(Renderer, "process_with_curves", stop)
    how = ("--to", reference) if command == "match" else ("--settings", tmp_path / "m.json")
    done = retone(command, source, *how, "-o", tmp_path / "o.wav", *force)
    assert (done.code, done.out) == (130, "")
    assert "stopped" in done.err and "Traceback" not in done.err
    assert on_disk == [writing]
    assert snapshot(tmp_path) == before


def test_a_full_disk_leaves_nothing(retone, record, fixed, tmp_path: Path, monkeypatch) -> None:
    import errno

    import soundfile as library

    source, reference = record("a.wav"), record("b.wav")
    before = snapshot(tmp_path)

    def full(self: object, data: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(library.SoundFile, "write", full)
    done = retone("match", source, "--to", reference)
    monkeypatch.undo()
    assert_refused(done, "a.matched.wav", "No space left on device", "-o")
    assert snapshot(tmp_path) == before
