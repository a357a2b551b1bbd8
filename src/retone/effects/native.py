"""The chains that plug-ins and live processing run in C, without Python in the audio thread.

A ``NativeChain`` is a chain of retone's effects with a gain at its end; its parameters are those of
the effects, and the averaging times of their detectors. ``core/plugin/parameters.c``, the LV2
bundles and the settings' presets are all made from its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from retone.dsp.effect import Effect, a_noun
from retone.dsp.param import Param, ParamTable, Setting, to_numbers
from retone.effects.chain import Chain, chain
from retone.effects.compressor import EXPANDER_TABLE, Compressor
from retone.effects.equalizer import Equalizer
from retone.effects.gain import Gain
from retone.effects.multiband_equalizer import MultibandEqualizer

GAIN = "gain.gain_db"
"""The parameter of the gain at the end."""


@dataclass(frozen=True)
class NativeChain:
    """A chain with a C implementation.

    Args:
        name: the plug-in's, such as ``"retone-match"``.
        title: the same for users.
        about: one sentence for users.
        effect: an equaliser, then a compressor or a multiband equaliser, then a gain.
    """

    name: str
    title: str
    about: str
    effect: Chain

    @property
    def dynamics(self) -> Compressor | MultibandEqualizer:
        """The member with dynamics."""
        return next(
            m for m in self.effect.members if isinstance(m, (Compressor, MultibandEqualizer))
        )

    @cached_property
    def table(self) -> ParamTable:
        """All parameters, in the order of the C implementation, with dotted names."""
        m = self.dynamics
        field = next(f for f in fields(Compressor) if f.name == "rms_ms")
        detector = Param(
            f"{m.name}.rms_ms", "ms", field.metadata["low"], field.metadata["high"],
            _compressor(m).rms_ms, "linear",
            "Averaging time of the level detector, 10-90 %; 0 detects peaks.", role="time",
        )  # fmt: skip
        rows = list(self.effect.params)
        return ParamTable((*rows[:-1], detector, rows[-1]))


NATIVE_CHAINS = (
    NativeChain(
        "retone-match", "retone match",
        "Six-band equaliser, compressor with downward expander, gain.",
        chain("retone-match", Equalizer(), Compressor(table=EXPANDER_TABLE), Gain()),
    ),
    NativeChain(
        "retone-enhance", "retone enhance",
        "Six-band equaliser, six bands with compressor and downward expander each, gain.",
        chain("retone-enhance", Equalizer(), MultibandEqualizer(), Gain()),
    ),
)  # fmt: skip
"""Their order is their number in C."""


@dataclass(frozen=True)
class NativeValues:
    """A setting of a native chain.

    Args:
        chain: it runs the setting.
        values: every parameter's value, in the table's order.
        notes: a sentence for everything in the setting that it cannot run.
    """

    chain: NativeChain
    values: tuple[float, ...]
    notes: tuple[str, ...] = ()


Members = Sequence[tuple[str, Effect, Setting]]
"""What ``retone.effects.leaves`` returns."""


def native_values(members: Members, gain_db: float = 0.0) -> NativeValues:
    """The native chain that runs effects in series, and its values.

    Args:
        members: the effects, each with its path and one item of its setting, name -> [1].
        gain_db: gain after them.

    Returns:
        The chain that leaves the least out, with its notes. What the effects lack is neutral. There
        are no notes if the chain renders what the effects render.
    """
    return min((_fitted(c, members, gain_db) for c in NATIVE_CHAINS), key=lambda v: len(v.notes))


def _fitted(native: NativeChain, members: Members, gain_db: float) -> NativeValues:
    table = native.table
    values = to_numbers(table.neutral(1))
    values[f"{native.dynamics.name}.rms_ms"] = _compressor(native.dynamics).rms_ms
    notes, place = [], 0
    own = native.effect.members
    for path, member, setting in members:
        numbers = to_numbers(setting)
        if isinstance(member, Gain):
            gain_db += numbers["gain_db"]
            continue
        fits = [i for i in range(place, len(own) - 1) if type(own[i]) is type(member)]
        if not fits or (isinstance(member, Compressor) and member.smooth != "db"):
            notes.append(f"{path}: {_what(member)} cannot run in {native.name} and is left out.")
            continue
        place = fits[0] + 1
        if isinstance(member, (Compressor, MultibandEqualizer)):
            numbers["rms_ms"] = _compressor(member).rms_ms
        if isinstance(member, Compressor) and not member.has_expander:
            numbers["expander_ratio"] = 1.0
        values |= {f"{own[fits[0]].name}.{name}": value for name, value in numbers.items()}
    values[GAIN] = gain_db
    for p in table:
        held = min(max(values[p.name], p.low), p.high)
        if held != values[p.name]:
            notes.append(f"{p.name}: {values[p.name]:g} is beyond its range; {held:g} is set.")
        values[p.name] = held
    return NativeValues(native, tuple(values[n] for n in table.names), tuple(notes))


def _compressor(member: Compressor | MultibandEqualizer) -> Compressor:
    return member.compressor if isinstance(member, MultibandEqualizer) else member


def _what(member: Effect) -> str:
    if isinstance(member, Compressor) and member.smooth != "db":
        return "a compressor that smooths the linear gain"
    return a_noun(member)
