"""The six-band dynamic equaliser of Diff-DEQ: crossover, an EQ and a compressor per band, sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from retone.dsp import biquad, crossover
from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.recursion import cascade, peaks_and_shelves
from retone.effects.compressor import Compressor

BANDS = 6
CROSSOVER_RANGES_HZ = ((60, 250), (250, 700), (700, 2000), (2000, 5000), (5000, 9500))
KNEE_DB = 6.0


def _table() -> ParamTable:
    rows: list[Param] = []
    for i, (low, high) in enumerate(CROSSOVER_RANGES_HZ, start=1):
        middle = float((low * high) ** 0.5)
        rows.append(
            Param(f"crossover_{i}_hz", "Hz", low, high, middle, "log",
                  f"Border between bands {i} and {i + 1}.",
                  audible_when=f"band_{i}_gain_db")
        )  # fmt: skip
    for i in range(1, BANDS + 1):
        b, gain, ratio = f"band_{i}", f"band_{i}_gain_db", f"band_{i}_ratio"
        rows += [
            Param(gain, "dB", -24, 24, 0, "linear", f"Band {i}: EQ gain.", neutral=0),
            Param(f"{b}_q", "", 0.1, 6, 0.707, "log", f"Band {i}: Q of its EQ.",
                  audible_when=gain),
            Param(f"{b}_threshold_db", "dB", -60, 0, -20, "linear",
                  f"Band {i}: level above which gain is reduced.", audible_when=ratio),
            Param(ratio, ":1", 1, 20, 1, "slope", f"Band {i}: compression ratio.", neutral=1),
            Param(f"{b}_attack_ms", "ms", 1, 100, 10, "log", f"Band {i}: attack, 10-90 %.",
                  audible_when=ratio),
            Param(f"{b}_release_ms", "ms", 10, 500, 100, "log", f"Band {i}: release, 10-90 %.",
                  audible_when=ratio),
            Param(f"{b}_makeup_db", "dB", -12, 12, 0, "linear", f"Band {i}: gain after it.",
                  neutral=0),
        ]  # fmt: skip
    return ParamTable(tuple(rows))


DYNAMIC_EQUALIZER_TABLE = _table()


@dataclass(frozen=True)
class DynamicEqualizer(Effect):
    """Six bands between five crossovers; each band has one EQ section and one compressor.

    The EQ sections mirror a six-band equaliser: a low shelf at the first crossover, peaks at the
    middle (in log frequency) of bands 2 to 5, a high shelf at the last crossover. The bands' sum
    is an all-pass while every band is neutral. ``compressor`` gives each band's detector and
    smoothing; Diff-DEQ smooths the linear gain of a 10 ms RMS detector.
    """

    has_dynamics: ClassVar[bool] = True
    name: str = "dynamic_equalizer"
    compressor: Compressor = Compressor(rms_ms=10.0, smooth="gain")

    @property
    def params(self) -> ParamTable:
        return DYNAMIC_EQUALIZER_TABLE

    def crossovers_hz(self, setting: Mapping[str, Tensor]) -> Tensor:
        """The five crossover frequencies of a setting, [B, 5]."""
        return torch.stack([setting[f"crossover_{i}_hz"].double() for i in range(1, BANDS)], dim=1)

    def _bands(self, setting: Mapping[str, Tensor], what: str) -> Tensor:
        return torch.stack(
            [setting[f"band_{i}_{what}"].double() for i in range(1, BANDS + 1)], dim=1
        )

    def sections(self, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """Each band's EQ section, [B, 6, 5]."""
        f = self.crossovers_hz(setting)
        gain, q = self._bands(setting, "gain_db"), self._bands(setting, "q")
        middle = torch.sqrt(f[:, :-1] * f[:, 1:])
        place = torch.cat([f[:, :1], middle, f[:, -1:]], dim=1)
        return peaks_and_shelves(place, gain, q, sample_rate)

    def _band_setting(self, setting: Mapping[str, Tensor]) -> Setting:
        """The bands' compressor settings with bands as the batch: name -> [B * 6]."""
        names = ("threshold_db", "ratio", "attack_ms", "release_ms", "makeup_db")
        own = {n: self._bands(setting, n).reshape(-1) for n in names}
        own["knee_db"] = torch.full_like(own["ratio"], KNEE_DB)
        return own

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        batch, channels, length = audio.shape
        bands, split_state = crossover.split(
            audio, self.crossovers_hz(setting), sample_rate, state["split"] if state else None
        )
        sections = self.sections(sample_rate, setting).reshape(batch * BANDS, 1, 5)
        flat, eq_state = cascade(
            bands.reshape(batch * BANDS * channels, length),
            sections.to(audio.device),
            state["eq"] if state else None,
        )
        shaped, dynamics_state, own = self.compressor._render(
            flat.reshape(batch * BANDS, channels, length),
            sample_rate,
            self._band_setting(setting),
            state["dynamics"] if state else None,
            curves,
        )
        out = {}
        if own:
            reduction = own["gain_reduction_db"].reshape(batch, BANDS, length)
            out = {f"band_{i + 1}_gain_reduction_db": reduction[:, i] for i in range(BANDS)}
        bands = shaped.reshape(batch, BANDS, channels, length)
        y = bands[:, 0]
        for i in range(1, BANDS):  # a fixed order: torch's sum changes its own with the length
            y = y + bands[:, i]
        return Rendered(y, {"split": split_state, "eq": eq_state, "dynamics": dynamics_state}, out)

    def at_rest(self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """The product of the crossovers' all-passes: the bands' sum while all are neutral."""
        around = biquad.butterworth(self.crossovers_hz(setting), sample_rate)[2].to(audio.device)
        batch, channels, length = audio.shape
        y, _ = cascade(audio.reshape(batch * channels, length), around)
        return y.reshape(audio.shape)

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Linear response with every compressor at rest (makeup included), [B, F]."""
        return self.band_responses(frequency_hz, sample_rate, setting).sum(dim=1)

    def band_responses(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Each band's linear response, crossover and makeup included, [B, 6, F]."""
        low, high, around = (
            biquad.response(s[:, :, None], frequency_hz, sample_rate)
            for s in biquad.butterworth(self.crossovers_hz(setting), sample_rate)
        )
        eq = biquad.response(
            self.sections(sample_rate, setting)[:, :, None], frequency_hz, sample_rate
        )
        makeup = 10 ** (self._bands(setting, "makeup_db") / 20)
        rows = []
        for k in range(BANDS):
            h = eq[:, k] * makeup[:, k, None]
            for i in range(BANDS - 1):
                if i < k:
                    h = h * high[:, i] ** 2
                elif i == k:
                    h = h * low[:, i] ** 2
                else:
                    h = h * around[:, i]
            rows.append(h)
        return torch.stack(rows, dim=1)
