"""Render a recording with settings while they are being found, and measure what they do to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from retone.dsp.effect import Effect
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.third_octaves import CENTRES_HZ, third_octave_levels_db
from retone.estimators.guard import TOLERATED_DB, Guard

INAUDIBLE_DB = 100.0
"""Bands further below the loudest one count as this far below it."""
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
HALVINGS = 2
"""Steps of the search between two shares."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a setting does to the input: gain [F] and level of the result."""

    gain_db: Array
    level_db: float


class Trial:
    """An input [T] that is rendered with settings and measured."""

    def __init__(self, effect: Effect, audio: Any, sample_rate: int, guard: Guard) -> None:
        self.effect, self.rate, self.guard = effect, sample_rate, guard
        self.audio = torch.as_tensor(audio)[None, None]
        self.levels_db = third_octave_levels_db(audio, sample_rate)
        self.own_level_db = level_db(audio)

    def look(self, setting: Setting, effect: Effect | None = None) -> Look:
        """Render with a setting and measure."""
        out = self.rendered(setting, effect or self.effect)
        known = self.guard.known
        before, after = self.levels_db[known], third_octave_levels_db(out, self.rate)[known]
        floor = before.max() - INAUDIBLE_DB
        gain = np.zeros(len(CENTRES_HZ))
        audible = before > floor
        moved = float(np.median((after - before)[audible])) if audible.any() else 0.0
        gain[known] = np.maximum(after, floor + moved) - np.maximum(before, floor)
        return Look(gain, level_db(out))

    def rendered(self, setting: Setting, effect: Effect) -> Array:
        """The input [T] behind an effect with a setting."""
        with torch.no_grad():
            return np.asarray(effect.render(self.audio, self.rate, setting).audio[0, 0].numpy())

    def kept(self, setting: Setting, look: Look, fixed: Setting) -> tuple[Setting, Look]:
        """The setting, moved towards no change as far as the guarantee asks for.

        Args:
            fixed: parameters that stay as they are.
        """
        return self.limited(
            setting, look, fixed,
            lambda tried, look: self.guard.excess_db(look.gain_db) <= TOLERATED_DB,
        )[:2]  # fmt: skip

    def limited(
        self,
        setting: Setting,
        look: Look,
        fixed: Setting,
        holds: Callable[[Setting, Look], bool],
        eased: Callable[[Setting, float], Setting] | None = None,
    ) -> tuple[Setting, Look, float]:
        """The largest share of a setting for which a rule holds, what it does, and the share.

        Args:
            setting: a setting, and ``look`` what it does.
            fixed: parameters that stay as they are.
            holds: the rule.
            eased: a share of a setting; by default ``scaled``.
        """
        if holds(setting, look):
            return setting, look, 1.0
        eased = eased or (lambda whole, share: scaled(self.effect, whole, share))

        def at(share: float) -> tuple[Setting, Look]:
            tried = {**eased(setting, share), **fixed}
            return tried, self.look(tried)

        high = 1.0
        for low in SHARES:
            best = at(low)
            if holds(*best) or low == 0:
                break
            high = low
        for _ in range(HALVINGS):
            share = 0.5 * (low + high)
            found = at(share)
            if holds(*found):
                low, best = share, found
            else:
                high = share
        return *best, low


def scaled(effect: Effect, setting: Setting, share: float) -> Setting:
    """A share of what a setting changes, at the same frequencies and thresholds."""
    less = effect.params.blend(setting, share)
    moves = {p.name for p in effect.params if p.neutral is not None}
    return {n: less[n] if n in moves else v for n, v in setting.items()}


def response_db(
    effect: Effect,
    setting: Setting,
    guard: Guard,
    sample_rate: int,
    points: tuple[float, ...] = (1.0,),
) -> Array:
    """Response [F] of an effect's filters in the known bands, 0 elsewhere.

    Args:
        points: where in a band it is read, as multiples of the centre; the mean in dB counts.
    """
    known = guard.known
    hz = np.multiply.outer(points, CENTRES_HZ[known])
    response = effect.response(torch.from_numpy(hz.ravel()), sample_rate, setting)
    out = np.zeros(len(known))
    if response is not None:
        curve = 20 * np.log10(np.maximum(response[0].abs().numpy(), 1e-6))
        out[known] = curve.reshape(hz.shape).mean(axis=0)
    return out


def as_setting(values: Mapping[str, float]) -> Setting:
    """Plain numbers as a setting."""
    return {n: torch.tensor([v], dtype=torch.float64) for n, v in values.items()}


def level_db(audio: Any) -> float:
    """Mean square of [T] in dB."""
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))
