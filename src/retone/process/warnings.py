"""Sentences about a finished file that its owner should read."""

from __future__ import annotations

import math
from pathlib import Path

from retone.audio.meters.defects import ClipMeter, OffsetMeter
from retone.audio.meters.true_peak import TruePeakMeter
from retone.audio.reader import open_reader

_BLOCK = 1 << 16
_MOST_OFFSET = 0.01


def missed_loudness(goal_lufs: float, result_lufs: float) -> list[str]:
    """Whether the limiter kept the result from its loudness."""
    short = goal_lufs - result_lufs
    if not 0.5 < short < math.inf:
        return []
    return [
        f"The result is {short:.1f} LU quieter than aimed at: the true-peak limiter holds its "
        "peaks. Ask for a lower --loudness, or for --true-peak off in a float file."
    ]


def beyond_ceiling(output: Path, ceiling_dbtp: float) -> list[str]:
    """Whether lossy coding took the peaks of a file over their ceiling; reads it again."""
    with open_reader(output) as reader:
        meter = TruePeakMeter(reader.info.sample_rate, reader.info.channels)
        for block in reader.blocks(_BLOCK):
            meter.update(block)
    over_db = meter.result() - ceiling_dbtp
    if not over_db > 0.05:
        return []
    return [
        f"{output.name}: decoded again, its true peak is {over_db:.1f} dB over the ceiling, for "
        f"lossy coding moves peaks. Ask for --true-peak {ceiling_dbtp - over_db:.1f}, or write WAV "
        "or FLAC."
    ]


def came_clipped(meter: ClipMeter, source: Path) -> list[str]:
    """Whether a recording came clipped; a few flat samples are no news."""
    count = meter.count()
    if count < 10:
        return []
    return [
        f"{source.name} is clipped: {count} samples stand in flat tops, which stay as they are."
    ]


def came_with_offset(meter: OffsetMeter, source: Path) -> list[str]:
    """Whether a recording has a DC offset, which no effect here takes away."""
    offset = meter.result()
    if abs(offset) <= _MOST_OFFSET:
        return []
    return [
        f"{source.name} has a DC offset of {100 * offset:+.1f} % of full scale, which takes room "
        "from the sound and stays in the result. Remove it first, for instance by a high-pass "
        "filter at 10 Hz."
    ]
