"""The six-band parametric equaliser: a low shelf, four peaks and a high shelf in series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from retone.dsp import biquad, relaxed
from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Scale, Setting, to_numbers
from retone.dsp.recursion import cascade, peaks_and_shelves
from retone.dsp.stages import QUIET_DB, Filter, Stage
from retone.dsp.views import BandView, ResponseView, View, band_reach, decibels, words

_MOVES = {"frequency": "frequency_hz", "gain": "gain_db", "q": "q"}
BANDS = ("low_shelf", "peak_1", "peak_2", "peak_3", "peak_4", "high_shelf")


def _band(
    name: str,
    frequency_hz: tuple[float, float, float],
    q: tuple[float, float, float],
    *,
    scale: Scale,
) -> tuple[Param, Param, Param]:
    what = name.replace("_", " ").capitalize()
    low, high, default = frequency_hz
    gain = f"{name}_gain_db"
    place = "centre" if name.startswith("peak") else "corner"
    return (
        Param(gain, "dB", -24, 24, 0, "linear", f"{what}: gain.", neutral=0,
              role="gain"),
        Param(
            f"{name}_frequency_hz", "Hz", low, high, default, scale,
            f"{what}: {place} frequency.", audible_when=gain, role="frequency",
        ),
        Param(
            f"{name}_q", "", q[0], q[1], q[2], scale,
            f"{what}: Q, higher is narrower.", audible_when=gain, role="q",
        ),
    )  # fmt: skip


def _table(
    frequencies: tuple[tuple[float, float, float], ...],
    shelf_q: tuple[float, float, float],
    peak_q: tuple[float, float, float],
    scale: Scale,
) -> ParamTable:
    rows: tuple[Param, ...] = ()
    for name, f in zip(BANDS, frequencies, strict=True):
        rows += _band(name, f, peak_q if name.startswith("peak") else shelf_q, scale=scale)
    return ParamTable(rows)


EQUALIZER_TABLE = _table(
    (
        (20, 500, 100),
        (60, 2000, 300),
        (200, 5000, 1000),
        (1000, 9000, 3000),
        (3000, 16000, 7000),
        (2000, 18000, 8000),
    ),
    shelf_q=(0.2, 2.0, 0.707),
    peak_q=(0.1, 10.0, 0.707),
    scale="log",
)

PAPER_EQUALIZER_TABLE = _table(
    (
        (20, 200, 100),
        (200, 2000, 400),
        (800, 4000, 1000),
        (2000, 8000, 4000),
        (4000, 10800, 8000),
        (4000, 10800, 8000),
    ),
    shelf_q=(0.1, 10.0, 0.707),
    peak_q=(0.1, 10.0, 0.707),
    scale="linear",
)
"""Ranges and linear scales of DeepAFx-ST; its highest frequencies are fixed for 24 kHz."""


@dataclass(frozen=True)
class Equalizer(Effect):
    """Cookbook biquads in series, computed recursively.

    ``table`` holds names and ranges; the band names must be those of ``BANDS``.
    """

    kind: ClassVar[str] = "equalizer"
    tables: ClassVar[Mapping[str, ParamTable]] = {
        "default": EQUALIZER_TABLE,
        "paper": PAPER_EQUALIZER_TABLE,
    }
    name: str = "equalizer"
    table: ParamTable = EQUALIZER_TABLE

    @property
    def params(self) -> ParamTable:
        return self.table

    def sections(self, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """The six biquads [B, 6, 5] of a setting."""

        def of(what: str) -> Tensor:
            return torch.stack([setting[f"{band}_{what}"] for band in BANDS], dim=1)

        return peaks_and_shelves(of("frequency_hz"), of("gain_db"), of("q"), sample_rate)

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        batch, channels, length = audio.shape
        sections = self.sections(sample_rate, setting).to(audio.device)
        y, after = cascade(
            audio.reshape(batch * channels, length), sections, state["sections"] if state else None
        )
        return Rendered(y.reshape(audio.shape), {"sections": after}, {})

    def _relax(self, audio: Tensor, sample_rate: float, setting: Setting) -> Tensor:
        return relaxed.cascade(audio, self.sections(sample_rate, setting).to(audio.device))

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        return biquad.response(self.sections(sample_rate, setting), frequency_hz, sample_rate)

    def band_responses(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Complex response of each band alone, [B, 6, F]."""
        sections = self.sections(sample_rate, setting)
        return biquad.response(sections[:, :, None], frequency_hz, sample_rate)

    def _filters(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Filter, ...]:
        """Each band's filter, with its frequency clamped as in rendering."""
        v = to_numbers(setting)
        top = biquad.TOP_OF_BAND * sample_rate
        return tuple(
            Filter(
                band,
                "peak" if band.startswith("peak") else band,
                min(v[f"{band}_frequency_hz"], top),
                v[f"{band}_gain_db"],
                v[f"{band}_q"],
            )
            for band in BANDS
        )

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        filters = self._filters(setting, sample_rate)
        return tuple(f for f in filters if abs(f.gain_db) > QUIET_DB)

    def views(
        self, setting: Mapping[str, Tensor], sample_rate: float, frequency_hz: np.ndarray
    ) -> tuple[View, ...]:
        f = torch.from_numpy(np.asarray(frequency_hz, dtype=np.float64))
        each = decibels(self.band_responses(f, sample_rate, setting)[0])
        bands = []
        for i, shape in enumerate(self._filters(setting, sample_rate)):
            names = {r: f"{shape.name}_{what}" for r, what in _MOVES.items()}
            centre = float(setting[names["frequency"]][0])
            low, high = band_reach(shape.kind, centre, shape.q, sample_rate / 2)
            bands.append(
                BandView(
                    words(shape.name), centre, shape.gain_db, shape.q, each[i], low, high, names
                )
            )
        return (ResponseView("", "", each.sum(axis=0), tuple(bands)),)
