"""Speech or music: on real recordings that it never learnt from, and whatever the level or rate."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from retone.audio import Clip, open_reader
from retone.estimators.base import Excerpt
from retone.estimators.speech_music import FEATURES, content_of, features, fit

RATE = 24000


def excerpt(audio: np.ndarray, rate: int = RATE) -> Excerpt:
    return Excerpt(torch.from_numpy(audio.astype(np.float32)), rate)


def chords(seconds: float, seed: int = 0) -> np.ndarray:
    """Sustained harmonic notes over a bass, a new chord every second."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    out = np.zeros_like(t)
    for start in range(int(seconds) + 1):
        on = np.clip((t - start) * 20, 0, 1) * (t < start + 1)
        for base in (55.0, *rng.choice([220.0, 262.0, 330.0, 392.0], 3, replace=False)):
            for k in range(1, 6):
                out += on * np.sin(2 * np.pi * base * k * t) / k
    return 0.05 * out


def heard(path: Path, seconds: float = 12.0) -> tuple[np.ndarray, int]:
    with open_reader(path) as reader:
        return reader.read(round(seconds * reader.info.sample_rate)).mean(0), (
            reader.info.sample_rate
        )


def test_recordings_it_never_heard(shared: Path) -> None:
    """Every music excerpt and every sixth voice of the test part; at most one is taken wrong."""
    with (shared / "audio" / "manifest.csv").open() as handle:
        rows = [r for r in csv.DictReader(handle) if r["split"] == "test"]
    music = [r for r in rows if r["kind"] == "music"]
    speech = [r for r in rows if r["kind"] != "music"][::6]
    wrong = []
    for row in music + speech:
        audio, rate = heard(shared / "audio" / row["path"])
        found = content_of(excerpt(audio, rate))
        assert 0.5 <= found.confidence <= 1
        if found.kind != ("music" if row["kind"] == "music" else "speech"):
            wrong.append(row["path"])
    assert len(music) >= 5 and len(speech) >= 10 and len(wrong) <= 1, wrong


def test_examples_that_ship(repository: Path) -> None:
    audio, rate = heard(repository / "examples" / "dull_voice.flac")
    found = content_of(excerpt(audio, rate))
    assert found.kind == "speech" and found.confidence > 0.8
    assert content_of(excerpt(chords(8))).kind == "music"


def test_neither_level_nor_rate_decides(repository: Path) -> None:
    audio, rate = heard(repository / "examples" / "dull_voice.flac")
    for signal, own in ((audio, rate), (chords(6), RATE)):
        before = features(np.asarray(signal, np.float64), own)
        quiet = features(np.asarray(signal, np.float64) * 0.01, own)
        np.testing.assert_allclose(quiet, before, atol=0.05)
        twice = Clip(np.asarray(signal, np.float32)[None], own).resample(2 * own).samples[0]
        kinds = {content_of(excerpt(np.asarray(x), r)).kind
                 for x, r in ((signal, own), (twice, 2 * own))}  # fmt: skip
        assert len(kinds) == 1


def test_little_sound_gives_little_confidence() -> None:
    assert content_of(excerpt(np.zeros(RATE))).confidence <= 0.8
    assert content_of(excerpt(chords(8)[: RATE // 2])).confidence < 0.7
    assert features(np.zeros(10), RATE).shape == (len(FEATURES),)


def test_a_fit_finds_the_feature_that_tells() -> None:
    rng = np.random.default_rng(0)
    speech, music = rng.standard_normal((2, 60, len(FEATURES)))
    speech[:, 3] += 4
    model = fit(list(speech), list(music))
    assert np.argmax(np.abs(model.weights)) == 3 and model.weights[3] > 0
    right = [model.speech_chance(v) > 0.5 for v in speech]
    right += [model.speech_chance(v) < 0.5 for v in music]
    assert np.mean(right) > 0.9
