"""Recordings that belong together: albums keep their relations, seasons their settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.cli.main import main
from retone.errors import SettingError
from retone.process.together import Passage, album_loudness, pooled


@pytest.fixture
def album(repository: Path, tmp_path: Path) -> Path:
    """Three parts of a voice, 0, 6 and 12 dB down."""
    samples, rate = sf.read(repository / "examples" / "dull_voice.flac")
    folder = tmp_path / "album"
    folder.mkdir()
    for i in range(3):
        part = samples[4 * i * rate : (4 * i + 4) * rate] * 10 ** (-6 * i / 20)
        sf.write(folder / f"{i}.wav", part, rate, subtype="PCM_24")
    return folder


def levels(out: Path) -> tuple[np.ndarray, np.ndarray]:
    found = [json.loads((out / f"{i}.wav.json").read_text())["levels"] for i in range(3)]
    before, after = ([f[side]["integrated_lufs"] for f in found] for side in ("before", "after"))
    return np.array(before), np.array(after)


def test_an_album_keeps_its_differences_and_reaches_the_target(album, repository, tmp_path) -> None:
    reference = repository / "examples" / "bright_voice.flac"
    out = tmp_path / "out"
    words = ["match", str(album), "--to", str(reference), "-o", str(out), "-q", "--jobs", "0"]
    words += ["--together", "album", "--loudness", "-30"]
    assert main(words) == 0
    before, after = levels(out)
    np.testing.assert_allclose(after - after[0], before - before[0], atol=0.1)
    whole = album_loudness([(lufs, 4.0) for lufs in after])
    assert whole == pytest.approx(-30, abs=0.1)


def test_the_same_settings_for_all(album, repository: Path, tmp_path: Path) -> None:
    reference = repository / "examples" / "bright_voice.flac"
    out = tmp_path / "out"
    words = ["match", str(album), "--to", str(reference), "-o", str(out), "-q", "--jobs", "0"]
    assert main([*words, "--together", "same-settings"]) == 0
    shared = json.loads((out / "same_settings.json").read_text())
    for i in range(3):
        own = json.loads((out / f"{i}.wav.json").read_text())
        assert own["setting"] == shared["setting"]
        assert own["level_plan"]["gain_db"] == shared["level_plan"]["gain_db"]
    assert main([*words, "--together", "same-settings"]) == 0


def test_loudness_of_an_album() -> None:
    assert album_loudness([(-20.0, 60.0), (-20.0, 10.0)]) == pytest.approx(-20.0)
    assert album_loudness([(-20.0, 10.0), (-120.0, 10.0)]) == pytest.approx(-23.01, abs=0.01)
    assert album_loudness([]) is None


def test_parts_are_joined_at_the_usual_rate() -> None:
    parts = [Passage(np.ones(n, np.float32), rate, channels)
             for n, rate, channels in ((80, 8000, 1), (80, 8000, 2), (160, 16000, 2))]  # fmt: skip
    clip = pooled(parts)
    assert clip.sample_rate == 8000 and clip.samples.shape == (2, 240)


def test_albums_have_one_target(job, clip, tmp_path: Path) -> None:
    from retone.batch.together import joined

    clip("in/a.wav")
    with pytest.raises(SettingError):
        joined(job(tmp_path / "in"), "album")
