"""The six-band parametric equaliser: a low shelf, four peaks and a high shelf in series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from retone.dsp import biquad, relaxed
from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.recursion import cascade, peaks_and_shelves

BANDS = ("low_shelf", "peak_1", "peak_2", "peak_3", "peak_4", "high_shelf")


def _band(
    name: str,
    frequency_hz: tuple[float, float, float],
    q: tuple[float, float, float],
    *,
    scale: str,
) -> tuple[Param, Param, Param]:
    what = name.replace("_", " ").capitalize()
    low, high, default = frequency_hz
    gain = f"{name}_gain_db"
    place = "centre" if name.startswith("peak") else "corner"
    return (
        Param(gain, "dB", -24, 24, 0, "linear", f"{what}: gain.", neutral=0),
        Param(
            f"{name}_frequency_hz", "Hz", low, high, default, scale,  # type: ignore[arg-type]
            f"{what}: {place} frequency.", audible_when=gain,
        ),
        Param(
            f"{name}_q", "", q[0], q[1], q[2], scale,  # type: ignore[arg-type]
            f"{what}: Q, higher is narrower.", audible_when=gain,
        ),
    )  # fmt: skip


def _table(
    frequencies: tuple[tuple[float, float, float], ...],
    shelf_q: tuple[float, float, float],
    peak_q: tuple[float, float, float],
    scale: str,
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
    """Cookbook biquads in series, run as the recursion they are.

    ``table`` holds names and ranges; the band names must be those of ``BANDS``.
    """

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
