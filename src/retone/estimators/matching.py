"""The default estimator: one dial from the reference's processing to its whole sound.

At strength 0 only what was done to the reference is copied, as far as it can be told from its
content (``Automatic``); at 1 the average spectrum and the spread of levels follow the reference in
full. Between them the wanted gain of every third octave and the wanted spread are interpolated. At
every strength the settings are fitted under the guarantee of ``retone.estimators.guard``, which is
checked on the rendered excerpt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from retone.dsp.effect import Effect
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.short_levels import octave_dynamics_db
from retone.dsp.third_octaves import NOMINAL_HZ
from retone.effects import (
    EXPANDER_TABLE,
    SOUND_CHAIN,
    Chain,
    Compressor,
    CurveEqualizer,
    MidSide,
    MultibandEqualizer,
    chain,
)
from retone.effects.curve_equalizer import PHASES, Phase
from retone.effects.equalizer import Equalizer
from retone.errors import AudioError, SettingError, expect_number
from retone.estimators import bands_fit, curve_fit, octave_fit
from retone.estimators.automatic import Automatic
from retone.estimators.base import Estimate, Estimator, Excerpt, Reference
from retone.estimators.closed_form import LITTLE_NOTE, OFF_NOTE, frequencies_in_words, split_locks
from retone.estimators.guard import LEAST_BANDS, TOLERATED_DB, Guard
from retone.estimators.match_fit import LEAST_RATIO, Fitted, MatchFit, put, split_numbers
from retone.estimators.profile import Profile
from retone.estimators.shipped import FRAMES_MISSING
from retone.estimators.side_fit import SideFit
from retone.estimators.sound import Sound, mean_of, sound_of
from retone.estimators.trial import Look, as_setting, response_db
from retone.progress import ESTIMATING, Progress, silent

STRENGTH, PRESET_STRENGTH = 0.9, 0.0
EqKind = Literal["bands", "curve"]
EQ_KINDS: tuple[EqKind, ...] = ("bands", "curve")
DynamicsKind = Literal["broadband", "multiband"]
DYNAMICS_KINDS: tuple[DynamicsKind, ...] = ("broadband", "multiband")
StereoKind = Literal["linked", "mid-side"]
STEREO_KINDS: tuple[StereoKind, ...] = ("linked", "mid-side")
KINDS: dict[str, tuple[str, ...]] = {
    "eq": EQ_KINDS,
    "dynamics": DYNAMICS_KINDS,
    "stereo": STEREO_KINDS,
}
"""Choices of ``Matching`` by field; the first of each is the default."""
STEPS = 4
SHORT_S = 2.0
"""Chosen on voices of a dev split: shorter ones break the guarantee far more often."""
LITTLE_TONE_DB = 1.0
NEAR_PROCESSING = 0.5
"""Below this strength networks estimate the processing, and the six bands begin near it."""
LARGE_TONE_DB, LARGE_RATIO = 2.5, 1.5
"""Beyond these a match of speech often lowers its predicted quality (DNSMOS) by more than 0.1."""
_INCOMPLETE = frozenset(FRAMES_MISSING.values())


@dataclass(frozen=True)
class Matching:
    """Matches tone and dynamics to the references by ``strength``.

    Args:
        strength: 0 copies only the reference's processing, 1 its whole sound; None is
            ``STRENGTH`` for recordings and ``PRESET_STRENGTH`` for profiles.
        eq: ``"bands"``, six readable bands, or ``"curve"``, a gain per third octave.
        dynamics: ``"broadband"``, one compressor, or ``"multiband"``, six bands before it.
        stereo: ``"linked"``, both channels alike, or ``"mid-side"``, the tone of mid and side apart
            and the width.
        phase: of the curve.
        curve: limits of the curve.
        processing: estimator of the processing, used below strength 1; the ``caution`` of one
            that has such a field becomes 1 - strength. The default, ``Automatic``, uses networks
            at strength 0 and the closed form from ``NEAR_PROCESSING`` on, where networks come no
            nearer to a reference; in between the two are mixed.
    """

    name: str = "match"
    strength: float | None = None
    eq: EqKind = "bands"
    dynamics: DynamicsKind = "broadband"
    stereo: StereoKind = "linked"
    phase: Phase = "minimum"
    curve: curve_fit.CurveRules = curve_fit.CurveRules()
    processing: Estimator = field(default_factory=Automatic)

    def __post_init__(self) -> None:
        if self.strength is not None:
            expect_number(self.strength, "strength", 0, 1)
        if self.phase not in PHASES:
            raise SettingError(f"eq_phase = {self.phase!r}: expected one of {', '.join(PHASES)}.")
        for name, kinds in KINDS.items():
            value = getattr(self, name)
            if value not in kinds:
                raise SettingError(f"{name} = {value!r}: expected one of {', '.join(kinds)}.")

    @property
    def wants_side(self) -> bool:
        """Whether excerpts need ``Excerpt.side``."""
        return self.stereo == "mid-side"

    @property
    def effect(self) -> Chain:
        """The chain that is set."""
        if (self.eq, self.dynamics, self.stereo) == ("bands", "broadband", "linked"):
            return SOUND_CHAIN
        tone: Effect = Equalizer() if self.eq == "bands" else CurveEqualizer(phase=self.phase)
        if self.wants_side:
            tone = MidSide(mid=tone, side=tone)
        ahead = (MultibandEqualizer(),) if self.dynamics == "multiband" else ()
        name = "match_curve" if self.eq == "curve" else "sound"
        return chain(name, *ahead, tone, Compressor(table=EXPANDER_TABLE))

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting of ``effect``; see ``Estimator.estimate``.

        Raises:
            AudioError: there is no reference, or a recording is silent.
            SettingError: a lock names no parameter or is out of range.
        """
        if not references:
            raise AudioError("there is no reference. Give at least one reference recording.")
        chain = self.effect
        checked = chain.params.setting(locks)
        fixed = {name: float(checked[name][0]) for name in locks}
        own, reference = sound_of(source), mean_of([sound_of(r) for r in references])
        inside = self.curve.inside if self.eq == "curve" else None
        guard = Guard.of(own, reference, inside)
        progress(ESTIMATING, 1, STEPS)
        s = self._strength(references)
        parts = self._processing(source, references, s)
        base, notes = parts[0].setting, _notes_of(parts) + _short(source, references)
        equalizer = self._equalizer(source.sample_rate, guard, fixed, start=_start(base, s))
        work = MatchFit(chain, source, guard, equalizer, fixed)
        own_locks = as_setting({n: v for n, v in fixed.items() if n in base})
        looks = [work.look({**part.setting, **own_locks}, SOUND_CHAIN) for part in parts]
        shares = np.array([part.share for part in parts])
        gain_db = shares @ np.stack([look.gain_db for look in looks])
        first = Look(gain_db, float(shares @ [look.level_db for look in looks]))
        progress(ESTIMATING, 2, STEPS)
        if chain is SOUND_CHAIN and s == 0 and guard.excess_db(first.gain_db) <= 0:
            put(base, "", fixed)
            base, _, held = work.quiet(base, first, as_setting(fixed))
            put(base, "", fixed)
            return Estimate(chain, base, notes + held, s)

        wanted = (1 - s) * first.gain_db + s * guard.need_db
        added = np.zeros(len(wanted))
        if s == 0:
            added = first.gain_db - response_db(
                SOUND_CHAIN, base, guard, source.sample_rate, bands_fit.INSIDE
            )
        changes = [
            work.change_of_spread(own, reference, part.setting if s < 1 else None, s)
            for part in parts
        ]
        change = float(shares @ changes)
        dynamics = split_numbers(base, "compressor")
        if self.dynamics == "multiband":
            notes += self._octaves(work, references, s)
        found = work.search(wanted, added, dynamics, change if s > 0 else None)
        if s > 0 and found.broken_db > TOLERATED_DB:
            ahead, work.ahead = work.ahead, {}
            still = work.search(wanted, 0 * wanted, {}, None)
            work.ahead = ahead
            found = min(found, still, key=lambda f: f.broken_db)
        progress(ESTIMATING, 3, STEPS)
        setting, last = work.kept(found.setting, found.look, as_setting(fixed))
        if s > 0:
            setting, last = work.settled(setting, last, wanted, change)
        setting, last, held = work.quiet(setting, last, as_setting(fixed))
        level_db = (1 - s) * first.level_db + s * work.own_level_db
        put(setting, "compressor", work.makeup(setting, level_db - last.level_db))
        put(setting, "", fixed)
        if self.wants_side:
            side = SideFit(chain, source, references, s, first.gain_db, fixed, inside)
            setting, more = side.fit(setting, self._equalizer)
            held += more
        progress(ESTIMATING, 4, STEPS)
        large = _large_change(guard, last.gain_db, setting)
        notes = _still_true(notes, guard, last.gain_db, setting)
        return Estimate(chain, setting, notes + _notes(guard, own, reference) + held + large, s)

    def _octaves(
        self, work: MatchFit, references: Sequence[Reference], strength: float
    ) -> tuple[str, ...]:
        """Fit the multiband dynamics that stand in front, and a note if that is not possible."""
        recordings = [r for r in references if isinstance(r, Excerpt)]
        if not recordings:
            return ("A profile holds no dynamics of single bands; those stay as they are.",)
        multiband = work.chain.members[0]
        assert isinstance(multiband, MultibandEqualizer)
        passage = work.passage[0, 0]
        own = octave_dynamics_db(passage.numpy(), work.rate)
        rows = [
            octave_dynamics_db((r.passage if r.passage.numel() else r.audio).numpy(), r.sample_rate)
            for r in recordings
        ]
        change = strength * (np.stack(rows) - own)
        known = np.isfinite(change)
        mean = np.where(known, change, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        goal = np.where(known.any(axis=0), mean, np.nan)
        locks = split_locks(work.fixed, multiband.name)
        found = octave_fit.fit(multiband, passage, work.rate, goal, locks)
        work.ahead = {f"{multiband.name}.{n}": v for n, v in found.items()}
        return ()

    def _equalizer(
        self,
        sample_rate: int,
        guard: Guard,
        locks: Mapping[str, float],
        part: str = "mid",
        start: Mapping[str, float] | None = None,
    ) -> Fitted:
        """How the chain's equaliser is fitted, or that of the mid or side."""
        member = self.effect.members[-2]
        name = member.name
        if isinstance(member, MidSide):
            name, member = f"{name}.{part}", getattr(member, part)
        own = split_locks(locks, name)
        if isinstance(member, Equalizer):
            return _Bands(name, member, guard, sample_rate, own, start)
        return _Curve(name, guard, own, self.curve)

    def _strength(self, references: Sequence[Reference]) -> float:
        if self.strength is not None:
            return self.strength
        profiles = any(isinstance(r, Profile) for r in references)
        return PRESET_STRENGTH if profiles else STRENGTH

    def _processing(
        self, source: Excerpt, references: Sequence[Reference], strength: float
    ) -> list[_Processing]:
        """The reference's processing as settings of ``SOUND_CHAIN``; nothing at strength 1."""
        neutral = SOUND_CHAIN.params.neutral(1)
        if strength == 1:
            return [_Processing(1.0, neutral, ())]
        estimators: list[tuple[float, Any]] = [(1.0, self.processing)]
        recordings = all(isinstance(r, Excerpt) for r in references)
        if isinstance(self.processing, Automatic) and recordings:
            share = max(0.0, 1 - strength / NEAR_PROCESSING)
            estimators = [(share, self.processing), (1 - share, self.processing.otherwise)]
        parts = []
        for share, processing in estimators:
            if not share:
                continue
            if hasattr(processing, "caution"):
                processing = replace(processing, caution=1 - strength)
            found = processing.estimate(source, references, locks={})
            setting = dict(neutral)
            for name, value in found.setting.items():
                if name in setting:
                    p = SOUND_CHAIN.params[name]
                    setting[name] = value.double().clamp(p.low, p.high)
            kept = (n for n in found.notes if strength < NEAR_PROCESSING or n in _INCOMPLETE)
            parts.append(_Processing(share, setting, tuple(kept)))
        return parts


class _Processing(NamedTuple):
    """A setting that holds the processing, its share of the whole, and notes for the user."""

    share: float
    setting: Setting
    notes: tuple[str, ...]


def _notes_of(parts: Sequence[_Processing]) -> tuple[str, ...]:
    """The notes of the part that counts most, and any on an incomplete installation."""
    notes = max(parts, key=lambda part: part.share).notes
    others = (n for part in parts for n in part.notes if n in _INCOMPLETE)
    return tuple(dict.fromkeys((*notes, *others)))


def _short(source: Excerpt, references: Sequence[Reference]) -> tuple[str, ...]:
    """A note if too little of a recording sounds for levels of bands that mean something."""
    recordings = [source, *(r for r in references if isinstance(r, Excerpt))]
    seconds = [len(r.audio) / r.sample_rate for r in recordings]
    at = int(np.argmin(seconds))
    if seconds[at] >= SHORT_S:
        return ()
    return (
        f"Only {seconds[at]:.1f} s of {'a reference' if at else 'the recording'} sound, so its "
        f"levels are those of single sounds: some bands may end further from the reference. Use "
        f"one of {SHORT_S:g} s or more.",
    )


@dataclass(frozen=True, eq=False)
class _Bands:
    name: str
    effect: Equalizer
    guard: Guard
    sample_rate: int
    locks: Mapping[str, float]
    start: Mapping[str, float] | None
    points: tuple[float, ...] = bands_fit.INSIDE

    def fit(self, wanted_db: Array, added_db: Array) -> dict[str, float]:
        return bands_fit.fit(
            self.effect, self.guard, wanted_db, added_db, self.sample_rate, self.locks, self.start
        )


@dataclass(frozen=True, eq=False)
class _Curve:
    name: str
    guard: Guard
    locks: Mapping[str, float]
    rules: curve_fit.CurveRules
    points: tuple[float, ...] = (1.0,)

    def fit(self, wanted_db: Array, added_db: Array) -> dict[str, float]:
        return curve_fit.fit(self.guard, wanted_db, added_db, self.locks, self.rules)


def _start(base: Setting, strength: float) -> dict[str, float]:
    """Where the fit of six bands begins: at the processing's, the more the lower the strength."""
    share = max(0.0, 1 - strength / NEAR_PROCESSING)
    usual, own = bands_fit.usual_start(Equalizer()), split_numbers(base, "equalizer")
    found = {}
    for p in Equalizer().params:
        one, other = usual[p.name], own[p.name]
        if p.role == "gain":
            found[p.name] = (1 - share) * one + share * other
        else:
            found[p.name] = one ** (1 - share) * other**share
    return found


def _notes(guard: Guard, own: Sound, reference: Sound) -> tuple[str, ...]:
    """What was left alone, and why."""
    notes = []
    known = guard.known
    only_own = known & own.occupied & ~reference.occupied
    for mask, text in (
        (known & ~own.occupied, "the input holds nothing; that range is not lifted."),
        (guard.held & ~own.noise, "the input holds next to nothing; that range is not lifted."),
        (guard.held & own.noise, "the input holds only noise; that range is not lifted."),
        (only_own, "the reference holds nothing; that range is not matched."),
    ):
        if mask.any() and guard.matched.any():
            place = frequencies_in_words(NOMINAL_HZ[known], mask[known])
            notes.append(f"{place} {text}")
    if not guard.matched.any():
        apart = (own.occupied & reference.occupied).sum() < LEAST_BANDS
        why = "The recordings have no" if apart else "The curve's limits leave no"
        notes.append(f"{why} frequency range in common; the tone is not matched.")
    return tuple(notes)


def _tone_change_db(guard: Guard, gain_db: Array) -> float:
    """How much the tone of the matched bands changes: mean over them, at equal level."""
    gains = gain_db[guard.matched]
    return float(np.abs(gains - np.median(gains)).mean()) if gains.size else 0.0


def _still_true(
    notes: tuple[str, ...], guard: Guard, gain_db: Array, setting: Setting
) -> tuple[str, ...]:
    """Notes on the processing, without those that the whole setting overtook."""
    ratios = [float(setting[f"compressor.{name}"][0]) for name in ("ratio", "expander_ratio")]
    overtaken = set()
    if _tone_change_db(guard, gain_db) > LITTLE_TONE_DB or max(ratios) >= LARGE_RATIO:
        overtaken.add(LITTLE_NOTE)
    if ratios[0] > LEAST_RATIO:
        overtaken.add(OFF_NOTE)
    return tuple(note for note in notes if note not in overtaken)


def _large_change(guard: Guard, gain_db: Array, setting: Setting) -> tuple[str, ...]:
    """A note where the match changes so much that speech often sounds less natural."""
    parts = []
    tone_db = _tone_change_db(guard, gain_db)
    if tone_db > LARGE_TONE_DB:
        parts.append(f"the tone changes by {tone_db:.0f} dB on average")
    if float(setting["compressor.ratio"][0]) >= LARGE_RATIO:
        parts.append("loud passages are compressed strongly")
    if float(setting["compressor.expander_ratio"][0]) >= LARGE_RATIO:
        parts.append("quiet passages are lowered strongly")
    if not parts:
        return ()
    what = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return (
        f"A large change: in full, {what}. If it sounds unnatural, lower the strength or the "
        "amount.",
    )
