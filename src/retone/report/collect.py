"""From effects, settings and meters to what the report draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from retone.audio.meters.envelope import EnvelopeMeter, LevelHistogram
from retone.audio.meters.spectrum import FLOOR_DB, log_frequencies
from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.effects import (
    Compressor,
    DynamicEqualizer,
    Equalizer,
    Fir,
    MultibandEqualizer,
)
from retone.effects.chain import leaves
from retone.effects.equalizer import BANDS
from retone.report.data import BandView, CompressorView, ReductionView, ReportData, ResponseView
from retone.report.format import heading, hertz

if TYPE_CHECKING:
    from retone.process.result import Rendered, Side

BANDED = (DynamicEqualizer, MultibandEqualizer)


def report_of(result: Rendered) -> ReportData:
    """The report's data of a rendered recording."""
    settings = result.settings
    frequency_hz = log_frequencies(settings.sample_rate)
    spectra, about = align_spectra(result.sides, frequency_hz)
    setting = settings.effective_setting()
    return ReportData(
        settings=settings,
        frequency_hz=frequency_hz,
        spectra=spectra,
        spectra_about=about,
        **views(settings.effect, setting, settings.sample_rate, frequency_hz, result.histograms),  # type: ignore[arg-type]
        reductions=reductions(settings.effect, setting, result.curves),
        waveforms={
            s.role: s.envelope.result()
            for s in result.sides
            if s.envelope is not None and s.role in ("before", "after")
        },
    )


def views(
    effect: Effect,
    setting: Mapping[str, Tensor],
    sample_rate: float,
    frequency_hz: np.ndarray,
    histograms: Mapping[str, LevelHistogram] | None = None,
) -> dict[str, tuple[ResponseView, ...] | tuple[CompressorView, ...]]:
    """``responses`` and ``compressors`` of every member of an effect, in processing order."""
    f = torch.from_numpy(np.asarray(frequency_hz, dtype=np.float64))
    responses: list[ResponseView] = []
    compressors: list[CompressorView] = []
    for path, member, own in leaves(effect, setting):
        title = heading(member.name)
        if isinstance(member, Equalizer):
            responses.append(_equalizer(path, title, member, own, sample_rate, f))
        elif isinstance(member, BANDED):
            responses.append(_dynamic(path, title, member, own, sample_rate, f))
        elif isinstance(member, Fir):
            total = _db(member.response(f, sample_rate, own)[0])
            about = f"A fixed filter of {len(member.taps)} taps."
            responses.append(ResponseView(path, title, total, about=about))
        elif isinstance(member, Compressor):
            compressors.append(_compressor(path, title, member, own, (histograms or {}).get(path)))
    return {"responses": tuple(responses), "compressors": tuple(compressors)}


def align_spectra(
    sides: Sequence[Side], frequency_hz: np.ndarray
) -> tuple[dict[str, np.ndarray], str]:
    """Spectra at equal loudness, the result's, and the sentence that says so.

    Several references are averaged in power at equal loudness. Above a recording's own highest
    frequency its spectrum is NaN.
    """
    found: dict[str, list[tuple[np.ndarray, float]]] = {}
    for s in sides:
        if s.spectrum is not None:
            db = s.spectrum.result(frequency_hz)
            db[(db <= FLOOR_DB) | (frequency_hz > 0.98 * s.sample_rate / 2)] = np.nan
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
        heard = np.isfinite(power).any(axis=0)
        mean = np.nansum(power, axis=0) / np.maximum(np.isfinite(power).sum(axis=0), 1)
        spectra[role] = np.where(heard, 10 * np.log10(np.maximum(mean, 1e-20)), np.nan)
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
        title, css = heading(path or effect.name), "after"
        if isinstance(member, BANDED):
            band = int(curve.split("_")[1])
            title, css = _band_title(member, own, band - 1), f"b{band}"
        found.append(ReductionView(name.replace(".", "-"), title, meter.result(), css))
    return tuple(found)


def _equalizer(
    path: str, title: str, eq: Equalizer, own: Setting, sample_rate: float, f: Tensor
) -> ResponseView:
    each = _db(eq.band_responses(f, sample_rate, own)[0])
    bands = tuple(
        BandView(
            heading(name),
            float(own[f"{name}_frequency_hz"][0]),
            float(own[f"{name}_gain_db"][0]),
            float(own[f"{name}_q"][0]),
            each[i],
        )
        for i, name in enumerate(BANDS)
    )
    return ResponseView(path, title, each.sum(axis=0), bands)


def _dynamic(
    path: str,
    title: str,
    eq: DynamicEqualizer | MultibandEqualizer,
    own: Setting,
    sample_rate: float,
    f: Tensor,
) -> ResponseView:
    each = eq.band_responses(f, sample_rate, own)[0]
    edges = eq.crossovers_hz(own)[0].tolist()
    middle = [edges[0], *(math.sqrt(a * b) for a, b in zip(edges, edges[1:])), edges[-1]]  # noqa: B905
    bands = tuple(
        BandView(
            f"Band {i + 1}",
            middle[i],
            sum(float(own[n][0]) for n in _gains(i + 1) if n in own),
            float(own[f"band_{i + 1}_q"][0]) if f"band_{i + 1}_q" in own else None,
            _db(each[i]),
        )
        for i in range(each.shape[0])
    )
    about = "Response while no band's dynamics are at work; the gain of each band."
    return ResponseView(path, title, _db(each.sum(dim=0)), bands, about)


def _gains(band: int) -> tuple[str, str]:
    return f"band_{band}_gain_db", f"band_{band}_makeup_db"


def _band_title(
    eq: DynamicEqualizer | MultibandEqualizer, own: Mapping[str, Tensor], band: int
) -> str:
    edges = eq.crossovers_hz(own)[0].tolist()
    if band == 0:
        return f"Band 1, below {hertz(edges[0])}"
    if band == len(edges):
        return f"Band {band + 1}, above {hertz(edges[-1])}"
    return f"Band {band + 1}, {hertz(edges[band - 1])} to {hertz(edges[band])}"


def _compressor(
    path: str, title: str, member: Compressor, own: Setting, histogram: LevelHistogram | None
) -> CompressorView:
    level = np.linspace(-100.0, 0.0, 401)
    curve = member.static_curve(torch.from_numpy(level), own)[0].numpy()
    share = histogram.share() if histogram else None
    return CompressorView(
        path,
        title,
        level,
        curve,
        {n: float(v[0]) for n, v in own.items()},
        histogram.edges_db if histogram else None,
        share,
    )


def _db(response: Tensor) -> np.ndarray:
    return np.asarray(20 * torch.log10(response.abs().clamp(min=1e-10)))
