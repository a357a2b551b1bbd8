"""Loudness targets and the gain that reaches them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retone.audio import AudioReader
    from retone.process.result import Options, Side

SPEECH_LUFS = -19.0
"""Default loudness of enhanced speech: usual for mono; -16 is its stereo equivalent.
"""


def target_loudness(
    options: Options, references: Sequence[Side], input_lufs: Callable[[], float]
) -> float | None:
    """Loudness in LUFS to reach at amount 1, None for no change.

    Args:
        options: ``loudness`` is ``"match"``, ``"off"`` or a target.
        references: the references as they were measured.
        input_lufs: measures the input; called only for profiles without a loudness.
    """
    if options.loudness == "off":
        return None
    if isinstance(options.loudness, (int, float)):
        return float(options.loudness)
    profiles = [s.profile for s in references if s.profile]
    if profiles:
        wanted = [p.loudness_lufs for p in profiles if p.loudness_lufs is not None]
        if wanted:
            return sum(wanted) / len(wanted)
        own = input_lufs()  # these profiles change tone only
        return own if math.isfinite(own) else None
    known = [s.levels.integrated_lufs for s in references if s.levels]
    known = [lufs for lufs in known if math.isfinite(lufs)]
    return sum(known) / len(known) if known else None


def goal_loudness(options: Options, target_lufs: float, input_lufs: float | None) -> float:
    """Loudness to reach in LUFS: the target, or the share ``amount`` of the way to it."""
    if options.amount_scales_loudness and options.amount < 1 and input_lufs is not None:
        return input_lufs + options.amount * (target_lufs - input_lufs)
    return target_lufs


def gain_to(goal_lufs: float, rendered_lufs: float) -> float | None:
    """Gain in dB from one loudness to another, to 0.01 dB; None where silence has none."""
    gain_db = goal_lufs - rendered_lufs
    return round(gain_db, 2) if math.isfinite(gain_db) else None


def loudness_of(reader: AudioReader) -> float:
    """Integrated loudness of a whole recording in LUFS, -inf if it is too quiet to have one."""
    from retone.audio import LoudnessMeter
    from retone.process.stream import block_frames

    meter = LoudnessMeter(reader.info.sample_rate, reader.info.channels, reader.info.layout)
    reader.seek(0)
    for block in reader.blocks(block_frames(reader.info.channels)):
        meter.update(block)
    return meter.result().integrated_lufs
