"""Effects as plain data, for files: ``effect_to_spec`` and ``effect_from_spec``.

A spec names an effect's type, its own name and what it was built with; it holds no parameter
values. Tables go by name: only those that ship with retone can be written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from retone.dsp.effect import Effect
from retone.dsp.param import Param, ParamTable, Setting
from retone.effects.chain import Chain
from retone.effects.compressor import (
    COMPRESSOR_TABLE,
    EXPANDER_TABLE,
    PAPER_COMPRESSOR_TABLE,
    Compressor,
)
from retone.effects.dynamic_equalizer import DynamicEqualizer
from retone.effects.equalizer import EQUALIZER_TABLE, PAPER_EQUALIZER_TABLE, Equalizer
from retone.effects.fir import Fir
from retone.effects.gain import Gain
from retone.effects.multiband_equalizer import MultibandEqualizer
from retone.effects.plugin import Plugin
from retone.errors import DataError, SettingError
from retone.jsonfields import Fields, number

EQUALIZER_TABLES: dict[str, ParamTable] = {
    "default": EQUALIZER_TABLE,
    "paper": PAPER_EQUALIZER_TABLE,
}
COMPRESSOR_TABLES: dict[str, ParamTable] = {
    "default": COMPRESSOR_TABLE,
    "expander": EXPANDER_TABLE,
    "paper": PAPER_COMPRESSOR_TABLE,
}
MAX_TAPS = 1 << 20

Spec = dict[str, Any]


class _Kind(NamedTuple):
    effect: type[Effect]
    write: Callable[[Any, float], Spec]
    read: Callable[[Fields, str, float], Effect]


def effect_to_spec(effect: Effect, sample_rate: float) -> Spec:
    """An effect as JSON-ready data.

    Args:
        effect: one of retone's effects, or a chain of them.
        sample_rate: in Hz, the rate FIR filters in it were made for.

    Raises:
        SettingError: for an effect or a table that retone does not ship.
    """
    for name, kind in _KINDS.items():
        if type(effect) is kind.effect:
            return {"type": name, "name": effect.name, **kind.write(effect, sample_rate)}
    raise SettingError(
        f"{effect.name}: a {type(effect).__name__} cannot be written to a settings file; "
        f"expected one of {', '.join(_KINDS)}."
    )


def effect_from_spec(
    spec: Mapping[str, Any], sample_rate: float, *, where: str = "effect"
) -> Effect:
    """The effect that a spec describes.

    Args:
        spec: what ``effect_to_spec`` returned, or the same read from a file.
        sample_rate: in Hz, the rate the effect will run at.
        where: the name that messages begin with.

    Raises:
        DataError: the spec is not well formed (unknown type or field, missing field).
        SettingError: a FIR filter in it was made for another sample rate.
    """
    return _read(Fields(spec, where), sample_rate)


def _read(f: Fields, sample_rate: float) -> Effect:
    kind = _KINDS[f.choice("type", tuple(_KINDS))]
    name = f.text("name")
    if not name or "." in name:
        raise DataError(f"{f.where}.name: '{name}' must be a word without dots.")
    effect = kind.read(f, name, sample_rate)
    f.done()
    return effect


def _table_name(effect: Effect, table: ParamTable, known: Mapping[str, ParamTable]) -> str:
    for name, own in known.items():
        if own == table:
            return name
    raise SettingError(
        f"{effect.name}: its parameter table is not one of {', '.join(known)}, so it cannot be "
        "written to a settings file."
    )


def _read_compressor(f: Fields, name: str, sample_rate: float) -> Compressor:
    table = COMPRESSOR_TABLES[f.choice("table", tuple(COMPRESSOR_TABLES))]
    rms_ms = f.number("rms_ms", low=0.0, high=1000.0)
    smooth = f.choice("smooth", ("db", "gain"))
    return Compressor(name, table, rms_ms, smooth)  # type: ignore[arg-type]


def _write_compressor(c: Compressor, sample_rate: float) -> Spec:
    table = _table_name(c, c.table, COMPRESSOR_TABLES)
    return {"table": table, "rms_ms": c.rms_ms, "smooth": c.smooth}


def _read_dynamic(f: Fields, name: str, sample_rate: float) -> DynamicEqualizer:
    detector = f.fields("detector")
    rms_ms = detector.number("rms_ms", low=0.0, high=1000.0)
    smooth = detector.choice("smooth", ("db", "gain"))
    detector.done()
    return DynamicEqualizer(name, Compressor(rms_ms=rms_ms, smooth=smooth))  # type: ignore[arg-type]


def _write_dynamic(d: DynamicEqualizer, sample_rate: float) -> Spec:
    if d.compressor != Compressor(rms_ms=d.compressor.rms_ms, smooth=d.compressor.smooth):
        raise SettingError(
            f"{d.name}: its bands' compressor may differ from Compressor() in rms_ms and smooth "
            "only, so it cannot be written to a settings file."
        )
    return {"detector": {"rms_ms": d.compressor.rms_ms, "smooth": d.compressor.smooth}}


def _read_multiband(f: Fields, name: str, sample_rate: float) -> MultibandEqualizer:
    rms_ms = f.number("rms_ms", low=0.0, high=1000.0)
    return MultibandEqualizer(name, Compressor(table=EXPANDER_TABLE, rms_ms=rms_ms))


def _write_multiband(m: MultibandEqualizer, sample_rate: float) -> Spec:
    if m.compressor != Compressor(table=EXPANDER_TABLE, rms_ms=m.compressor.rms_ms):
        raise SettingError(
            f"{m.name}: its bands' compressor may differ from Compressor(table=EXPANDER_TABLE) "
            "in rms_ms only, so it cannot be written to a settings file."
        )
    return {"rms_ms": m.compressor.rms_ms}


def _read_fir(f: Fields, name: str, sample_rate: float) -> Fir:
    made_for = f.number("sample_rate_hz", low=1.0)
    taps = f.items("taps")
    if not 0 < len(taps) <= MAX_TAPS:
        raise DataError(f"{f.where}.taps: expected 1..{MAX_TAPS} numbers, got {len(taps)}.")
    values = tuple(number(t, f"{f.where}.taps[{i}]") for i, t in enumerate(taps))
    if made_for != sample_rate:
        raise SettingError(
            f"{f.where}: the filter '{name}' was made for {made_for:g} Hz and cannot run at "
            f"{sample_rate:g} Hz. Resample the recording to {made_for:g} Hz first."
        )
    return Fir(name, values)


def _write_fir(fir: Fir, sample_rate: float) -> Spec:
    return {"sample_rate_hz": sample_rate, "taps": [float(t) for t in fir.taps]}


def _write_plugin(p: Plugin, sample_rate: float) -> Spec:
    rows = [
        {"name": q.name, "unit": q.unit, "low": q.low, "high": q.high, "default": q.default,
         "scale": q.scale, "neutral": q.neutral}
        for q in p.table
    ]  # fmt: skip
    return {"source": p.source, "fixed": dict(p.fixed), "parameters": rows}


def _read_plugin(f: Fields, name: str, sample_rate: float) -> Plugin:
    """The effect, not yet run: that takes someone's word (``retone.plugins.allow``)."""
    held, params = f.fields("fixed"), []
    fixed = tuple((n, held.number(n)) for n in held.names)
    for i, row in enumerate(f.items("parameters")):
        p = Fields(row, f"{f.where}.parameters[{i}]")
        word = p.text("name")
        params.append(
            Param(
                word, p.text("unit"), p.number("low"), p.number("high"), p.number("default"),
                p.choice("scale", ("linear", "log", "slope")),  # type: ignore[arg-type]
                word.replace("_", " ").capitalize() + ".", neutral=p.number("neutral", None),
            )
        )  # fmt: skip
        p.done()
    return Plugin(name, f.text("source"), ParamTable(tuple(params)), fixed)


def _read_chain(f: Fields, name: str, sample_rate: float) -> Chain:
    members = [
        _read(Fields(m, f"{f.where}.members[{i}]"), sample_rate)
        for i, m in enumerate(f.items("members"))
    ]
    try:
        return Chain(name, tuple(members))
    except SettingError as error:
        raise DataError(f"{f.where}: {error}") from None


_KINDS: dict[str, _Kind] = {
    "gain": _Kind(Gain, lambda e, fs: {}, lambda f, name, fs: Gain(name)),
    "equalizer": _Kind(
        Equalizer,
        lambda e, fs: {"table": _table_name(e, e.table, EQUALIZER_TABLES)},
        lambda f, name, fs: Equalizer(
            name, EQUALIZER_TABLES[f.choice("table", tuple(EQUALIZER_TABLES))]
        ),
    ),
    "compressor": _Kind(Compressor, _write_compressor, _read_compressor),
    "dynamic_equalizer": _Kind(DynamicEqualizer, _write_dynamic, _read_dynamic),
    "multiband_equalizer": _Kind(MultibandEqualizer, _write_multiband, _read_multiband),
    "plugin": _Kind(Plugin, _write_plugin, _read_plugin),
    "fir": _Kind(Fir, _write_fir, _read_fir),
    "chain": _Kind(
        Chain,
        lambda e, fs: {"members": [effect_to_spec(m, fs) for m in e.members]},
        _read_chain,
    ),
}


def tidy_setting(table: ParamTable, setting: Mapping[str, torch.Tensor]) -> Setting:
    """A setting rounded to the digits a person would write, still inside its ranges.

    Decibels get two decimals, everything else three or four significant digits; an equaliser's
    response moves by 0.02 dB at its worst frequency as a rule, by 0.16 dB at the extremes of the
    ranges. Round before rendering, and the settings file holds short numbers that replay exactly.
    """
    full: Setting = {}
    for p in table:
        values = [tidy_number(p, float(v)) for v in setting[p.name]]
        full[p.name] = torch.tensor(values, dtype=torch.float64)
    return full


def tidy_number(param: Param, value: float) -> float:
    """One value rounded as ``tidy_setting`` does."""
    if param.unit == "dB":
        rounded = round(value, 2)
    else:
        digits = 4 if param.unit in ("Hz", ":1") else 3
        size = math.floor(math.log10(abs(value))) if value else 0
        rounded = round(value, digits - 1 - size)
    return min(max(rounded, param.low), param.high)
