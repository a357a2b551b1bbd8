"""Let a network compare recordings of speech only where both have content.

All voices reach beyond 10 kHz, but telephones, codecs and low sample rates end a recording's
content below that; music may end anywhere. A network takes part of such a difference for
processing, and would boost or cut what one recording lacks. So whatever has content beyond the
common band is low-passed for the analysis.

A filter changes the levels of a band but not how they vary with time. Where there is only the noise
of a converter or codec, the levels of loud and quiet frames are equal. Images of what lies below do
vary, but above a steeper edge than equalisers make.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WINDOW = 1024
BAND_HZ = 500.0
QUIET_FRAMES_DB = 40.0
"""Frames this far below the loudest are pauses, which may be gated: they do not count."""
LEAST_SPREAD_DB = 11.0
"""Levels of a band with content vary by more: between the 10th and the 98th percentile."""
FAINT_DB = 45.0
"""A band without content lies at least this far below the loudest."""
EMPTY_DB = 75.0
EDGE_DB, EDGE_BANDS, LOWEST_EDGE_HZ = 30.0, (4, 2), 5000.0
"""All bands above an edge lie this far below the loudest of those four to two bands below it."""
APART = 1.08
"""Content that ends at frequencies within this ratio is taken to end at the same."""
INSIDE = 0.85
"""The common band ends at this share of the end of the content, where a slope has begun."""
LOWEST_HZ = 2000.0
SURELY_SAME = 0.95
UNDER, OVER_HZ = (0.6, 0.85), 1500.0
STEEPER_DB = 12.0
"""Where content ends in one recording only, its level falls there by more than in the other: from
below the end, within these shares of it, to the 1,500 Hz above it."""
SLOPE_HZ = 300.0


class _Content(NamedTuple):
    """Upper end of the highest band with content in Hz, and the levels of all bands in dB.

    ``loud_db`` holds the 98th percentile of each band's levels; ``width_hz`` is that of a band.
    """

    end_hz: float
    loud_db: Tensor
    width_hz: float

    def falls_db(self, end_hz: float) -> float:
        """How far the level above a frequency in Hz lies below that underneath."""
        hz = (torch.arange(len(self.loud_db)) + 0.5) * self.width_hz
        under = (hz > UNDER[0] * end_hz) & (hz < UNDER[1] * end_hz)
        over = (hz > end_hz) & (hz < end_hz + OVER_HZ)
        if not bool(under.any() & over.any()):
            return 0.0
        return float(self.loud_db[under].mean() - self.loud_db[over].mean())


def _content(clips: Tensor, sample_rate: int) -> _Content | None:
    """None for silence, for less than one frame, and where a power is not finite."""
    if clips.numel() < WINDOW or not bool(clips.any()):
        return None
    frames = clips.reshape(-1).unfold(0, WINDOW, WINDOW)
    window = torch.hann_window(WINDOW, dtype=clips.dtype)
    power = torch.fft.rfft(frames * window).abs().square()
    total_db = 10 * (power.sum(1) + 1e-20).log10()
    power = power[total_db > total_db.max() - QUIET_FRAMES_DB]
    if not len(power):
        return None
    bins = round(BAND_HZ * WINDOW / sample_rate)
    bands = power[:, : power.shape[1] // bins * bins].unflatten(1, (-1, bins)).mean(2)
    levels_db = 10 * (bands + 1e-15).log10()
    low, high = torch.quantile(levels_db, levels_db.new_tensor([0.1, 0.98]), dim=0)
    varies, below_db = high - low >= LEAST_SPREAD_DB, high.max() - high
    filled = (varies | (below_db < FAINT_DB)) & (below_db < EMPTY_DB)
    width_hz = bins * sample_rate / WINDOW
    end = int(filled.nonzero()[-1]) + 1
    for k in range(math.ceil(LOWEST_EDGE_HZ / width_hz), end):
        if high[k - EDGE_BANDS[0] : k - EDGE_BANDS[1] + 1].max() - high[k:].max() > EDGE_DB:
            end = k + 1  # the edge lies in this band or the one below
            break
    end_hz = end * width_hz
    return _Content(min(end_hz, sample_rate / 2), high, width_hz)


class InBand(NamedTuple):
    """Clips [N, T] of the source and of each reference; ``lost`` octaves at the top are empty."""

    source: Tensor
    references: list[Tensor]
    lost: float


def in_common_band(
    source: Tensor,
    references: Sequence[Tensor],
    sample_rate: int,
    same_source: Sequence[float] | None = None,
) -> InBand:
    """Clips [N, T] of the source and of each reference, low-passed where they reach further.

    The common band is the source's or, if that is narrower, that of the widest reference. With
    references of the source's own voice or piece nothing is taken away: what differs there is
    processing.

    Args:
        source, references: clips at ``sample_rate`` (Hz).
        same_source: probability for each reference that it is of the source's voice or piece.
    """
    untouched = InBand(source, list(references), 0.0)
    if same_source and sum(same_source) / len(same_source) >= SURELY_SAME:
        return untouched
    own = _content(source, sample_rate)
    others = [found for clips in references if (found := _content(clips, sample_rate))]
    if own is None or not others:
        return untouched
    furthest = max(others, key=lambda found: found.end_hz)
    narrow, wide = sorted((own, furthest), key=lambda found: found.end_hz)
    end_hz = narrow.end_hz
    if end_hz < LOWEST_HZ or wide.end_hz < APART * end_hz:
        return untouched
    if narrow.falls_db(end_hz) - wide.falls_db(end_hz) < STEEPER_DB:
        return untouched
    end_hz *= INSIDE
    kept = [_below(clips, sample_rate, end_hz) for clips in (source, *references)]
    return InBand(kept[0], kept[1:], math.log2(sample_rate / 2 / end_hz))


def _below(clips: Tensor, sample_rate: int, end_hz: float) -> Tensor:
    """Clips [N, T] without what lies above a frequency in Hz."""
    spectrum = torch.fft.rfft(clips)
    hz = torch.fft.rfftfreq(clips.shape[1], 1 / sample_rate, dtype=clips.dtype)
    gain = ((end_hz + SLOPE_HZ / 2 - hz) / SLOPE_HZ).clamp(0, 1)
    return torch.fft.irfft(spectrum * gain, n=clips.shape[1])
