"""One effect for what both channels share, another for their difference, and a width.

::

    mid  = (left + right) / 2        left  = mid' + g side'
    side = (left - right) / 2        right = mid' - g side',   g = 10^(width_db / 20)

Audio of one channel is all mid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State, split_setting
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.views import ResponseView, View
from retone.effects.equalizer import Equalizer
from retone.errors import SettingError
from retone.units import db_to_gain

_WIDTH = Param(
    "width_db", "dB", -24, 12, 0, "linear",
    "Gain of the side: more is wider, the lowest is nearly mono.", neutral=0, role="gain",
)  # fmt: skip
_PARTS = ("mid", "side")


@dataclass(frozen=True)
class MidSide(Effect):
    """Two effects, with parameters ``mid.*`` and ``side.*``, and the side's gain ``width_db``.

    Raises:
        SettingError: the two effects have different latencies; when rendering, there are more
            than two channels.
    """

    kind: ClassVar[str] = "mid_side"
    noun: ClassVar[str] = "mid/side effect"
    linear_across_channels: ClassVar[bool] = False
    name: str = "mid_side"
    mid: Effect = field(default_factory=Equalizer)
    side: Effect = field(default_factory=Equalizer)

    def __post_init__(self) -> None:
        late_ms = [m.latency_samples(1000) for m in (self.mid, self.side)]
        if late_ms[0] != late_ms[1]:
            raise SettingError(
                f"{self.name}: mid and side must have the same latency, got {late_ms[0]} and "
                f"{late_ms[1]} ms. Use filters of the same phase for both."
            )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    @property
    def params(self) -> ParamTable:
        own = [p for part in _PARTS for p in getattr(self, part).params.prefixed(part)]
        return ParamTable((*own, _WIDTH))

    def latency_samples(self, sample_rate: float) -> int:
        return self.mid.latency_samples(sample_rate)

    @property
    def has_dynamics(self) -> bool:  # type: ignore[override]
        return self.mid.has_dynamics or self.side.has_dynamics

    @property
    def level_dependent(self) -> bool:  # type: ignore[override]
        return self.mid.level_dependent or self.side.level_dependent

    @property
    def has_crossover(self) -> bool:  # type: ignore[override]
        return self.mid.has_crossover or self.side.has_crossover

    @property
    def exact_blocks(self) -> bool:  # type: ignore[override]
        return self.mid.exact_blocks and self.side.exact_blocks

    def _through(
        self,
        audio: Tensor,
        setting: Mapping[str, Tensor],
        run: Callable[[str, Effect, Tensor], Tensor],
    ) -> Tensor:
        """Encode, ``run`` each part, decode."""
        if audio.shape[1] > 2:
            raise SettingError(
                f"{self.name}: mid and side exist for two channels, got {audio.shape[1]}. "
                "Process such recordings without it."
            )
        if audio.shape[1] == 1:
            return run("mid", self.mid, audio)
        left, right = audio.double().split(1, dim=1)
        mid = run("mid", self.mid, (left + right) / 2)
        side = run("side", self.side, (left - right) / 2)
        side = side * db_to_gain(setting["width_db"].double())[:, None, None].to(side.device)
        return torch.cat([mid + side, mid - side], dim=1).to(audio.dtype)

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        after: State = {}
        found: dict[str, Tensor] = {}

        def run(part: str, effect: Effect, x: Tensor) -> Tensor:
            before = state[part] if state else None
            y, after[part], own = effect._render(
                x, sample_rate, split_setting(setting, part), before, curves
            )
            found.update({f"{part}.{n}": c for n, c in own.items()})
            return y

        y = self._through(audio, setting, run)
        if audio.shape[1] == 1:  # no side, but NaN in its setting must still reach the output
            nothing = 0 * torch.stack(list(setting.values())).sum(0)
            y = y + nothing[:, None, None].to(y)
        return Rendered(y, after, found)

    def _warm_state(
        self, head: Tensor, sample_rate: float, setting: Setting
    ) -> tuple[State | None, Tensor]:
        state: State = {}

        def run(part: str, effect: Effect, x: Tensor) -> Tensor:
            state[part], x = effect._warm_state(x, sample_rate, split_setting(setting, part))
            return x

        head = self._through(head, setting, run)
        return (state if any(s is not None for s in state.values()) else None), head

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        def run(part: str, effect: Effect, x: Tensor) -> Tensor:
            return effect.static_path(x, sample_rate, split_setting(setting, part))

        return self._through(audio, {"width_db": torch.zeros_like(setting["width_db"])}, run)

    def problems(self) -> list[str]:
        return [*self.mid.problems(), *self.side.problems()]

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor | None:
        """That of the mid, which is all that a recording of one channel has."""
        return self.mid.response(frequency_hz, sample_rate, split_setting(setting, "mid"))

    def views(
        self, setting: Mapping[str, Tensor], sample_rate: float, frequency_hz: np.ndarray
    ) -> tuple[View, ...]:
        found: list[View] = []
        for part in _PARTS:
            effect: Effect = getattr(self, part)
            own = split_setting(setting, part)
            for view in effect.views(own, sample_rate, frequency_hz):
                found.append(_under(part, view, float(setting["width_db"][0])))
        return tuple(found)


def _under(part: str, view: View, width_db: float) -> View:
    """A part's view with the effect's own parameter names; the side's includes the width."""
    title = part.capitalize()
    if not isinstance(view, ResponseView):
        own = {f"{part}.{n}": v for n, v in view.setting.items()}
        return replace(view, part=title, setting=own)
    bands = tuple(
        replace(b, moves={role: f"{part}.{n}" for role, n in b.moves.items()}) for b in view.bands
    )
    total = view.total_db + width_db if part == "side" else view.total_db
    edges = tuple(f"{part}.{n}" for n in view.edges)
    return replace(view, part=title, bands=bands, edges=edges, total_db=total)
