"""Decide how to process a recording: analyse it and its references, and find the settings.

Nothing is rendered or written here. An estimator chooses the settings from excerpts whose peak is
-12 dBFS; thresholds are then moved to the recording's own level, so that they read in dBFS of the
file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retone.audio.array_reader import samples_of
from retone.audio.files import same_audio
from retone.audio.meters.loudness import LevelMeter
from retone.audio.meters.spectrum import SpectrumMeter
from retone.audio.reader import AudioReader
from retone.dsp.effect import Effect
from retone.dsp.param import Setting, tidy_setting
from retone.effects import MATCH_CHAIN, Chain, Fir, leaves
from retone.estimators.base import (
    Estimate,
    Estimator,
    Reference,
    shift_locks,
    shift_thresholds,
)
from retone.estimators.profile import Profile
from retone.process.excerpt import load_excerpt
from retone.process.level import loudness_notes, loudness_of, quiet_loudness, target_loudness
from retone.process.recording import Recording, open_recording
from retone.process.result import Decision, Options, Side
from retone.process.single_thread import single_thread
from retone.process.stream import block_frames
from retone.progress import ANALYSING, Progress, silent


def decide(
    input: Recording | AudioReader,
    references: Sequence[Recording | Profile],
    options: Options,
    *,
    estimator: Estimator,
    progress: Progress = silent,
) -> Decision:
    """Find the settings that match a recording to one or more references.

    Args:
        input: the recording to change: a file, audio in memory, or an open reader.
        references: reference recordings or profiles; none for reference-free estimators.
        options: ``part``, ``locks`` and ``loudness`` are used.
        estimator: estimator of the settings; None takes the default.
        progress: called in the phases analysing and finding settings.

    Returns:
        Effect, setting, target loudness and the references as measured: all that rendering needs.

    Raises:
        AudioError: a recording cannot be read or analysed.
        SettingError: a lock names no parameter or is out of range.
    """
    with single_thread():
        if isinstance(input, AudioReader):
            return _decide(input, references, options, estimator, progress)
        with open_recording(input) as reader:
            return _decide(reader, references, options, estimator, progress)


def _decide(
    reader: AudioReader,
    references: Sequence[Recording | Profile],
    options: Options,
    estimator: Estimator,
    progress: Progress,
) -> Decision:
    warnings = [
        f"{path.name} is the same recording as the input."
        for path in references
        if isinstance(path, Path)
        and reader.info.path.exists()
        and same_audio(reader.info.path, path)
    ]
    total = 1 + len(references)
    side = bool(getattr(estimator, "wants_side", False))
    own, _ = load_excerpt(reader, side=side)
    progress(ANALYSING, 1, total)
    others: list[Reference] = []
    sides: list[Side] = []
    for number, reference in enumerate(references, start=1):
        if isinstance(reference, Profile):
            others.append(reference)
            sides.append(profile_side(reference))
        else:
            name = "reference" if len(references) == 1 else f"reference {number}"
            with open_recording(reference, name) as opened:
                others.append(load_excerpt(opened, side=side)[0])
                sides.append(_measure(opened, "reference"))
                warnings += [f"{opened.info.path.name}: {w}" for w in opened.warnings]
        progress(ANALYSING, 1 + number, total)
    locks = shift_locks(_lockable(estimator), options.locks, -own.level_db) if options.locks else {}
    estimate = estimator.estimate(own, others, locks=locks, progress=progress)
    effect, setting, notes = _at_own_level(estimate, options, own.level_db)
    channels = reader.info.channels
    return Decision(
        effect=effect,
        setting=setting,
        estimator=estimator.name,
        strength=estimate.strength,
        target_lufs=target_loudness(options, sides, channels, lambda: loudness_of(reader)),
        references=tuple(sides),
        notes=notes + loudness_notes(options, sides, channels),
        warnings=tuple(warnings),
    )


def part_only(effect: Effect, setting: Setting, part: str) -> Setting:
    """A setting with either the equaliser or the dynamics made neutral."""
    if part == "all":
        return setting
    neutral = effect.params.neutral(1)
    found = dict(setting)
    for path, member, own in leaves(effect, setting):
        if member.has_dynamics == (part == "eq"):
            prefix = f"{path}." if member is not effect else ""
            found |= {prefix + name: neutral[prefix + name] for name in own}
    return found


def without_filters(effect: Effect) -> Effect:
    """A chain without its fixed filters, which no parameter can make neutral."""
    if not isinstance(effect, Chain):
        return effect
    return Chain(effect.name, tuple(m for m in effect.members if not isinstance(m, Fir)))


def profile_side(profile: Profile) -> Side:
    """A profile as a ``Side`` of a report."""
    return Side(
        "reference",
        Path(profile.name),
        profile.sample_rate,
        1,
        profile.seconds,
        None,
        None,
        profile=profile,
    )


def _lockable(estimator: Estimator) -> Effect:
    """The effect whose parameters can be locked, known before the estimate."""
    effect = getattr(estimator, "effect", None)
    return effect if isinstance(effect, Effect) else MATCH_CHAIN


def _at_own_level(
    estimate: Estimate, options: Options, shift_db: float
) -> tuple[Effect, Setting, tuple[str, ...]]:
    """An estimate at the recording's level, with the requested part and locks."""
    table = estimate.effect.params
    setting, notes = shift_thresholds(table, estimate.setting, shift_db)
    setting = tidy_setting(table, part_only(estimate.effect, setting, options.part))
    locked = table.setting(options.locks)
    setting = {n: locked[n] if n in options.locks else v for n, v in setting.items()}
    effect = estimate.effect
    if options.part == "dynamics":
        effect = without_filters(effect)
    return effect, setting, estimate.notes + notes


def _measure(reader: AudioReader, role: str) -> Side:
    """Levels and spectrum of a whole recording."""
    info = reader.info
    levels = LevelMeter(info.sample_rate, info.channels, info.layout)
    spectrum = SpectrumMeter(info.sample_rate)
    reader.seek(0)
    for block in reader.blocks(block_frames(info.channels)):
        levels.update(block)
        spectrum.update(block)
    return Side(
        role, info.path, info.sample_rate, info.channels, info.duration_s,
        levels.result(), spectrum, loudness=levels.short_term(), lufs=quiet_loudness(levels),
        samples=samples_of(reader),
    )  # fmt: skip
