"""A six-band dynamic equaliser whose bands sum exactly to the input: no phase shift when neutral.

Five low-passes split the input by subtraction::

    band_1 = L_1 x,   band_k = (L_k - L_(k-1)) x,   band_6 = x - L_5 x

so the bands sum to x whatever the low-passes are, while a crossover of the Linkwitz-Riley kind
sums to an all-pass. Each band has a gain, a compressor (upward expansion at ratios below 1) and a
downward expander; the difference that they make is added to the input::

    y = x + sum_k (g_k[n] - 1) band_k[n]

The low-passes are first-order. Two neighbouring gains then make a first-order shelf, monotone and
minimum-phase. Second-order low-passes would not make the bands steeper below the crossover (the
complement keeps a single zero), and gain steps would have a dip: a Butterworth step
of +12 dB dips by 3 dB an octave beyond the crossover. The price is selectivity: a detector also
picks up its neighbours, 7 dB down an octave past the border. For narrow
static corrections put an ``Equalizer`` before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from retone.dsp import biquad
from retone.dsp.effect import Rendered, State
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.recursion import cascade
from retone.effects.bands import BANDS, Banded, crossover_rows, time_rows
from retone.effects.compressor import EXPANDER_TABLE, Compressor
from retone.units import db_to_gain


def _table() -> ParamTable:
    rows = crossover_rows()
    for i in range(1, BANDS + 1):
        b, ratio, steep = f"band_{i}", f"band_{i}_ratio", f"band_{i}_expander_ratio"
        rows += [
            Param(f"{b}_gain_db", "dB", -24, 24, 0, "linear", f"Band {i}: gain.", neutral=0,
                  role="gain"),
            Param(f"{b}_threshold_db", "dB", -70, 0, -30, "linear",
                  f"Band {i}: level above which the ratio acts.", audible_when=ratio,
                  role="threshold", level_relative=True),
            Param(ratio, ":1", 0.5, 20, 1, "slope",
                  f"Band {i}: compression above 1, upward expansion below 1.", neutral=1,
                  role="ratio"),
            *time_rows(i, ratio, steep),
            Param(f"{b}_expander_threshold_db", "dB", -90, -20, -60, "linear",
                  f"Band {i}: level below which gain falls.", audible_when=steep,
                  role="threshold", level_relative=True),
            Param(steep, ":1", 1, 4, 1, "linear",
                  f"Band {i}: output dB per input dB below that level.", neutral=1,
                  role="ratio"),
        ]  # fmt: skip
    return ParamTable(tuple(rows))


MULTIBAND_EQUALIZER_TABLE = _table()
_DYNAMICS = (
    "threshold_db",
    "ratio",
    "attack_ms",
    "release_ms",
    "expander_threshold_db",
    "expander_ratio",
)


@dataclass(frozen=True)
class MultibandEqualizer(Banded):
    """Six-band dynamics; see the module's docstring. Neutral is bit-identical to bypass.

    ``compressor`` sets each band's detector; gains are smoothed in dB.
    """

    kind: ClassVar[str] = "multiband_equalizer"
    split: ClassVar[str] = "subtracted"
    name: str = "multiband"
    compressor: Compressor = field(
        default=Compressor(table=EXPANDER_TABLE, rms_ms=10.0),
        metadata={"key": "", "only": ("rms_ms",), "base": Compressor(table=EXPANDER_TABLE)},
    )

    @property
    def params(self) -> ParamTable:
        return MULTIBAND_EQUALIZER_TABLE

    def _band_setting(self, setting: Mapping[str, Tensor]) -> Setting:
        """The bands' compressor settings with bands as the batch: name -> [B * 6]."""
        own = self._compressor_setting(setting, *_DYNAMICS)
        own["makeup_db"] = self._bands(setting, "gain_db").reshape(-1)
        return own

    def split_bands(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """What each band's dynamics receive, [B, 6, C, T] float64; the bands sum to ``audio``."""
        return self._split(audio.double(), sample_rate, setting, None)[0]

    def _split(
        self, x: Tensor, sample_rate: float, setting: Mapping[str, Tensor], state: State | None
    ) -> tuple[Tensor, Tensor]:
        # Bands are differences and the result is a sum of them: in double precision, so that a
        # sum much smaller than its parts keeps its digits.
        batch, channels, length = x.shape
        sections = biquad.low_pass_first_order(self.crossovers_hz(setting), sample_rate)
        count = batch * (BANDS - 1) * channels
        rows = x[:, None].expand(-1, BANDS - 1, -1, -1).reshape(count, length)
        low, split_state = cascade(
            rows, sections.reshape(-1, 1, 5).to(x.device), state["split"] if state else None
        )
        low = low.reshape(batch, BANDS - 1, channels, length)
        bands = torch.cat([low[:, :1], low[:, 1:] - low[:, :-1], x[:, None] - low[:, -1:]], dim=1)
        return bands, split_state

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        batch, channels, length = audio.shape
        x = audio.double()
        bands, split_state = self._split(x, sample_rate, setting, state)
        shaped, dynamics_state, own = self.compressor._render(
            bands.reshape(batch * BANDS, channels, length),
            sample_rate,
            self._band_setting(setting),
            state["dynamics"] if state else None,
            curves,
        )
        out = self._band_curves(own, batch)
        change = shaped.reshape(batch, BANDS, channels, length) - bands
        y = x
        for i in range(BANDS):  # a fixed order: torch's sum changes its own with the length
            y = y + change[:, i]
        return Rendered(y.to(audio.dtype), {"split": split_state, "dynamics": dynamics_state}, out)

    def band_responses(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Each band's linear response, its gain included, [B, 6, F]."""
        sections = biquad.low_pass_first_order(self.crossovers_hz(setting), sample_rate)
        low = biquad.response(sections[:, :, None], frequency_hz, sample_rate)
        bands = torch.cat([low[:, :1], low[:, 1:] - low[:, :-1], 1 - low[:, -1:]], dim=1)
        return bands * db_to_gain(self._bands(setting, "gain_db"))[..., None]
