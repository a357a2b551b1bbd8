"""Nothing is not boosted, whatever made a recording narrow and whatever noise lies over it.

Some recordings have no pauses that show the noise. Which bands are empty is known here, from the
recording before the noise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import soxr
from kinds import RATE, Recording, voice
from scipy import signal

from retone.audio import Clip
from retone.dsp.third_octaves import occupied_bands, third_octave_levels_db
from retone.estimators.base import Estimator
from retone.estimators.matching import Matching
from retone.estimators.reference_free import ReferenceFree
from retone.process.decide import decide
from retone.process.result import Options
from retone.process.stream import render_whole

LIFT_DB = 1.0
INAUDIBLE_DB = 75.0
Line = Callable[[np.ndarray], np.ndarray]


def running(recording: Recording) -> np.ndarray:
    """A voice that speaks without the pauses between its phrases."""
    half, x = round(0.2 * recording.rate), recording.samples
    starts = (0, *(end + half for end in recording.ends))
    return np.concatenate([x[a : b - half] for a, b in zip(starts, recording.ends, strict=False)])


def telephone(x: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz with 8 bits by mu-law."""
    sections = signal.butter(10, (300, 3400), "bandpass", fs=RATE, output="sos")
    y = signal.sosfilt(sections, x)
    peak = np.abs(y).max()
    coded = np.round(127 * np.sign(y) * np.log1p(255 * np.abs(y) / peak) / np.log(256)) / 127
    return np.asarray(peak * np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255)


def radio(x: np.ndarray) -> np.ndarray:
    """120 to 4500 Hz, with gentle slopes."""
    sections = signal.butter(5, (120, 4500), "bandpass", fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(sections, x))


def from_rate(rate: int) -> Line:
    """A copy at a low rate, brought back."""
    return lambda x: soxr.resample(soxr.resample(x, RATE, rate), rate, RATE)


def noise(size: int, pink: bool) -> np.ndarray:
    """White or pink noise [size]."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(size))
    if pink:
        spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 20.0))
    return np.fft.irfft(spectrum, size)


LINES: dict[str, Line] = {
    "telephone": telephone, "radio": radio, "from 8 kHz": from_rate(8000),
    "from 11 kHz": from_rate(11025),
}  # fmt: skip
NOISES = {"alone": None, "-40 dB": (-40.0, False), "-30 dB": (-30.0, False),
          "pink -30 dB": (-30.0, True), "-25 dB": (-25.0, False)}  # fmt: skip
ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    **{f"strength {s:g}": functools.partial(Matching, strength=s) for s in (0.0, 0.5, 0.9, 1.0)},
    "curve": functools.partial(Matching, strength=0.9, eq="curve"),
    "multiband": functools.partial(Matching, strength=0.9, dynamics="multiband"),
    "enhance": ReferenceFree,
}


@functools.cache
def narrow(line: str, over: str, pauses: bool) -> tuple[np.ndarray, np.ndarray]:
    """A narrow recording, and which of its bands hold nothing but noise."""
    own = voice(2)
    clean = LINES[line](own.samples if pauses else running(own))
    levels_db = third_octave_levels_db(clean, RATE)
    empty = np.isfinite(levels_db) & ~occupied_bands(levels_db)
    noisy = NOISES[over]
    if noisy:
        extra = noise(len(clean), noisy[1])
        extra *= np.sqrt(np.mean(clean**2) / np.mean(extra**2)) * 10 ** (noisy[0] / 20)
        clean = clean + extra
    return clean.astype(np.float32), empty


CASES = [
    *((line, over, False, "strength 0.9") for line in LINES for over in NOISES),
    *((line, "-30 dB", False, name) for line in ("telephone", "from 8 kHz") for name in ESTIMATORS),
    *((line, over, True, "strength 0") for line in LINES for over in ("alone", "pink -30 dB")),
    *((line, over, True, "strength 1") for line in LINES for over in ("alone", "-25 dB")),
]


@pytest.mark.parametrize(("line", "over", "pauses", "estimator"), dict.fromkeys(CASES))
def test_nothing_is_not_boosted(line: str, over: str, pauses: bool, estimator: str) -> None:
    source, empty = narrow(line, over, pauses)
    made = ESTIMATORS[estimator]()
    references = (
        [] if estimator == "enhance" else [Clip(voice(1, bright_db=6.0).samples[None], RATE)]
    )
    decision = decide(Clip(source[None], RATE), references, Options(), estimator=made)
    out = render_whole(decision.effect, source[None], RATE, decision.setting)[0]
    before, after = (third_octave_levels_db(x, RATE) for x in (source, out))
    known = np.isfinite(before)
    rest_db = np.median((after - before)[known & ~empty])
    floor_db = before[known].max() - INAUDIBLE_DB
    gain_db = np.maximum(after, floor_db + rest_db) - np.maximum(before, floor_db)
    assert (gain_db[empty] - rest_db).max() <= LIFT_DB
