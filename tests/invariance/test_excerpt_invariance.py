"""What is analysed is what sounds: laws of the excerpt over kinds of recordings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kinds import (
    PLACES,
    RATE,
    SILENCES,
    Recording,
    excerpt_of,
    music,
    resampled,
    spectrum_difference_db,
    stereo,
    voice,
    with_silence,
    zeros,
)

from retone.audio import open_reader
from retone.dsp.short_levels import dynamics_db
from retone.errors import AudioError
from retone.estimators.base import NORMAL_PEAK_DB, Excerpt
from retone.estimators.speech_music import content_of

RECORDINGS = {
    "voice": lambda: voice(0),
    "clean voice": lambda: voice(1, floor_db=-85.0),
    "noisy voice": lambda: voice(2, floor_db=-45.0),
}


def seconds(excerpt: Excerpt) -> float:
    return excerpt.audio.numel() / excerpt.sample_rate


def assert_alike(one: Excerpt, other: Excerpt, *, within_db: float = 0.5) -> None:
    assert spectrum_difference_db(one, other) <= within_db
    assert content_of(one).kind == content_of(other).kind


@pytest.mark.parametrize("kind", RECORDINGS)
@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("duration_s", [1.0, 7.0, 60.0])
def test_added_silence_changes_nothing(
    kind: str, silence: str, place: str, duration_s: float
) -> None:
    recording = RECORDINGS[kind]()
    before, peak = excerpt_of(recording.samples)
    after, peak_after = excerpt_of(with_silence(recording, silence, place, duration_s))
    assert_alike(before, after)
    assert peak_after == pytest.approx(peak, rel=0.01)
    gaps = len(recording.ends) - 1 if place in ("between", "short gaps") else 1
    each_s = 0.5 if silence == "-80 dB" else 0.08  # it may be louder than a clean voice's pauses
    assert abs(seconds(after) - seconds(before)) <= each_s * gaps


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("place", ["before", "after", "between"])
def test_added_silence_changes_nothing_in_music(silence: str, place: str) -> None:
    recording = music()
    before, after = (
        excerpt_of(x)[0] for x in (recording.samples, with_silence(recording, silence, place, 20.0))
    )
    assert content_of(before).kind == "music"
    assert_alike(before, after)


def test_examples_that_ship(repository) -> None:
    for name in ("dull_voice.flac", "bright_voice.flac", "game_music.ogg"):
        with open_reader(repository / "examples" / name) as reader:
            samples, rate = reader.read(20 * reader.info.sample_rate), reader.info.sample_rate
        before, _ = excerpt_of(samples, rate)
        silent = np.zeros((len(samples), 30 * rate), samples.dtype)
        for parts in ([silent, samples], [samples, silent]):
            after, _ = excerpt_of(np.concatenate(parts, axis=1), rate)
            assert_alike(before, after)
            assert seconds(after) == pytest.approx(seconds(before), abs=0.1)


def test_ordinary_recordings_are_heard_as_they_are() -> None:
    """Natural pauses stay; music stays with its quiet passages."""
    for recording in (voice(0), voice(3, floor_db=-72.0), music()):
        excerpt, peak = excerpt_of(recording.samples)
        whole = recording.samples / peak * 10 ** (NORMAL_PEAK_DB / 20)
        assert seconds(excerpt) >= 0.93 * len(whole) / RATE
        assert peak == np.abs(recording.samples).max()
    quiet = music().samples.copy()
    quiet[: 5 * RATE] *= 0.05
    assert seconds(excerpt_of(quiet)[0]) == pytest.approx(12.0)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.95])
@pytest.mark.parametrize("background", ["zeros", "-80 dB", "room"])
def test_little_speech_is_found(share: float, background: str) -> None:
    recording = voice(4, floor_db=-60.0)
    only, _ = excerpt_of(recording.samples)
    rest = round(len(recording.samples) * (1 / share - 1))
    rng = np.random.default_rng(0)
    around = (
        10 ** (-60 / 20) * rng.standard_normal(rest).astype(np.float32)
        if background == "room" else SILENCES[background](rest, 0)
    )  # fmt: skip
    at = int(0.6 * rest)
    found, _ = excerpt_of(np.concatenate([around[:at], recording.samples, around[at:]]))
    assert_alike(only, found)
    assert seconds(found) == pytest.approx(seconds(only), abs=0.6)


def test_a_long_recording_is_analysed_where_it_sounds() -> None:
    """Two minutes of voice in an hour of room noise at 8 kHz: six pieces, all of them voice."""
    rate = 8000
    recording = voice(5, rate=rate, phrases=12)
    parts = [recording.samples] * 7
    room = (1e-3 * np.random.default_rng(1).standard_normal(3600 * rate)).astype(np.float32)
    for i, part in enumerate(parts):
        start = (180 + 480 * i) * rate
        room[start : start + len(part)] += part
    found, _ = excerpt_of(room, rate)
    assert seconds(found) == pytest.approx(60.0, abs=0.5)
    assert_alike(excerpt_of(recording.samples, rate)[0], found, within_db=2.5)


@pytest.mark.parametrize("gain_db", [-94, -60, -20, 12])
@pytest.mark.parametrize("make", [voice, music])
def test_level_does_not_matter(make, gain_db: float) -> None:
    samples = make().samples
    before, peak = excerpt_of(samples)
    after, moved = excerpt_of(samples * np.float32(10 ** (gain_db / 20)))
    torch.testing.assert_close(after.audio, before.audio, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(after.pauses, before.pauses, rtol=1e-4, atol=1e-6)
    assert 20 * np.log10(moved / peak) == pytest.approx(gain_db, abs=0.01)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_rate_does_not_matter(rate: int) -> None:
    for recording in (voice(6, rate=48000), music(rate=48000)):
        assert_alike(
            excerpt_of(recording.samples, 48000)[0],
            excerpt_of(resampled(recording, rate), rate)[0],
            within_db=1.0,
        )


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = 1e-3 * rng.standard_normal(len(x))
    return {
        "dual mono": stereo(x, x),
        "right channel dead": stereo(x, 0 * x),
        "left channel dead": stereo(0 * x, x),
        "20 dB under": stereo(x, 0.1 * x),
        "opposite": stereo(x, -x),
        "nearly opposite": stereo(x + noise, -x),
        "opposite and softer": stereo(x, -0.7 * x),
        "six channels, one sounds": np.stack([0 * x, 0 * x, x, 0 * x, 0 * x, 0 * x]),
    }


@pytest.mark.parametrize("layout", layouts(np.zeros(1)))
def test_channels_do_not_matter(layout: str) -> None:
    x = voice(0).samples
    mono, peak = excerpt_of(x)
    found, own = excerpt_of(layouts(x)[layout])
    assert_alike(mono, found, within_db=1.0)
    assert 20 * np.log10(own / peak) == pytest.approx(0, abs=1.5)


def test_ordinary_stereo_is_the_mean() -> None:
    left, right = music(0).samples, music(1).samples
    pair = stereo(left, 0.6 * right)
    excerpt, peak = excerpt_of(pair)
    mean = pair[0] + pair[1]
    mean = mean / 2
    assert peak == np.abs(mean).max()
    torch.testing.assert_close(
        excerpt.audio, torch.from_numpy(mean * np.float32(10 ** (NORMAL_PEAK_DB / 20) / peak))
    )


@pytest.mark.parametrize("clicks", [1, 4])
def test_a_click_does_not_set_the_level(clicks: int) -> None:
    quiet = 0.02 * voice(0).samples
    before, peak = excerpt_of(quiet)
    clicked = quiet.copy()
    for at in np.linspace(20000, len(quiet) - 20000, clicks).astype(int):
        clicked[at], clicked[at + 1] = 0.98, -0.98
    after, own = excerpt_of(clicked)
    assert own == pytest.approx(peak, rel=1e-6)
    assert float(after.audio.abs().max()) == pytest.approx(10 ** (NORMAL_PEAK_DB / 20), rel=1e-5)
    assert_alike(before, after, within_db=1.0)


@pytest.mark.parametrize("length", [1, 200])
def test_a_click_in_digital_silence_has_levels(length: int) -> None:
    clicked = np.zeros(4 * RATE, np.float32)
    clicked[50000 : 50000 + length] = 0.5
    passage = excerpt_of(clicked)[0].passage.numpy()
    assert len(passage) >= 0.1 * RATE and np.abs(passage).max() > 0
    assert np.isfinite(dynamics_db(passage, RATE))


def test_pauses_hold_the_noise_and_nothing_else() -> None:
    for floor_db in (-65.0, -45.0):
        recording = voice(7, floor_db=floor_db)
        excerpt, peak = excerpt_of(recording.samples)
        level = 10 * np.log10(float(excerpt.pauses.square().mean()))
        moved = NORMAL_PEAK_DB - 20 * np.log10(peak)
        assert level == pytest.approx(floor_db + moved, abs=1.0)
        assert 0.5 <= excerpt.pauses.numel() / RATE <= 6.5
        longer, _ = excerpt_of(with_silence(recording, "zeros", "between", 10.0))
        again = 10 * np.log10(float(longer.pauses.square().mean()))
        assert again == pytest.approx(level, abs=0.5)
    clean = np.where(np.abs(voice(7).samples) < 0.004, 0, voice(7).samples)
    gated = with_silence(Recording(clean, RATE, voice(7).ends), "zeros", "between", 4.0)
    assert not excerpt_of(gated)[0].pauses.square().mean() > 1e-6
    assert not excerpt_of(music().samples)[0].pauses.numel()


def test_silence_and_short_recordings_are_refused() -> None:
    with pytest.raises(AudioError, match="is silent"):
        excerpt_of(zeros(RATE))
    with pytest.raises(AudioError, match="is silent"):
        excerpt_of(np.full(RATE, 0.1, np.float32) * 0 + 1e-7)
    with pytest.raises(AudioError, match=r"lasts 0\.25 s"):
        excerpt_of(voice().samples[: RATE // 4])
    short = np.concatenate([zeros(RATE), voice().samples[: RATE // 4], zeros(RATE)])
    assert seconds(excerpt_of(short)[0]) >= 0.5
