"""An effect as a plan for the page, which runs it itself, so that sliders act as they move.

A plan is JSON and names no effect: it consists of a few building blocks, and of references to
parameters by their dotted names. Numbers stand for values that no slider moves.
``static/engine.js`` runs it with the core's functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from retone.dsp import noise
from retone.dsp.biquad import TOP_OF_BAND
from retone.dsp.effect import Effect
from retone.effects import (
    Chain,
    Compressor,
    CurveEqualizer,
    DynamicEqualizer,
    Equalizer,
    Fir,
    Gain,
    MidSide,
    MultibandEqualizer,
    NoiseReduction,
)
from retone.effects import bands as six_bands
from retone.effects import equalizer as six_filters
from retone.effects.curve_equalizer import CENTRES_HZ, REACH_S

Plan = dict[str, Any]
LONGEST_TAPS = 1 << 16
HIGH_SHELF, PEAK, LOW_SHELF, FIRST_LOW_PASS, LOW_PASS, HIGH_PASS, ALL_PASS = range(-1, 6)
"""Kinds of sections, as in ``core.h``."""
_DYNAMICS = (
    "threshold_db", "ratio", "attack_ms", "release_ms", "knee_db", "makeup_db", "rms_ms",
    "expander_threshold_db", "expander_ratio",
)  # fmt: skip


def plan_of(effect: Effect, sample_rate: float) -> Plan | None:
    """How the page runs an effect; None for one that only the server can run.

    Args:
        effect: any effect.
        sample_rate: in Hz.
    """
    node = _node(effect, "", sample_rate)
    if node is None:
        return None
    late = effect.latency_samples(sample_rate)
    return {"rate": sample_rate, "top_of_band": TOP_OF_BAND, "latency": late, "effect": node}


def _node(effect: Effect, at: str, rate: float) -> Plan | None:
    """The plan of one effect, whose parameters' names begin with ``at``."""
    for kind, write in _WRITERS.items():
        if type(effect) is kind:
            return write(effect, at, rate)
    return None


def _chain(effect: Chain, at: str, rate: float) -> Plan | None:
    members = [_node(m, f"{at}{m.name}.", rate) for m in effect.members]
    return None if None in members else {"do": "chain", "members": members}


def _mid_side(effect: MidSide, at: str, rate: float) -> Plan | None:
    mid, side = (_node(getattr(effect, part), f"{at}{part}.", rate) for part in ("mid", "side"))
    if mid is None or side is None:
        return None
    return {"do": "mid_side", "mid": mid, "side": side, "width": f"{at}width_db"}


def _noise_reduction(effect: NoiseReduction, at: str, rate: float) -> Plan:
    return {
        "do": "noise_reduction", "size": noise.OVERLAP * noise.hop_samples(rate),
        "constants": list(astuple(noise.constants(rate))),
        "amount": f"{at}reduction_db", "sensitivity": f"{at}sensitivity_db",
    }  # fmt: skip


def _section(kind: int, hz: Any, gain_db: Any = 0.0, q: Any = 1.0) -> Plan:
    """``hz`` may be two parameters, for the middle between them in log frequency."""
    return {"kind": kind, "hz": hz if isinstance(hz, list) else [hz], "gain_db": gain_db, "q": q}


def _peaks_and_shelves(count: int) -> list[int]:
    return [LOW_SHELF, *[PEAK] * (count - 2), HIGH_SHELF]


def _equalizer(effect: Equalizer, at: str, rate: float) -> Plan:
    names = six_filters.BANDS
    sections = [
        _section(kind, *(f"{at}{band}_{what}" for what in ("frequency_hz", "gain_db", "q")))
        for kind, band in zip(_peaks_and_shelves(len(names)), names, strict=True)
    ]
    return {"do": "sections", "sets": [sections]}


def _dynamics(effect: Compressor, at: str, **other: Any) -> list[Any]:
    """The nine values of a compressor; ``other`` gives some another source."""
    held: dict[str, Any] = {"rms_ms": effect.rms_ms}
    if not effect.has_expander:
        held |= {"expander_threshold_db": -200.0, "expander_ratio": 1.0}
    held |= other
    return [held.get(n, at + n) for n in _DYNAMICS]


def _compressors(effect: Compressor, rows: list[list[Any]]) -> Plan:
    return {"rows": rows, "expander": effect.has_expander, "smooth": effect.smooth}


def _compressor(effect: Compressor, at: str, rate: float) -> Plan:
    return {"do": "dynamics", **_compressors(effect, [_dynamics(effect, at)])}


def _multiband(effect: MultibandEqualizer, at: str, rate: float) -> Plan:
    count, knee_db = six_bands.BANDS, six_bands.KNEE_DB
    low_passes = [[_section(FIRST_LOW_PASS, f"{at}crossover_{i}_hz")] for i in range(1, count)]
    rows = []
    for i in range(1, count + 1):
        band = f"{at}band_{i}_"
        rows.append(_dynamics(effect.compressor, band, makeup_db=f"{band}gain_db", knee_db=knee_db))
    dynamics = _compressors(effect.compressor, rows)
    return {"do": "bands", "sets": low_passes, "subtracted": True, "dynamics": dynamics}


def _dynamic(effect: DynamicEqualizer, at: str, rate: float) -> Plan:
    count = six_bands.BANDS
    edges = [f"{at}crossover_{i}_hz" for i in range(1, count)]
    sets, rows = [], []
    for k, kind in enumerate(_peaks_and_shelves(count)):
        own = [_section(HIGH_PASS, hz) for hz in edges[:k] for _ in range(2)]
        own += [_section(LOW_PASS, hz) for hz in edges[k : k + 1] for _ in range(2)]
        own += [_section(ALL_PASS, hz) for hz in edges[k + 1 :]]
        band = f"{at}band_{k + 1}_"
        sets.append(
            [*own, _section(kind, edges[max(k - 1, 0) : k + 1], band + "gain_db", band + "q")]
        )
        rows.append(_dynamics(effect.compressor, band, knee_db=six_bands.KNEE_DB))
    dynamics = _compressors(effect.compressor, rows)
    return {"do": "bands", "sets": sets, "subtracted": False, "dynamics": dynamics}


def _curve(effect: CurveEqualizer, at: str, rate: float) -> Plan:
    gains = [at + n for n in effect.params.names]
    reach, linear = round(REACH_S * rate), effect.phase == "linear"
    return {
        "do": "fir", "gains": gains, "linear": linear, "reach": reach,
        "lowest_hz": CENTRES_HZ[0], "count": 2 * reach + 1 if linear else reach,
    }  # fmt: skip


def _fir(effect: Fir, at: str, rate: float) -> Plan | None:
    count = len(effect.taps)
    return {"do": "fir", "taps": effect.taps, "count": count} if count <= LONGEST_TAPS else None


def _gain(effect: Gain, at: str, rate: float) -> Plan:
    return {"do": "gain", "value": f"{at}gain_db"}


_WRITERS: dict[type[Effect], Callable[[Any, str, float], Plan | None]] = {
    Chain: _chain,
    MidSide: _mid_side,
    NoiseReduction: _noise_reduction,
    Equalizer: _equalizer,
    Compressor: _compressor,
    MultibandEqualizer: _multiband,
    DynamicEqualizer: _dynamic,
    CurveEqualizer: _curve,
    Fir: _fir,
    Gain: _gain,
}
