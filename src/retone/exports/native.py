"""retone's own plug-ins: what hosts know them by, and settings in their terms."""

from __future__ import annotations

from retone.dsp.param import Param
from retone.dsp.views import words
from retone.effects import leaves
from retone.effects.bands import BANDS as DYNAMICS_BANDS
from retone.effects.equalizer import BANDS as EQUALIZER_BANDS
from retone.effects.native import NativeChain, NativeValues, native_values
from retone.exports.base import common_notes, curves, impulse_name, impulse_notes, impulse_wav
from retone.exports.plan import Fixed, Level, NotExpressible, Plan

HOME = "https://github.com/retone/retone"
_UNITS = ("_db", "_hz", "_ms")


def uri(chain: NativeChain, channels: int) -> str:
    """The LV2 plug-in's URI."""
    return f"{HOME}/plugins/{chain.name}{'-mono' if channels == 1 else ''}"


def clap_id(chain: NativeChain) -> str:
    """The CLAP plug-in's identifier."""
    return f"io.github.retone.{chain.name.removeprefix('retone-')}"


def symbol(param: Param) -> str:
    """A parameter's name with underscores for dots, as LV2 wants it."""
    return param.name.replace(".", "_")


def group(param: Param) -> tuple[str, str]:
    """The member that a parameter belongs to, and the band in it ("" if none)."""
    member, _, name = param.name.partition(".")
    bands = (*EQUALIZER_BANDS, *(f"band_{i}" for i in range(1, DYNAMICS_BANDS + 1)))
    return member, next((b for b in bands if name.startswith(b + "_")), "")


def title(param: Param) -> str:
    """A parameter's name for users, within its group."""
    member, band = group(param)
    name = param.name.removeprefix(member + ".").removeprefix(band + "_" if band else "")
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return {"q": "Q", "rms": "Detector averaging"}.get(name, words(name))


def stable_id(param: Param) -> int:
    """A number that stays a parameter's however the table grows: FNV-1a of its name."""
    found = 2166136261
    for byte in param.name.encode():
        found = (found ^ byte) * 16777619 % 2**32
    return found


def native_plan(plan: Plan) -> tuple[NativeValues, tuple[str, ...], dict[str, bytes]]:
    """The plug-in that runs a plan and its values; notes; and files that the notes refer to."""
    names = [s.name for s in plan.stages]
    members = [
        (path, member, own)
        for path, member, own in leaves(
            plan.settings.effect_at(plan.sample_rate), plan.settings.effective_setting()
        )
        if any(n == path or n.startswith(path + ".") for n in names)
    ]
    after = [s for s in plan.stages if isinstance(s, Level) and s.name not in dict.fromkeys(
        path for path, _, _ in members)]  # fmt: skip
    found = native_values(members, sum(s.gain_db for s in after))
    notes, files = common_notes(plan), {}
    for c in curves(plan):
        name = impulse_name(plan, c, ".wav")
        files[name] = impulse_wav(plan, c)
        notes.append(f"{c.name}: the curve is left out; load {name} in a convolver before it.")
        notes += impulse_notes(plan, c, late=True)
    said = {s.name for s in plan.stages if isinstance(s, (Fixed, NotExpressible))}
    notes += [n for n in found.notes if n.partition(":")[0] not in said]
    if plan.channels > 2:
        notes.append("The plug-ins run in mono or stereo.")
    return found, tuple(notes), files
