"""Warnings about a recording that was read or written."""

from __future__ import annotations

import math
from pathlib import Path

from retone.audio.meters.defects import ClipMeter, OffsetMeter
from retone.audio.meters.loudness import ABSOLUTE_GATE_LUFS
from retone.audio.meters.true_peak import TruePeakMeter
from retone.audio.reader import open_reader
from retone.process.result import Side

_BLOCK = 1 << 16
_LARGEST_OFFSET = 0.01
_FEWEST_CLIPPED = 10

_SILENT_DBFS = -150.0

TOO_QUIET = (
    "The result is silent, so its level was not changed. Check the input, and the settings' gains."
)


def loudness_missed(goal_lufs: float, result_lufs: float, limited: bool) -> list[str]:
    """A warning if the limiter kept the result below its target loudness, or a target is too low.

    Args:
        goal_lufs: the loudness to reach.
        result_lufs: the loudness measured, -inf below -70 LUFS.
        limited: the limiter acted.
    """
    short = goal_lufs - result_lufs
    if goal_lufs <= ABSOLUTE_GATE_LUFS and result_lufs > goal_lufs + 0.5:
        return [
            f"The target of {goal_lufs:.1f} LUFS is too low to be measured, because a meter leaves "
            f"out what is below -70 LUFS: it reads {result_lufs:.1f} LUFS."
        ]
    if not limited or not 0.5 < short < math.inf:
        return []
    return [
        f"The result is {short:.1f} LU quieter than its target, because the true-peak limiter "
        "holds the peaks. Lower the loudness target, or write a float file without a limiter."
    ]


def lost_sound(before: Side, after: Side) -> list[str]:
    """A warning if a recording with sound comes out as zeros."""
    if not (before.levels and after.levels):
        return []
    if before.levels.sample_peak_dbfs == -math.inf or after.levels.sample_peak_dbfs > _SILENT_DBFS:
        return []
    return ["The result is silent: the settings turn the sound off. Check their gains."]


def peak_above_ceiling(written: Path, name: str, ceiling_dbtp: float) -> list[str]:
    """A warning if lossy encoding raised peaks above the ceiling; decodes the file."""
    with open_reader(written) as reader:
        meter = TruePeakMeter(reader.info.sample_rate, reader.info.channels)
        for block in reader.blocks(_BLOCK):
            meter.update(block)
    over_db = meter.result() - ceiling_dbtp
    if not over_db > 0.05:
        return []
    return [
        f"{name}: after lossy encoding the true peak is {over_db:.1f} dB above the ceiling. "
        f"Set a ceiling of {ceiling_dbtp - over_db:.1f} dBTP, or write WAV or FLAC."
    ]


def input_clipped(meter: ClipMeter, name: str) -> list[str]:
    """A warning if the input is clipped; a few flat samples are ignored."""
    count = meter.count()
    if count < _FEWEST_CLIPPED:
        return []
    return [f"{name} is clipped ({count} samples). retone does not repair clipping."]


def input_dc_offset(meter: OffsetMeter, name: str) -> list[str]:
    """A warning if the input has a DC offset, which no effect here removes."""
    offset = meter.result()
    if abs(offset) <= _LARGEST_OFFSET:
        return []
    return [
        f"{name} has a DC offset of {100 * offset:+.1f} % of full scale, which reduces headroom "
        "and is not removed. Remove it first, for instance with a high-pass filter at 10 Hz."
    ]
