"""``retone match``: formats, rates and channels are kept, and blocks do not matter."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.audio.limiter import TruePeakLimiter
from retone.effects import MATCH_CHAIN
from retone.process.settings_file import SettingsFile
from retone.process.stream import render_whole
from retone.units import db_to_gain

RATE = 44100

KEPT = [
    ("a.wav", "PCM_16"),
    ("a.wav", "PCM_24"),
    ("a.wav", "FLOAT"),
    ("a.flac", "PCM_16"),
    ("a.flac", "PCM_24"),
    ("a.aiff", "PCM_24"),
    ("a.ogg", "VORBIS"),
    ("a.mp3", "MPEG_LAYER_III"),
]


def samples(path: Path) -> np.ndarray:
    return sf.read(path, always_2d=True)[0].T


def loss(one: np.ndarray, two: np.ndarray) -> float:
    """Energy of the difference over that of the first, in dB."""
    return 10 * math.log10(((one - two) ** 2).sum() / (one**2).sum() + 1e-30)


@pytest.mark.parametrize(("name", "subtype"), KEPT)
@pytest.mark.parametrize("channels", [1, 2])
def test_format_and_tags_are_kept(
    retone, record, fixed, tmp_path: Path, name: str, subtype: str, channels: int
) -> None:
    source = record(f"in_{name}", channels=channels, subtype=subtype)
    try:
        with sf.SoundFile(source, "r+") as file:
            file.title = "A title"
    except (sf.LibsndfileError, RuntimeError):
        pass  # a compressed file cannot be changed in place
    given = sf.info(source)
    output = tmp_path / name
    done = retone("match", source, "--to", record("b.wav", seed=1), "-o", output)
    assert (done.code, done.err) == (0, "")
    made = sf.info(output)
    assert (made.format, made.subtype) == (given.format, subtype)
    assert (made.samplerate, made.channels) == (given.samplerate, channels)
    assert made.frames == given.frames
    with sf.SoundFile(source) as one, sf.SoundFile(output) as two:
        assert one.title == two.title


@pytest.mark.parametrize("name", ["a.flac", "a.aiff", "a.ogg", "a.mp3", "a.opus"])
def test_the_extension_decides_the_container(
    retone, record, fixed, tmp_path: Path, name: str
) -> None:
    source, reference = record("in.wav", rate=48000, subtype="PCM_24"), record("b.wav", seed=1)
    plain, other = tmp_path / "plain.wav", tmp_path / name
    retone("match", source, "--to", reference, "-o", plain)
    done = retone("match", source, "--to", reference, "-o", other)
    assert done.code == 0
    one, two = samples(plain), samples(other)
    exact = name in ("a.flac", "a.aiff")
    assert one.shape == two.shape or not exact
    n = min(one.shape[1], two.shape[1])
    # Lossy codings are not held to the samples, only to the sound; its noise is hard to code.
    assert loss(one[:, :n], two[:, :n]) < (-200 if exact else -6)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 6])
def test_rate_and_channels_are_kept(
    retone, record, tmp_path: Path, rate: int, channels: int
) -> None:
    source = record("a.wav", rate=rate, channels=channels, seconds=0.8)
    output = tmp_path / "out.wav"
    done = retone("match", source, "--to", record("b.wav", seed=1), "-o", output)
    assert (done.code, done.err) == (0, "")
    made = sf.info(output)
    assert (made.samplerate, made.channels, made.frames) == (rate, channels, round(0.8 * rate))
    assert np.abs(samples(output)).max(axis=1).min() > 0.01


@pytest.mark.parametrize("estimator", ["closed-form", "rules"])
def test_swapped_channels_give_swapped_channels(
    retone, record, make_audio, tmp_path: Path, estimator: str
) -> None:
    pair = 0.3 * make_audio(RATE, RATE, channels=2)[0].numpy()
    pair[1] *= 0.4
    reference = record("b.wav", channels=2, seed=1)
    made = []
    for name, audio in (("a.wav", pair), ("swapped.wav", pair[::-1])):
        output = tmp_path / f"out_{name}"
        source = record(name, samples=audio, subtype="FLOAT")
        retone("match", source, "--to", reference, "-o", output, "--estimator", estimator)
        made.append(samples(output))
    np.testing.assert_array_equal(made[0], made[1][::-1])


def test_opposite_channels_are_not_taken_for_silence(
    retone, record, make_audio, fixed, tmp_path: Path
) -> None:
    """Their mean is zero, though each can be heard: a cable soldered the wrong way round."""
    one = 0.3 * make_audio(RATE, RATE)[0].numpy()
    source = record("a.wav", samples=np.concatenate([one, -one]), subtype="FLOAT")
    output = tmp_path / "out.wav"
    done = retone("match", source, "--to", record("b.wav"), "-o", output)
    assert (done.code, done.err) == (0, "")
    made = samples(output)
    np.testing.assert_array_equal(made[0], -made[1])


# --- streaming ------------------------------------------------------------------------------


def test_the_file_is_what_the_whole_gives_in_memory(retone, record, fixed, tmp_path) -> None:
    """Effect, gain and limiter over all samples at once, as the settings file has them."""
    source = record("a.wav", seconds=4, channels=2, subtype="FLOAT")
    output = tmp_path / "out.wav"
    retone("match", source, "--to", record("b.wav"), "-o", output, "--loudness", "-8")
    saved = SettingsFile.read(output.with_suffix(".json"))
    audio = sf.read(source, dtype="float32", always_2d=True)[0].T
    whole = render_whole(MATCH_CHAIN, audio, RATE, saved.effective_setting())
    assert saved.level_plan is not None
    whole = whole * np.float32(db_to_gain(saved.level_plan.gain_db))
    limiter = TruePeakLimiter(-1.0, RATE, 2)
    whole = np.concatenate([limiter.process(whole), limiter.flush()], axis=1)
    assert limiter.report().max_reduction_db > 0.5
    np.testing.assert_array_equal(sf.read(output, dtype="float32")[0].T, whole)


@pytest.mark.parametrize("block", [997, 1 << 20])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_the_block_size_does_not_matter(
    retone, record, tmp_path: Path, monkeypatch, block: int, subtype: str
) -> None:
    source = record("a.wav", seconds=2, channels=2, subtype=subtype)
    reference = record("b.wav", seed=1, seconds=2)
    made = []
    for name, size in (("usual.wav", 65536), ("other.wav", block)):
        for module in ("process.render", "process.decide"):
            monkeypatch.setattr(f"retone.{module}.block_frames", lambda channels, n=size: n)
        monkeypatch.setattr("retone.process.stream.BLOCK_FRAMES", size)
        done = retone("match", source, "--to", reference, "-o", tmp_path / name)
        assert done.code == 0
        made.append(samples(tmp_path / name))
    np.testing.assert_array_equal(made[0], made[1])


def test_the_length_is_kept_to_the_frame(retone, record, fixed, tmp_path: Path) -> None:
    for frames in (22051, 65536, 65537, 131071):
        source = record("a.wav", seconds=frames / RATE)
        output = tmp_path / "out.wav"
        retone("match", source, "--to", record("b.wav"), "-o", output, "--force", "--no-report")
        assert sf.info(output).frames == frames
