"""Files with several audio tracks: what is left out is said, and the language stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import retone
from encoded import RATE, ffmpeg, needs_ffmpeg, save, tone
from retone.effects import Gain
from retone.process.settings_file import SettingsFile


def film(path: Path, languages: tuple[str, ...]) -> Path:
    """A picture with an audio track for each language."""
    sound = save(path.with_suffix(".wav"), tone(RATE))
    inputs = ["-f", "lavfi", "-i", "testsrc=s=64x48:d=1"]
    maps, named = ["-map", "0:v"], []
    for i, language in enumerate(languages):
        inputs += ["-i", sound]
        maps += ["-map", f"{i + 1}:a"]
        named += [f"-metadata:s:a:{i}", f"language={language}"]
    ffmpeg(*inputs, *maps, *named, "-c:v", "mpeg4", "-c:a", "aac", path)
    return path


def tracks(path: Path) -> list[dict[str, object]]:
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)],
        capture_output=True, check=True,
    )  # fmt: skip
    return [s for s in json.loads(shown.stdout)["streams"] if s["codec_type"] == "audio"]


@needs_ffmpeg
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("languages", [("fra",), ("fra", "deu"), ("fra", "deu", "swe")])
def test_the_first_track_keeps_its_language_and_lost_ones_are_named(
    tmp_path: Path, ending: str, languages: tuple[str, ...]
) -> None:
    source, out = film(tmp_path / f"film{ending}", languages), tmp_path / f"out{ending}"
    setting = {p.name: p.default for p in Gain().params}
    result = retone.apply(source, SettingsFile(Gain(), setting, RATE, "test"), output=out)
    (track,) = tracks(out)
    assert track["tags"]["language"] == "fra"  # type: ignore[index]
    said = [w for w in result.warnings if "audio track" in w]
    more = len(languages) - 1
    assert len(said) == bool(more)
    assert not more or (f"{more} more audio track" in said[0] and "left out" in said[0])
