"""Rendering a recording with a decision: levels right, peaks held, written whole or not at all.

The file is rendered twice, once to measure what comes out and once to write it, so memory stays
flat; what a short file gave the first time is kept for the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retone.audio import AtomicWriter, AudioReader, LevelMeter, Levels, TruePeakLimiter
from retone.audio.formats import CONTAINERS, LOSSY, integer_bits
from retone.audio.meters.defects import ClipMeter, OffsetMeter
from retone.audio.meters.envelope import EnvelopeMeter
from retone.audio.meters.spectrum import SpectrumMeter
from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.effects import Chain, Fir
from retone.errors import AudioError, SettingError
from retone.estimators.profile import Profile
from retone.process.stream import Renderer, block_frames, head_of
from retone.process.warnings import (
    beyond_ceiling,
    came_clipped,
    came_with_offset,
    missed_loudness,
)
from retone.progress import Progress, silent
from retone.units import db_to_gain

PARTS = ("all", "eq", "dynamics")
KEPT_SAMPLES = 1 << 24
"""Files of up to so many samples, all channels together, are rendered once (64 MB of float32)."""


@dataclass(frozen=True)
class Options:
    """What a person may ask for besides the reference.

    Args:
        amount: 0 leaves every sample as it is, 1 is the whole change.
        part: ``"all"``, ``"eq"`` (dynamics left alone) or ``"dynamics"`` (spectrum left alone).
        locks: parameters that keep a value, by dotted name in physical units.
        loudness: ``"match"`` the reference's (``amount`` of the way), ``"off"``, or a target in
            LUFS, which is reached at any amount.
        true_peak_dbtp: ceiling of the limiter, None for no limiter.
        usual_loudness: the target is nobody's wish: ``amount`` of the way is gone to it too.
    """

    amount: float = 1.0
    part: str = "all"
    locks: Mapping[str, float] = field(default_factory=dict)
    loudness: str | float = "match"
    true_peak_dbtp: float | None = -1.0
    usual_loudness: bool = False

    @property
    def loudness_part_way(self) -> bool:
        """Whether ``amount`` says how far the loudness goes to its target."""
        return self.loudness == "match" or self.usual_loudness

    def __post_init__(self) -> None:
        if not 0 <= self.amount <= 1:
            raise SettingError(f"amount = {self.amount} is outside 0..1.")
        if self.part not in PARTS:
            raise SettingError(f"part = {self.part!r}: expected one of {', '.join(PARTS)}.")


@dataclass(frozen=True)
class Decision:
    """What will be done to a recording: the effect and its setting, at full strength."""

    effect: Effect
    setting: Setting
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One recording as it was measured: ``role`` is before, after or reference.

    A reference that is a profile has that instead of a file's levels and spectrum.
    """

    role: str
    path: Path
    sample_rate: int
    channels: int
    duration_s: float
    levels: Levels | None
    spectrum: SpectrumMeter | None
    envelope: EnvelopeMeter | None = None
    profile: Profile | None = None


@dataclass(frozen=True)
class MatchResult:
    """Everything known after a match: enough for the settings file and the picture."""

    output: Path
    decision: Decision
    options: Options
    estimator: str
    gain_db: float
    target_lufs: float | None
    limiter_most_db: float
    limiter_active_percent: float
    sides: tuple[Side, ...]
    curves: dict[str, EnvelopeMeter]
    warnings: tuple[str, ...]
    observed: Observer | None = None


class Observer(Protocol):
    """Something that watches what comes out of the effect, such as a level histogram."""

    def update(self, rendered: np.ndarray, curves: Mapping[str, np.ndarray]) -> None:
        """Take the effect's output [C, n] before any later gain, and its curves [n]."""
        ...


Observe = Callable[[Effect, Setting, int], Observer]
"""Makes an observer for an effect, its setting and the sample rate."""


def heard_setting(decision: Decision, options: Options) -> Setting:
    """The setting as ``amount`` scales it; locked parameters ignore the amount."""
    blended = decision.effect.params.blend(decision.setting, options.amount)
    return {n: decision.setting[n] if n in options.locks else v for n, v in blended.items()}


def output_beside(source: Path, suffix: str) -> Path:
    """The output's name when none is given: ``voice.wav`` to ``voice.matched.wav``.

    A format that cannot be written becomes WAV.
    """
    ending = source.suffix if source.suffix.lower() in CONTAINERS else ".wav"
    return source.parent / f"{source.stem}.{suffix}{ending}"


def check_output(inputs: Sequence[Path], output: Path, force: bool) -> None:
    """Refuse to write over a recording that is read or, without force, over anything."""
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            what = "the input itself" if path == inputs[0] else "a reference"
            raise AudioError(f"{output} is {what}: choose another name with -o.")
    if output.is_dir():
        raise AudioError(f"{output} is a folder; expected a file name. Name a file inside it.")
    if output.exists() and not force:
        raise AudioError(f"{output} exists: choose another name with -o or pass --force.")


def check_writable(reader: AudioReader, output: Path, force: bool) -> None:
    """Refuse, before any work, an output that cannot be made: its folder, container, channels."""
    AtomicWriter(output, like=reader.info, force=force).abort()


def render_file(
    reader: AudioReader,
    source: Path,
    output: Path,
    decision: Decision,
    options: Options,
    *,
    estimator: str,
    target_lufs: float | None,
    gain_db: float | None = None,
    sides: tuple[Side, ...] = (),
    warnings: list[str],
    force: bool = False,
    progress: Progress = silent,
    observe: Observe | None = None,
) -> MatchResult:
    """Render a file with a decision, set its loudness, hold its true peak, and write it.

    Args:
        reader: the opened input.
        decision: effect and setting at full strength.
        target_lufs: loudness to reach at amount 1, None to leave it.
        gain_db: a known gain after the effect; given, nothing is measured first.
    """
    info = reader.info
    if options.amount == 0 and not options.locks:
        return _copy(reader, source, output, decision, options, estimator, sides, warnings, force)
    if options.amount < 1 and any(isinstance(m, Fir) for m in _members(decision.effect)):
        raise SettingError(
            f"amount = {options.amount:g}: the equaliser here is a fixed filter, which cannot be "
            "applied in part. Use amount 1, or settings by another estimator."
        )
    setting = heard_setting(decision, options)
    passes = _Passes(reader, decision.effect, setting)
    total = info.duration_s * (1 if gain_db is not None else 2)
    done = 0.0

    def advance(block: np.ndarray) -> None:
        nonlocal done
        done += block.shape[1] / info.sample_rate
        progress(done, total)

    if gain_db is None:
        gain_db = 0.0
        if target_lufs is not None:
            needed = _needed_gain(passes, options, target_lufs, advance)
            if needed is None:
                warnings.append(
                    "The result is too quiet to have a loudness, so its level was left alone. "
                    "Raise the recording's level first."
                )
            gain_db = needed or 0.0
    before, after = (_Meters(info.sample_rate, info.channels) for _ in range(2))
    curves: dict[str, EnvelopeMeter] = {}
    limiter = None
    if options.true_peak_dbtp is not None:
        limiter = TruePeakLimiter(options.true_peak_dbtp, info.sample_rate, info.channels)
    observer = observe(decision.effect, setting, info.sample_rate) if observe else None
    clipping = ClipMeter(info.channels, integer_bits(info.subtype))
    offset = OffsetMeter(info.channels)
    factor = db_to_gain(gain_db)
    with AtomicWriter(output, like=info, force=force) as writer:

        def finish(block: np.ndarray) -> None:
            after.update(np.clip(block, -1, 1) if writer.clips else block)
            writer.write(block)

        for block, rendered, own in passes.run():
            before.update(block)
            clipping.update(block)
            offset.update(block)
            for name, curve in own.items():
                if name not in curves:
                    curves[name] = EnvelopeMeter(info.sample_rate)
                curves[name].update(curve[None])
            if observer:
                observer.update(rendered, own)
            rendered = rendered * rendered.dtype.type(factor)
            finish(limiter.process(rendered) if limiter else rendered)
            advance(block)
        if limiter:
            finish(limiter.flush())
    warnings += writer.notes  # some are known when the file is closed
    if writer.subtype in LOSSY and options.true_peak_dbtp is not None:
        warnings += beyond_ceiling(output, options.true_peak_dbtp)
    warnings += [*reader.warnings, *came_clipped(clipping, source)]
    warnings += came_with_offset(offset, source)
    ends = (before.side("before", source, info), after.side("after", output, info))
    worked = limiter.report() if limiter else None
    if target_lufs is not None and worked and worked.max_reduction_db > 0.05:
        warnings += _missed(target_lufs, options, *ends)
    return MatchResult(
        output, decision, options, estimator, gain_db, target_lufs,
        worked.max_reduction_db if worked else 0.0,
        100 * worked.active_share if worked else 0.0,
        (*ends, *sides), curves, tuple(warnings), observer,
    )  # fmt: skip


def _members(effect: Effect) -> tuple[Effect, ...]:
    return effect.members if isinstance(effect, Chain) else (effect,)


def _missed(target_lufs: float, options: Options, before: Side, after: Side) -> list[str]:
    """A sentence if the limiter kept the result from its loudness."""
    if before.levels is None or after.levels is None:
        return []
    goal, was = target_lufs, before.levels.integrated_lufs
    if options.loudness_part_way:
        goal = was + options.amount * (target_lufs - was)
    return missed_loudness(goal, after.levels.integrated_lufs)


class _Meters:
    """Levels, spectrum and waveform envelope of one stream."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.levels = LevelMeter(sample_rate, channels)
        self.spectrum = SpectrumMeter(sample_rate)
        self.envelope = EnvelopeMeter(sample_rate)

    def update(self, block: np.ndarray) -> None:
        if block.shape[1]:
            self.levels.update(block)
            self.spectrum.update(block)
            self.envelope.update(block)

    def side(self, role: str, path: Path, info: Any) -> Side:
        return Side(
            role, path, info.sample_rate, info.channels, info.duration_s,
            self.levels.result(), self.spectrum, self.envelope,
        )  # fmt: skip


class _Passes:
    """A file's blocks with what the effect makes of them, as often as they are wanted."""

    def __init__(self, reader: AudioReader, effect: Effect, setting: Setting) -> None:
        self.reader, self.effect, self.setting = reader, effect, setting
        self._kept: list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]] | None = None

    def run(self) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
        """(block [C, n], rendered [C, n], curves over time: name -> [n]) from the beginning."""
        if self._kept is not None:
            yield from self._kept
            return
        info = self.reader.info
        keep = info.frames * info.channels <= KEPT_SAMPLES
        kept = []
        renderer = Renderer(self.effect, self.setting, info.sample_rate, head=head_of(self.reader))
        for block in self.reader.blocks(block_frames(info.channels)):
            rendered, curves = renderer.process_with_curves(block)
            if keep:
                kept.append((block, rendered, curves))
            yield block, rendered, curves
        if keep:
            self._kept = kept


def _needed_gain(
    passes: _Passes, options: Options, target_lufs: float, advance: Callable[[np.ndarray], None]
) -> float | None:
    """Gain in dB that brings the rendered file to its target; None if it has no loudness."""
    from retone.audio import LoudnessMeter

    info = passes.reader.info
    part_way = options.loudness_part_way and options.amount < 1
    before, after = (LoudnessMeter(info.sample_rate, info.channels) for _ in range(2))
    for block, rendered, _ in passes.run():
        if part_way:
            before.update(block)
        after.update(rendered)
        advance(block)
    goal = target_lufs
    if part_way:
        was = before.result().integrated_lufs
        goal = was + options.amount * (target_lufs - was)
    gain_db = goal - after.result().integrated_lufs
    return round(gain_db, 2) if math.isfinite(gain_db) else None


def _copy(
    reader: AudioReader,
    source: Path,
    output: Path,
    decision: Decision,
    options: Options,
    estimator: str,
    sides: tuple[Side, ...],
    warnings: list[str],
    force: bool,
) -> MatchResult:
    """Amount 0: the same samples, to the last bit."""
    info = reader.info
    meters = _Meters(info.sample_rate, info.channels)
    clipping = ClipMeter(info.channels, integer_bits(info.subtype))
    offset = OffsetMeter(info.channels)
    reader.seek(0)
    with AtomicWriter(output, like=info, force=force, dither=False) as writer:
        for block in reader.blocks(block_frames(info.channels)):
            meters.update(block)
            clipping.update(block)
            offset.update(block)
            writer.write(block)
    warnings += writer.notes  # some are known when the file is closed
    warnings += [*reader.warnings, *came_clipped(clipping, source)]
    warnings += came_with_offset(offset, source)
    side = meters.side("before", source, info)
    both = (side, replace(side, role="after", path=output))
    return MatchResult(
        output, decision, options, estimator, 0.0, None, 0.0, 0.0,
        (*both, *sides), {}, tuple(warnings),
    )  # fmt: skip
