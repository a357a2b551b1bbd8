"""The default estimator: one dial from the reference's processing to its whole sound.

At strength 0 only what was done to the reference is copied, as far as it can be told from its
content (``Automatic``); at 1 the average spectrum and the spread of levels follow the reference in
full. Between them the wanted gain of every third octave and the wanted spread are interpolated. At
every strength the settings are fitted under the guarantee of ``retone.estimators.guard``, which is
checked on the rendered excerpt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch

from retone.dsp.effect import Effect, split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.short_levels import dynamics_db, noise_floor_change_db, short_levels_db
from retone.dsp.third_octaves import CENTRES_HZ
from retone.effects import EXPANDER_TABLE, SOUND_CHAIN, Chain, Compressor, CurveEqualizer, chain
from retone.effects.curve_equalizer import Phase
from retone.effects.equalizer import Equalizer
from retone.errors import AudioError, SettingError
from retone.estimators import bands_fit, curve_fit, spread_fit
from retone.estimators.automatic import Automatic
from retone.estimators.base import Estimate, Estimator, Excerpt, Reference, samples_of
from retone.estimators.closed_form import frequencies_in_words, normalised, split_locks
from retone.estimators.guard import TOLERATED_DB, Guard
from retone.estimators.profile import Profile
from retone.estimators.sound import SHORTEST_PAUSES_S, Sound, mean_of, sound_of
from retone.estimators.trial import Look, Trial, as_setting, level_db, response_db, scaled
from retone.progress import ESTIMATING, Progress, silent

STRENGTH, PRESET_STRENGTH = 0.9, 0.0
EqKind = Literal["bands", "curve"]
EQ_KINDS: tuple[EqKind, ...] = ("bands", "curve")
RENDERED_S = 30.0
STEPS = 4
ROUNDS, FITS, PATIENCE = 10, 2, 4
EASED = 0.75
CLOSE_DB = 0.1
MOST_LIFT_DB = 2.8
MISSING_DB = 0.5
TONE_LOSS_DB = 0.3
SETTLED_SHARES = (1.0, 0.7, 0.4)
LEAST_RATIO = 1.005
GATES_DB = (28.0, 24.0, 20.0, 16.0, 12.0)
GATE_RATIOS = (1.2, 1.5, 2.0, 3.0, 4.5)
"""An expander against noise: thresholds below the programme, and ratios."""
STEADY_DB = 1.0
WIDE = spread_fit.Grid(
    places=(0.0, 0.25, 0.5, 0.8, 1.0), pauses=(0.2, 0.5, 1.1, 2.2, 3.6)
)
ROUND_HZ = np.array([float(f"{hz:.1e}") for hz in CENTRES_HZ])
"""The bands' centres, rounded for notes."""


@dataclass(frozen=True)
class Matching:
    """Matches tone and dynamics to the references by ``strength``.

    Args:
        strength: 0 copies only the reference's processing, 1 its whole sound; None is
            ``STRENGTH`` for recordings and ``PRESET_STRENGTH`` for profiles.
        eq: ``"bands"``, six readable bands, or ``"curve"``, a gain per third octave.
        phase: of the curve.
        curve: limits of the curve.
        processing: estimator of the processing, used below strength 1.
    """

    name: str = "match"
    strength: float | None = None
    eq: EqKind = "bands"
    phase: Phase = "minimum"
    curve: curve_fit.CurveRules = curve_fit.CurveRules()
    processing: Estimator = field(default_factory=Automatic)

    def __post_init__(self) -> None:
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise SettingError(f"strength = {self.strength} is outside 0..1.")
        if self.eq not in EQ_KINDS:
            raise SettingError(f"eq = {self.eq!r}: expected one of {', '.join(EQ_KINDS)}.")

    @property
    def effect(self) -> Chain:
        """The chain that is set."""
        if self.eq == "bands":
            return SOUND_CHAIN
        return chain(
            "match_curve", CurveEqualizer(phase=self.phase), Compressor(table=EXPANDER_TABLE)
        )

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
        guard = Guard.of(own, reference)
        equalizer = _equalizer(chain, source.sample_rate, guard, fixed, self.curve)
        work = _Work(chain, source, guard)
        progress(ESTIMATING, 1, STEPS)
        s = self._strength(references)
        base, notes = self._processing(source, references, s)
        first = work.look({**base, **_tensors(fixed, base)}, SOUND_CHAIN)
        progress(ESTIMATING, 2, STEPS)
        if self.eq == "bands" and s == 0 and guard.excess_db(first.gain_db) <= 0:
            _put(base, "", fixed)
            base, _, held = work.quiet(base, first, as_setting(fixed))
            return Estimate(chain, base, notes + held, s)

        wanted = (1 - s) * first.gain_db + s * guard.need_db
        setting = chain.params.neutral(1)
        _put(setting, "compressor", split_numbers(base, "compressor"))
        _put(setting, "", fixed)
        start = split_numbers(base, "equalizer") if s < 1 and self.eq == "bands" else None
        added = np.zeros(len(wanted))
        points = bands_fit.INSIDE if self.eq == "bands" else (1.0,)
        if s == 0:
            added = first.gain_db - response_db(
                SOUND_CHAIN, base, guard, source.sample_rate, bands_fit.INSIDE
            )
        change = work.change_of_spread(own, reference, base if s < 1 else None, s)
        own_locks = split_locks(fixed, "compressor")
        best: tuple[float, Setting, Look] | None = None
        dynamics, programme = split_numbers(setting, "compressor"), None
        for number in range(ROUNDS):
            start = equalizer.fit(wanted, added, start, again=number > 0)
            _put(setting, equalizer.name, start)
            if s > 0 and number < FITS:
                dynamics, programme = work.compressor(setting, change, own_locks)
            elif programme is not None:
                earlier, programme = programme, work.programme_db(setting)
                dynamics = _shifted(dynamics, programme - earlier, own_locks)
            _put(setting, "compressor", dynamics)
            look = work.look(setting)
            broken = guard.excess_db(look.gain_db)
            if best is None or broken < max(best[0], CLOSE_DB):
                best = broken, dict(setting), look
            before = added
            added = look.gain_db - response_db(chain, setting, guard, source.sample_rate, points)
            if number >= FITS:
                added = 0.5 * (before + added)
            if broken <= CLOSE_DB and np.ptp((added - before)[guard.known]) < STEADY_DB:
                break
            if broken > CLOSE_DB and number >= PATIENCE:  # less dynamics, and less of what they add
                added, dynamics = EASED * added, _eased(dynamics, EASED, own_locks)
                if number >= 2 * PATIENCE:
                    wanted = EASED * wanted
        progress(ESTIMATING, 3, STEPS)
        assert best is not None
        setting, last = work.kept(best[1], best[2], as_setting(fixed))
        if s > 0:

            def refit(tried: Setting, seen: Look) -> Setting:
                more = seen.gain_db - response_db(chain, tried, guard, source.sample_rate, points)
                found = equalizer.fit(
                    wanted, more, split_numbers(tried, equalizer.name), again=True
                )
                toned = dict(tried)
                _put(toned, equalizer.name, found)
                _put(toned, "", fixed)
                moved = work.programme_db(toned) - work.programme_db(tried)
                _put(toned, "compressor", _shifted(split_numbers(tried, "compressor"), moved, own_locks))
                return toned

            setting, last = work.settled(setting, last, change, own_locks, refit)
        setting, last, held = work.quiet(setting, last, as_setting(fixed))
        level_db = (1 - s) * first.level_db + s * work.own_level_db
        _put(setting, "compressor", work.makeup(setting, level_db - last.level_db))
        _put(setting, "", fixed)
        progress(ESTIMATING, 4, STEPS)
        return Estimate(chain, setting, notes + _notes(guard, own) + held, s)

    def _strength(self, references: Sequence[Reference]) -> float:
        if self.strength is not None:
            return self.strength
        profiles = any(isinstance(r, Profile) for r in references)
        return PRESET_STRENGTH if profiles else STRENGTH

    def _processing(
        self, source: Excerpt, references: Sequence[Reference], strength: float
    ) -> tuple[Setting, tuple[str, ...]]:
        """The reference's processing as a setting of ``SOUND_CHAIN``; nothing at strength 1."""
        setting = SOUND_CHAIN.params.neutral(1)
        if strength == 1:
            return setting, ()
        found = self.processing.estimate(source, references, locks={})
        for name, value in found.setting.items():
            if name in setting:
                p = SOUND_CHAIN.params[name]
                setting[name] = value.double().clamp(p.low, p.high)
        return setting, found.notes if strength < 0.5 else ()


class _Fitted(Protocol):
    """An equaliser that can be set to a wanted gain."""

    @property
    def name(self) -> str: ...

    def fit(
        self, wanted_db: Array, added_db: Array, start: Mapping[str, float] | None, *, again: bool
    ) -> dict[str, float]: ...


@dataclass(frozen=True, eq=False)
class _Bands:
    effect: Equalizer
    guard: Guard
    sample_rate: int
    locks: Mapping[str, float]
    name: str = "equalizer"

    def fit(
        self, wanted_db: Array, added_db: Array, start: Mapping[str, float] | None, *, again: bool
    ) -> dict[str, float]:
        return bands_fit.fit(
            self.effect, self.guard, wanted_db, added_db, self.sample_rate, self.locks, start,
            again=again,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Curve:
    guard: Guard
    locks: Mapping[str, float]
    rules: curve_fit.CurveRules
    name: str

    def fit(
        self, wanted_db: Array, added_db: Array, start: Mapping[str, float] | None, *, again: bool
    ) -> dict[str, float]:
        return curve_fit.fit(self.guard, wanted_db, added_db, self.locks, self.rules)


def _equalizer(
    chain: Chain,
    sample_rate: int,
    guard: Guard,
    locks: Mapping[str, float],
    rules: curve_fit.CurveRules,
) -> _Fitted:
    first = chain.members[0]
    if isinstance(first, Equalizer):
        return _Bands(first, guard, sample_rate, split_locks(locks, "equalizer"))
    return _Curve(guard, split_locks(locks, first.name), rules, first.name)


class _Work(Trial):
    """An input whose tone and spread are measured with settings."""

    def __init__(self, chain: Chain, source: Excerpt, guard: Guard) -> None:
        audio = samples_of(normalised(source), round(RENDERED_S * source.sample_rate))
        super().__init__(chain, audio, source.sample_rate, guard)
        self.chain = chain
        passage = source.passage if source.passage.numel() else torch.as_tensor(audio)
        self.passage = passage[None, None]
        self.before_db = dynamics_db(passage.numpy(), self.rate)
        long = source.pauses.numel() >= SHORTEST_PAUSES_S * self.rate
        self.pauses = source.pauses[None, None] if long else None

    def spread_db(self, setting: Setting, effect: Effect) -> float:
        """Spread of the short-term levels after a setting."""
        with torch.no_grad():
            out = effect.render(self.passage, self.rate, setting).audio[0, 0].numpy()
        return dynamics_db(out, self.rate)

    def change_of_spread(
        self, own: Sound, reference: Sound, base: Setting | None, strength: float
    ) -> float:
        """Wanted change in dB of the spread; ``base`` is the processing's setting."""
        change = 0.0
        if base is not None:
            change = self.spread_db(base, SOUND_CHAIN) - self.before_db
        if reference.spread_db is None or own.spread_db is None:
            return change
        return (1 - strength) * change + strength * (reference.spread_db - own.spread_db)

    def compressor(
        self,
        setting: Setting,
        change_db: float,
        locks: Mapping[str, float],
        grid: spread_fit.Grid = spread_fit.Grid(),
    ) -> tuple[dict[str, float], float]:
        """A compressor behind this setting's equaliser that changes the input's spread, and the
        programme's level there."""
        equalizer, compressor = self.chain.members
        assert isinstance(compressor, Compressor)
        with torch.no_grad():
            own = split_setting(setting, equalizer.name)
            toned = equalizer.render(self.passage, self.rate, own).audio[0, 0]
            noise_db = None
            if self.pauses is not None:
                quiet = equalizer.render(self.pauses, self.rate, own).audio[0, 0]
                noise_db = level_db(quiet.numpy())
        signal = spread_fit.Signal(
            toned, self.passage[0, 0].numpy(), self.rate, compressor, noise_db
        )
        found = spread_fit.fit(
            signal, self.before_db + change_db, locks, grid, most_lift_db=spread_fit.NOISE_LIFT_DB
        )
        return found, signal.programme_db

    def programme_db(self, setting: Setting) -> float:
        """Level of the loudest twentieth behind this setting's equaliser."""
        equalizer = self.chain.members[0]
        with torch.no_grad():
            own = split_setting(setting, equalizer.name)
            toned = equalizer.render(self.passage, self.rate, own).audio[0, 0].numpy()
        return float(np.percentile(short_levels_db(toned, self.rate), 95.0))

    def lift_db(self, setting: Setting) -> float:
        """How far the noise in pauses rises against the programme; NaN without pauses."""
        with torch.no_grad():
            out = self.effect.render(self.passage, self.rate, setting).audio
        return noise_floor_change_db(self.passage[0].numpy(), out[0].numpy(), self.rate)

    def settled(
        self,
        setting: Setting,
        look: Look,
        change_db: float,
        locks: Mapping[str, float],
        refit: Callable[[Setting, Look], Setting],
    ) -> tuple[Setting, Look]:
        """The setting with its compressor fitted once more, behind the equaliser that was found, if
        the spread comes nearer and the guarantee holds, also where pauses sound.

        Args:
            setting: a setting, and ``look`` what it does.
            change_db: the wanted change of the spread.
            locks: fixed values of the compressor.
            refit: a setting with its equaliser fitted to what its compressor does.
        """
        wanted = self.before_db + change_db
        missing = abs(self.spread_db(setting, self.effect) - wanted)
        if missing < MISSING_DB:
            return setting, look
        whole = Trial(self.effect, self.passage[0, 0].numpy(), self.rate, self.guard)
        allowed = (*self._worth(look), *self._worth(whole.look(setting)))
        lift = max(MOST_LIFT_DB, self.lift_db(setting))
        found, _ = self.compressor(setting, change_db, locks, WIDE)
        for share in SETTLED_SHARES:
            tried = dict(setting)
            _put(tried, "compressor", _eased(found, share, locks))
            tried = refit(tried, self.look(tried))
            if abs(self.spread_db(tried, self.effect) - wanted) > missing - MISSING_DB:
                continue
            seen = self.look(tried)
            found_db = (*self._worth(seen), *self._worth(whole.look(tried)))
            slack = (0.0, -TONE_LOSS_DB) * 2
            if all(f + s <= a for f, s, a in zip(found_db, slack, allowed, strict=True)):
                if not self.lift_db(tried) > lift:
                    return tried, seen
        return setting, look

    def _worth(self, look: Look) -> tuple[float, float]:
        """How far the guarantee is broken, and what is missing in tone, in dB."""
        left = np.abs(self.guard.left_db(look.gain_db)[self.guard.matched])
        tone = float(left.mean()) if left.size else 0.0
        return max(TOLERATED_DB, self.guard.excess_db(look.gain_db)), tone + TONE_LOSS_DB

    def quiet(
        self, setting: Setting, look: Look, fixed: Setting
    ) -> tuple[Setting, Look, tuple[str, ...]]:
        """The setting, changed until the noise in pauses stays low, and a note.

        An expander lowers the pauses again if that is enough; else there is less compression, and
        then less tone.
        """

        def holds(tried: Setting, _: Look) -> bool:
            return not self.lift_db(tried) > MOST_LIFT_DB

        if holds(setting, look):
            return setting, look, ()
        gated = self._gated(setting, look, fixed)
        if gated is not None:
            return *gated, ()
        made = []
        ways = [("of the compression", self._less_compressed), ("of the tone", self._less_toned)]
        if float(setting["compressor.ratio"][0]) <= LEAST_RATIO:
            del ways[0]
        for text, eased in ways:
            setting, look, share = self.limited(setting, look, fixed, holds, eased)
            made.append(f"{100 * share:.0f} % {text}")
            if holds(setting, look):
                break
        note = (
            f"Only {' and '.join(made)} is made, so that the noise in pauses does not rise by more "
            "than 3 dB against the programme."
        )
        return setting, look, (note,)

    def _gated(
        self, setting: Setting, look: Look, fixed: Setting
    ) -> tuple[Setting, Look] | None:
        """The setting with the expander that lowers the pauses enough and keeps the spread nearest
        to what the setting gives; None if none does or the guarantee would be broken."""
        goal = self.spread_db(setting, self.effect)
        top = self.programme_db(setting)
        allowed = max(TOLERATED_DB, self.guard.excess_db(look.gain_db))
        found = []
        for below_db in GATES_DB:
            for ratio in GATE_RATIOS:
                at = float(np.clip(top - below_db, -100.0, spread_fit.HIGHEST_DB))
                tried = dict(setting)
                _put(tried, "compressor", {"expander_threshold_db": at, "expander_ratio": ratio})
                tried |= fixed
                if not self.lift_db(tried) > MOST_LIFT_DB:
                    found.append((abs(self.spread_db(tried, self.effect) - goal), tried))
                    break  # a higher ratio lowers them further than they have to
        for _, tried in sorted(found, key=lambda f: f[0]):
            seen = self.look(tried)
            if self.guard.excess_db(seen.gain_db) <= allowed:
                return tried, seen
        return None

    def _less_compressed(self, setting: Setting, share: float) -> Setting:
        """A share of the compression."""
        name = "compressor.ratio"
        return {**setting, name: scaled(self.effect, setting, share)[name]}

    def _less_toned(self, setting: Setting, share: float) -> Setting:
        """A share of the equaliser; the expander, which keeps pauses quiet, follows its level."""
        less = scaled(self.effect, setting, share)
        tried = {n: v if n.startswith("compressor.") else less[n] for n, v in setting.items()}
        moved = self.programme_db(tried) - self.programme_db(setting)
        _put(tried, "compressor", _shifted(split_numbers(setting, "compressor"), moved, {}))
        return tried

    def makeup(self, setting: Setting, gain_db: float) -> dict[str, float]:
        param = self.chain.params["compressor.makeup_db"]
        value = float(setting[param.name][0]) + gain_db
        return {"makeup_db": float(np.clip(value, param.low, param.high))}


def _notes(guard: Guard, own: Sound) -> tuple[str, ...]:
    """What was left alone, and why."""
    notes = []
    known = guard.known
    only_own = known & own.occupied & ~guard.matched
    for mask, text in (
        (known & ~own.occupied, "the input holds nothing; that range is not lifted."),
        (guard.held, "the input holds only noise; that range is not lifted."),
        (only_own, "the reference holds nothing; that range is not matched."),
    ):
        if mask.any() and guard.matched.any():
            place = frequencies_in_words(ROUND_HZ[known], mask[known])
            notes.append(f"{place} {text}")
    if not guard.matched.any():
        notes.append("The recordings have no frequency range in common; the tone is not matched.")
    return tuple(notes)


def split_numbers(setting: Setting, prefix: str) -> dict[str, float]:
    """A member's part of a setting as plain numbers."""
    return {n: float(v[0]) for n, v in split_setting(setting, prefix).items()}


def _eased(
    values: dict[str, float], share: float, locks: Mapping[str, float]
) -> dict[str, float]:
    """A share of a compressor's slopes."""
    slope = share * (1 - 1 / values["ratio"])
    expansion = 1 + share * (values["expander_ratio"] - 1)
    return values | {"ratio": 1 / (1 - slope), "expander_ratio": expansion} | dict(locks)


def _shifted(
    values: dict[str, float], by_db: float, locks: Mapping[str, float]
) -> dict[str, float]:
    """A compressor whose input has become louder or quieter."""
    moved = {
        n: float(np.clip(values[n] + by_db, -100.0, spread_fit.HIGHEST_DB))
        for n in ("threshold_db", "expander_threshold_db")
        if values[n] > -100.0
    }
    return values | moved | dict(locks)


def _tensors(values: Mapping[str, float], known: Setting) -> Setting:
    return {n: torch.tensor([v], dtype=torch.float64) for n, v in values.items() if n in known}


def _put(setting: Setting, prefix: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        full = f"{prefix}.{name}" if prefix else name
        setting[full] = torch.tensor([value], dtype=torch.float64)
