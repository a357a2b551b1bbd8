"""Noise reduction: turns down steady noise, in pauses and during speech.

The spectrum of overlapping frames is multiplied with a gain for each bin (a Wiener filter)::

    g = w + (1 - w) 10^(-reduction_db / 20),    w = snr / (1 + snr)

``snr`` is the power of what is not noise over that of the noise. It is followed from frame to frame
by the decision-directed rule (Y. Ephraim and D. Malah, 1984)::

    snr[t] = KEPT w[t-1]^2 p[t-1] / noise[t] + (1 - KEPT) max(p[t] / noise[t] - 1, 0)

The power ``noise`` is learnt while the effect runs: in each bin it follows the frame's power ``p``
as far as the probability of speech allows (T. Gerkmann and R. Hendriks, 2012)::

    speech = 1 / (1 + (1 + r) exp(-p / noise  r / (1 + r))),    r = 15 dB
    noise += (1 - KEPT_NOISE) (1 - speech) (p - noise)

So nothing depends on the recording's level, and the effect follows changing noise within seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.noise import OVERLAP, hop_samples, without_noise
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.stages import Stage
from retone.effects.fir import delayed

_TABLE = ParamTable(
    (
        Param("reduction_db", "dB", 0, 24, 0, "linear", "Greatest attenuation of the noise.",
              neutral=0),
        Param("sensitivity_db", "dB", -6, 12, 0, "linear",
              "How much louder the noise is assumed to be than estimated.",
              audible_when="reduction_db"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class NoiseReduction(Effect):
    """A Wiener filter in each bin with a limited depth; all channels get the same gains.

    The output is late by one frame, 43 ms at 48 kHz.
    """

    kind: ClassVar[str] = "noise_reduction"
    level_dependent: ClassVar[bool] = True
    name: str = "noise_reduction"

    @property
    def params(self) -> ParamTable:
        return _TABLE

    def latency_samples(self, sample_rate: float) -> int:
        return OVERLAP * hop_samples(sample_rate)

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        return delayed(audio, self.latency_samples(sample_rate), None).to(audio.dtype)

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...] | None:
        return None if float(setting["reduction_db"][0]) else ()

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        values = [setting[p.name].double().to(audio.device)[:, None] for p in _TABLE]
        y, after = without_noise(
            audio.double(), sample_rate, values[0], 10 ** (values[1] / 10), state
        )
        return Rendered(y.to(audio.dtype), after, {})
