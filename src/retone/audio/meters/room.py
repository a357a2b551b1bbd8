"""What a room and its mains leave in a recording: hum, reverberation, and how channels relate."""

from __future__ import annotations

import numpy as np

_HUM_FRAME_S = 2.0
_MOST_HUM_FRAMES = 600
_MAINS_HZ = (50.0, 60.0)
_HARMONICS = 6
_LEAST_HARMONICS = 3
_LINE_DB = 12.0
_HUM_RANGE_HZ = (40.0, 420.0)
_HOP_S = 0.01
_LEAST_FALL_DB = 15.0
_MOST_HOPS = 360_000
_LEAST_DECAYS = 3


class HumMeter:
    """Hum of the mains: lines at 50 or 60 Hz and their multiples that never pause.

    For each of 2 s frames the spectrum from 40 to 420 Hz is kept; a line counts at the level that a
    fifth of the frames stay under, so that voices and music, which come and go, do not.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = round(_HUM_FRAME_S * sample_rate)
        low, high = (round(hz * _HUM_FRAME_S) for hz in _HUM_RANGE_HZ)
        self._bins = slice(low, high)
        self._window = np.hanning(self._size).astype(np.float32)
        self._rest = np.zeros(0, np.float32)
        self._frames: list[np.ndarray] = []
        self._seen = 0

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        mono = block.mean(axis=0, dtype=np.float32)
        x = np.concatenate([self._rest, mono])
        count = len(x) // self._size
        for i in range(count):
            self._seen += 1
            if len(self._frames) < _MOST_HUM_FRAMES:
                frame = x[i * self._size : (i + 1) * self._size] * self._window
                power = np.abs(np.fft.rfft(frame)[self._bins]) ** 2
                self._frames.append(power.astype(np.float32))
        self._rest = x[count * self._size :].copy()

    def result(self) -> tuple[float, float] | None:
        """Frequency of the mains in Hz and level of the hum in dBFS; None without hum."""
        if len(self._frames) < 3:
            return None
        quiet = np.quantile(np.array(self._frames), 0.2, axis=0)
        quiet /= (float(self._window.sum()) / 2.0) ** 2  # a sine's amplitude squared
        found = []
        for mains in _MAINS_HZ:
            lines = []
            for k in range(1, _HARMONICS + 1):
                at = round(k * mains * _HUM_FRAME_S) - self._bins.start
                around = np.r_[quiet[max(at - 14, 0) : at - 4], quiet[at + 5 : at + 15]]
                line = float(quiet[at - 1 : at + 2].max())
                if len(around) and line > float(np.median(around)) * 10 ** (_LINE_DB / 10):
                    lines.append(line)
            if len(lines) >= _LEAST_HARMONICS:
                found.append((sum(lines), mains))
        if not found:
            return None
        power, mains = max(found)
        return mains, 10.0 * float(np.log10(power / 2.0 + 1e-30))


class DecayMeter:
    """How long sound takes to die away: the falls of the level after sounds that end.

    The level of each 10 ms is followed; a fall counts if it goes on for 15 dB. Its slope is the
    room's, or faster where the sound itself dies away; the slower half of the falls is taken.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = max(1, round(_HOP_S * sample_rate))
        self._rest = np.zeros(0, np.float32)
        self._levels: list[np.ndarray] = []
        self._count = 0

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        if self._count > _MOST_HOPS:
            return
        x = np.concatenate([self._rest, block.mean(axis=0, dtype=np.float32)])
        count = len(x) // self._size
        frames = x[: count * self._size].reshape(count, self._size)
        self._levels.append(np.einsum("nt,nt->n", frames, frames) / self._size)
        self._rest = x[count * self._size :].copy()
        self._count += count

    def result(self) -> float | None:
        """Seconds to fall by 60 dB; None where too few sounds end."""
        if not self._count:
            return None
        power = np.concatenate(self._levels)
        smooth = np.convolve(power, np.ones(3) / 3, "same")
        db = 10.0 * np.log10(smooth + 1e-12)
        floor = np.quantile(db, 0.05) + 6.0
        slopes = []
        start = 0
        for n in range(1, len(db) + 1):
            if n < len(db) and db[n] < db[n - 1] and db[n] > floor:
                continue
            fall = db[start] - db[n - 1]
            if fall >= _LEAST_FALL_DB and n - start >= 5:
                inside = db[start + 1 : n]
                slope = np.polyfit(np.arange(len(inside)) * _HOP_S, inside, 1)[0]
                slopes.append(-slope)
            start = n
        if len(slopes) < _LEAST_DECAYS:
            return None
        return float(60.0 / np.quantile(slopes, 0.25))


class CorrelationMeter:
    """Correlation of the two channels of a stereo stream.

    Args:
        channels: any other number than 2 leaves the meter off.
    """

    def __init__(self, channels: int) -> None:
        self._on = channels == 2
        self._sums = np.zeros(3)

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        if self._on:
            a, b = block.astype(np.float64, copy=False)
            self._sums += (float(a @ a), float(b @ b), float(a @ b))

    def result(self) -> float | None:
        """1: equal, 0: unrelated, -1: opposite; None without two sounding channels."""
        left, right, both = self._sums
        if not self._on or left <= 0 or right <= 0:
            return None
        return float(both / np.sqrt(left * right))
