"""The search behind a match: an equaliser and a compressor in turn, under the guarantee.

A compressor changes the tone, and an equaliser the dynamics, so each is fitted again behind the
other. What the compressor adds to the equaliser's response is measured on the rendered excerpt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from retone.dsp.effect import Effect, split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.short_levels import (
    SHORT_S,
    Floor,
    dynamics_db,
    noise_floor_change_db,
    short_levels_db,
)
from retone.dsp.third_octaves import third_octave_levels_db
from retone.effects import SOUND_CHAIN, Chain, Compressor
from retone.estimators import spread_fit
from retone.estimators.base import Excerpt, samples_of
from retone.estimators.closed_form import normalised, split_locks
from retone.estimators.guard import TOLERATED_DB, Guard
from retone.estimators.sound import SHORTEST_PAUSES_S, Sound
from retone.estimators.trial import Look, Trial, level_db, response_db, scaled

RENDERED_S = 30.0
ROUNDS, FITS, PATIENCE = 12, 2, 4
EASED, EASED_NEAR, LEAST_SLOPE, NEAR_BANDS = 0.6, 1.5, 0.08, 4
NO_DYNAMICS = {"ratio": 1.0, "expander_ratio": 1.0}
CLOSE_DB = 0.1
MOST_LIFT_DB, MOST_LIFT_STEREO_DB = 2.8, 1.6
"""How far noise may rise in the mix; of two channels its pauses are not quite those of the mix."""
MISSING_DB, TONE_LOSS_DB, TONE_LOSS_SHARE = 0.5, 0.3, 0.08
"""How far the spread must miss for another compressor, and what that may cost in tone: an amount,
or a share of what the spread comes nearer."""
SETTLED_SHARES, REFITS = (1.0, 0.7, 0.4), 2
LEAST_RATIO = 1.005
GATES_DB = (28.0, 24.0, 20.0, 16.0, 12.0)
GATE_RATIOS = (1.2, 1.5, 2.0, 3.0, 4.5)
"""An expander against noise: thresholds below the programme, and ratios."""
NOISE_TRIES, NOISE_REACH, NOISE_STEP_DB = 7, 1.5, 0.5
"""Less tone in bands with noise: tries, the furthest as a multiple of the first, largest step."""
LEAST_HELP = 1e-4
"""Easing stops where no band's gain moves the noise by more, in dB for each dB."""
NOISE_NOTE = (
    "{}, so that the noise in pauses does not rise by more than 3 dB against the programme."
)
STEADY_DB = 1.0
WIDE = spread_fit.Grid(places=(0.0, 0.25, 0.5, 0.8, 1.0), pauses=(0.2, 0.5, 1.1, 2.2, 3.6))


class Fitted(Protocol):
    """An equaliser that can be set to a wanted gain."""

    @property
    def name(self) -> str:
        """Where its parameters stand in the chain."""

    @property
    def points(self) -> tuple[float, ...]:
        """Where in a third octave its response is read, as multiples of the centre."""

    def fit(self, wanted_db: Array, added_db: Array) -> dict[str, float]: ...


@dataclass(frozen=True, eq=False)
class Found:
    """A setting, what it does, and how far it breaks the guarantee in dB."""

    broken_db: float
    setting: Setting
    look: Look


class MatchFit(Trial):
    """The search for the setting of an equaliser and a compressor that makes an input match.

    Args:
        chain: an equaliser, perhaps behind other effects, and a compressor with an expander.
        source: the input.
        guard: what each band needs.
        equalizer: the chain's equaliser, and how it is fitted.
        fixed: parameters that stay as they are, under their full names.
    """

    def __init__(
        self,
        chain: Chain,
        source: Excerpt,
        guard: Guard,
        equalizer: Fitted,
        fixed: Mapping[str, float],
    ) -> None:
        audio = samples_of(normalised(source), round(RENDERED_S * source.sample_rate))
        super().__init__(chain, audio, source.sample_rate, guard)
        self.chain, self.equalizer, self.fixed = chain, equalizer, dict(fixed)
        self.source = source
        stereo = source.tone_db is not None or source.side is not None
        self.most_lift_db = MOST_LIFT_STEREO_DB if stereo else MOST_LIFT_DB
        self.front = Chain("front", chain.members[:-1])
        self.ahead: Setting = {}
        self.locks = split_locks(fixed, "compressor")
        self.points = equalizer.points
        passage = source.passage if source.passage.numel() else torch.as_tensor(audio)
        self.passage = passage[None, None]
        self.before_db = dynamics_db(passage.numpy(), self.rate)
        long = source.pauses.numel() >= SHORTEST_PAUSES_S * self.rate
        self.pauses = source.pauses[None, None] if long else None

    def search(
        self,
        wanted_db: Array,
        added_db: Array,
        dynamics: Mapping[str, float],
        change_db: float | None,
    ) -> Found:
        """Equaliser and compressor in turn, until what the compressor does to the tone is allowed
        for and the guarantee holds.

        Args:
            wanted_db: [F] the gain to reach.
            added_db: [F] what the compressor is expected to add to the equaliser's response.
            dynamics: compressor to begin with.
            change_db: wanted change of the spread; None keeps the compressor.
        """
        setting, best = self.chain.params.neutral(1) | self.ahead, None
        put(setting, "compressor", dynamics)
        values, programme = split_numbers(setting, "compressor"), None
        for number in range(ROUNDS):
            put(setting, self.equalizer.name, self.equalizer.fit(wanted_db, added_db))
            if change_db is not None and number < FITS:
                values, programme = self.compressor(setting, change_db)
            elif programme is not None:
                earlier, programme = programme, self.programme_db(setting)
                values = _shifted(values, programme - earlier, self.locks)
            put(setting, "compressor", values)
            put(setting, "", self.fixed)
            look = self.look(setting)
            broken = self.guard.excess_db(look.gain_db)
            if best is None or broken < max(best.broken_db, CLOSE_DB):
                best = Found(broken, dict(setting), look)
            before, added_db = added_db, self._added_db(setting, look)
            if number >= FITS:
                added_db = 0.5 * (before + added_db)
            if broken <= CLOSE_DB and np.ptp((added_db - before)[self.guard.known]) < STEADY_DB:
                break
            if broken > CLOSE_DB and number >= PATIENCE:
                band = self.guard.weakest(look.gain_db)
                if not _acts(values) or self._breaks_alone(setting, band):
                    wanted_db = _eased_near(wanted_db, band, broken, look.gain_db, self.guard)
                else:  # less dynamics, and less of what they add
                    added_db, values = EASED * added_db, _eased(values, EASED, self.locks)
        assert best is not None
        return best

    def _breaks_alone(self, setting: Setting, band: int) -> bool:
        """Whether the equaliser breaks the guarantee near a band without the compressor too."""
        toned = dict(setting)
        put(toned, "compressor", NO_DYNAMICS)
        put(toned, "", self.fixed)
        gain_db = self.look(toned).gain_db
        near = abs(self.guard.weakest(gain_db) - band) < NEAR_BANDS
        return near and self.guard.excess_db(gain_db) > CLOSE_DB

    def _added_db(self, setting: Setting, look: Look) -> Array:
        """What a setting does to the tone besides its equaliser's response."""
        return look.gain_db - response_db(self.chain, setting, self.guard, self.rate, self.points)

    def refit(self, setting: Setting, wanted_db: Array) -> Setting:
        """A setting with its equaliser fitted to what its compressor does."""
        toned = dict(setting)
        name = self.equalizer.name
        added_db = self._added_db(setting, self.look(setting))
        put(toned, name, self.equalizer.fit(wanted_db, added_db))
        put(toned, "", self.fixed)
        moved = self.programme_db(toned) - self.programme_db(setting)
        dynamics = _shifted(split_numbers(setting, "compressor"), moved, self.locks)
        put(toned, "compressor", dynamics)
        return toned

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
        grid: spread_fit.Grid = spread_fit.USUAL,
    ) -> tuple[dict[str, float], float]:
        """A compressor behind this setting's equaliser that changes the input's spread, and the
        programme's level there."""
        compressor = self.chain.members[-1]
        assert isinstance(compressor, Compressor)
        toned = self._toned(setting, self.passage)
        noise_db = None
        if self.pauses is not None:
            noise_db = level_db(self._toned(setting, self.pauses).numpy())
        signal = spread_fit.Signal(
            toned, self.passage[0, 0].numpy(), self.rate, compressor, noise_db
        )
        found = spread_fit.fit(
            signal,
            self.before_db + change_db,
            self.locks,
            grid,
            most_lift_db=min(spread_fit.NOISE_LIFT_DB, self.most_lift_db),
            change_db=change_db,
        )
        return found, signal.programme_db

    def programme_db(self, setting: Setting) -> float:
        """Level of the loudest twentieth in front of the compressor."""
        toned = self._toned(setting, self.passage).numpy()
        return float(np.percentile(short_levels_db(toned, self.rate), 95.0))

    def _toned(self, setting: Setting, audio: torch.Tensor) -> torch.Tensor:
        """Audio [1, 1, T] as the compressor receives it, [T]."""
        own = {n: setting[n] for n in self.front.params.names}
        return self._passed(own, self.front, audio)

    def lift_db(self, setting: Setting) -> float:
        """How far the noise in pauses rises against the programme; NaN without pauses."""
        out = self._passed(setting, self.effect, self.passage)
        return noise_floor_change_db(self.passage[0, 0].numpy(), out.numpy(), self.rate)

    def _passed(self, setting: Setting, effect: Effect, audio: torch.Tensor) -> torch.Tensor:
        """Audio [1, 1, T] behind a setting of an effect, [T], without the latency of a linear
        phase."""
        late = effect.latency_samples(self.rate)
        padded = torch.nn.functional.pad(audio, (0, late))
        with torch.no_grad():
            return effect.render(padded, self.rate, setting).audio[0, 0, late:]

    def settled(
        self, setting: Setting, look: Look, wanted_db: Array, change_db: float
    ) -> tuple[Setting, Look]:
        """The setting with its compressor fitted once more, behind the equaliser that was found, if
        the spread comes nearer and the guarantee holds, also where pauses sound.

        Args:
            setting: a setting, and ``look`` what it does.
            wanted_db: [F] the gain to reach.
            change_db: the wanted change of the spread.
        """
        wanted = self.before_db + change_db
        missing = abs(self.spread_db(setting, self.effect) - wanted)
        if missing < MISSING_DB:
            return setting, look
        whole = Trial(self.effect, self.passage[0, 0].numpy(), self.rate, self.guard)
        allowed = self._worth(look, whole.look(setting))
        lift = max(self.most_lift_db, self.lift_db(setting))
        found, _ = self.compressor(setting, change_db, WIDE)
        for share in SETTLED_SHARES:
            tried = dict(setting)
            put(tried, "compressor", _eased(found, share, self.locks))
            for _ in range(REFITS):
                tried = self.refit(tried, wanted_db)
                gained = missing - abs(self.spread_db(tried, self.effect) - wanted)
                if gained < MISSING_DB or self.lift_db(tried) > lift:
                    break
                seen = self.look(tried)
                loss = max(TONE_LOSS_DB, TONE_LOSS_SHARE * gained)
                if np.all(self._worth(seen, whole.look(tried)) <= np.add(allowed, (0.0, loss))):
                    return tried, seen
        return setting, look

    def _worth(self, *looks: Look) -> Array:
        """How far each look breaks the guarantee, and what is missing in tone, in dB [N, 2]."""
        rows = []
        for look in looks:
            left = np.abs(self.guard.left_db(look.gain_db)[self.guard.matched])
            tone = float(left.mean()) if left.size else 0.0
            rows.append((max(TOLERATED_DB, self.guard.excess_db(look.gain_db)), tone))
        return np.array(rows)

    def quiet(
        self, setting: Setting, look: Look, fixed: Setting
    ) -> tuple[Setting, Look, tuple[str, ...]]:
        """The setting, changed until the noise in pauses stays low, and a note.

        An expander lowers the pauses again if that is enough; else there is less compression, then
        less tone in bands that hold noise, and then less tone.
        """

        def holds(tried: Setting, _: Look) -> bool:
            return not self.lift_db(tried) > self.most_lift_db

        if holds(setting, look):
            return setting, look, ()
        gated = self._gated(setting, look, fixed)
        if gated is not None:
            return *gated, ()
        made = []
        ways = []
        if self.ahead:
            ways.append(("of the dynamics of single bands", self._less_ahead))
        if float(setting["compressor.ratio"][0]) > LEAST_RATIO:
            ways.append(("of the compression", self._less_compressed))
        for text, eased in ways:
            setting, look, share = self.limited(setting, look, fixed, holds, eased)
            made.append(f"{part_made(share)} {text} is made")
            if holds(setting, look):
                return setting, look, (NOISE_NOTE.format(_sentence(made)),)
        found = self._less_noisy(setting, look, fixed, holds)
        allowed = max(TOLERATED_DB, self.guard.excess_db(look.gain_db))

        def both_hold(tried: Setting, seen: Look) -> bool:
            return holds(tried, seen) and self.guard.excess_db(seen.gain_db) <= allowed

        def lost_db(seen: Look) -> float:
            lost = (seen.gain_db - look.gain_db)[self.guard.occupied]
            return float(np.abs(lost - np.median(lost)).mean()) if lost.size else 0.0

        less, seen, share = self.limited(setting, look, fixed, both_hold, self._less_toned)
        if found is not None and lost_db(found[1]) <= lost_db(seen):
            made.append("the tone changes less in bands that hold noise")
            return *found, (NOISE_NOTE.format(_sentence(made)),)
        made.append(f"{part_made(share)} of the tone is made")
        return less, seen, (NOISE_NOTE.format(_sentence(made)),)

    def _gated(self, setting: Setting, look: Look, fixed: Setting) -> tuple[Setting, Look] | None:
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
                put(tried, "compressor", {"expander_threshold_db": at, "expander_ratio": ratio})
                tried |= fixed
                if not self.lift_db(tried) > self.most_lift_db:
                    found.append((abs(self.spread_db(tried, self.effect) - goal), tried))
                    break  # a higher ratio lowers them further than they have to
        for _, tried in sorted(found, key=lambda f: f[0]):
            seen = self.look(tried)
            if self.guard.excess_db(seen.gain_db) <= allowed:
                return tried, seen
        return None

    def _less_noisy(
        self, setting: Setting, look: Look, fixed: Setting, holds: Callable[[Setting, Look], bool]
    ) -> tuple[Setting, Look] | None:
        """The setting with less tone in the bands that bring up the noise; None if that is not
        enough, or the guarantee would be broken."""
        powers = self._powers(setting)
        if powers is None:
            return None
        added_db = self._added_db(setting, look)
        allowed = max(TOLERATED_DB, self.guard.excess_db(look.gain_db))
        low_db, high_db = 0.0, NOISE_REACH * (self.lift_db(setting) - self.most_lift_db)
        best, less_db = None, look.gain_db
        for number in range(NOISE_TRIES):
            by_db = 0.5 * (low_db + high_db) if number else high_db / NOISE_REACH
            before, less_db = less_db, less_noisy(look.gain_db, *powers, by_db)
            if np.array_equal(before, less_db):  # no more can be had
                break
            tried = dict(setting)
            put(tried, self.equalizer.name, self.equalizer.fit(less_db, added_db))
            moved = self.programme_db(tried) - self.programme_db(setting)
            put(tried, "compressor", _shifted(split_numbers(setting, "compressor"), moved, {}))
            tried |= fixed
            if self.lift_db(tried) > self.most_lift_db:
                low_db = by_db
                continue
            high_db = by_db
            seen, good = self.look(tried), True
            if self.guard.excess_db(seen.gain_db) > allowed:
                tried = self.refit(tried, less_db) | fixed
                seen = self.look(tried)
                good = holds(tried, seen) and self.guard.excess_db(seen.gain_db) <= allowed
            if good:
                best = tried, seen
        return best

    def _powers(self, setting: Setting) -> tuple[Array, Array] | None:
        """Power [F] of the noise and of the programme behind a setting; None without pauses."""
        floor = Floor(short_levels_db(self.passage[0].numpy(), self.rate))
        if np.isnan(floor.before_db):
            return None
        out = self._passed(setting, self.effect, self.passage).double().numpy()
        size = max(1, round(SHORT_S * self.rate))
        frames = out[: len(out) // size * size].reshape(-1, size) * np.hanning(size)
        powers = []
        for some in (floor.quiet, floor.loud):
            power = 10 ** (third_octave_levels_db(frames[some].ravel(), self.rate) / 10)
            powers.append(np.where(self.guard.known, np.nan_to_num(power), 0.0))
        return powers[0], powers[1]

    def kept(self, setting: Setting, look: Look, fixed: Setting) -> tuple[Setting, Look]:
        """``Trial.kept``, where dynamics of single bands give way first, and are checked on all of
        the excerpt: they change more from passage to passage."""
        if self.ahead:
            whole = Trial(self.effect, normalised(self.source), self.rate, self.guard)

            def holds(tried: Setting, seen: Look) -> bool:
                seen_both = (seen, whole.look(tried))
                return max(self.guard.excess_db(v.gain_db) for v in seen_both) <= 0

            setting, look, _ = self.limited(setting, look, fixed, holds, self._less_ahead)
        return super().kept(setting, look, fixed)

    def _less_ahead(self, setting: Setting, share: float) -> Setting:
        """A share of what stands in front of the equaliser."""
        less = scaled(self.effect, setting, share)
        return {n: less[n] if n in self.ahead else v for n, v in setting.items()}

    def _less_compressed(self, setting: Setting, share: float) -> Setting:
        """A share of the compression."""
        name = "compressor.ratio"
        return {**setting, name: scaled(self.effect, setting, share)[name]}

    def _less_toned(self, setting: Setting, share: float) -> Setting:
        """A share of the equaliser; the expander, which keeps pauses quiet, follows its level."""
        less = scaled(self.effect, setting, share)
        tried = setting | {n: v for n, v in less.items() if n.startswith(self.equalizer.name)}
        moved = self.programme_db(tried) - self.programme_db(setting)
        put(tried, "compressor", _shifted(split_numbers(setting, "compressor"), moved, {}))
        return tried

    def makeup(self, setting: Setting, gain_db: float) -> dict[str, float]:
        param = self.chain.params["compressor.makeup_db"]
        value = float(setting[param.name][0]) + gain_db
        return {"makeup_db": float(np.clip(value, param.low, param.high))}


def _eased(values: dict[str, float], share: float, locks: Mapping[str, float]) -> dict[str, float]:
    """A share of a compressor's slopes."""
    slope = share * (1 - 1 / values["ratio"])
    expansion = 1 + share * (values["expander_ratio"] - 1)
    return values | {"ratio": 1 / (1 - slope), "expander_ratio": expansion} | dict(locks)


def _eased_near(
    wanted_db: Array, band: int, broken_db: float, gain_db: Array, guard: Guard
) -> Array:
    """Wanted gains [F] that change a little less near a band, by what it breaks the guarantee, or
    a little more where gains [F] move that band the wrong way."""
    away = np.abs(np.arange(len(wanted_db)) - band)
    by_db = EASED_NEAR * broken_db * np.clip(1 - away / NEAR_BANDS, 0.0, 1.0)
    towards = np.sign(guard.need_db[band])
    wrong = towards * guard.relative_db(gain_db)[band] < 0
    if wrong and guard.further_db(gain_db)[band] > 0:
        return np.asarray(wanted_db + towards * by_db)
    middle = np.median(wanted_db[guard.matched]) if guard.matched.any() else 0.0
    change = wanted_db - middle
    return np.asarray(middle + np.sign(change) * np.maximum(np.abs(change) - by_db, 0.0))


def less_noisy(gain_db: Array, noise: Array, programme: Array, by_db: float) -> Array:
    """Gains [F] with which noise lies lower against the programme, by small steps towards no change
    where they help most.

    The slope of the noise's level by a band's gain is the band's share of the noise's power, less
    its share of the programme's.

    Args:
        gain_db: [F]; ``noise`` and ``programme`` [F] are powers behind it.
        by_db: how far the noise comes down.
    """
    centre = np.median(gain_db[programme > 0])
    change = np.where(programme > 0, gain_db - centre, 0.0)
    left = change.copy()

    def shares(power: Array) -> tuple[Array, float]:
        now = power * 10 ** ((left - change) / 10)
        total = float(now.sum())
        return now / total, 10 * np.log10(total)

    (quiet, quiet_db), (loud, loud_db) = shares(noise), shares(programme)
    goal = quiet_db - loud_db - by_db
    for _ in range(1000):
        if quiet_db - loud_db <= goal:
            break
        helps = np.clip(np.sign(left) * (quiet - loud), 0.0, None)
        if helps.max() < LEAST_HELP:
            break
        step = NOISE_STEP_DB * (helps / helps.max()) ** 2
        left -= np.sign(left) * np.minimum(step, np.abs(left))
        (quiet, quiet_db), (loud, loud_db) = shares(noise), shares(programme)
    return np.asarray(gain_db + left - change)


def part_made(share: float) -> str:
    """A share from 0 to 1 in words."""
    return f"only {max(1, round(100 * share))} %" if share >= 0.005 else "none"


def _sentence(parts: Sequence[str]) -> str:
    """Parts joined by "and", with a capital letter."""
    whole = " and ".join(parts)
    return whole[:1].upper() + whole[1:]


def _acts(values: Mapping[str, float]) -> bool:
    """Whether a compressor does anything worth easing."""
    return max(1 - 1 / values["ratio"], values["expander_ratio"] - 1) > LEAST_SLOPE


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


def put(setting: Setting, prefix: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        full = f"{prefix}.{name}" if prefix else name
        setting[full] = torch.tensor([value], dtype=torch.float64)


def split_numbers(setting: Setting, prefix: str) -> dict[str, float]:
    """A member's part of a setting as plain numbers."""
    return {n: float(v[0]) for n, v in split_setting(setting, prefix).items()}
