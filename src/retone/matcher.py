"""The main job: make one recording sound like others, whole files, with levels made right.

Excerpts, sample rates, channels, levels and files live here and nowhere below. An estimator
chooses the settings from excerpts whose peak is -12 dBFS; thresholds are then moved to the
recording's own level, so that what a person reads is in dBFS of the file. The file is rendered
twice, once to measure what comes out and once to write it, so memory stays flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from retone.audio import (
    AtomicWriter,
    AudioReader,
    LevelMeter,
    Levels,
    TruePeakLimiter,
    open_reader,
    require_analysable,
    same_audio,
)
from retone.dsp.effect import Effect
from retone.dsp.envelope_meter import EnvelopeMeter
from retone.dsp.param import ParamTable, Setting
from retone.dsp.spectrum_meter import SpectrumMeter
from retone.effects.spec import tidy_setting
from retone.errors import AudioError, SettingError
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Estimator, Excerpt
from retone.progress import Progress, silent
from retone.stream import BLOCK_FRAMES, Renderer, active_excerpt
from retone.units import db_to_gain, gain_to_db

PARTS = ("all", "eq", "dynamics")


@dataclass(frozen=True)
class Options:
    """What a person may ask for besides the reference.

    Args:
        amount: 0 leaves every sample as it is, 1 is the whole change.
        part: ``"all"``, ``"eq"`` (dynamics left alone) or ``"dynamics"`` (spectrum left alone).
        locks: parameters that keep a value, by dotted name in physical units.
        loudness: ``"match"`` the reference's, ``"off"``, or a target in LUFS.
        true_peak_dbtp: ceiling of the limiter, None for no limiter.
    """

    amount: float = 1.0
    part: str = "all"
    locks: Mapping[str, float] = field(default_factory=dict)
    loudness: str | float = "match"
    true_peak_dbtp: float | None = -1.0

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
    """One recording as it was measured: ``role`` is before, after or reference."""

    role: str
    path: Path
    sample_rate: int
    channels: int
    duration_s: float
    levels: Levels | None
    spectrum: SpectrumMeter | None
    envelope: EnvelopeMeter | None = None


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


def parse_locks(texts: Sequence[str]) -> dict[str, float]:
    """``["compressor.ratio=2"]`` to a mapping; names and ranges are checked later."""
    locks: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            locks[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise SettingError(f"--lock {text}: expected PARAM=VALUE, as in compressor.ratio=2.")
    return locks


def shift_thresholds(table: ParamTable, setting: Setting, by_db: float) -> tuple[Setting, bool]:
    """Move every threshold by a level difference, held in its range; says whether one was held."""
    moved, held = dict(setting), False
    for p in table:
        if p.name.endswith("threshold_db"):
            value = setting[p.name] + by_db
            moved[p.name] = value.clamp(p.low, p.high)
            held |= bool((value < p.low).any())
    return moved, held


def part_only(effect: Effect, setting: Setting, part: str) -> Setting:
    """A setting with either the equaliser or the dynamics made neutral."""
    if part == "all":
        return setting
    neutral = effect.params.neutral(1)
    drop = "compressor." if part == "eq" else "equalizer."
    return {n: neutral[n] if n.startswith(drop) else v for n, v in setting.items()}


@dataclass(frozen=True)
class Matcher:
    """Makes recordings sound like references, with settings that ``estimator`` chooses."""

    estimator: Estimator

    def match(
        self,
        source: Path,
        references: Sequence[Path],
        output: Path,
        options: Options,
        *,
        force: bool = False,
        progress: Progress = silent,
        observe: Observe | None = None,
    ) -> MatchResult:
        """Match a file to one or more reference files and write the result.

        Args:
            source: recording to change.
            references: recordings that sound right.
            output: where to write; its extension decides the container.
            options: what was asked for.
            force: replace an existing output.
            progress: called with seconds of sound done and in all.
            observe: makes an observer of the rendered audio; it comes back in the result.

        Raises:
            AudioError: a file cannot be read, analysed or written.
            SettingError: a lock names no parameter or is out of range.
        """
        check_output(source, output, force)
        warnings: list[str] = []
        for reference in references:
            if same_audio(source, reference):
                warnings.append(f"{reference.name} is the same recording as the input.")
        sides = []
        with open_reader(source) as reader:
            own, peak = hear(reader, source)
            others = []
            for path in references:
                with open_reader(path) as other:
                    others.append(hear(other, path)[0])
                    sides.append(_measure(other, path, "reference"))
                    warnings += [f"{path.name}: {w}" for w in other.warnings]
            estimate = self.estimator.estimate(own, others, locks=options.locks, progress=progress)
            decision = self._decide(estimate, options, peak)
            target = _target_lufs(options, sides)
            return render_file(
                reader, source, output, decision, options,
                estimator=self.estimator.name, target_lufs=target, sides=tuple(sides),
                warnings=warnings, force=force, progress=progress, observe=observe,
            )  # fmt: skip

    def _decide(self, estimate: Estimate, options: Options, peak: float) -> Decision:
        table = estimate.effect.params
        shift = gain_to_db(peak) - NORMAL_PEAK_DB
        setting, held = shift_thresholds(table, estimate.setting, shift)
        setting = part_only(estimate.effect, setting, options.part)
        locked = table.setting(options.locks)
        setting = {n: locked[n] if n in options.locks else v for n, v in setting.items()}
        notes = estimate.notes
        if held:
            notes += ("The recording is so quiet that a threshold was held at its lowest value.",)
        return Decision(estimate.effect, tidy_setting(table, setting), notes)


def hear(reader: AudioReader, path: Path) -> tuple[Excerpt, float]:
    """What an estimator hears of a recording, and that excerpt's own peak."""
    audio = active_excerpt(reader)
    peak = float(np.abs(audio).max(initial=0.0))
    require_analysable(peak, audio.size / reader.info.sample_rate, path)
    scaled = torch.from_numpy(audio * np.float32(db_to_gain(NORMAL_PEAK_DB) / peak))
    return Excerpt(scaled, reader.info.sample_rate), peak


def heard_setting(decision: Decision, options: Options) -> Setting:
    """The setting as ``amount`` scales it; locked parameters ignore the amount."""
    blended = decision.effect.params.blend(decision.setting, options.amount)
    return {n: decision.setting[n] if n in options.locks else v for n, v in blended.items()}


def check_output(source: Path, output: Path, force: bool) -> None:
    """Refuse to write over the input or, without force, over anything."""
    if output.exists() and source.exists() and output.samefile(source):
        raise AudioError(f"{output} is the input itself: choose another name with -o.")
    if output.exists() and not force:
        raise AudioError(f"{output} exists: choose another name with -o or pass --force.")


def _target_lufs(options: Options, sides: Sequence[Side]) -> float | None:
    if options.loudness == "off":
        return None
    if isinstance(options.loudness, (int, float)):
        return float(options.loudness)
    known = [s.levels.integrated_lufs for s in sides if s.levels]
    known = [lufs for lufs in known if math.isfinite(lufs)]
    return sum(known) / len(known) if known else None


def _measure(reader: AudioReader, path: Path, role: str) -> Side:
    """Levels and spectrum of a whole file."""
    info = reader.info
    levels = LevelMeter(info.sample_rate, info.channels)
    spectrum = SpectrumMeter(info.sample_rate)
    reader.seek(0)
    for block in reader.blocks(BLOCK_FRAMES):
        levels.update(block)
        spectrum.update(block)
    return Side(
        role, path, info.sample_rate, info.channels, info.duration_s, levels.result(), spectrum
    )


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
    setting = heard_setting(decision, options)
    total = info.duration_s * (1 if gain_db is not None else 2)
    done = 0.0

    def advance(block: np.ndarray) -> None:
        nonlocal done
        done += block.shape[1] / info.sample_rate
        progress(done, total)

    if gain_db is None:
        gain_db = 0.0
        if target_lufs is not None:
            gain_db = _needed_gain(reader, decision.effect, setting, options, target_lufs, advance)
    before, after = (_Meters(info.sample_rate, info.channels) for _ in range(2))
    curves: dict[str, EnvelopeMeter] = {}
    limiter = None
    if options.true_peak_dbtp is not None:
        limiter = TruePeakLimiter(options.true_peak_dbtp, info.sample_rate, info.channels)
    renderer = Renderer(decision.effect, setting, info.sample_rate)
    observer = observe(decision.effect, setting, info.sample_rate) if observe else None
    factor = db_to_gain(gain_db)
    reader.seek(0)
    with AtomicWriter(output, like=info, force=force) as writer:

        def finish(block: np.ndarray) -> None:
            after.update(block)
            writer.write(block)

        for block in reader.blocks(BLOCK_FRAMES):
            before.update(block)
            rendered, own = renderer.process_with_curves(block)
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
        warnings += writer.notes
    warnings += reader.warnings
    ends = (before.side("before", source, info), after.side("after", output, info))
    worked = limiter.report() if limiter else None
    return MatchResult(
        output, decision, options, estimator, gain_db, target_lufs,
        worked.max_reduction_db if worked else 0.0,
        100 * worked.active_share if worked else 0.0,
        (*ends, *sides), curves, tuple(warnings), observer,
    )  # fmt: skip


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


def _needed_gain(
    reader: AudioReader,
    effect: Effect,
    setting: Setting,
    options: Options,
    target_lufs: float,
    advance: Any,
) -> float:
    """Gain in dB that brings the rendered file to its target, scaled by the amount."""
    from retone.audio import LoudnessMeter

    info = reader.info
    meters = [LoudnessMeter(info.sample_rate, info.channels) for _ in range(2)]
    renderer = Renderer(effect, setting, info.sample_rate)
    reader.seek(0)
    for block in reader.blocks(BLOCK_FRAMES):
        meters[0].update(block)
        meters[1].update(renderer.process(block))
        advance(block)
    before, after = (m.result().integrated_lufs for m in meters)
    if not (math.isfinite(before) and math.isfinite(after)):
        return 0.0
    goal = before + options.amount * (target_lufs - before)
    return round(goal - after, 2)


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
    reader.seek(0)
    with AtomicWriter(output, like=info, force=force, dither=False) as writer:
        for block in reader.blocks(BLOCK_FRAMES):
            meters.update(block)
            writer.write(block)
        warnings += writer.notes
    side = meters.side("before", source, info)
    both = (side, replace(side, role="after", path=output))
    return MatchResult(
        output, decision, options, estimator, 0.0, None, 0.0, 0.0,
        (*both, *sides), {}, tuple(warnings),
    )  # fmt: skip
