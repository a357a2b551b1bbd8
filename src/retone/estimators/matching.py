"""The default estimator: one dial from the reference's processing to its whole sound.

At strength 0 only what was done to the reference is copied, as far as it can be told from its
content (``Automatic``); at 1 the average spectrum and the spread of levels follow the reference in
full. Between them the wanted gain of every third octave and the wanted spread are interpolated. At
every strength the result keeps the guarantee of ``retone.estimators.guard``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from retone.dsp.effect import Effect, split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.third_octaves import CENTRES_HZ, third_octave_levels_db
from retone.effects import SOUND_CHAIN
from retone.errors import AudioError
from retone.estimators import bands_fit, spread_fit
from retone.estimators.automatic import Automatic
from retone.estimators.base import Estimate, Estimator, Excerpt, Reference
from retone.estimators.closed_form import normalised, samples_of, split_locks
from retone.estimators.guard import Guard
from retone.estimators.sound import Sound, mean_of, sound_of
from retone.metrics.natural import dynamics_db, short_levels_db
from retone.progress import ESTIMATING, Progress, silent

STRENGTH = 0.8
EQUALIZER, COMPRESSOR = SOUND_CHAIN.members
RENDERED_S = 30.0
STEPS = 4
ROUNDS = 6
EASED = 0.75
STEADY_DB = 1.0


@dataclass(frozen=True)
class Matching:
    """Matches tone and dynamics to the references by ``strength``.

    Args:
        strength: 0 copies only the reference's processing, 1 its whole sound.
        processing: estimator of the processing, used below strength 1.
    """

    name: str = "match"
    strength: float = STRENGTH
    processing: Estimator = field(default_factory=Automatic)

    @property
    def effect(self) -> Effect:
        return SOUND_CHAIN

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting of ``SOUND_CHAIN``; see ``Estimator.estimate``."""
        if not references:
            raise AudioError("there is no reference. Give at least one reference recording.")
        checked = SOUND_CHAIN.params.setting(locks)
        fixed = {name: float(checked[name][0]) for name in locks}
        own, reference = sound_of(source), mean_of([sound_of(r) for r in references])
        guard = Guard.of(own, reference)
        work = _Work(source, own, guard)
        progress(ESTIMATING, 1, STEPS)
        s = self.strength
        setting, notes = SOUND_CHAIN.params.neutral(1), ()
        if s < 1:
            found = self.processing.estimate(source, references, locks=locks)
            setting, notes = _adopted(found), found.notes
        _put(setting, "", fixed)
        first = work.look(setting)
        progress(ESTIMATING, 2, STEPS)
        if s == 0 and guard.excess_db(first.gain_db) <= 0:
            return Estimate(SOUND_CHAIN, setting, notes)

        wanted = (1 - s) * first.gain_db + s * guard.need_db
        eq = split_numbers(setting, "equalizer") if s < 1 else None
        added = work.beyond_response(setting, first) if s == 0 else np.zeros(len(wanted))
        eq_locks, own_locks = split_locks(fixed, "equalizer"), split_locks(fixed, "compressor")
        best: tuple[float, Setting, _Look] | None = None
        for number in range(ROUNDS):
            eq = bands_fit.fit(
                EQUALIZER, guard, wanted, added, source.sample_rate, eq_locks, eq, again=number > 0
            )
            _put(setting, "equalizer", eq)
            if s > 0 and number < 2:
                spread = first.spread_db
                if reference.spread_db is not None:
                    spread = (1 - s) * spread + s * reference.spread_db
                _put(setting, "compressor", work.compressor(setting, spread, own_locks))
            look = work.look(setting)
            broken = guard.excess_db(look.gain_db)
            if best is None or broken < max(best[0], 0.0):
                best = broken, dict(setting), look
            predicted, added = added, work.beyond_response(setting, look)
            moved = np.ptp((added - predicted)[guard.known])
            if broken <= 0 and moved < STEADY_DB:
                break
            if broken > 0 and number >= 2:
                wanted = EASED * wanted
        progress(ESTIMATING, 3, STEPS)
        assert best is not None
        _, setting, last = best
        setting, last = work.kept(setting, last, fixed)
        level = (1 - s) * first.level_db + s * work.own_level_db
        _put(setting, "compressor", work.makeup(setting, level - last.level_db))
        _put(setting, "", fixed)
        progress(ESTIMATING, 4, STEPS)
        return Estimate(SOUND_CHAIN, setting, notes)


@dataclass(frozen=True, eq=False)
class _Look:
    """What a setting does to the input: gain [F], spread and level of the result."""

    gain_db: Array
    spread_db: float
    level_db: float


class _Work:
    """An input that is rendered with settings and measured."""

    def __init__(self, source: Excerpt, own: Sound, guard: Guard) -> None:
        self.rate, self.guard = source.sample_rate, guard
        audio = samples_of(normalised(source), round(RENDERED_S * self.rate))
        self.audio = torch.as_tensor(audio)[None, None]
        self.levels_db = third_octave_levels_db(audio, self.rate)
        self.own_level_db = _level_db(audio)
        pauses = getattr(source, "pauses", None)
        self.noise = None if pauses is None or pauses.numel() < 0.25 * self.rate else pauses

    def render(self, setting: Setting) -> Array:
        with torch.no_grad():
            return SOUND_CHAIN.render(self.audio, self.rate, setting).audio[0, 0].numpy()

    def look(self, setting: Setting) -> _Look:
        y = self.render(setting)
        after = third_octave_levels_db(y, self.rate)
        gain = np.where(self.guard.known, after - np.where(self.guard.known, self.levels_db, 0), 0)
        return _Look(gain, dynamics_db(y, self.rate), _level_db(y))

    def beyond_response(self, setting: Setting, look: _Look) -> Array:
        """Gain [F] that a band got beyond the equaliser's response at its centre.

        That is what compression adds, and what a slope of the response inside a band changes.
        """
        known = self.guard.known
        response = EQUALIZER.response(
            torch.from_numpy(CENTRES_HZ[known]), self.rate, split_setting(setting, "equalizer")
        )
        out = np.zeros(len(known))
        out[known] = look.gain_db[known] - 20 * np.log10(np.abs(response[0].numpy()))
        return out

    def compressor(
        self, setting: Setting, spread_db: float, locks: Mapping[str, float]
    ) -> dict[str, float]:
        with torch.no_grad():
            toned = EQUALIZER.render(
                self.audio, self.rate, split_setting(setting, "equalizer")
            ).audio
        noise = None if self.noise is None else _level_db(self.noise.numpy())
        levels = spread_fit.Levels.of(short_levels_db(toned[0, 0].numpy(), self.rate), noise)

        def spread_of(values: Mapping[str, float]) -> float:
            with torch.no_grad():
                one = {n: torch.tensor([v], dtype=torch.float64) for n, v in values.items()}
                y = COMPRESSOR.render(toned, self.rate, one).audio[0, 0].numpy()
            return dynamics_db(y, self.rate)

        return spread_fit.fit(levels, spread_db, spread_of, locks)

    def kept(
        self, setting: Setting, look: _Look, fixed: Mapping[str, float]
    ) -> tuple[Setting, _Look]:
        """The setting, moved towards no change as far as the guarantee asks for."""
        if self.guard.excess_db(look.gain_db) <= 0:
            return setting, look
        low, high = 0.0, 1.0
        best = None
        for _ in range(5):
            share = (low + high) / 2
            tried = SOUND_CHAIN.params.blend(setting, share)
            _put(tried, "", fixed)
            seen = self.look(tried)
            if self.guard.excess_db(seen.gain_db) <= 0:
                low, best = share, (tried, seen)
            else:
                high = share
        if best is None:
            neutral = SOUND_CHAIN.params.neutral(1)
            _put(neutral, "", fixed)
            best = neutral, self.look(neutral)
        return best

    def makeup(self, setting: Setting, gain_db: float) -> dict[str, float]:
        param = COMPRESSOR.params["makeup_db"]
        value = float(setting["compressor.makeup_db"][0]) + gain_db
        return {"makeup_db": float(np.clip(value, param.low, param.high))}


def _adopted(found: Estimate) -> Setting:
    """A setting of another chain with these effects as one of ``SOUND_CHAIN``."""
    setting = SOUND_CHAIN.params.neutral(1)
    for name, value in found.setting.items():
        if name in setting:
            p = SOUND_CHAIN.params[name]
            setting[name] = value.double().clamp(p.low, p.high)
    return setting


def split_numbers(setting: Setting, prefix: str) -> dict[str, float]:
    return {n: float(v[0]) for n, v in split_setting(setting, prefix).items()}


def _put(setting: Setting, prefix: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        full = f"{prefix}.{name}" if prefix else name
        setting[full] = torch.tensor([value], dtype=torch.float64)


def _level_db(audio: Array) -> float:
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))
