"""The effects of the program SoX that process clips for training pairs.

The DeepAFx-ST generator (Steinmetz, Bryan and Reiss, JAES 70(9), 2022) uses SoX's equalizer,
bass, treble, compand, tempo and pitch (``training/data/processing.py``, since it resamples). The
equalizers are cookbook biquads. The compander was derived from SoX's manual and from measurements
of the program; tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retone import core
from retone.errors import SettingError, expect
from retone.kernels.designs import HIGH_SHELF, LOW_SHELF, PEAK, design_forward
from retone.kernels.sections import sections_forward

Array = np.ndarray
SHELF_SLOPE = 0.5
_KINDS = {"peak": PEAK, "bass": LOW_SHELF, "treble": HIGH_SHELF}
SEGMENT_SECONDS, SEARCH_SECONDS, OVERLAP_SECONDS = 0.082, 0.01468, 0.012
MIN_LEVEL = 1e-10


@dataclass(frozen=True)
class Band:
    """One equalizer band: ``kind`` is peak, bass or treble; ``q`` is used by a peak only."""

    kind: str
    frequency_hz: float
    gain_db: float
    q: float = 0.707


@dataclass(frozen=True)
class CompandSetting:
    """Settings of one compander.

    Args:
        attack_s, decay_s: time constants (63 %) of the level detector, seconds.
        points: (in, out) levels in dB of full scale, rising; the last is at 0 dB in.
        knee_db: how far from a corner its rounding starts.
        gain_db: added everywhere.
        delay_s: how far the detector looks ahead, seconds.
        initial_db: level the detector starts from.
    """

    attack_s: float
    decay_s: float
    points: tuple[tuple[float, float], ...]
    knee_db: float = 0.0
    gain_db: float = 0.0
    delay_s: float = 0.0
    initial_db: float = -100.0


def equalize(audio: Array, sample_rate: float, bands: Sequence[Band]) -> Array:
    """Filter ``audio`` [T] with the bands in series, without clipping.

    A peak has the bandwidth of its ``q``. Shelves have the slope S = 0.5, which is
    ``1 / q^2 = (A + 1 / A) (1 / S - 1) + 2`` with the amplitude A at half the gain in dB (R.
    Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients").

    Raises:
        SettingError: unknown kind, a frequency that is not between 0 and half the rate, or a q that
            is not more than 0.
    """
    expect(audio, "T", "equalize: audio")
    if not bands:
        return audio.copy()
    for band in bands:
        if band.kind not in _KINDS:
            raise SettingError(f"band '{band.kind}': unknown; choose peak, bass or treble.")
        if not 0 < band.frequency_hz < sample_rate / 2:
            raise SettingError(
                f"{band.kind}: frequency_hz {band.frequency_hz:g} is not between 0 and half of "
                f"{sample_rate:g}; choose a lower one."
            )
        if band.q <= 0:
            raise SettingError(f"{band.kind}: q = {band.q:g}; expected more than 0.")
    kinds = np.array([_KINDS[b.kind] for b in bands])
    hz, gain_db, q = np.array([(b.frequency_hz, b.gain_db, _q(b)) for b in bands]).T[:, None]
    sections = design_forward(kinds, hz, gain_db, q, sample_rate, sample_rate / 2)
    return sections_forward(audio[None], sections, np.zeros((1, len(bands), 2)))[0][0]


def _q(band: Band) -> float:
    amplitude = 10.0 ** (band.gain_db / 40.0)
    shelf = (amplitude + 1.0 / amplitude) * (1.0 / SHELF_SLOPE - 1.0) + 2.0
    return band.q if band.kind == "peak" else float(shelf**-0.5)


def transfer_curve(setting: CompandSetting) -> Array:
    """Gain over level of a compander as pieces ``g = c0 + d (c1 + d c2)`` with ``d = level - x0``.

    Gain and level are in dB. Between the points the gain is a straight line; below the first
    point it is that point's gain. A corner is replaced by the parabola through three points: one
    on each side, ``knee_db`` away from the corner in the level-gain plane (at most half the
    line), and the mean of these two and the corner.

    Returns:
        Rows [x0, c0, c1, c2] in rising order of x0; the first holds for all lower levels.

    Raises:
        SettingError: fewer than two points, or levels that do not rise to 0 dB.
    """
    levels = [float(point[0]) for point in setting.points]
    if len(levels) < 2 or levels[-1] != 0.0 or np.any(np.diff(levels) <= 0):
        raise SettingError("compand: points must be two or more, rising, the last at 0 dB.")
    knee = max(setting.knee_db, 1e-3)
    gains = [float(out - level) for level, out in setting.points]
    levels.insert(0, levels[0] - 2.0 * knee)
    gains.insert(0, gains[0])
    rows = [[levels[0], gains[0], 0.0, 0.0]]
    x, g = levels[0], gains[0]
    for i in range(1, len(levels) - 1):
        before = _towards((levels[i], gains[i]), (levels[i - 1], gains[i - 1]), knee)
        after = _towards((levels[i], gains[i]), (levels[i + 1], gains[i + 1]), knee)
        if before[0] > x:
            rows.append([x, g, (before[1] - g) / (before[0] - x), 0.0])
        middle = ((before[0] + levels[i] + after[0]) / 3, (before[1] + gains[i] + after[1]) / 3)
        first = (middle[1] - before[1]) / (middle[0] - before[0])
        second = (after[1] - before[1]) / (after[0] - before[0])
        bend = (second - first) / (after[0] - middle[0])
        rows.append([*before, first - bend * (middle[0] - before[0]), bend])
        x, g = after
    rows.append([x, g, (gains[-1] - g) / (levels[-1] - x), 0.0])
    curve = np.array(rows)
    curve[:, 1] += setting.gain_db
    return curve


def _towards(
    start: tuple[float, float], end: tuple[float, float], distance: float
) -> tuple[float, float]:
    step = (end[0] - start[0], end[1] - start[1])
    part = min(distance / math.hypot(*step), 0.5)
    return start[0] + part * step[0], start[1] + part * step[1]


def compand(audio: Array, sample_rate: float, setting: CompandSetting) -> Array:
    """Compress or expand ``audio`` [T] as SoX's compand does, without clipping the result.

    The detector follows the absolute value by ``v += (|x| - v) (1 - exp(-1 / (fs t)))``, with the
    attack time when it rises and the decay time when it falls; the gain at sample n is the
    curve's at the level ``delay_s`` later.
    """
    expect(audio, "T", "compand: audio")
    up = _step(setting.attack_s, sample_rate)
    down = _step(setting.decay_s, sample_rate)
    delay = int(setting.delay_s * sample_rate)
    initial = 10.0 ** (setting.initial_db / 20.0)
    audio, curve = core.floats(audio), transfer_curve(setting)
    y = np.empty_like(audio)
    core.compand(
        audio, y, curve, audio.size, len(curve), delay, up, down, initial, MIN_LEVEL,
        core.is_single(audio),
    )  # fmt: skip
    return y


def _step(time_s: float, sample_rate: float) -> float:
    return -math.expm1(-1.0 / (sample_rate * time_s)) if time_s * sample_rate > 1.0 else 1.0


def tempo(audio: Array, sample_rate: float, factor: float) -> Array:
    """Play ``audio`` [T] ``factor`` times as fast at the same pitch: [round(T / factor)].

    WSOLA (Verhelst and Roelands, ICASSP 1993) with SoX's default sizes: segments of 82 ms, each
    taken where its first 12 ms fit best what came before, within 14.68 ms.

    Raises:
        SettingError: factor is not between 0.1 and 10.
    """
    expect(audio, "T", "tempo: audio")
    if not 0.1 <= factor <= 10.0:
        raise SettingError(f"tempo: factor {factor:g} is not between 0.1 and 10.")
    if factor == 1.0:
        return audio.copy()
    audio = core.floats(audio)
    segment = int(SEGMENT_SECONDS * sample_rate + 0.5)
    search = int(SEARCH_SECONDS * sample_rate + 0.5)
    overlap = int(OVERLAP_SECONDS * sample_rate + 0.5)
    length = int(audio.size / factor + 0.5)
    padded = np.zeros(audio.size + 2 * (segment + search), audio.dtype)
    padded[search // 2 : search // 2 + audio.size] = audio
    y, tail = np.empty(length, audio.dtype), np.zeros(overlap, audio.dtype)
    core.wsola(
        padded, y, tail, padded.size, length, segment, search, overlap, factor,
        core.is_single(audio),
    )  # fmt: skip
    return y
