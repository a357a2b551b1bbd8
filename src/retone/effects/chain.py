"""Effects in series; a chain is itself an effect."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State, split_setting
from retone.dsp.param import ParamTable, Setting
from retone.errors import SettingError


@dataclass(frozen=True)
class Chain(Effect):
    """Effects that process one after another; parameter names are dotted.

    ``equalizer.low_shelf_gain_db`` is parameter ``low_shelf_gain_db`` of member ``equalizer``.
    """

    kind: ClassVar[str] = "chain"
    name: str
    members: tuple[Effect, ...]

    def __post_init__(self) -> None:
        names = [m.name for m in self.members]
        if not names or len(set(names)) != len(names):
            raise SettingError(
                f"{self.name}: a chain needs members with different names, got {names}. "
                "Rename one: Equalizer(name='second_equalizer')."
            )

    @functools.cached_property
    def _table(self) -> ParamTable:
        return ParamTable(tuple(p for m in self.members for p in m.params.prefixed(m.name)))

    @property
    def params(self) -> ParamTable:
        return self._table

    def latency_samples(self, sample_rate: float) -> int:
        return sum(m.latency_samples(sample_rate) for m in self.members)

    @property
    def exact_blocks(self) -> bool:  # type: ignore[override]
        return all(m.exact_blocks for m in self.members)

    @property
    def has_dynamics(self) -> bool:  # type: ignore[override]
        return any(m.has_dynamics for m in self.members)

    @property
    def level_dependent(self) -> bool:  # type: ignore[override]
        return any(m.level_dependent for m in self.members)

    @property
    def linear_across_channels(self) -> bool:  # type: ignore[override]
        return all(m.linear_across_channels for m in self.members)

    @property
    def has_crossover(self) -> bool:  # type: ignore[override]
        return any(m.has_crossover for m in self.members)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return ()

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        after: State = {}
        all_curves: dict[str, Tensor] = {}
        for m in self.members:
            audio, after[m.name], own = m._render(
                audio,
                sample_rate,
                split_setting(setting, m.name),
                state[m.name] if state else None,
                curves,
            )
            all_curves.update({f"{m.name}.{n}": c for n, c in own.items()})
        return Rendered(audio, after, all_curves)

    def _warm_state(
        self, head: Tensor, sample_rate: float, setting: Setting
    ) -> tuple[State | None, Tensor]:
        state: State = {}
        for m in self.members:
            state[m.name], head = m._warm_state(head, sample_rate, split_setting(setting, m.name))
        return (state if any(s is not None for s in state.values()) else None), head

    def _relax(self, audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
        for m in self.members:
            audio = m._relax(audio, sample_rate, split_setting(setting, m.name))
        return audio

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        for m in self.members:
            audio = m.static_path(audio, sample_rate, split_setting(setting, m.name))
        return audio

    def problems(self) -> list[str]:
        return [text for m in self.members for text in m.problems()]

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor | None:
        """Product of the members' linear responses; level-dependent members are left out."""
        total: Tensor | None = None
        for m in self.members:
            own = m.response(frequency_hz, sample_rate, split_setting(setting, m.name))
            if own is not None:
                total = own if total is None else total * own
        return total


def chain(name: str, *members: Effect) -> Chain:
    """Connect effects in series: ``chain("voice", Equalizer(), Compressor())``.

    Args:
        name: name of the chain in reports and settings files.
        members: the effects in processing order; their names must differ.

    Raises:
        SettingError: there is no effect, or two have the same name.
    """
    return Chain(name, tuple(members))


def leaves(
    effect: Effect, setting: Mapping[str, Tensor], path: str = ""
) -> list[tuple[str, Effect, Setting]]:
    """All effects inside nested chains: (dotted name, effect, its own setting)."""
    if not isinstance(effect, Chain):
        return [(path or effect.name, effect, dict(setting))]
    return [
        leaf
        for m in effect.members
        for leaf in leaves(m, split_setting(setting, m.name), f"{path}.{m.name}".lstrip("."))
    ]
