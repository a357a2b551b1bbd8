"""What a report shows, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from retone.audio.meters.envelope import Envelope
from retone.dsp.views import BandView, CurveView, ResponseView
from retone.process.settings_file import SettingsFile

__all__ = ["BandView", "CurveView", "ReductionView", "ReportData", "ResponseView"]


@dataclass(frozen=True)
class ReductionView:
    """Gain reduction over time of one compressor or band: one row, dB, mostly below 0."""

    name: str
    title: str
    envelope: Envelope
    css: str = "after"


@dataclass(frozen=True)
class ReportData:
    """Everything ``render_report`` draws.

    Args:
        settings: the record: sources, levels, settings, notes, versions.
        frequency_hz: [F], shared by spectra and responses.
        spectra: ``before``, ``after``, ``reference`` -> [F] in dB; NaN where nothing is known.
        spectra_about: a sentence on how the spectra were aligned.
        responses, curves, reductions: one view per effect (or band).
        waveforms: ``before``, ``after`` -> envelope of the samples.
        title: overrides the headline made of the file names.
    """

    settings: SettingsFile
    frequency_hz: np.ndarray
    spectra: Mapping[str, np.ndarray] = field(default_factory=dict)
    spectra_about: str = ""
    responses: tuple[ResponseView, ...] = ()
    curves: tuple[CurveView, ...] = ()
    reductions: tuple[ReductionView, ...] = ()
    waveforms: Mapping[str, Envelope] = field(default_factory=dict)
    title: str | None = None
