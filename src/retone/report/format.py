"""Numbers and parameter names as people read them."""

from __future__ import annotations

import math

from retone.dsp.param import Param

MINUS = "\u2212"
_SUFFIXES = {"_db": "dB", "_hz": "Hz", "_ms": "ms"}


def plain(value: float, decimals: int) -> str:
    """Fixed decimals, trailing zeros kept, with a real minus sign and no negative zero."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """``digits`` significant digits, never an exponent, no trailing zeros after the point."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = plain(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def decibels(value: float, *, signed: bool = False, decimals: int = 1) -> str:
    """``+3.2 dB``; the sign of a positive value only if asked for."""
    text = plain(value, decimals)
    plus = "+" if signed and float(text.replace(MINUS, "-")) > 0 else ""
    return f"{plus}{text} dB"


def hertz(value: float) -> str:
    """``120 Hz``, ``1.25 kHz``."""
    if value >= 1000:
        return f"{significant(value / 1000)} kHz"
    return f"{significant(value)} Hz"


def milliseconds(value: float) -> str:
    """``0.3 ms``, ``45 ms``, ``1.2 s``."""
    return f"{significant(value / 1000)} s" if value >= 1000 else f"{significant(value)} ms"


def seconds(value: float) -> str:
    """``3.2 s``, ``4:05 min``, ``1:02:33 h``."""
    if value < 100:
        return f"{significant(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def with_unit(param: Param, value: float) -> str:
    """A parameter's value with its unit."""
    if param.unit == "dB":
        gain = param.neutral == 0 or "gain" in param.name
        return decibels(value, signed=gain)
    if param.unit == "Hz":
        return hertz(value)
    if param.unit == "ms":
        return milliseconds(value)
    return significant(value) + param.unit


def label(param: Param) -> str:
    """``equalizer.peak_1_gain_db`` reads "Peak 1 gain"."""
    name = param.name.rpartition(".")[2]
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    words = ["Q" if w == "q" else w for w in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def group(param: Param) -> str:
    """``equalizer.peak_1_gain_db`` belongs to "Equalizer"; dots inside become slashes."""
    folder = param.name.rpartition(".")[0]
    return " / ".join(heading(part) for part in folder.split(".")) if folder else ""


def heading(name: str) -> str:
    """``dynamic_equalizer`` reads "Dynamic equalizer"."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
