"""The interface of an effect.

An effect is a parameter table and a pure function of (audio, sample rate, setting, state).
It holds no weights and no hidden state: the same call gives the same result, and a file
rendered in blocks with the state passed on is bit-identical to one rendered in one go (equal to
rounding for those that say so in ``exact_blocks``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from retone.audio.clip import LOUDEST, not_sound
from retone.dsp.param import ParamTable, Setting
from retone.dsp.stages import Stage
from retone.dsp.views import ResponseView, View, decibels
from retone.errors import SettingError, ShapeError, expect

State = dict[str, Any]
"""An effect's state between blocks: name -> float64 tensor or a nested state."""


class Rendered(NamedTuple):
    """Result of rendering.

    ``audio`` [B, C, T]; ``state`` for the next block; ``curves``: name -> [B, T], filled only
    on request (such as the gain reduction over time in dB).
    """

    audio: Tensor
    state: State
    curves: dict[str, Tensor]


class Effect(ABC):
    """A processor with a parameter table. Subclasses are frozen dataclasses.

    Shapes: audio [B, C, T] float32 or float64, settings name -> [B]. Gradients reach the audio,
    every parameter and the state.

    A subclass must give ``kind``, ``params`` and ``_render``. Everything else has a default:
    settings files are written from the dataclass's fields, the report draws ``response``, and
    exports note that the effect is left out.
    """

    name: str

    kind: ClassVar[str] = ""
    """The type's name in settings files and in the registry, such as ``"compressor"``."""
    noun: ClassVar[str] = ""
    """What a sentence calls it, such as ``"mid/side effect"``; "" for ``kind`` in words."""
    has_dynamics: ClassVar[bool] = False
    """Gain follows the level over time, so that it needs a warm-up (see ``warm_state``)."""
    level_dependent: ClassVar[bool] = False
    """Gain depends on the level, so that there need not be a linear ``response``."""
    linear_across_channels: ClassVar[bool] = True
    """A channel that is a quieter copy of another comes out as the same quieter copy."""
    has_crossover: ClassVar[bool] = False
    """A neutral setting is an all-pass instead of the identity."""
    gain_curve: ClassVar[str] = ""
    """Name of the curve of ``render`` that, with makeup, is the whole gain over time in dB."""
    exact_blocks: ClassVar[bool] = True
    """Rendering in blocks equals rendering in one go to the last bit, else only to rounding."""
    tied_to_rate: ClassVar[bool] = False
    """It is made for one sample rate, which its settings file names."""
    tables: ClassVar[Mapping[str, ParamTable]] = {}
    """The parameter tables that a field ``table`` may hold, by their names in settings files."""

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Instances that the contract tests run over: the default one, and other modes."""
        return (cls(),)

    def __call__(
        self,
        audio: Tensor,
        sample_rate: float,
        setting: Mapping[str, Tensor] | None = None,
        **values: float,
    ) -> Tensor:
        """Process audio with a setting, or with plain values and defaults for the rest.

        ``Equalizer()(audio, 48000, peak_1_gain_db=6.0)`` returns audio of the same shape.
        Members of a chain have dotted names: ``effect(audio, 48000, **{"equalizer.peak_1_q": 2})``.

        Args:
            audio: [B, C, T], float32 or float64.
            sample_rate: in Hz.
            setting: every parameter's value, name -> [B]; excludes ``values``.
            values: parameters in physical units; those not named keep their default.

        Raises:
            TypeError: audio is no tensor, or both a setting and values are given.
            ShapeError: audio is not [B, C, T].
            SettingError: a parameter is missing, unknown or out of range.
        """
        if setting is not None and values:
            raise TypeError(
                f"{self.name}: got a setting and also {', '.join(values)}. Pass one of the two; "
                "effect.params.setting({...}) makes a setting of numbers."
            )
        if setting is None:
            batch = audio.shape[0] if isinstance(audio, Tensor) and audio.ndim == 3 else 1
            setting = self.params.setting(values, batch)
        return self.render(audio, sample_rate, setting).audio

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...] | None:
        """The effect as processing stages that other programs know (``retone.dsp.stages``).

        Args:
            setting: one item, name -> [1].
            sample_rate: in Hz.

        Returns:
            Stages in processing order, none where the setting does nothing; None if the effect
            cannot be expressed in stages, which exports note.
        """
        return None

    def views(
        self, setting: Mapping[str, Tensor], sample_rate: float, frequency_hz: np.ndarray
    ) -> tuple[View, ...]:
        """The views for the report and the studio; by default the linear response, if there is one.

        Args:
            setting: one item, name -> [1].
            sample_rate: in Hz.
            frequency_hz: frequencies [F] to evaluate responses at.
        """
        f = torch.from_numpy(np.asarray(frequency_hz, dtype=np.float64))
        response = self.response(f, sample_rate, setting)
        if response is None:
            return ()
        return (ResponseView("", "", decibels(response[0]), about=self._about_response()),)

    def _about_response(self) -> str:
        return ""

    def curve_band(
        self, curve: str, setting: Mapping[str, Tensor]
    ) -> tuple[int, float | None, float | None] | None:
        """The band a curve of ``render`` belongs to, from 1, and its lower and upper end in Hz.

        None for a curve of the whole signal; an end that is open is None.
        """
        return None

    def latency_samples(self, sample_rate: float) -> int:
        """By how many samples the output of ``render`` is late; files are written aligned."""
        return 0

    @property
    @abstractmethod
    def params(self) -> ParamTable:
        """The parameter table, in the order of the unit vector."""

    @abstractmethod
    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        """The exact, causal processor; the arguments are already checked."""

    def _relax(self, audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
        """The papers' differentiable stand-in; effects without one render exactly."""
        return self._render(audio, sample_rate, setting, None, False).audio

    def problems(self) -> list[str]:
        """Messages about failures that were worked around since the last call."""
        return []

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor | None:
        """Linear complex response [B, F] at the given frequencies, None if level-dependent."""
        return None

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Render with everything but the crossovers bypassed; their sum is an all-pass.

        Arguments are those of ``render``, without state. Effects whose neutral setting is the
        identity return the audio unchanged.
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
        checked: bool = True,
    ) -> Rendered:
        """Process audio exactly; finite audio gives finite audio.

        Args:
            audio: [B, C, T], float32 or float64; recursions run in float64 either way.
            sample_rate: in Hz.
            setting: every parameter's value in physical units, name -> [B].
            state: the state returned for the previous block; None starts from silence.
            curves: also return the effect's curves over time (such as gain reduction in dB).
            checked: look at every value, on a CPU. Inner loops leave it out: then NaN gives NaN,
                and a parameter out of its range anything.

        Raises:
            TypeError: audio is no tensor.
            ShapeError: audio is not [B, C, T].
            SettingError: a parameter is missing, unknown, of another batch size, or (``checked``)
                out of its range; or the audio holds NaN, or samples beyond ``LOUDEST``.
        """
        full = self._checked(audio, sample_rate, setting)
        if checked:
            self._check_values(audio, full)
        return self._render(audio, sample_rate, full, state, curves)

    def warm_state(
        self, head: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> State | None:
        """The state after a warm-up: pre-roll of the recording's beginning, reversed in time.

        A compressor that starts from silence lets the first milliseconds of a recording that
        begins in mid-sound through at full makeup gain. After the reversed pre-roll its gain fits
        the first sample. Effects that only filter start from silence, since nothing came before.

        Args:
            head: [B, C, T], the beginning; half a second is several attack times.

        Returns:
            The ``state`` for ``render``; None for effects without dynamics.
        """
        return self._warm_state(head, sample_rate, self._checked(head, sample_rate, setting))[0]

    def _warm_state(
        self, head: Tensor, sample_rate: float, setting: Setting
    ) -> tuple[State | None, Tensor]:
        """``warm_state``, and the head rendered from that state."""
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

    def _check_values(self, audio: Tensor, setting: Setting) -> None:
        """Refuse parameters out of range, and samples that are no sound; on a CPU only."""
        for value in (audio, *setting.values()):
            if value.device.type != "cpu" or torch._C._functorch.is_functorch_wrapped_tensor(value):
                return  # looking at a value would wait for the device, or is not possible
        if audio.numel():
            least, most = torch.aminmax(audio.detach())
            if not (least >= -LOUDEST and most <= LOUDEST):
                what = not_sound(audio.detach().numpy())
                raise SettingError(
                    f"{self.name}: the audio holds samples that are {what}; "
                    "expected finite numbers, full scale is 1."
                )
        if setting and audio.shape[0]:
            values = torch.stack([setting[n].detach().double() for n in self.params.names])
            low, high = self.params.limits
            if not bool(((values >= low) & (values <= high)).all()):
                self._refuse_value(values)

    def _refuse_value(self, values: Tensor) -> None:
        low, high = self.params.limits
        row = int((~((values >= low) & (values <= high)).all(dim=1)).nonzero()[0])
        param = tuple(self.params)[row]
        bad = values[row][~((values[row] >= low[row]) & (values[row] <= high[row]))][0]
        raise SettingError(
            f"{self.name}: {param.name} = {float(bad):g} is outside its range {param.low:g}.."
            f"{param.high:g} {param.unit}".rstrip()
            + "."
        )

    def _checked(self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Setting:
        if not isinstance(audio, Tensor):
            raise TypeError(
                f"{self.name}: audio must be a torch tensor [B, C, T], got {type(audio).__name__}. "
                "torch.from_numpy(audio)[None] makes one of a NumPy array [C, T]."
            )
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
        if not 0 < sample_rate < math.inf:
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


def a_noun(effect: Effect) -> str:
    """What a sentence calls an effect by its kind: "an equalizer", "a mid/side effect"."""
    noun = effect.noun or (effect.kind or type(effect).__name__).replace("_", " ")
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def split_setting(setting: Mapping[str, Tensor], prefix: str) -> Setting:
    """The part of a dotted setting that belongs to one member of a chain."""
    start = prefix + "."
    return {n[len(start) :]: v for n, v in setting.items() if n.startswith(start)}
