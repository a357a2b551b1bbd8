"""Options, decisions and results of rendering."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from retone.audio.files import load
from retone.audio.meters.envelope import EnvelopeMeter, LevelHistogram
from retone.audio.meters.loudness import Levels
from retone.audio.meters.spectrum import SpectrumMeter
from retone.audio.meters.stereo import StereoMeter
from retone.audio.reader import info
from retone.audio.writer import AtomicWriter
from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.errors import SettingError, expect_number
from retone.estimators.profile import Profile
from retone.process.arguments import check_kinds
from retone.process.settings_file import LevelPlan, SettingsFile, Source

PARTS = ("all", "eq", "dynamics")

LEVEL_FIELDS = (
    "integrated_lufs",
    "true_peak_dbtp",
    "rms_dbfs",
    "crest_db",
    "loudness_range_lu",
    "sample_peak_dbfs",
    "short_term_max_lufs",
)
"""Level figures that a settings file holds, in this order."""


@dataclass(frozen=True)
class Options:
    """The user's options, apart from the references.

    Args:
        amount: 0 leaves every sample unchanged, 1 applies the full change.
        part: ``"all"``, ``"eq"`` (dynamics unchanged) or ``"dynamics"`` (spectrum unchanged).
        locks: fixed values of parameters, by dotted name in physical units.
        loudness: ``"match"`` the references' (scaled by ``amount``), ``"off"``, or a target in
            LUFS, -70 to -5, which is reached at any amount.
        true_peak_dbtp: ceiling of the limiter, None for no limiter.
        target_is_default: the user did not ask for this target, so ``amount`` scales it as well.
        mono_as: where mono meets stereo: ``"dual"``, mono plays from two loudspeakers, or
            ``"single"``, from one, as BS.1770 measures it.

    Raises:
        SettingError: a value is invalid.
    """

    amount: float = 1.0
    part: str = "all"
    locks: Mapping[str, float] = field(default_factory=dict)
    loudness: str | float = "match"
    true_peak_dbtp: float | None = -1.0
    target_is_default: bool = False
    mono_as: str = "dual"

    @property
    def amount_scales_loudness(self) -> bool:
        """Whether ``amount`` sets how far the loudness moves towards its target."""
        return self.loudness == "match" or self.target_is_default

    def __post_init__(self) -> None:
        check_kinds({f.name: getattr(self, f.name) for f in fields(self)}, ("true_peak_dbtp",))
        expect_number(self.amount, "amount", 0, 1)
        if self.part not in PARTS:
            raise SettingError(f"part = {self.part!r}: expected one of {', '.join(PARTS)}.")
        if isinstance(self.loudness, str) and self.loudness not in ("match", "off"):
            raise SettingError(
                f"loudness = {self.loudness!r}: expected 'match', 'off' or a target in LUFS."
            )
        if not isinstance(self.loudness, str):
            expect_number(self.loudness, "loudness", -70, -5, " LUFS")
        if self.mono_as not in ("dual", "single"):
            raise SettingError(f"mono_as = {self.mono_as!r}: expected 'dual' or 'single'.")
        if self.true_peak_dbtp is not None:
            expect_number(self.true_peak_dbtp, "true_peak_dbtp", -60, 0, " dBTP")


@dataclass(frozen=True)
class Side:
    """Measurements of one recording; ``role`` is before, after or reference.

    A reference that is a profile has ``profile`` instead of levels and spectrum. ``loudness`` is
    that over time: times in s and LUFS. ``lufs`` is the integrated loudness however quiet the
    recording is, -inf for silence; None if it is not known. ``short_db`` are the levels of adjacent
    50 ms, [frames]. ``samples`` is audio in memory, [C, T].
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
    loudness: tuple[np.ndarray, np.ndarray] | None = None
    lufs: float | None = None
    stereo: StereoMeter | None = None
    short_db: np.ndarray | None = None
    samples: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Decision:
    """How a recording will be processed: everything that rendering needs.

    Args:
        effect: the effect or chain.
        setting: its setting at full strength, batch size 1, thresholds in dBFS of the recording.
        estimator: name of the estimator that chose the setting.
        target_lufs: loudness to reach at amount 1, None for no change.
        gain_db: a known gain after the effect; None to measure the one that reaches the target.
        references: measurements of the references.
        notes: notes by the estimator for the user.
        warnings: sentences about the recordings for the user.
        strength: how much of the reference's sound was matched, 0 to 1, if the estimator chose
            by that.
    """

    effect: Effect
    setting: Setting
    estimator: str = ""
    target_lufs: float | None = None
    gain_db: float | None = None
    references: tuple[Side, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    strength: float | None = None


def effective_setting(decision: Decision, options: Options) -> Setting:
    """The setting scaled by ``amount``; locked parameters ignore the amount."""
    blended = decision.effect.params.blend(decision.setting, options.amount)
    return {n: decision.setting[n] if n in options.locks else v for n, v in blended.items()}


@dataclass(frozen=True)
class Rendered:
    """A rendered recording with its measurements.

    Args:
        decision, options: how it was processed.
        output: the file that was written, None for audio in memory.
        samples: [C, T] in memory, None for a file.
        gain_db: the constant gain after the effect.
        target_lufs: target loudness, or None.
        limiter_most_db: the limiter's greatest reduction in dB (0 or more).
        limiter_active_percent: share of the time with more than 0.1 dB of reduction.
        sides: the recording before and after, and the references.
        curves: the effect's curves over time, dotted name -> envelope.
        histograms: dotted name of a compressor -> levels at its input.
        warnings: sentences for the user.
    """

    decision: Decision
    options: Options
    output: Path | None
    samples: np.ndarray | None = field(repr=False)
    gain_db: float
    target_lufs: float | None
    limiter_most_db: float
    limiter_active_percent: float
    sides: tuple[Side, ...] = field(repr=False)
    curves: Mapping[str, EnvelopeMeter] = field(repr=False)
    histograms: Mapping[str, LevelHistogram] = field(repr=False)
    warnings: tuple[str, ...]

    @property
    def estimator(self) -> str:
        """Name of the estimator that chose the setting."""
        return self.decision.estimator

    @property
    def sample_rate(self) -> int:
        """Sample rate of input and output in Hz."""
        return self._side("before").sample_rate

    @functools.cached_property
    def audio(self) -> np.ndarray:
        """The rendered audio [C, T], full scale is 1; read from the file on first access.

        Raises:
            AudioError: the file was removed or is no longer readable.
        """
        if self.samples is not None:
            return self.samples
        assert self.output is not None
        return load(self.output).samples

    @functools.cached_property
    def settings(self) -> SettingsFile:
        """The settings file: readable, and exact when applied again."""
        roles = {"before": "input", "after": "output", "reference": "reference"}
        return SettingsFile(
            effect=self.decision.effect,
            setting={n: float(v[0]) for n, v in self.decision.setting.items()},
            sample_rate=self.sample_rate,
            estimator=self.estimator,
            strength=self.decision.strength,
            amount=self.options.amount,
            locks=self.options.locks,
            level_plan=LevelPlan(
                self.gain_db,
                self.target_lufs,
                self.options.true_peak_dbtp,
                self.limiter_most_db,
                self.limiter_active_percent,
            ),
            levels={r: self._levels(r) for r in roles if any(s.role == r for s in self.sides)},
            sources=tuple(
                Source(
                    roles[s.role],
                    f"preset {s.profile.name}" if s.profile else s.path.name,
                    s.sample_rate,
                    s.channels,
                    s.duration_s,
                )
                for s in self.sides
            ),
            notes=self.decision.notes,
            warnings=self.warnings,
        )

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the audio to another file; the extension decides the container.

        Args:
            path: where to write.
            force: replace an existing file.

        Raises:
            AudioError: the file exists or cannot be written.
        """
        audio, path = self.audio, Path(path)
        like = None if self.output is None else info(self.output)
        with AtomicWriter(
            path, like, sample_rate=self.sample_rate, channels=len(audio), force=force
        ) as writer:
            writer.write(audio)
        return path

    def _side(self, role: str) -> Side:
        return next(s for s in self.sides if s.role == role)

    def _levels(self, role: str) -> dict[str, float | None]:
        """Level figures of a role; several references are averaged."""
        own = [s for s in self.sides if s.role == role]
        known: list[Mapping[str, float | None]] = [s.levels.to_dict() for s in own if s.levels]
        known += [{"integrated_lufs": s.profile.loudness_lufs} for s in own if s.profile]
        found: dict[str, float | None] = {}
        for name in LEVEL_FIELDS:
            values = [v for d in known if (v := d.get(name)) is not None]
            found[name] = sum(values) / len(values) if values else None
        return found
