"""Reading recordings: whole, in blocks, and whatever is wrong with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.audio import files, reader
from retone.audio.files import info, load, open_reader, same_audio
from retone.errors import AudioError

RATE = 44100


def noise(frames: int = 30000, channels: int = 2, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (channels, frames))


def save(path: Path, x: np.ndarray, rate: int = RATE, **kw: object) -> Path:
    sf.write(path, x.T, rate, **kw)
    return path


# --- bad input ------------------------------------------------------------------------------


def test_refused_inputs(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("hello\n" * 500)
    save(tmp_path / "none.wav", noise(0))
    save(tmp_path / "wide.wav", noise(10, 65))
    save(tmp_path / "slow.wav", noise(10), 4000)
    save(tmp_path / "fast.wav", noise(10), 705600)
    for name, words in {
        "missing.wav": "does not exist",
        ".": "is a folder",
        "empty.wav": "0 bytes",
        "text.wav": "not a recording",
        "none.wav": "no samples",
        "wide.wav": "65 channels; expected at most 64",
        "slow.wav": "4000 Hz; expected 8000 to 384000",
        "fast.wav": "705600 Hz",
    }.items():
        with pytest.raises(AudioError, match=words):
            load(tmp_path / name)


def test_wrong_extension_is_read_by_content_with_a_warning(tmp_path: Path) -> None:
    save(tmp_path / "a.mp3", noise(20000))
    shutil.copy(tmp_path / "a.mp3", tmp_path / "b.wav")
    shutil.copy(save(tmp_path / "c.wav", noise(10)), tmp_path / "c.raw")
    got = info(tmp_path / "b.wav")
    assert got.format == "MP3" and "MP3 file named .wav" in got.warnings[0]
    assert load(tmp_path / "b.wav").frames == 20000
    assert info(tmp_path / "c.raw").format == "WAV"
    assert info(tmp_path / "c.wav").warnings == ()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.w64", "a.rf64", "a.mp3"])
def test_torn_file_is_used_as_far_as_it_goes_with_a_warning(tmp_path: Path, name: str) -> None:
    whole = save(tmp_path / name, noise(60000))
    assert info(whole).warnings == ()
    torn = tmp_path / f"torn{whole.suffix}"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    got = info(torn)
    assert 20000 < got.frames < 40000
    assert "cut short" in got.warnings[0]
    warnings: list[str] = []
    clip = load(torn, warnings=warnings)
    assert clip.frames == got.frames
    assert warnings == list(got.warnings)
    if name != "a.mp3":  # its decoder may drop the torn frame's overlap
        np.testing.assert_array_equal(clip.samples, load(whole).samples[:, : got.frames])


def test_damage_in_the_middle_is_refused_with_its_place(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", noise(100000))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40000] = bytes(40000)
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"damaged at about \d"):
        load(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_refused_with_place_and_count(tmp_path: Path, bad: float) -> None:
    x = noise(200000).astype(np.float32)
    x[1, 22050] = bad
    x[0, 150000:150003] = bad
    path = save(tmp_path / "a.wav", x, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"4 NaN or infinite samples, the first at 0\.500 s"):
        load(path)


def test_silence_and_snippets_are_refused_for_analysis(tmp_path: Path) -> None:
    silent = save(tmp_path / "a.wav", np.zeros((1, RATE)))
    assert load(silent).frames == RATE
    with pytest.raises(AudioError, match="silent"):
        load(silent, analysis=True)
    hiss = save(tmp_path / "b.wav", np.full((1, RATE), 2e-5), subtype="FLOAT")
    with pytest.raises(AudioError, match=r"-94\.0 dBFS"):
        load(hiss, analysis=True)
    short = save(tmp_path / "c.wav", noise(1))
    assert load(short).frames == 1
    with pytest.raises(AudioError, match=r"expected at least 0\.1 s"):
        load(short, analysis=True)
    files.require_analysable(1e-4, 0.1, "here")


# --- reading in blocks ----------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 80000], ids=["decoded each time", "decoded once"])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_blocks_and_seeking_agree_with_reading_at_once(
    tmp_path: Path, name: str, keep: int
) -> None:
    path = save(tmp_path / name, noise(40000))
    whole = load(path).samples
    with open_reader(path, keep) as r:
        parts = list(r.blocks(3333))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        assert r.read(10).shape == (2, 0)
        r.seek(40000)
        assert r.read(10).shape == (2, 0)
        r.seek(0)
        np.testing.assert_array_equal(r.read(40000), whole)
        if name in ("a.wav", "a.flac"):
            r.seek(12345)
            np.testing.assert_array_equal(r.read(777), whole[:, 12345 : 12345 + 777])
        with pytest.raises(AudioError, match="cannot go to frame"):
            r.seek(40001)
    part = load(path, start_s=0.25, duration_s=0.1)
    assert part.frames == 4410


def test_wide_sources_are_float64(tmp_path: Path) -> None:
    for subtype, dtype in {
        "PCM_24": np.float32,
        "PCM_32": np.float64,
        "DOUBLE": np.float64,
    }.items():
        path = save(tmp_path / f"{subtype}.wav", noise(10), subtype=subtype)
        assert load(path).samples.dtype == dtype
        assert reader.info(path).dtype == dtype


def test_same_audio(tmp_path: Path) -> None:
    x = np.rint(noise(20000) * 32768) / 32768
    a = save(tmp_path / "a.wav", x)
    b = save(tmp_path / "b.flac", x)
    other = x.copy()
    other[0, 19999] += 0.01
    c = save(tmp_path / "c.wav", other)
    d = save(tmp_path / "d.wav", x, 48000)
    os.link(a, tmp_path / "e.wav")
    assert same_audio(a, a) and same_audio(a, b) and same_audio(a, tmp_path / "e.wav")
    assert not same_audio(a, c) and not same_audio(a, d)
