"""Render a recording with a decision: effect, gain to the target loudness, true-peak limiter.

One loop serves files, audio in memory and previews. Where the gain has to be measured first, the
recording is rendered twice, so memory stays constant; the first render of a short recording is
cached and reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retone.audio.array_reader import samples_of
from retone.audio.clip import is_sound, not_sound
from retone.audio.formats import CONTAINERS, LOSSY, OutputFormat, integer_bits
from retone.audio.limiter import TruePeakLimiter
from retone.audio.meters.defects import ClipMeter, OffsetMeter
from retone.audio.meters.envelope import EnvelopeMeter
from retone.audio.meters.loudness import LevelMeter, LoudnessMeter
from retone.audio.meters.spectrum import SpectrumMeter
from retone.audio.meters.stereo import StereoMeter
from retone.audio.reader import AudioInfo, AudioReader
from retone.audio.writer import AtomicWriter
from retone.dsp.effect import Effect
from retone.dsp.short_levels import ShortLevelMeter
from retone.effects import Chain, Fir
from retone.errors import OVERWRITE, AudioError, SettingError
from retone.files.atomic import protect
from retone.process.compressor_levels import CompressorLevels
from retone.process.level import gain_to, goal_loudness, quiet_loudness
from retone.process.result import Decision, Options, Rendered, Side, effective_setting
from retone.process.stream import Renderer, block_frames, head_of
from retone.process.warnings import (
    TOO_QUIET,
    input_clipped,
    input_dc_offset,
    lost_sound,
    loudness_missed,
    peak_above_ceiling,
)
from retone.progress import MEASURING, RENDERING, Phase, Progress, silent
from retone.units import db_to_gain

KEPT_SAMPLES = 1 << 24
"""Files of at most this many samples, all channels together, are rendered once (64 MB)."""


def output_beside(path: Path, suffix: str) -> Path:
    """The output's name when none is given: ``voice.wav`` to ``voice.matched.wav``.

    A format that cannot be written becomes WAV.
    """
    ending = path.suffix if path.suffix.lower() in CONTAINERS else ".wav"
    return path.parent / f"{path.stem}.{suffix}{ending}"


def read_by(inputs: Sequence[Path]) -> dict[Path, str]:
    """An input and its references with what each is, for ``retone.files.atomic.protect``."""
    return {p: "a reference" for p in inputs[1:]} | {p: "the input itself" for p in inputs[:1]}


def check_output(
    inputs: Sequence[Path], output: Path, force: bool, others: Mapping[Path, str] | None = None
) -> None:
    """Refuse to write over a file that is read or, without ``force``, any existing file.

    Args:
        inputs: the input, then references.
        output: the recording to write.
        force: replace an existing file.
        others: other files that are read, and what each is, such as ``"the preset"``.

    Raises:
        AudioError: the output is a folder, a file that is read, or exists and ``force`` is false.
    """
    protect(read_by(inputs) | dict(others or {}), [output])
    if output.is_dir():
        raise AudioError(f"{output} is a folder; expected a file name. Name a file inside it.")
    if output.exists() and not force:
        raise AudioError(f"{output} exists: choose another name, or {OVERWRITE}.")


def check_writable(
    info: AudioInfo, output: Path, force: bool, output_format: OutputFormat | None = None
) -> None:
    """Refuse, before any work, an output that cannot be made: its folder, container, channels."""
    AtomicWriter(output, like=info, force=force, output=output_format).abort()


class Meters:
    """Levels, spectrum, waveform envelope, dynamics and stereo field of one stream."""

    def __init__(
        self, sample_rate: int, channels: int, layout: tuple[str, ...] | None = None
    ) -> None:
        self.levels = LevelMeter(sample_rate, channels, layout)
        self.spectrum = SpectrumMeter(sample_rate, over_time=True)
        self.envelope = EnvelopeMeter(sample_rate)
        self.short_levels = ShortLevelMeter(sample_rate, channels)
        self.stereo = StereoMeter(channels)

    def update(self, block: np.ndarray) -> None:
        """Take the next block [C, n]."""
        if block.shape[1]:
            self.levels.update(block)
            self.spectrum.update(block)
            self.envelope.update(block)
            self.short_levels.update(block)
            self.stereo.update(block)

    def side(
        self, role: str, path: Path, info: AudioInfo, samples: np.ndarray | None = None
    ) -> Side:
        """The measurements as the side ``before``, ``after`` or ``reference``."""
        return Side(
            role, path, info.sample_rate, info.channels, info.duration_s,
            self.levels.result(), self.spectrum, self.envelope,
            loudness=self.levels.short_term(), lufs=quiet_loudness(self.levels),
            stereo=self.stereo, short_db=self.short_levels.result(), samples=samples,
        )  # fmt: skip


class Rendering:
    """A recording that is being rendered: run ``blocks`` once, then read the meters.

    Attributes:
        gain_db: the gain after the effect.
        bypassed: amount is 0, so every sample is unchanged.
        before, after: meters of the recording and of the output of ``blocks``.
        curves: the effect's curves over time, dotted name -> envelope.
        limiter: the true-peak limiter, or None.
    """

    def __init__(
        self,
        reader: AudioReader,
        decision: Decision,
        options: Options,
        *,
        curve_points: int = 1500,
    ) -> None:
        info = reader.info
        self.reader, self.decision, self.options = reader, decision, options
        self.bypassed = options.amount == 0 and not options.locks
        if not self.bypassed:
            check_amount(decision.effect, options.amount)
        self.setting = effective_setting(decision, options)
        self.gain_db = decision.gain_db or 0.0
        self.limiter: TruePeakLimiter | None = None
        self.before, self.after = (
            Meters(info.sample_rate, info.channels, info.layout) for _ in range(2)
        )
        self.curves: dict[str, EnvelopeMeter] = {}
        self.compressor_levels = CompressorLevels(decision.effect, self.setting, info.sample_rate)
        self.clipping = ClipMeter(info.channels, integer_bits(info.subtype))
        self.offset = OffsetMeter(info.channels)
        self.warnings: list[str] = []
        self._curve_points = curve_points
        self._kept: list[_Step] | None = None

    def measure_gain(self, progress: Progress = silent) -> None:
        """Render once to find the gain that reaches the target loudness."""
        target = self.decision.target_lufs
        if self.bypassed or target is None or self.decision.gain_db is not None:
            return
        info = self.reader.info
        before, after = (
            LoudnessMeter(info.sample_rate, info.channels, info.layout) for _ in range(2)
        )
        keep = info.frames * info.channels <= KEPT_SAMPLES
        kept: list[_Step] = []
        scaled = self.options.amount_scales_loudness and self.options.amount < 1
        for step in self._steps(None, MEASURING, progress):
            if scaled:
                before.update(step.block)
            after.update(step.rendered)
            if keep:
                kept.append(step)
        if keep:
            self._kept = kept
        # at the target's level, so that the gate does not drop a very quiet recording
        was = target - before.gain_to(target) if scaled else None
        gain = gain_to(goal_loudness(self.options, target, was), after)
        if gain is None:
            self.warnings.append(TOO_QUIET)
        self.gain_db = gain or 0.0

    def blocks(
        self,
        *,
        clips: bool = False,
        frames: int | None = None,
        progress: Progress = silent,
    ) -> Iterator[np.ndarray]:
        """The output in blocks [C, n]: effect, gain and limiter.

        Args:
            clips: the output is clipped at full scale when written, and measured like that.
            frames: block size, None for the default.
            progress: called with the seconds done.
        """
        info, ceiling = self.reader.info, self.options.true_peak_dbtp
        if ceiling is not None and not self.bypassed:
            self.limiter = TruePeakLimiter(ceiling, info.sample_rate, info.channels)
        factor = db_to_gain(self.gain_db)
        for step in self._steps(frames, RENDERING, progress):
            self.before.update(step.block)
            self.clipping.update(step.block)
            self.offset.update(step.block)
            out = step.rendered
            if not self.bypassed:
                self._follow(step)
                out = out * out.dtype.type(factor)
                if self.limiter:
                    out = self.limiter.process(out)
            self.after.update(np.clip(out, -1, 1) if clips else out)
            yield out
        if self.limiter:
            out = self.limiter.flush()
            self.after.update(np.clip(out, -1, 1) if clips else out)
            yield out

    def effect_blocks(self, frames: int) -> Iterator[np.ndarray]:
        """The effect's output alone in blocks [C, n], without gain or limiter, for a preview.

        Only ``after`` and ``curves`` are measured.
        """
        for step in self._steps(frames, RENDERING, silent):
            self._follow(step)
            self.after.update(step.rendered)
            yield step.rendered

    def _follow(self, step: _Step) -> None:
        for name, curve in step.curves.items():
            if name not in self.curves:
                rate = self.reader.info.sample_rate
                self.curves[name] = EnvelopeMeter(rate, points=self._curve_points)
            self.curves[name].update(curve[None])
        if step.curves:
            self.compressor_levels.update(step.rendered, step.curves)

    def _steps(self, frames: int | None, phase: Phase, progress: Progress) -> Iterator[_Step]:
        """Blocks of the recording, rendered; those kept from measuring if there are any."""
        info = self.reader.info
        done = 0
        for step in self._kept or self._render(frames):
            yield step
            done += step.block.shape[1]
            progress(phase, done / info.sample_rate, info.duration_s)

    def _render(self, frames: int | None) -> Iterator[_Step]:
        reader, info = self.reader, self.reader.info
        frames = frames or block_frames(info.channels)
        if self.bypassed:
            reader.seek(0)
            for block in reader.blocks(frames):
                yield _Step(block, block, {})
            return
        head = head_of(reader)
        renderer = Renderer(self.decision.effect, self.setting, info.sample_rate, head=head)
        done = 0
        for step in renderer.aligned(reader.blocks(frames)):
            if not is_sound(step[1]):
                raise AudioError(
                    f"{info.path.name}: what the effect makes of it is {not_sound(step[1])} from "
                    f"about {done / info.sample_rate:.1f} s on. Check the settings' gains."
                )
            yield _Step(*step)
            done += step[1].shape[1]

    def result(
        self,
        output: Path | None,
        samples: np.ndarray | None = None,
        warnings: Sequence[str] = (),
    ) -> Rendered:
        """The result, once ``blocks`` has ended.

        Args:
            output, samples: where the blocks went, a file or memory.
            warnings: about the file that was written.
        """
        info, target = self.reader.info, None if self.bypassed else self.decision.target_lufs
        before = self.before.side("before", info.path, info, samples_of(self.reader))
        after = self.after.side("after", output or Path("output"), info, samples)
        report = self.limiter.report() if self.limiter else None
        found = [
            *self.decision.warnings,
            *self.warnings,
            *warnings,
            *self.reader.warnings,
            *input_clipped(self.clipping, info.path.name),
            *input_dc_offset(self.offset, info.path.name),
        ]
        found += lost_sound(before, after)
        if target is not None:
            assert after.levels
            goal = goal_loudness(self.options, target, before.lufs)
            limited = report is not None and report.max_reduction_db > 0.05
            found += loudness_missed(goal, after.levels.integrated_lufs, limited)
        return Rendered(
            decision=self.decision,
            options=self.options,
            output=output,
            samples=samples,
            gain_db=self.gain_db if not self.bypassed else 0.0,
            target_lufs=target,
            limiter_most_db=report.max_reduction_db if report else 0.0,
            limiter_active_percent=100 * report.active_share if report else 0.0,
            sides=(before, after, *self.decision.references),
            curves=self.curves,
            histograms=self.compressor_levels.histograms if not self.bypassed else {},
            warnings=tuple(found),
        )


class _Step(NamedTuple):
    """A block of the recording [C, n], what the effect made of it, and curves: name -> [n]."""

    block: np.ndarray
    rendered: np.ndarray
    curves: dict[str, np.ndarray]


def render(
    reader: AudioReader, decision: Decision, options: Options, *, progress: Progress = silent
) -> Rendering:
    """Prepare rendering a recording: measure the gain, so that blocks can be rendered.

    Args:
        reader: the open recording.
        decision: what ``decide`` or a settings file gave.
        options: amount, locks, loudness and ceiling.
        progress: called with the seconds measured.

        Raises:
        SettingError: an amount below 1 of an effect that cannot be applied in part.
    """
    rendering = Rendering(reader, decision, options)
    rendering.measure_gain(progress)
    return rendering


def render_to_file(
    reader: AudioReader,
    output: Path,
    decision: Decision,
    options: Options,
    *,
    force: bool = False,
    output_format: OutputFormat | None = None,
    progress: Progress = silent,
) -> Rendered:
    """Render a recording to a file, completely or not at all.

    Args:
        reader: the open recording.
        output: where to write; its extension decides the container.
        decision: what ``decide`` or a settings file gave.
        options: amount, locks, loudness and ceiling.
        force: replace an existing output.
        output_format: container, coding and bit depth, where the file's name and the recording
            do not decide.
        progress: called with the seconds measured, then the seconds rendered.

    Raises:
        AudioError: the output exists, is the input, or cannot be written.
        SettingError: an amount below 1 of an effect that cannot be applied in part.
    """
    check_output((reader.info.path,), output, force)
    rendering = render(reader, decision, options, progress=progress)
    same = rendering.bypassed  # amount 0 keeps every bit
    with AtomicWriter(
        output,
        like=reader.info,
        output=output_format,
        unchanged=same,
        force=force,
        dither=not same or output_format is not None,
    ) as writer:
        for block in rendering.blocks(clips=writer.clips, progress=progress):
            writer.write(block)
    warnings = list(writer.notes)  # some are known when the file is closed
    ceiling = options.true_peak_dbtp
    if writer.subtype in LOSSY and ceiling is not None and not rendering.bypassed:
        warnings += peak_above_ceiling(writer.written, output.name, ceiling)
    return rendering.result(output, warnings=warnings)


def render_to_array(
    reader: AudioReader, decision: Decision, options: Options, *, progress: Progress = silent
) -> Rendered:
    """Render a recording to memory; arguments and errors as in ``render_to_file``."""
    rendering = render(reader, decision, options, progress=progress)
    blocks = list(rendering.blocks(progress=progress))
    return rendering.result(None, np.concatenate(blocks, axis=1))


def check_amount(effect: Effect, amount: float) -> None:
    """Refuse a share of a fixed filter, which is applied in full or not at all.

    Raises:
        SettingError: the effect holds a fixed filter and ``amount`` is below 1.
    """
    members = effect.members if isinstance(effect, Chain) else (effect,)
    if amount < 1 and any(isinstance(m, Fir) for m in members):
        raise SettingError(
            f"amount = {amount:g}: the equaliser here is a fixed filter, which cannot be applied "
            "in part. Use amount 1, or settings by another estimator."
        )
