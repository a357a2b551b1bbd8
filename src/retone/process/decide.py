"""The main job: make one recording sound like others, whole files, with levels made right.

Excerpts, sample rates, channels, levels and files live here and in ``retone.process.render``, and
nowhere below. An estimator chooses the settings from excerpts whose peak is -12 dBFS; thresholds
are then moved to the recording's own level, so that what a person reads is in dBFS of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from retone.audio import (
    AudioReader,
    LevelMeter,
    LoudnessMeter,
    open_reader,
    require_analysable,
    same_audio,
)
from retone.audio.files import SILENCE_DBFS
from retone.audio.meters.spectrum import SpectrumMeter
from retone.dsp.effect import Effect
from retone.dsp.param import Setting, tidy_setting
from retone.effects import COMPRESSOR_TABLE, Chain, Fir
from retone.errors import AudioError, SettingError
from retone.estimators.base import (
    NORMAL_PEAK_DB,
    Estimate,
    Estimator,
    Excerpt,
    Reference,
    shift_thresholds,
)
from retone.estimators.profile import Profile
from retone.estimators.speech_music import Content, content_of
from retone.process.render import (
    PARTS,
    Decision,
    MatchResult,
    Observe,
    Options,
    Side,
    check_output,
    check_writable,
    heard_setting,
    render_file,
)
from retone.process.stream import active_excerpt, block_frames
from retone.progress import Progress, silent
from retone.units import db_to_gain, gain_to_db

SHORTEST_S = 0.5
"""Statistics of anything shorter say nothing."""

DECODED_ONCE = 1 << 23
"""Recordings of up to so many samples, all channels together, are decoded once (32 MB)."""

__all__ = [
    "PARTS",
    "Decision",
    "MatchResult",
    "Matcher",
    "Observe",
    "Options",
    "Side",
    "content_of_file",
    "heard_setting",
    "parse_locks",
    "part_only",
    "render_file",
    "shift_thresholds",
]


def parse_locks(texts: Sequence[str]) -> dict[str, float]:
    """``["compressor.ratio=2"]`` to a mapping; names and ranges are checked later."""
    locks: dict[str, float] = {}
    for count, text in enumerate(texts, start=1):
        name, equals, value = text.partition("=")
        try:
            locks[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise SettingError(f"--lock {text}: expected PARAM=VALUE, as in compressor.ratio=2.")
        if len(locks) < count:
            raise SettingError(f"--lock {text}: {name.strip()} is locked twice. Leave one out.")
    return locks


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
        references: Sequence[Path | Profile],
        output: Path,
        options: Options,
        *,
        force: bool = False,
        progress: Progress = silent,
        observe: Observe | None = None,
    ) -> MatchResult:
        """Match a file to one or more references and write the result.

        Args:
            source: recording to change.
            references: recordings that sound right, or profiles of such.
            output: where to write; its extension decides the container.
            options: what was asked for.
            force: replace an existing output.
            progress: called with seconds of sound done and in all.
            observe: makes an observer of the rendered audio; it comes back in the result.

        Raises:
            AudioError: a file cannot be read, analysed or written.
            SettingError: a lock names no parameter or is out of range.
        """
        files = [r for r in references if isinstance(r, Path)]
        check_output((source, *files), output, force)
        warnings: list[str] = []
        for reference in files:
            if same_audio(source, reference):
                warnings.append(f"{reference.name} is the same recording as the input.")
        sides = []
        with open_reader(source, DECODED_ONCE) as reader:
            check_writable(reader, output, force)
            own, peak = hear(reader, source)
            others: list[Reference] = []
            for path in references:
                if isinstance(path, Profile):
                    others.append(path)
                    sides.append(profile_side(path))
                    continue
                with open_reader(path, DECODED_ONCE) as other:
                    others.append(hear(other, path)[0])
                    sides.append(_measure(other, path, "reference"))
                    warnings += [f"{path.name}: {w}" for w in other.warnings]
            locks = _as_heard(options.locks, gain_to_db(peak) - NORMAL_PEAK_DB)
            estimate = self.estimator.estimate(own, others, locks=locks, progress=progress)
            decision = self._decide(estimate, options, peak)
            target = _target_lufs(options, sides, lambda: loudness_of(reader))
            return render_file(
                reader, source, output, decision, options,
                estimator=self.estimator.name, target_lufs=target, sides=tuple(sides),
                warnings=warnings, force=force, progress=progress, observe=observe,
            )  # fmt: skip

    def _decide(self, estimate: Estimate, options: Options, peak: float) -> Decision:
        table = estimate.effect.params
        shift = gain_to_db(peak) - NORMAL_PEAK_DB
        setting, held = shift_thresholds(table, estimate.setting, shift)
        setting = tidy_setting(table, part_only(estimate.effect, setting, options.part))
        locked = table.setting(options.locks)
        setting = {n: locked[n] if n in options.locks else v for n, v in setting.items()}
        effect = estimate.effect
        if options.part == "dynamics":
            effect = without_filters(effect)
        notes = estimate.notes
        if held:
            notes += ("The recording is so quiet that a threshold was held at its lowest value.",)
        return Decision(effect, setting, notes)


def hear(reader: AudioReader, path: Path) -> tuple[Excerpt, float]:
    """What an estimator hears of a recording, and that excerpt's own peak."""
    audio = active_excerpt(reader)
    if audio.size < SHORTEST_S * reader.info.sample_rate:
        raise AudioError(
            f"{path} lasts {reader.info.duration_s:.2f} s; a match needs at least {SHORTEST_S:g} s "
            "of each recording. Use a longer one."
        )
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < db_to_gain(SILENCE_DBFS) and reader.info.channels > 1:
        # channels of opposite sign cancel in the mean, though each can be heard
        alone = (active_excerpt(reader, c) for c in range(reader.info.channels))
        audio = max(alone, key=lambda x: float(np.abs(x).max(initial=0.0)))
        peak = float(np.abs(audio).max(initial=0.0))
    require_analysable(peak, audio.size / reader.info.sample_rate, path)
    scaled = torch.from_numpy(audio * np.float32(db_to_gain(NORMAL_PEAK_DB) / peak))
    return Excerpt(scaled, reader.info.sample_rate), peak


def content_of_file(path: Path) -> Content:
    """Whether a recording holds speech or music.

    Raises:
        AudioError: the file cannot be read or analysed.
    """
    with open_reader(path) as reader:
        return content_of(hear(reader, path)[0])


def _as_heard(locks: Mapping[str, float], shift_db: float) -> dict[str, float]:
    """Locked thresholds as they stand for an excerpt whose level is ``shift_db`` lower."""
    low, high = COMPRESSOR_TABLE["threshold_db"].low, COMPRESSOR_TABLE["threshold_db"].high
    return {
        n: min(max(v - shift_db, low), high) if n == "compressor.threshold_db" else v
        for n, v in locks.items()
    }


def without_filters(effect: Effect) -> Effect:
    """A chain without its fixed filters, which no parameter can make neutral."""
    if not isinstance(effect, Chain):
        return effect
    return Chain(effect.name, tuple(m for m in effect.members if not isinstance(m, Fir)))


def loudness_of(reader: AudioReader) -> float:
    """Integrated loudness of a whole file in LUFS, -inf if it is too quiet to have one."""
    meter = LoudnessMeter(reader.info.sample_rate, reader.info.channels)
    reader.seek(0)
    for block in reader.blocks(block_frames(reader.info.channels)):
        meter.update(block)
    return meter.result().integrated_lufs


def profile_side(profile: Profile) -> Side:
    """A profile as a report shows it."""
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


def _target_lufs(
    options: Options, sides: Sequence[Side], own_lufs: Callable[[], float]
) -> float | None:
    if options.loudness == "off":
        return None
    if isinstance(options.loudness, (int, float)):
        return float(options.loudness)
    profiles = [s.profile for s in sides if s.profile]
    if profiles:
        wanted = [p.loudness_lufs for p in profiles if p.loudness_lufs is not None]
        if wanted:
            return sum(wanted) / len(wanted)
        own = own_lufs()  # these profiles are about tone: the loudness stays
        return own if math.isfinite(own) else None
    known = [s.levels.integrated_lufs for s in sides if s.levels]
    known = [lufs for lufs in known if math.isfinite(lufs)]
    return sum(known) / len(known) if known else None


def _measure(reader: AudioReader, path: Path, role: str) -> Side:
    """Levels and spectrum of a whole file."""
    info = reader.info
    levels = LevelMeter(info.sample_rate, info.channels)
    spectrum = SpectrumMeter(info.sample_rate)
    reader.seek(0)
    for block in reader.blocks(block_frames(info.channels)):
        levels.update(block)
        spectrum.update(block)
    return Side(
        role, path, info.sample_rate, info.channels, info.duration_s, levels.result(), spectrum
    )
