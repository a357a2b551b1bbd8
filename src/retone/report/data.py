"""What a report shows, as plain arrays: whoever has them can have the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from retone.audio.meters.envelope import Envelope
from retone.process.settings_file import SettingsFile


@dataclass(frozen=True)
class BandView:
    """One band of an equaliser: its label, handle and response [F] in dB; ``q`` if it has one."""

    label: str
    frequency_hz: float
    gain_db: float
    q: float | None
    response_db: np.ndarray


@dataclass(frozen=True)
class ResponseView:
    """A linear filter's response [F] in dB at rest, with its bands if it has any."""

    name: str
    title: str
    total_db: np.ndarray
    bands: tuple[BandView, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class CompressorView:
    """A compressor's static curve (``input_db`` and ``output_db`` [L]) and its settings.

    ``level_edges_db`` [N + 1] and ``level_share`` [N] are the histogram of levels at its input,
    or None.
    """

    name: str
    title: str
    input_db: np.ndarray
    output_db: np.ndarray
    setting: Mapping[str, float]
    level_edges_db: np.ndarray | None = None
    level_share: np.ndarray | None = None


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
        responses, compressors, reductions: one view per effect (or band).
        waveforms: ``before``, ``after`` -> envelope of the samples.
        title: overrides the headline made of the file names.
    """

    settings: SettingsFile
    frequency_hz: np.ndarray
    spectra: Mapping[str, np.ndarray] = field(default_factory=dict)
    spectra_about: str = ""
    responses: tuple[ResponseView, ...] = ()
    compressors: tuple[CompressorView, ...] = ()
    reductions: tuple[ReductionView, ...] = ()
    waveforms: Mapping[str, Envelope] = field(default_factory=dict)
    title: str | None = None
