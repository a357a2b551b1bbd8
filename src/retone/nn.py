"""Effects as ``torch.nn`` modules with trainable parameters.

A trainable parameter is stored as the logit of its unit-range value, so optimiser steps never leave
the range in the parameter table::

    model = torch.nn.Sequential(
        Processor(Equalizer(), 48000, learnable=["peak_1_gain_db"]),
        Processor(Compressor(), 48000, threshold_db=-30.0),
    )
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.errors import SettingError

MARGIN = 1e-4
"""Smallest distance of a trainable value's start from the ends of its unit range, where the
gradient vanishes."""


class Processor(nn.Module):
    """An effect at one sample rate, with fixed or trainable values; audio is [B, C, T].

    Args:
        effect: any effect, chains included.
        sample_rate: sample rate of the audio in Hz.
        learnable: names of the trainable parameters, True for all, False for none.
        values: initial values in physical units; the others start at their defaults. Pass dotted
            names of a chain as ``**{"equalizer.peak_1_q": 2.0}``.

    Raises:
        TypeError: ``effect`` is not an effect instance.
        SettingError: a name is unknown, a value is out of range, or the rate is not positive.
    """

    def __init__(
        self,
        effect: Effect,
        sample_rate: float,
        learnable: Iterable[str] | bool = False,
        **values: float,
    ) -> None:
        super().__init__()
        if not isinstance(effect, Effect):
            hint = " Pass an instance, such as Equalizer()." if isinstance(effect, type) else ""
            raise TypeError(f"Processor: expected an effect, got {effect!r}.{hint}")
        if not sample_rate > 0:
            raise SettingError(f"Processor: sample_rate must be positive, got {sample_rate}.")
        self.effect, self.sample_rate = effect, sample_rate
        table = effect.params
        names = (table.names if learnable else ()) if isinstance(learnable, bool) else learnable
        if isinstance(names, str):
            raise TypeError(f"Processor: learnable must be a list of names, got '{names}'.")
        self.learnable = tuple(table[n].name for n in names)  # raises with the nearest names
        start = table.setting(values)
        self.register_buffer("fixed", torch.cat([*start.values(), torch.zeros(0).double()]))
        unit = [table[n].to_unit(start[n]).clamp(MARGIN, 1 - MARGIN) for n in self.learnable]
        self.logits = nn.Parameter(torch.logit(torch.cat(unit))) if unit else None

    def setting(self, batch: int = 1) -> Setting:
        """Current values in physical units, name -> [batch]; differentiable where trainable."""
        fixed: Tensor = self.get_buffer("fixed")
        unit = fixed if self.logits is None else torch.sigmoid(self.logits)
        place = {name: i for i, name in enumerate(self.learnable)}
        return {
            p.name: (p.to_physical(unit[place[p.name]]) if p.name in place else fixed[i]).expand(
                batch
            )
            for i, p in enumerate(self.effect.params)
        }

    def forward(self, audio: Tensor) -> Tensor:
        """Process audio [B, C, T] with the current values.

        Raises:
            TypeError: audio is not a tensor.
            ShapeError: audio is not [B, C, T].
        """
        batch = audio.shape[0] if isinstance(audio, Tensor) and audio.ndim == 3 else 1
        setting = self.setting(batch)
        return self.effect.render(audio, self.sample_rate, setting, checked=False).audio

    def extra_repr(self) -> str:
        learnt = ", ".join(self.learnable) or "nothing"
        return f"{self.effect.name}, {self.sample_rate:g} Hz, learns {learnt}"
