"""Keep a setting that was found without a reference from lifting bands that hold nothing.

The rule is that of a match (``retone.estimators.guard``): no band in which the input holds nothing
is lifted by more than 1 dB against the median of the occupied bands. Where a setting comes near
that in the excerpt, its equaliser is fitted again: to the gain that the setting gives the occupied
bands, under that rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from retone.dsp.effect import Effect, split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.third_octaves import CENTRES_HZ
from retone.effects import Chain
from retone.effects.equalizer import Equalizer
from retone.estimators import bands_fit
from retone.estimators.base import Excerpt, samples_of
from retone.estimators.closed_form import frequencies_in_words, split_locks
from retone.estimators.guard import TOLERATED_DB, Guard
from retone.estimators.sound import sound_of
from retone.estimators.trial import Look, Trial, as_setting, response_db

MEASURED_S = 30.0
ROUNDS = 4


def without_lift(
    effect: Effect, source: Excerpt, setting: Setting, locks: Mapping[str, float]
) -> tuple[Setting, tuple[str, ...]]:
    """The setting, or one that keeps the rule, and a note that says what was left alone.

    Pauses are measured too, because a compressor lifts what sounds in them.

    Args:
        effect: with an ``Equalizer`` among its members; without one the setting is moved towards
            no change.
        setting: batch size 1, for the excerpt's level.
        locks: parameters that stay as they are.
    """
    trial = _trial(effect, source)
    guard = trial.guard
    if not guard.rests.any():
        return setting, ()
    fixed = as_setting(locks)
    setting = {**setting, **fixed}
    first = best = trial.look(setting)
    if guard.excess_db(first.gain_db) <= TOLERATED_DB:
        return setting, ()
    equalizer = next((m for m in _members(effect) if isinstance(m, Equalizer)), None)
    if equalizer is not None:
        setting, best = _refitted(trial, equalizer, setting, first, locks)
    setting, _ = trial.kept(setting, best, fixed)
    rise_db = first.gain_db - guard.rest_db(first.gain_db) - guard.lift_db
    lifted = guard.empty & (rise_db > TOLERATED_DB)
    place = frequencies_in_words(CENTRES_HZ[guard.known], lifted[guard.known])
    return setting, (f"{place} the recording holds nothing but noise; that range is not lifted.",)


def keeps_rule(effect: Effect, source: Excerpt, setting: Setting) -> bool:
    """Whether a setting lifts no band of the excerpt that holds nothing."""
    trial = _trial(effect, source)
    if not trial.guard.rests.any():
        return True
    return trial.guard.excess_db(trial.look(setting).gain_db) <= TOLERATED_DB


def _trial(effect: Effect, source: Excerpt) -> Trial:
    own = sound_of(source)
    audio = source.passage if source.passage.numel() else source.audio
    audio = samples_of(audio.detach().cpu().numpy(), round(MEASURED_S * source.sample_rate))
    return Trial(effect, audio, source.sample_rate, Guard.of(own, own))


def _refitted(
    trial: Trial, equalizer: Equalizer, setting: Setting, first: Look, locks: Mapping[str, float]
) -> tuple[Setting, Look]:
    """The setting with another equaliser, and what it does.

    One that leaves the occupied bands further from their goal than no change at all is not taken.
    """
    rate, best, look = trial.rate, setting, first
    goal = _towards(trial.guard, first.gain_db)
    prefix = equalizer.name
    own = split_setting(setting, prefix)
    start = {n: float(v[0]) for n, v in own.items()}
    found, last = start, first
    nothing_db = _lost_db(goal, first.gain_db, np.zeros_like(first.gain_db))
    for _ in range(ROUNDS):
        added = last.gain_db - response_db(
            equalizer, as_setting(found), goal, rate, bands_fit.INSIDE
        )
        found = bands_fit.fit(
            equalizer, goal, first.gain_db, added, rate, split_locks(locks, prefix), start
        )
        tried = {**setting, **as_setting({f"{prefix}.{n}": v for n, v in found.items()})}
        last = trial.look(tried)
        broken = trial.guard.excess_db(last.gain_db)
        near = _lost_db(goal, first.gain_db, last.gain_db) <= nothing_db
        if near and broken < max(trial.guard.excess_db(look.gain_db), 0.0):
            best, look = tried, last
        if broken <= 0:
            break
    return best, look


def _lost_db(goal: Guard, wanted_db: Array, gain_db: Array) -> float:
    """How far gains [F] lie from the wanted ones in the occupied bands: mean, at equal level."""
    lost = (gain_db - wanted_db)[goal.common]
    return float(np.abs(lost - np.median(lost)).mean()) if lost.size else 0.0


def _towards(guard: Guard, gain_db: Array) -> Guard:
    """The same bands, with a reference that is the input after a gain in its occupied bands."""
    full = guard.known & ~guard.empty
    levels = np.where(full, guard.levels_db, 0.0)
    levels[full] -= np.median(levels[full])
    after = levels + gain_db
    need = np.where(full, after - np.median(after[full]) - levels, 0.0)
    return replace(guard, common=full, matched=full, levels_db=levels, need_db=need)


def _members(effect: Effect) -> tuple[Effect, ...]:
    return effect.members if isinstance(effect, Chain) else ()
