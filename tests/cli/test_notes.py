"""What must be said about a finished file, and what is refused before it is begun."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.audio import loudness_lufs

from .conftest import Fixed, Record, Run


def levels(output: Path) -> dict[str, float]:
    data = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    return data["levels"]["after"]  # type: ignore[no-any-return]


def test_clipping_is_said_and_measured(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path
) -> None:
    source, out = record("a.wav", seconds=2.0), tmp_path / "loud.wav"
    ended = retone(
        "match", source, "--to", record("b.wav", seed=1), "-o", out,
        "--loudness", "-5", "--true-peak", "off",
    )  # fmt: skip
    assert ended.code == 0 and "beyond full scale and were clipped" in ended.out
    samples, _ = sf.read(out)
    assert np.abs(samples).max() > 0.999
    rms_db = 10 * np.log10(np.mean(samples**2))
    assert levels(out)["rms_dbfs"] == pytest.approx(rms_db, abs=0.1)


def test_tags_that_are_lost_are_named(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path
) -> None:
    source = record("a.flac")
    with sf.SoundFile(source) as file:
        samples, rate = file.read(), file.samplerate
    with sf.SoundFile(tmp_path / "tagged.flac", "w", rate, 1) as file:
        file.title, file.date, file.tracknumber = "Title", "2020", "3"
        file.write(samples)
    ended = retone(
        "match", tmp_path / "tagged.flac", "--to", record("b.wav", seed=1),
        "-o", tmp_path / "out.w64",
    )  # fmt: skip
    assert ended.code == 0 and "could not keep the tags title, date, tracknumber" in ended.out


def test_peaks_that_lossy_coding_lifts_are_said(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path
) -> None:
    source, out = record("a.wav", seconds=3.0, gain=0.5), tmp_path / "out.ogg"
    ended = retone(
        "match", source, "--to", record("b.wav", seed=1), "-o", out,
        "--loudness", "-8", "--true-peak", "-3",
    )  # fmt: skip
    decoded, _ = sf.read(out)
    over = 20 * np.log10(np.abs(decoded).max()) + 3
    assert ended.code == 0
    if over <= 0.05:
        pytest.skip("this encoder left the peaks where they were")
    assert "above the ceiling" in ended.out


def test_a_recording_too_quiet_for_a_loudness_reaches_its_target(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path
) -> None:
    source, out = record("a.wav", gain=1e-4, subtype="FLOAT"), tmp_path / "o.wav"
    ended = retone("match", source, "--to", record("b.wav", seed=1), "-o", out, "--loudness", "-23")
    samples, rate = sf.read(out, dtype="float32", always_2d=True)
    assert ended.code == 0 and "silent" not in ended.out
    assert loudness_lufs(samples.T, rate) == pytest.approx(-23, abs=0.1)


def test_the_usual_loudness_of_enhance_goes_as_far_as_the_amount(
    retone: Run, repository: Path, tmp_path: Path
) -> None:
    voice, found = repository / "examples" / "dull_voice.flac", {}
    for amount in ("0.25", "1"):
        out = tmp_path / f"{amount}.wav"
        assert retone("enhance", voice, "-o", out, "--amount", amount, "--no-report").code == 0
        data = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["levels"]
        found[amount] = data["after"]["integrated_lufs"]
        before = data["before"]["integrated_lufs"]
    assert found["1"] == pytest.approx(-19, abs=0.2)
    assert found["0.25"] == pytest.approx(before + 0.25 * (-19 - before), abs=0.2)


def test_a_parameter_is_not_locked_twice(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path
) -> None:
    out, locks = (
        tmp_path / "out.wav",
        ["--lock", "compressor.ratio=3", "--lock", "compressor.ratio=4"],
    )
    ended = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "-o", out, *locks)
    assert ended.code == 2 and "locked twice" in ended.err and not out.exists()


def test_enhances_settings_run_in_sox_from_a_folder_with_a_space(
    retone: Run, repository: Path, tmp_path: Path
) -> None:
    if not shutil.which("sox"):
        pytest.skip("sox is not installed: apt-get install sox")
    folder = tmp_path / "a folder"
    folder.mkdir()
    voice = repository / "examples" / "dull_voice.flac"
    assert retone("enhance", voice, "-o", folder / "e.wav", "--no-report", "-q").code == 0
    ended = retone("export", folder / "e.json", "--to", "sox")
    assert ended.code == 0
    use = next(line for line in ended.out.splitlines() if line.startswith("use: "))
    command = use[5:].replace("in.wav", str(voice)).replace("out.wav", f"'{folder}/out.wav'")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert sf.info(folder / "out.wav").frames == sf.info(folder / "e.wav").frames


@pytest.mark.parametrize("offset", [0.2, -0.05, 0.001])
def test_a_dc_offset_is_said(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path, offset: float
) -> None:
    samples, _ = sf.read(record("a.wav", gain=0.2), always_2d=True)
    source = record("dc.wav", samples=samples.T + offset, subtype="FLOAT")
    ended = retone("match", source, "--to", record("b.wav", seed=1), "-o", tmp_path / "o.wav")
    assert ended.code == 0
    assert (f"DC offset of {100 * offset:+.1f} %" in ended.out) == (abs(offset) > 0.01)


def test_settings_applied_to_another_file_do_not_speak_of_the_first(
    retone: Run, record: Record, fixed: Fixed, tmp_path: Path
) -> None:
    source, out = record("a.wav"), tmp_path / "o.wav"
    assert retone("match", source, "--to", record("b.wav", seed=1), "-o", out, "-q").code == 0
    settings = out.with_suffix(".json")
    data = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**data, "notes": ["It hums."]}), encoding="utf-8")
    for name, said in (("a.wav", True), ("c.wav", False)):
        ended = retone("apply", record(name), "--settings", settings, "-o", tmp_path / f"x{name}")
        assert ended.code == 0 and ("It hums." in ended.out) == said


def test_the_note_on_a_large_change_is_about_the_whole_change(
    retone: Run, repository: Path, tmp_path: Path
) -> None:
    """At half the amount half of that is made, and at 0 nothing."""
    dull, bright = (repository / "examples" / f"{n}_voice.flac" for n in ("dull", "bright"))
    done = retone("match", dull, "--to", bright, "-o", tmp_path / "o.wav", "--amount", "0")
    assert "No audible change." in done.out
    assert "A large change: in full, the tone changes by" in done.out
    assert "lower the strength or the amount." in done.out
