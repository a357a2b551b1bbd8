"""Base of the effects with six bands between five crossovers: parameters, settings, views."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.dsp.param import Param, Setting, to_numbers
from retone.dsp.stages import Bands, Dynamics, Filter, Stage
from retone.dsp.views import BandView, ResponseView, View, decibels
from retone.effects.compressor import Compressor, dynamics_stage, static_view

BANDS = 6
CROSSOVER_RANGES_HZ = ((60, 250), (250, 700), (700, 2000), (2000, 5000), (5000, 9500))
KNEE_DB = 6.0


def crossover_rows() -> list[Param]:
    """Parameters of the five crossover frequencies."""
    return [
        Param(f"crossover_{i}_hz", "Hz", low, high, float((low * high) ** 0.5), "log",
              f"Border between bands {i} and {i + 1}.",
              audible_when=f"band_{i}_gain_db", role="frequency")
        for i, (low, high) in enumerate(CROSSOVER_RANGES_HZ, start=1)
    ]  # fmt: skip


def time_rows(band: int, *ratios: str) -> list[Param]:
    """Attack and release of a band; they are audible only if one of its ratios is not 1."""
    b = f"band_{band}"
    return [
        Param(f"{b}_attack_ms", "ms", 1, 100, 10, "log", f"Band {band}: attack, 10-90 %.",
              audible_when=ratios, role="time"),
        Param(f"{b}_release_ms", "ms", 10, 500, 100, "log", f"Band {band}: release, 10-90 %.",
              audible_when=ratios, role="time"),
    ]  # fmt: skip


class Banded(Effect):
    """An effect that splits the input into ``BANDS`` bands with one compressor each.

    ``compressor`` is their common kind; its settings have the bands as the batch.
    """

    has_dynamics: ClassVar[bool] = True
    level_dependent: ClassVar[bool] = True
    split: ClassVar[str]
    compressor: Compressor

    @abstractmethod
    def band_responses(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Each band's linear response with its dynamics bypassed, [B, 6, F]."""

    @abstractmethod
    def _band_setting(self, setting: Mapping[str, Tensor]) -> Setting:
        """The bands' compressor settings with bands as the batch: name -> [B * 6]."""

    def _band_filter(self, setting: Mapping[str, Tensor], band: int) -> Filter | None:
        """The filter of band number ``band``, counted from 0; None if it has none."""
        return None

    def crossovers_hz(self, setting: Mapping[str, Tensor]) -> Tensor:
        """The five crossover frequencies of a setting, [B, 5]."""
        return torch.stack([setting[f"crossover_{i}_hz"].double() for i in range(1, BANDS)], dim=1)

    def _bands(self, setting: Mapping[str, Tensor], what: str) -> Tensor:
        return torch.stack(
            [setting[f"band_{i}_{what}"].double() for i in range(1, BANDS + 1)], dim=1
        )

    def _compressor_setting(self, setting: Mapping[str, Tensor], *names: str) -> Setting:
        own = {n: self._bands(setting, n).reshape(-1) for n in names}
        own["knee_db"] = torch.full_like(own["ratio"], KNEE_DB)
        return own

    def _band_curves(self, curves: Mapping[str, Tensor], batch: int) -> dict[str, Tensor]:
        """The compressors' curves [B * 6, T] as one curve [B, T] per band, by name."""
        if not curves:
            return {}
        rows = curves["gain_reduction_db"]
        reduction = rows.reshape(batch, BANDS, rows.shape[-1])
        return {f"band_{i + 1}_gain_reduction_db": reduction[:, i] for i in range(BANDS)}

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        """Linear response with every band's dynamics bypassed, [B, F]."""
        return self.band_responses(frequency_hz, sample_rate, setting).sum(dim=1)

    def _dynamics(self, setting: Mapping[str, Tensor]) -> tuple[Dynamics, ...]:
        own = self._band_setting(setting)
        return tuple(
            dynamics_stage(
                f"band_{i + 1}", self.compressor, {n: float(v[i]) for n, v in own.items()}
            )
            for i in range(BANDS)
        )

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        filters = tuple(self._band_filter(setting, i) for i in range(BANDS))
        edges = tuple(float(f) for f in self.crossovers_hz(setting)[0])
        return (Bands("", self.split, edges, filters, self._dynamics(setting)),)

    def views(
        self, setting: Mapping[str, Tensor], sample_rate: float, frequency_hz: np.ndarray
    ) -> tuple[View, ...]:
        f = torch.from_numpy(np.asarray(frequency_hz, dtype=np.float64))
        each = self.band_responses(f, sample_rate, setting)[0]
        edges = self.crossovers_hz(setting)[0].tolist()
        inner = [math.sqrt(a * b) for a, b in zip(edges, edges[1:], strict=False)]
        middle = [edges[0], *inner, edges[-1]]
        borders = [20.0, *edges, sample_rate / 2]
        values, table = to_numbers(setting), self.params
        bands = []
        for i in range(BANDS):
            start = f"band_{i + 1}_"
            rows = [p for p in table if p.name.startswith(start)]
            gains = [p.name for p in rows if p.role == "gain"]
            q = next((p.name for p in rows if p.role == "q"), None)
            bands.append(
                BandView(
                    f"Band {i + 1}",
                    middle[i],
                    sum(values[n] for n in gains),
                    values[q] if q else None,
                    decibels(each[i]),
                    borders[i],
                    borders[i + 1],
                    {"gain": gains[0]} | ({"q": q} if q else {}),
                )
            )
        about = "Response with all dynamics bypassed, and the gain of each band."
        crossovers = tuple(f"crossover_{i}_hz" for i in range(1, BANDS))
        views: list[View] = [
            ResponseView("", "", decibels(each.sum(dim=0)), tuple(bands), about, crossovers)
        ]
        own_setting = self._band_setting(setting)
        for i, d in enumerate(self._dynamics(setting)):
            if d.acts:
                row = {n: v[i : i + 1] for n, v in own_setting.items()}
                views.append(static_view(self.compressor, row, d, band=i + 1))
        return tuple(views)

    def curve_band(
        self, curve: str, setting: Mapping[str, Tensor]
    ) -> tuple[int, float | None, float | None]:
        band = int(curve.split("_")[1])
        ends = [None, *self.crossovers_hz(setting)[0].tolist(), None]
        return band, ends[band - 1], ends[band]
