"""Match the side of a stereo recording: its tone under the same guarantee, and the width.

The side is half the difference of the channels. It gets its own equaliser; what the dynamics do is
the same for mid and side, because they follow the louder channel. The width is the side's level
against the mid's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from retone.dsp.effect import split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.effects import Chain
from retone.estimators.base import Excerpt, Reference, samples_of
from retone.estimators.closed_form import split_locks
from retone.estimators.guard import TOLERATED_DB, Guard
from retone.estimators.match_fit import RENDERED_S, Fitted, put, split_numbers
from retone.estimators.sound import SHORTEST_PAUSES_S, Mask, mean_of, sound_of
from retone.estimators.trial import Trial, as_setting, level_db, response_db

NARROW_DB = -40.0
"""Below this level against the mid there is no side to match."""
MOST_WIDER_DB, MOST_WIDER_NOISE_DB = 6.0, 2.5
"""How much wider a recording may get, without and with noise in the side's pauses."""
ROUNDS, SHARES = 2, (1.0, 0.7, 0.4)


class SideFit:
    """The side of an input and of its references.

    Args:
        chain: holds the effect of mid and side next to last, and a compressor.
        source: the input.
        references: its references.
        strength: 0 gives the side what the mid gets, 1 the reference's side.
        processing_db: [F] gain of the reference's processing.
        fixed: parameters that stay as they are, under their full names.
        inside: [F] the bands that may be matched; None: all.
    """

    def __init__(
        self,
        chain: Chain,
        source: Excerpt,
        references: Sequence[Reference],
        strength: float,
        processing_db: Array,
        fixed: Mapping[str, float],
        inside: Mask | None = None,
    ) -> None:
        self.inside = inside
        self.chain, self.source, self.strength = chain, source, strength
        self.processing_db, self.fixed = processing_db, dict(fixed)
        self.name = chain.members[-2].name
        recordings = [r for r in references if isinstance(r, Excerpt)]
        self.sides = [(r.side, r) for r in recordings if r.side is not None]

    def fit(
        self, setting: Setting, equalizer: Callable[..., Fitted]
    ) -> tuple[Setting, tuple[str, ...]]:
        """The setting with a side and a width, and notes.

        Args:
            setting: with the mid's equaliser and the dynamics as found.
            equalizer: makes what fits the equaliser of a part.
        """
        as_mid = split_numbers(setting, f"{self.name}.mid")
        alike = dict(setting)
        put(alike, f"{self.name}.side", as_mid)
        put(alike, "", self.fixed)
        own = self.source.side
        if own is None:
            return alike, ("The input does not have two channels; there is no side to match.",)
        if not self.sides:
            return alike, ("The reference has no side; the input's follows its mid.",)
        if _width_db(own, self.source) < NARROW_DB:
            return alike, ("The input is nearly mono; its side follows its mid.",)
        wide = [s for s, r in self.sides if _width_db(s, r) >= NARROW_DB]
        if not wide:
            return self._narrowed(alike, own), (
                "The reference is nearly mono; the side follows the mid and becomes narrower.",
            )

        reference = mean_of([sound_of(s) for s in wide])
        guard = replace(Guard.of(sound_of(own), reference, self.inside), pauses=1.0)
        # with pauses the gains are centred on 0 dB, so they leave the side's level to the width
        fitted = equalizer(own.sample_rate, guard, self.fixed, "side")
        trial = _SideTrial(self.chain, self.source, own, guard, setting, self.name)
        wanted = (1 - self.strength) * self.processing_db + self.strength * guard.need_db
        for share in SHARES:
            tried = alike
            for _ in range(ROUNDS):
                part = trial.part_of(tried)
                added = trial.look(part).gain_db - response_db(
                    trial.equalizer, part, guard, own.sample_rate, fitted.points
                )
                tried = dict(tried)
                put(tried, f"{self.name}.side", fitted.fit(share * wanted, added))
                put(tried, "", self.fixed)
            if guard.excess_db(trial.look(trial.part_of(tried)).gain_db) <= TOLERATED_DB:
                break
        part = trial.part_of(tried)
        held = as_setting(split_locks(self.fixed, f"{self.name}.side"))
        part, _ = trial.kept(part, trial.look(part), held)
        for n, v in part.items():
            tried[f"{self.name}.side.{n}"] = v
        return self._narrowed(tried, own), ()

    def _narrowed(self, setting: Setting, own: Excerpt) -> Setting:
        """The setting with the width that brings the side's level to the wanted one."""
        goal = float(np.mean([_width_db(s, r) for s, r in self.sides]))
        before = _width_db(own, self.source)
        wanted = (1 - self.strength) * before + self.strength * goal
        plain = dict(setting)
        put(plain, "", {f"{self.name}.width_db": 0.0})
        mid, side = _rendered(self.chain, self.source, own, plain)
        width = wanted - (level_db(side) - level_db(mid))
        noisy = own.pauses.numel() >= SHORTEST_PAUSES_S * own.sample_rate
        p = self.chain.params[f"{self.name}.width_db"]
        most = MOST_WIDER_NOISE_DB if noisy else MOST_WIDER_DB
        found = dict(setting)
        put(found, "", {p.name: float(np.clip(width, p.low, most))} | self.fixed)
        return found


class _SideTrial(Trial):
    """Trials of the side's equaliser, rendered through the whole chain in stereo."""

    def __init__(
        self,
        chain: Chain,
        source: Excerpt,
        side: Excerpt,
        guard: Guard,
        setting: Setting,
        name: str,
    ) -> None:
        audio = samples_of(side.audio.numpy(), round(RENDERED_S * side.sample_rate))
        member = chain.members[-2]
        self.equalizer = member.side  # type: ignore[attr-defined]
        super().__init__(self.equalizer, audio, side.sample_rate, guard)
        self.chain, self.source, self.side, self.setting, self.name = (
            chain, source, side, setting, name,
        )  # fmt: skip

    def part_of(self, setting: Setting) -> Setting:
        return split_setting(setting, f"{self.name}.side")

    def rendered(self, setting: Setting, effect: Any) -> Array:
        whole = dict(self.setting)
        for n, v in setting.items():
            whole[f"{self.name}.side.{n}"] = v
        return _rendered(self.chain, self.source, self.side, whole)[1]


def _rendered(chain: Chain, mid: Excerpt, side: Excerpt, setting: Setting) -> tuple[Array, Array]:
    """Mid and side [T] of the excerpt behind the chain."""
    m, s = (
        torch.as_tensor(samples_of(x.audio.numpy(), round(RENDERED_S * x.sample_rate)))
        for x in (mid, side)
    )
    with torch.no_grad():
        audio = torch.stack([m + s, m - s])[None]
        left, right = chain.render(audio, mid.sample_rate, setting).audio[0].numpy()
    return (left + right) / 2, (left - right) / 2


def _width_db(side: Excerpt, mid: Excerpt) -> float:
    """Level of the side against the mid."""
    return level_db(side.audio.numpy()) - level_db(mid.audio.numpy())
