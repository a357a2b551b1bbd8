"""The six-band dynamic equaliser of Diff-DEQ: crossover, an EQ and a compressor per band, sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from retone.dsp import biquad, crossover
from retone.dsp.effect import Rendered, State
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.recursion import cascade, peaks_and_shelves
from retone.dsp.stages import QUIET_DB, Filter
from retone.effects.bands import BANDS, Banded, crossover_rows, time_rows
from retone.effects.compressor import Compressor


def _table() -> ParamTable:
    rows = crossover_rows()
    for i in range(1, BANDS + 1):
        b, gain, ratio = f"band_{i}", f"band_{i}_gain_db", f"band_{i}_ratio"
        rows += [
            Param(gain, "dB", -24, 24, 0, "linear", f"Band {i}: EQ gain.", neutral=0, role="gain"),
            Param(f"{b}_q", "", 0.1, 6, 0.707, "log", f"Band {i}: EQ Q.",
                  audible_when=gain, role="q"),
            Param(f"{b}_threshold_db", "dB", -60, 0, -20, "linear",
                  f"Band {i}: level above which gain is reduced.", audible_when=ratio,
                  role="threshold", level_relative=True),
            Param(ratio, ":1", 1, 20, 1, "slope", f"Band {i}: compression ratio.", neutral=1,
                  role="ratio"),
            *time_rows(i, ratio),
            Param(f"{b}_makeup_db", "dB", -12, 12, 0, "linear", f"Band {i}: makeup gain.",
                  neutral=0, role="gain"),
        ]  # fmt: skip
    return ParamTable(tuple(rows))


DYNAMIC_EQUALIZER_TABLE = _table()


@dataclass(frozen=True)
class DynamicEqualizer(Banded):
    """Six bands between five crossovers; each band has one EQ section and one compressor.

    The EQ sections mirror a six-band equaliser: a low shelf at the first crossover, peaks at the
    middle (in log frequency) of bands 2 to 5, a high shelf at the last crossover. The bands' sum
    is an all-pass while every band is neutral. ``compressor`` gives each band's detector and
    smoothing; Diff-DEQ smooths the linear gain of a 10 ms RMS detector.
    """

    kind: ClassVar[str] = "dynamic_equalizer"
    has_crossover: ClassVar[bool] = True
    split: ClassVar[str] = "linkwitz-riley"
    name: str = "dynamic_equalizer"
    compressor: Compressor = field(
        default=Compressor(rms_ms=10.0, smooth="gain"),
        metadata={"key": "detector", "only": ("rms_ms", "smooth"), "base": Compressor()},
    )

    @property
    def params(self) -> ParamTable:
        return DYNAMIC_EQUALIZER_TABLE

    def sections(self, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """Each band's EQ section, [B, 6, 5]."""
        gain, q = self._bands(setting, "gain_db"), self._bands(setting, "q")
        return peaks_and_shelves(self._centres_hz(setting), gain, q, sample_rate)

    def _centres_hz(self, setting: Mapping[str, Tensor]) -> Tensor:
        """Centre or corner frequency of each band's EQ section, [B, 6]."""
        f = self.crossovers_hz(setting)
        middle = torch.sqrt(f[:, :-1] * f[:, 1:])
        return torch.cat([f[:, :1], middle, f[:, -1:]], dim=1)

    def _band_filter(self, setting: Mapping[str, Tensor], band: int) -> Filter | None:
        name = f"band_{band + 1}"
        gain, q = (float(setting[f"{name}_{what}"][0]) for what in ("gain_db", "q"))
        kind = "low_shelf" if band == 0 else "high_shelf" if band == BANDS - 1 else "peak"
        centre = float(self._centres_hz(setting)[0, band])
        return Filter(name, kind, centre, gain, q) if abs(gain) > QUIET_DB else None

    def _band_setting(self, setting: Mapping[str, Tensor]) -> Setting:
        """The bands' compressor settings with bands as the batch: name -> [B * 6]."""
        names = ("threshold_db", "ratio", "attack_ms", "release_ms", "makeup_db")
        return self._compressor_setting(setting, *names)

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
        out = self._band_curves(own, batch)
        bands = shaped.reshape(batch, BANDS, channels, length)
        y = bands[:, 0]
        for i in range(1, BANDS):  # a fixed order: torch's sum changes its own with the length
            y = y + bands[:, i]
        return Rendered(y, {"split": split_state, "eq": eq_state, "dynamics": dynamics_state}, out)

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Apply the product of the crossovers' all-passes, the sum of neutral bands."""
        around = biquad.butterworth(self.crossovers_hz(setting), sample_rate)[2].to(audio.device)
        batch, channels, length = audio.shape
        y, _ = cascade(audio.reshape(batch * channels, length), around)
        return y.reshape(audio.shape)

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
