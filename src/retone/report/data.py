"""What a report shows, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from retone.audio.meters.envelope import Envelope
from retone.audio.meters.spectrogram import Picture
from retone.dsp.views import BandView, CurveView, ResponseView
from retone.process.settings_file import SettingsFile
from retone.report.sound import Sound

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
        short_db: ``before``, ``after`` -> levels of adjacent 50 ms in dB, [frames].
        loudness: ``before``, ``after`` -> times in s and short-term loudness in LUFS.
        lufs: role -> integrated loudness, however quiet; the settings' levels where it is missing.
        spectrograms: ``before``, ``after`` -> levels by time and frequency.
        stereo: role -> directions in degrees and shares of the energy.
        sound: what the report plays, None for nothing.
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
    short_db: Mapping[str, np.ndarray] = field(default_factory=dict)
    loudness: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    lufs: Mapping[str, float] = field(default_factory=dict)
    spectrograms: Mapping[str, Picture] = field(default_factory=dict)
    stereo: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    sound: Sound | None = None
    title: str | None = None
