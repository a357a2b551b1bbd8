"""Loudness targets and the gain that reaches them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retone.audio import AudioReader, LevelMeter, LoudnessMeter
    from retone.process.result import Options, Side

SPEECH_LUFS = -19.0
"""Default loudness of enhanced speech in mono; in two channels it is 3 LU higher."""

MONO_LU = 3.0
"""BS.1770 counts a mono recording as one loudspeaker. Played on two it is so much louder."""


def mono_offset_lu(channels: int, mono_as: str) -> float:
    """What playing on two loudspeakers adds to the measured loudness of a recording, in LU.

    Args:
        channels: of the recording.
        mono_as: ``"dual"``, mono plays from two loudspeakers, or ``"single"``.
    """
    return MONO_LU if channels == 1 and mono_as == "dual" else 0.0


def speech_loudness(channels: int, mono_as: str = "dual") -> float:
    """Default loudness of enhanced speech in LUFS: equally loud in mono and in stereo."""
    return SPEECH_LUFS + MONO_LU - mono_offset_lu(channels, mono_as)


def target_loudness(
    options: Options, references: Sequence[Side], channels: int, input_lufs: Callable[[], float]
) -> float | None:
    """Loudness in LUFS to reach at amount 1, None for no change.

    A mono recording with a stereo reference, or the reverse, is meant to sound as loud from each
    loudspeaker; see ``mono_offset_lu``. A target that the user gives is reached as it is measured.

    Args:
        options: ``loudness`` is ``"match"``, ``"off"`` or a target.
        references: the references as they were measured.
        channels: channels of the input.
        input_lufs: measures the input; called only for profiles without a loudness.
    """
    if options.loudness == "off":
        return None
    if not isinstance(options.loudness, str):
        if options.target_is_default:
            return speech_loudness(channels, options.mono_as)
        return float(options.loudness)
    profiles = [s.profile for s in references if s.profile]
    if profiles:
        wanted = [p.loudness_lufs for p in profiles if p.loudness_lufs is not None]
        if wanted:
            return sum(wanted) / len(wanted)
        own = input_lufs()  # these profiles change tone only
        return own if math.isfinite(own) else None
    own_lu = mono_offset_lu(channels, options.mono_as)
    known = [
        s.levels.integrated_lufs + mono_offset_lu(s.channels, options.mono_as) - own_lu
        for s in references
        if s.levels and math.isfinite(s.levels.integrated_lufs)
    ]
    return sum(known) / len(known) if known else None


TOO_QUIET = (
    "Loudness is not measured below -70 LUFS, and the reference is quieter: the loudness of the "
    "result is not matched to it."
)


def loudness_notes(options: Options, references: Sequence[Side], channels: int) -> tuple[str, ...]:
    """A note where mono is matched to stereo or the reverse, and where a reference is too quiet."""
    recordings = [s for s in references if s.levels]
    measured = [s for s in recordings if s.levels and math.isfinite(s.levels.integrated_lufs)]
    if options.loudness == "match" and recordings and not measured:
        return (TOO_QUIET,)
    if options.loudness != "match" or not any(
        mono_offset_lu(s.channels, "dual") != mono_offset_lu(channels, "dual") for s in measured
    ):
        return ()
    many = max(channels, *(s.channels for s in measured))
    many_name = "stereo" if many == 2 else f"in {many} channels"
    own, other = ("mono", many_name) if channels == 1 else (many_name, "mono")
    if options.mono_as == "dual":
        sign = "below" if channels == 1 else "above"
        return (
            f"The recording is {own}, its reference {other}: the loudness target is 3 LU {sign} "
            "the reference, because mono plays from both loudspeakers.",
        )
    return (
        f"The recording is {own}, its reference {other}: they are equally loud if mono plays on "
        "one loudspeaker; on two, the mono one sounds 3 LU louder.",
    )


def goal_loudness(options: Options, target_lufs: float, input_lufs: float | None) -> float:
    """Loudness to reach in LUFS: the target, or the share ``amount`` of the way to it."""
    if options.amount_scales_loudness and options.amount < 1 and input_lufs is not None:
        return input_lufs + options.amount * (target_lufs - input_lufs)
    return target_lufs


def gain_to(goal_lufs: float, rendered: LoudnessMeter | LevelMeter) -> float | None:
    """Gain in dB that brings what was measured to a loudness, to 0.01 dB; None for silence."""
    gain_db = rendered.gain_to(goal_lufs)
    return round(gain_db, 2) if math.isfinite(gain_db) else None


def loudness_of(reader: AudioReader) -> float:
    """Integrated loudness of a whole recording in LUFS, however quiet it is; -inf for silence."""
    from retone.audio import LoudnessMeter
    from retone.process.stream import block_frames

    meter = LoudnessMeter(reader.info.sample_rate, reader.info.channels, reader.info.layout)
    reader.seek(0)
    for block in reader.blocks(block_frames(reader.info.channels)):
        meter.update(block)
    return quiet_loudness(meter)


def quiet_loudness(meter: LoudnessMeter | LevelMeter) -> float:
    """What a meter would read of a recording at a usual level, at the recording's own level.

    This is the integrated loudness in LUFS, without the gate at -70 LUFS of a quiet recording; -inf
    for silence.
    """
    return SPEECH_LUFS - meter.gain_to(SPEECH_LUFS)
