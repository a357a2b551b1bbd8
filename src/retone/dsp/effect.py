"""What an effect is, and how effects become a chain (which is an effect again).

An effect is a parameter table and a pure function of (audio, sample rate, setting, state).
It holds no weights and no hidden state: the same call gives the same result, and a file
rendered in blocks with the state handed on equals the whole file to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from retone.dsp.param import ParamTable, Setting
from retone.errors import SettingError, ShapeError, expect

State = dict[str, Any]
"""What an effect remembers between blocks: name -> float64 tensor or a nested state."""


class Rendered(NamedTuple):
    """What an effect gives back.

    ``audio`` [B, C, T]; ``state`` for the next block; ``curves``: name -> [B, T], filled only
    when asked for (gain reduction over time in dB, and the like).
    """

    audio: Tensor
    state: State
    curves: dict[str, Tensor]


class Effect(ABC):
    """A processor with a parameter table. Subclasses are frozen dataclasses.

    Shapes: audio [B, C, T] float32 or float64, settings name -> [B]. Gradients reach the audio,
    every parameter and the state.
    """

    name: str
    latency_samples: int = 0
    has_dynamics: ClassVar[bool] = False
    """Whether gain follows level, so that there is something to settle (see `settled`)."""

    @property
    @abstractmethod
    def params(self) -> ParamTable:
        """The parameter table, in the order of the unit vector."""

    @abstractmethod
    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        """The exact, causal processor, on arguments that were checked."""

    def _relax(self, audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
        """The papers' differentiable stand-in; effects without one render exactly."""
        return self._render(audio, sample_rate, setting, None, False).audio

    def problems(self) -> list[str]:
        """What went wrong since the last time of asking and was worked around, in sentences."""
        return []

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor | None:
        """Linear complex response [B, F] at the given frequencies, None if level-dependent."""
        return None

    def at_rest(self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """What is left of the effect when it changes no level: an all-pass for a crossover.

        Args: as in ``render``, without state. Effects whose neutral setting is the identity give
        the audio back.
        """
        return audio

    def render(
        self,
        audio: Tensor,
        sample_rate: float,
        setting: Mapping[str, Tensor],
        state: State | None = None,
        *,
        curves: bool = False,
    ) -> Rendered:
        """Process audio exactly.

        Args:
            audio: [B, C, T], float32 or float64; recursions run in float64 either way.
            sample_rate: in Hz.
            setting: every parameter's value in physical units, name -> [B].
            state: what the previous block returned; None starts from rest.
            curves: also return the curves over time the effect has (gain reduction in dB).

        Raises:
            ShapeError: audio is not [B, C, T].
            SettingError: a parameter is missing, unknown or of another batch size.
        """
        full = self._checked(audio, sample_rate, setting)
        return self._render(audio, sample_rate, full, state, curves)

    def settled(
        self, head: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> State | None:
        """The state in which a recording that begins with ``head`` finds settled dynamics.

        A compressor at rest lets the first milliseconds of a recording that starts in mid-sound
        through at full makeup gain. Here it has heard the beginning before, backwards, so that it
        arrives at the first sample. Effects that are filters alone stay at rest, for nothing
        sounded before.

        Args:
            head: [B, C, T], the beginning; half a second is several attack times.

        Returns:
            What `render` takes as ``state``; None for effects without dynamics.
        """
        return self._settled(head, sample_rate, self._checked(head, sample_rate, setting))[0]

    def _settled(
        self, head: Tensor, sample_rate: float, setting: Setting
    ) -> tuple[State | None, Tensor]:
        """`settled`, and the head as the effect renders it from there."""
        state = None
        if self.has_dynamics:
            state = self._render(head.flip(-1), sample_rate, setting, None, False).state
        return state, self._render(head, sample_rate, setting, state, False).audio

    def relax(self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """Process audio through the papers' approximation (frequency sampling) where one exists.

        Kept for the paper mode and as a cross-check; ``render`` is exact, differentiable and,
        on a CPU, faster. Arguments and errors as in ``render``.
        """
        full = self._checked(audio, sample_rate, setting)
        return self._relax(audio, sample_rate, full) if audio.numel() else audio.clone()

    def _checked(self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Setting:
        batch = expect(audio, "B C T", f"{self.name}: audio")["B"]
        if audio.shape[1] == 0:
            raise ShapeError(
                f"{self.name}: audio has no channels; expected [B, C, T] with C >= 1, "
                f"got {list(audio.shape)}."
            )
        if audio.dtype not in (torch.float32, torch.float64):
            raise SettingError(
                f"{self.name}: audio must be float32 or float64, got {audio.dtype}. "
                "Divide integer samples by their full scale first."
            )
        if not sample_rate > 0:
            raise SettingError(f"{self.name}: sample_rate must be positive, got {sample_rate}.")
        full: Setting = {}
        for name in self.params.names:
            if name not in setting:
                raise SettingError(
                    f"{self.name}: the setting lacks '{name}'. "
                    "Start from effect.params.defaults(batch) and change what you need."
                )
            value = setting[name]
            if not isinstance(value, Tensor):
                raise SettingError(
                    f"{self.name}: {name} must be a tensor [{batch}], got {type(value).__name__}. "
                    "effect.params.setting({...}) makes a setting of numbers."
                )
            if value.shape != (batch,):
                if value.numel() != 1:
                    raise SettingError(
                        f"{self.name}: {name} must be [{batch}] like the audio's batch, "
                        f"got {list(value.shape)}."
                    )
                value = value.reshape(1).expand(batch)
            full[name] = value
        extra = set(setting) - set(full)
        if extra:
            self.params[sorted(extra)[0]]  # raises with the nearest names
        return full


def split_setting(setting: Mapping[str, Tensor], prefix: str) -> Setting:
    """The part of a dotted setting that belongs to one member of a chain."""
    start = prefix + "."
    return {n[len(start) :]: v for n, v in setting.items() if n.startswith(start)}
