"""From effects, settings and meters to what the report draws.

Each effect describes its own pictures (``Effect.views``); titles and levels are added here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from retone.audio.meters.envelope import EnvelopeMeter, LevelHistogram
from retone.audio.meters.spectrum import FLOOR_DB, log_frequencies
from retone.dsp.effect import Effect
from retone.effects import leaves
from retone.report.data import CurveView, ReductionView, ReportData, ResponseView
from retone.report.format import heading, hertz

if TYPE_CHECKING:
    from retone.process.result import Rendered, Side


def report_of(result: Rendered) -> ReportData:
    """The report's data of a rendered recording."""
    data, settings = measured_of(result), result.settings
    drawn = views(
        settings.effect,
        settings.effective_setting(),
        settings.sample_rate,
        data.frequency_hz,
        result.histograms,
    )
    return replace(data, **drawn)  # type: ignore[arg-type]


def measured_of(result: Rendered) -> ReportData:
    """What was measured of a rendered recording, without drawings of its effects."""
    settings = result.settings
    frequency_hz = log_frequencies(settings.sample_rate)
    spectra, about = align_spectra(result.sides, frequency_hz)
    own = [s for s in result.sides if s.role in ("before", "after")]
    lufs: dict[str, list[float]] = {}
    for s in result.sides:
        if s.lufs is not None and math.isfinite(s.lufs):
            lufs.setdefault(s.role, []).append(s.lufs)
    return ReportData(
        settings=settings,
        frequency_hz=frequency_hz,
        spectra=spectra,
        spectra_about=about,
        reductions=reductions(settings.effect, settings.effective_setting(), result.curves),
        waveforms={s.role: s.envelope.result() for s in own if s.envelope is not None},
        short_db={s.role: s.short_db for s in own if s.short_db is not None},
        loudness={s.role: s.loudness for s in own if s.loudness is not None},
        lufs={role: sum(values) / len(values) for role, values in lufs.items()},
        spectrograms={
            s.role: picture
            for s in own
            if s.spectrum
            and s.spectrum.spectrogram
            and (picture := s.spectrum.spectrogram.result())
        },
        stereo={s.role: f for s in own if s.stereo is not None and (f := s.stereo.result())},
    )


def views(
    effect: Effect,
    setting: Mapping[str, Tensor],
    sample_rate: float,
    frequency_hz: np.ndarray,
    histograms: Mapping[str, LevelHistogram] | None = None,
) -> dict[str, tuple[ResponseView, ...] | tuple[CurveView, ...]]:
    """``responses`` and ``curves`` of every member of an effect, in processing order."""
    responses: list[ResponseView] = []
    curves: list[CurveView] = []
    for path, member, own in leaves(effect, setting):
        title = heading(member.name)
        for view in member.views(own, sample_rate, frequency_hz):
            shown = f"{title}: {view.part.lower()}" if view.part else title
            if isinstance(view, ResponseView):
                responses.append(replace(view, name=path, title=shown))
            else:
                seen = (histograms or {}).get(path) if view.band is None else None
                edges, share = (seen.edges_db, seen.share()) if seen else (None, None)
                curves.append(
                    replace(view, name=path, title=shown, level_edges_db=edges, level_share=share)
                )
    return {"responses": tuple(responses), "curves": tuple(curves)}


def align_spectra(
    sides: Sequence[Side], frequency_hz: np.ndarray
) -> tuple[dict[str, np.ndarray], str]:
    """Spectra aligned to the loudness of the result, and a sentence that says so.

    Several references are averaged in power at equal loudness. Above a recording's own highest
    frequency its spectrum is NaN.
    """
    found: dict[str, list[tuple[np.ndarray, float]]] = {}
    for s in sides:
        if s.spectrum is not None:
            db = s.spectrum.result(frequency_hz)
            db[(db <= FLOOR_DB) | (frequency_hz > 0.98 * s.sample_rate / 2)] = np.nan
            lufs = s.lufs
            if lufs is None:
                lufs = s.levels.integrated_lufs if s.levels else -math.inf
            found.setdefault(s.role, []).append((db, lufs))
        elif s.profile is not None:
            db = s.profile.spectrum(frequency_hz)
            db[frequency_hz > 0.98 * s.sample_rate / 2] = np.nan
            found.setdefault(s.role, []).append((db, float(s.profile.statistics.loudness_db[0])))
    known = all(math.isfinite(lufs) for group in found.values() for _, lufs in group)
    goal = found["after"][0][1] if known and "after" in found else 0.0
    spectra = {}
    for role, group in found.items():
        power = [10 ** ((db + (goal - lufs if known else 0.0)) / 10) for db, lufs in group]
        present = np.isfinite(power).any(axis=0)
        mean = np.nansum(power, axis=0) / np.maximum(np.isfinite(power).sum(axis=0), 1)
        spectra[role] = np.where(present, 10 * np.log10(np.maximum(mean, 1e-20)), np.nan)
    about = "Average level in each 1/6 octave"
    return spectra, about + (", drawn at equal loudness." if known else ".")


def reductions(
    effect: Effect, setting: Mapping[str, Tensor], curves: Mapping[str, EnvelopeMeter]
) -> tuple[ReductionView, ...]:
    """One view for each gain-reduction curve an effect returned (dotted name -> its meter)."""
    found = []
    members = {path: (m, own) for path, m, own in leaves(effect, setting)}
    for name, meter in curves.items():
        path, _, curve = name.rpartition(".")
        member, own = members.get(path or effect.name, (None, {}))
        title, css = heading(path or effect.name).replace(".", ": "), "after"
        band = member.curve_band(curve, own) if member is not None else None
        if band is not None:
            title, css = _band_title(*band), f"b{band[0]}"
        found.append(ReductionView(name.replace(".", "-"), title, meter.result(), css))
    return tuple(found)


def _band_title(band: int, low_hz: float | None, high_hz: float | None) -> str:
    if low_hz is None and high_hz is not None:
        return f"Band {band}, below {hertz(high_hz)}"
    if low_hz is not None and high_hz is None:
        return f"Band {band}, above {hertz(low_hz)}"
    if low_hz is None or high_hz is None:
        return f"Band {band}"
    return f"Band {band}, {hertz(low_hz)} to {hertz(high_hz)}"
