"""Training pairs: repeatable, in place, and made the way the scheme says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retone.errors import DataError, SettingError
from retone.training.data.corpora import Corpus, open_corpus
from retone.training.data.pairs import PairMaker
from retone.training.data.processing import (
    draw_bands,
    draw_compressor,
    draw_expander,
    draw_levels,
    draw_noise,
)

RATE, LENGTH = 16000, 12000


def voice(seed: int, seconds: float) -> np.ndarray:
    """A buzz whose pitch and level move, at a level recordings have."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 110 * (1 + 0.3 * seed) + 20 * np.sin(2 * np.pi * 0.9 * t + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    return 0.1 * tone * (1.1 + np.sin(2 * np.pi * 2.3 * t)) + 0.003 * rng.standard_normal(t.size)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("voices")
    for seed in range(3):
        (folder / f"speaker{seed}").mkdir()
        path = folder / f"speaker{seed}" / "all.flac"
        soundfile.write(path, voice(seed, 8.0), RATE)
    cache = tmp_path_factory.mktemp("cache")
    return open_corpus("folder", folder, sample_rate=RATE, cache=cache)


def maker(**settings: object) -> PairMaker:
    return replace(PairMaker(sample_rate=RATE, length=LENGTH), **settings)  # type: ignore[arg-type]


def test_same_numbers_same_pair_others_differ(corpus: Corpus) -> None:
    first, again, other = (maker().make(corpus, index, 7) for index in (5, 5, 6))
    for name in ("input", "reference", "target"):
        audio = getattr(first, name)
        assert audio.shape == (LENGTH,) and audio.dtype == np.float32 and np.isfinite(audio).all()
        np.testing.assert_array_equal(audio, getattr(again, name))
        assert not np.array_equal(audio, getattr(other, name))
    assert not np.array_equal(first.input, maker().make(corpus, 5, 8).input)


def test_untreated_pair_is_the_recording_itself(corpus: Corpus) -> None:
    plain = maker(
        augment_probability=0.0,
        input_equalizer_probability=0.0,
        expander_probability=0.0,
        target_equalizer_probability=0.0,
        compressor_probability=0.0,
        fade_ms=0.0,
    )
    halves = set()
    for index in range(8):
        pair = plain.make(corpus, index, 1)
        np.testing.assert_array_equal(pair.input, pair.target)
        track = next(t for t in corpus.tracks if t.group == pair.group)
        source = track.read(pair.start, 2 * LENGTH)
        source *= np.float32(10 ** (-12 / 20) / np.abs(source).max())
        first = np.allclose(pair.input, source[:LENGTH], atol=1e-6)
        second = np.allclose(pair.input, source[LENGTH:], atol=1e-6)
        assert first != second
        there = source[LENGTH:] if first else source[:LENGTH]
        np.testing.assert_allclose(pair.reference, there, atol=1e-6)
        halves.add(first)
    assert halves == {True, False}


def test_cross_source_pair_has_the_same_style_and_another_voice(corpus: Corpus) -> None:
    crossed = maker().for_evaluation(cross_source=True)
    same = maker().for_evaluation(cross_source=False)
    for index in range(6):
        pair = crossed.make(corpus, index, 3)
        assert pair.cross_source and pair.group != pair.reference_group
        pair_same = same.make(corpus, index, 3)
        assert pair_same.group == pair_same.reference_group and not pair_same.cross_source
        np.testing.assert_array_equal(pair.target, pair_same.target)
        np.testing.assert_array_equal(pair.input, pair_same.input)
        assert pair.style == pair_same.style


def test_voices_at_another_speed_move_whole_and_each_by_its_own_factor(tmp_path: Path) -> None:
    t = np.arange(8 * RATE) / RATE
    for hz in (500, 2000):
        (tmp_path / str(hz)).mkdir()
        soundfile.write(tmp_path / str(hz) / "a.flac", 0.3 * np.sin(2 * np.pi * hz * t), RATE)
    tones = open_corpus("folder", tmp_path, sample_rate=RATE, cache=tmp_path / "cache")
    plain = {name: 0.0 for name in PairMaker.__dataclass_fields__ if name.endswith("_probability")}
    fast = maker(**{**plain, "cross_source_probability": 1.0}, speed=1.25)

    def factor(audio: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(LENGTH), 8 * LENGTH))
        hz = float(np.argmax(spectrum)) * RATE / (8 * LENGTH)
        return hz / (500 if hz < 1000 else 2000)

    factors = []
    for index in range(20):
        pair = fast.make(tones, index, 3)
        np.testing.assert_array_equal(pair.input, pair.target)
        factors.append((factor(pair.input), factor(pair.reference)))
    here, there = np.array(factors).T
    assert 0.79 < min(here) < 0.9 and 1.1 < max(here) < 1.26
    assert np.abs(here - there).max() > 0.1 and abs(np.corrcoef(here, there)[0, 1]) < 0.7
    assert fast.clip_samples >= 2 * LENGTH * 1.25 and maker().clip_samples == 2 * LENGTH
    assert fast.for_validation(tones).speed == 1 == fast.for_evaluation(cross_source=True).speed


def test_style_recorded_is_the_style_heard(corpus: Corpus) -> None:
    only_style = maker(augment_probability=0.0, fade_ms=0.0, input_equalizer_probability=0.0)
    pair = replace(only_style, expander_probability=0.0).make(corpus, 11, 3)
    track = next(t for t in corpus.tracks if t.group == pair.group)
    clip = track.read(pair.start, 2 * LENGTH)
    clip *= np.float32(10 ** (-12 / 20) / np.abs(clip).max())
    wanted = pair.style.apply(clip, RATE, -12.0)
    wanted *= np.float32(10 ** (-12 / 20) / np.abs(wanted).max())
    halves = wanted[:LENGTH], wanted[LENGTH:]
    assert min(np.abs(pair.target - half).max() for half in halves) < 1e-5


def test_clips_stay_full_after_warping_unless_compatible(corpus: Corpus) -> None:
    ends_silent = {False: 0, True: 0}
    for compatible in ends_silent:
        made = maker(augment_probability=1.0, reference_compatible=compatible, fade_ms=0.0)
        for index in range(12):
            pair = made.make(corpus, index, 2)
            both = np.concatenate([pair.target, pair.reference])
            runs = np.abs(both).reshape(-1, 400).max(axis=1)
            ends_silent[compatible] += int((runs == 0.0).sum() > 1)
    assert ends_silent[False] == 0
    assert ends_silent[True] > 0


def test_peaks_and_fades(corpus: Corpus) -> None:
    for index in range(6):
        pair = maker().make(corpus, index, 4)
        peak = max(np.abs(pair.target).max(), np.abs(pair.reference).max())
        assert 20 * np.log10(peak) == pytest.approx(-12.0, abs=1e-3)
        edges = [pair.target[0], pair.reference[-1], pair.target[-1], pair.reference[0]]
        assert sum(edge == 0.0 for edge in edges) >= 2


def test_draws_stay_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(400):
        bands = draw_bands(rng, 24000)
        counts.append(len(bands))
        peaks = [band for band in bands if band.kind == "peak"]
        assert all(200 <= band.frequency_hz < 10800 and abs(band.gain_db) < 48 for band in peaks)
        assert all(0.1 <= band.q <= 10.1 for band in peaks)
        shelves = {band.kind: band for band in bands if band.kind != "peak"}
        assert all(abs(band.gain_db) <= 24 for band in shelves.values())
        for setting in (draw_expander(rng), draw_compressor(rng)):
            levels = [point[0] for point in setting.points]
            assert levels == sorted(set(levels)) and setting.decay_s >= setting.attack_s
    assert min(counts) < 3 < max(counts)


def test_longer_tracks_are_drawn_more_often_with_balance_1(tmp_path: Path) -> None:
    for name, seconds in (("short", 2.0), ("long", 12.0)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.flac", voice(len(name), seconds), RATE)
    corpus = open_corpus("folder", tmp_path, sample_rate=RATE, cache=tmp_path / "cache")
    quick = maker(length=1000, augment_probability=0.0)
    share = {}
    for balance in (0.0, 1.0):
        groups = [replace(quick, balance=balance).make(corpus, i, 0).group for i in range(60)]
        share[balance] = np.mean([group.endswith("long") for group in groups])
    assert share[0.0] < 0.7 < share[1.0]


def test_refusals(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="speed 0.5"):
        maker(speed=0.5)
    with pytest.raises(SettingError, match="expected 24000"):
        PairMaker(sample_rate=24000, length=LENGTH).make(corpus, 0, 0)
    with pytest.raises(DataError, match="or more; add recordings"):
        maker(length=100_000).make(corpus, 0, 0)
    with pytest.raises(DataError, match="too quiet"):
        maker(min_mean_square=0.9).make(corpus, 0, 0)
    with pytest.raises(SettingError, match="augment_probability"):
        maker(augment_probability=1.5)
    alone = replace(corpus, tracks=corpus.tracks[:1])
    with pytest.raises(DataError, match="no other speaker"):
        maker().for_evaluation(cross_source=True).make(alone, 0, 0)


def test_noise_is_steady_and_as_loud_as_drawn() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        noise = draw_noise(rng, 24000, 24000)
        levels = 10 * np.log10((noise.reshape(4, -1) ** 2).mean(1))
        assert -91 < levels.mean() < -49
        assert np.ptp(levels) < 4


def test_levels_come_and_go_slowly() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        gains_db = 20 * np.log10(draw_levels(rng, 10 * 24000, 24000))
        assert np.abs(gains_db).max() < 20 and np.ptp(gains_db) > 0.1
        assert np.abs(np.diff(gains_db)).max() < 20 / (0.1 * 24000)
