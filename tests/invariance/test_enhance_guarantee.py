"""What ``enhance`` promises over kinds of narrow recordings: nothing is not boosted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from kinds import RATE, resampled, voice
from scipy import signal

from retone.audio import Clip
from retone.dsp.third_octaves import third_octave_levels_db
from retone.estimators.reference_free import ReferenceFree
from retone.metrics.natural import boost_of_nothing_db
from retone.process.decide import decide
from retone.process.result import Options
from retone.process.stream import render_whole


def telephone(x: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz with 8 bits by mu-law."""
    sections = signal.butter(10, (300, 3400), "bandpass", fs=RATE, output="sos")
    y = signal.sosfilt(sections, x)
    peak = np.abs(y).max()
    coded = np.round(127 * np.sign(y) * np.log1p(255 * np.abs(y) / peak) / np.log(256)) / 127
    return np.asarray(peak * np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255)


def hum(x: np.ndarray) -> np.ndarray:
    t = np.arange(len(x)) / RATE
    return x + sum(0.004 / k * np.sin(2 * np.pi * 50 * k * t) for k in range(1, 7))


def narrow(x: np.ndarray) -> np.ndarray:
    """A codec that keeps 4 kHz."""
    return np.asarray(signal.sosfilt(signal.butter(12, 4000, fs=RATE, output="sos"), x))


def low_rate(x: np.ndarray) -> np.ndarray:
    """A copy at 8 kHz, brought back."""
    import soxr

    return np.asarray(soxr.resample(soxr.resample(x, RATE, 8000), 8000, RATE))


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "telephone": telephone, "hum": hum, "narrow codec": narrow, "from 8 kHz": low_rate,
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("kind", [*KINDS, "8 kHz"])
def test_a_band_that_holds_nothing_is_not_boosted(kind: str, seed: int) -> None:
    rate, x = RATE, voice(seed).samples
    if kind == "8 kHz":
        rate, x = 8000, resampled(voice(seed), 8000)
    else:
        x = KINDS[kind](x).astype(np.float32)
    decision = decide(Clip(x[None], rate), [], Options(), estimator=ReferenceFree())
    out = render_whole(decision.effect, x[None], rate, decision.setting)
    boost_db = boost_of_nothing_db(*(third_octave_levels_db(a, rate) for a in (x, out[0])))
    assert np.isnan(boost_db) or boost_db <= 1.0
