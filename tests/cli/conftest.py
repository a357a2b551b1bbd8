"""Fixtures for the command line: run it in this process, make recordings, fix the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.cli.main import main
from retone.effects import MATCH_CHAIN
from retone.estimators.base import Estimate, Excerpt

RATE = 44100


@dataclass(frozen=True)
class Outcome:
    """What a user sees of a finished command."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
Record = Callable[..., Path]


@pytest.fixture
def retone(capsys: pytest.CaptureFixture[str]) -> Run:
    """``retone("match", input, "--to", reference)`` -> exit code, stdout, stderr."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(w) for w in words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def record(tmp_path: Path, make_audio: Callable[..., object]) -> Record:
    """``record("a.wav", seconds=, rate=, channels=, seed=, gain=, ...)`` writes a voice-like clip.

    Other arguments, such as ``subtype``, go to soundfile.
    """

    def make(
        name: str,
        *,
        seconds: float = 1.5,
        rate: int = RATE,
        channels: int = 1,
        seed: int = 0,
        gain: float = 0.3,
        samples: np.ndarray | None = None,
        **how: object,
    ) -> Path:
        if samples is None:
            audio = make_audio(round(seconds * rate), rate, channels=channels, seed=seed)
            samples = gain * audio[0].numpy()  # type: ignore[index]
        path = tmp_path / name
        sf.write(path, samples.T, rate, **how)  # type: ignore[arg-type]
        return path

    return make


@dataclass(frozen=True)
class Fixed:
    """An estimator that always answers the same, for tests of everything around it."""

    name: str = "fixed"
    values: Mapping[str, float] = field(
        default_factory=lambda: {
            "equalizer.low_shelf_gain_db": -4.0,
            "equalizer.peak_3_gain_db": 6.0,
            "equalizer.high_shelf_gain_db": 3.0,
            "compressor.threshold_db": -30.0,
            "compressor.ratio": 3.0,
            "compressor.makeup_db": 2.0,
        }
    )
    heard: list[Mapping[str, float]] = field(default_factory=list)

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Excerpt],
        *,
        locks: Mapping[str, float],
        progress: object | None = None,
    ) -> Estimate:
        self.heard.append(dict(locks))
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.setting({**self.values, **locks}))


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Fixed:
    """Every ``--estimator`` is one that always answers the same."""
    estimator = Fixed()
    use(monkeypatch, estimator)
    return estimator


def use(monkeypatch: pytest.MonkeyPatch, estimator: object) -> None:
    """Make the command line use this estimator."""
    monkeypatch.setattr("retone.estimators.choose.estimator_named", lambda name, **other: estimator)


@pytest.fixture
def use_estimator(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """``use_estimator(anything with estimate())``."""
    return lambda estimator: use(monkeypatch, estimator)
