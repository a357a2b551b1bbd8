"""Views of an effect: plain arrays that the report and the studio draw.

An effect returns its views from ``Effect.views``. Names of parameters in a view are the effect's
own; the renderer prefixes the effect's path and chooses colours and labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from retone.dsp.stages import Dynamics


@dataclass(frozen=True)
class BandView:
    """One band of an equaliser: its handle and response [F] in dB; ``q`` if it has one.

    Args:
        label: such as ``Low shelf``.
        frequency_hz, gain_db: position of its handle.
        q: or None.
        response_db: [F].
        low_hz, high_hz: range of the band, for soloing it.
        moves: what dragging the handle changes: ``frequency``, ``gain`` and ``q`` to the names of
            parameters.
    """

    label: str
    frequency_hz: float
    gain_db: float
    q: float | None
    response_db: np.ndarray
    low_hz: float = 20.0
    high_hz: float = 20000.0
    moves: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResponseView:
    """A linear filter's response [F] in dB with its dynamics bypassed, and its bands if any.

    ``edges`` are the names of the parameters that move the borders between bands; ``part`` is a
    label for an effect with several responses, such as ``Mid`` and ``Side``.
    """

    name: str
    title: str
    total_db: np.ndarray
    bands: tuple[BandView, ...] = ()
    about: str = ""
    edges: tuple[str, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class CurveView:
    """A static curve: ``output_db`` [L] for steady levels ``input_db`` [L].

    Args:
        name, title: name and title of the effect; filled in by the renderer.
        input_db, output_db: [L], in dB.
        setting: the effect's values, which are listed next to the curve.
        dynamics: the compressor behind the curve, whose threshold and ratio are marked.
        band: number of the band it belongs to, from 1; None for the whole signal.
        about: a sentence on what is drawn.
        part: a label for an effect with several curves, such as ``Mid`` and ``Side``.
        level_edges_db, level_share: [N + 1] and [N], the histogram of levels at the input.
    """

    name: str
    title: str
    input_db: np.ndarray
    output_db: np.ndarray
    setting: Mapping[str, float] = field(default_factory=dict)
    dynamics: Dynamics | None = None
    band: int | None = None
    about: str = "Output level for a steady input level."
    level_edges_db: np.ndarray | None = None
    level_share: np.ndarray | None = None
    part: str = ""


View = ResponseView | CurveView


def decibels(response: Tensor) -> np.ndarray:
    """Magnitude of a complex response in dB."""
    return np.asarray(20 * torch.log10(response.abs().clamp(min=1e-10)))


def words(name: str) -> str:
    """A name as a label: ``peak_1`` is ``Peak 1``."""
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def band_reach(kind: str, centre_hz: float, q: float, top_hz: float) -> tuple[float, float]:
    """Range in Hz that a cookbook filter affects, for soloing it."""
    if kind == "low_shelf":
        return 20.0, min(1.4 * centre_hz, top_hz)
    if kind == "high_shelf":
        return min(centre_hz / 1.4, 0.9 * top_hz), top_hz
    centre_hz = min(centre_hz, 0.9 * top_hz)
    half = 1 / (2 * max(q, 0.3))
    root = float(np.sqrt(1 + half * half))
    return max(20.0, centre_hz * (root - half)), min(centre_hz * (root + half), top_hz)
