"""Numbers and parameter names, formatted for users."""

from __future__ import annotations

import math
import re

from retone.dsp.param import Param

MINUS = "\u2212"
_SUFFIXES = ("_db", "_hz", "_ms")
_AT = re.compile(r"gain_(\d+)_hz_db")
_BAND = re.compile(r"((?:low|high)_shelf|[a-z]+_\d+)_(.+)")


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
    return significant(value) + (" : 1" if param.unit == ":1" else param.unit)


def range_text(param: Param) -> str:
    """``−24 to 24 dB``, ``20 Hz to 2 kHz``, ``1 to 20 : 1``."""
    if param.unit in ("Hz", "ms"):
        low, high = with_unit(param, param.low), with_unit(param, param.high)
        unit = high.rpartition(" ")[2]
        return f"{low.removesuffix(' ' + unit)} to {high}"
    unit = {":1": " : 1", "": ""}.get(param.unit, f" {param.unit}")
    return f"{significant(param.low)} to {significant(param.high)}{unit}"


def label(param: Param) -> str:
    """``equalizer.peak_1_gain_db`` reads "Peak 1 gain"."""
    return split_label(param)[1] if _AT.fullmatch(_own(param)) else _words(_bare(param))


def split_label(param: Param) -> tuple[str, str]:
    """``equalizer.peak_1_gain_db`` is "Gain" of "Peak 1"; ("", label) if it has no band.

    A gain at a frequency (``gain_1000_hz_db``) is labelled with it.
    """
    if at := _AT.fullmatch(_own(param)):
        return "", hertz(float(at[1]))
    name = _bare(param)
    found = _BAND.match(name)
    if not found:
        return "", _words(name)
    return _words(found[1]), _words(found[2])


def frequency_of(param: Param) -> float | None:
    """1000.0 for ``gain_1000_hz_db``, a gain at a frequency in Hz; None for other parameters."""
    at = _AT.fullmatch(_own(param))
    return float(at[1]) if at else None


def _bare(param: Param) -> str:
    name = _own(param)
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _own(param: Param) -> str:
    return param.name.rpartition(".")[2]


def _words(name: str) -> str:
    text = " ".join("Q" if w == "q" else w for w in name.split("_"))
    return text[:1].upper() + text[1:]


def group(param: Param) -> str:
    """``equalizer.peak_1_gain_db`` belongs to "Equalizer"; dots inside become slashes."""
    folder = param.name.rpartition(".")[0]
    return " / ".join(heading(part) for part in folder.split(".")) if folder else ""


def heading(name: str) -> str:
    """``dynamic_equalizer`` reads "Dynamic equalizer"."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
