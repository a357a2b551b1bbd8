"""The effects: one file holds one effect, and ``EFFECT_TYPES`` lists them.

Another package adds a type by an entry point in the group ``retone.effects``, under its ``kind``.
"""

from __future__ import annotations

from typing import Any

from retone.dsp.effect import Effect
from retone.effects.chain import Chain, chain, leaves
from retone.effects.compressor import (
    COMPRESSOR_TABLE,
    EXPANDER_TABLE,
    PAPER_COMPRESSOR_TABLE,
    Compressor,
)
from retone.effects.curve_equalizer import CURVE_TABLE, CurveEqualizer
from retone.effects.dynamic_equalizer import DynamicEqualizer
from retone.effects.equalizer import EQUALIZER_TABLE, PAPER_EQUALIZER_TABLE, Equalizer
from retone.effects.fir import Fir
from retone.effects.gain import Gain
from retone.effects.mid_side import MidSide
from retone.effects.multiband_equalizer import MultibandEqualizer
from retone.effects.noise_reduction import NoiseReduction
from retone.registry import Registry

MATCH_CHAIN = chain("match", Equalizer(), Compressor())
"""The six-band equaliser, then the compressor: what networks set."""

SOUND_CHAIN = chain("sound", Equalizer(), Compressor(table=EXPANDER_TABLE))
"""The same with an expander, which follows livelier references: what ``retone match`` drives."""

MATCH_CURVE_CHAIN = chain("match_curve", CurveEqualizer(), Compressor(table=EXPANDER_TABLE))
"""The same with a curve of third octaves instead of six bands."""

PAPER_CHAIN = chain(
    "paper_eq_comp",
    Equalizer(table=PAPER_EQUALIZER_TABLE),
    Compressor(table=PAPER_COMPRESSOR_TABLE),
)
"""The same chain with DeepAFx-ST's 24 parameters, ranges and linear scales."""

ENHANCE_CHAIN = chain("enhance", Equalizer(), MultibandEqualizer())
"""What ``retone enhance`` drives: the six-band equaliser, then the multiband dynamics."""


def _complaint(name: str, member: Any) -> str | None:
    if not (isinstance(member, type) and issubclass(member, Effect)):
        return "is not a subclass of Effect"
    return None if member.kind == name else f"has the kind '{member.kind}', not '{name}'"


EFFECT_TYPES: Registry[type[Effect]] = Registry(
    "retone.effects",
    "effect type",
    {
        "gain": Gain,
        "equalizer": Equalizer,
        "compressor": Compressor,
        "dynamic_equalizer": DynamicEqualizer,
        "multiband_equalizer": MultibandEqualizer,
        "curve_equalizer": CurveEqualizer,
        "mid_side": MidSide,
        "noise_reduction": NoiseReduction,
        "plugin": "retone.effects.plugin:Plugin",
        "fir": Fir,
        "chain": Chain,
    },
    check=_complaint,
)
"""Effect types by ``Effect.kind``, which settings files name."""

EFFECTS: tuple[Effect, ...] = (
    *(
        effect
        for kind in (
            Gain,
            Equalizer,
            CurveEqualizer,
            Compressor,
            DynamicEqualizer,
            MultibandEqualizer,
            MidSide,
            NoiseReduction,
        )
        for effect in kind.examples()
    ),
    MATCH_CHAIN,
    SOUND_CHAIN,
    MATCH_CURVE_CHAIN,
    PAPER_CHAIN,
    ENHANCE_CHAIN,
)
"""Examples of retone's own effects, over which the contract tests run."""

__all__ = [
    "COMPRESSOR_TABLE",
    "CURVE_TABLE",
    "EFFECTS",
    "EFFECT_TYPES",
    "ENHANCE_CHAIN",
    "EQUALIZER_TABLE",
    "EXPANDER_TABLE",
    "MATCH_CHAIN",
    "MATCH_CURVE_CHAIN",
    "PAPER_CHAIN",
    "PAPER_COMPRESSOR_TABLE",
    "PAPER_EQUALIZER_TABLE",
    "SOUND_CHAIN",
    "Chain",
    "Compressor",
    "CurveEqualizer",
    "DynamicEqualizer",
    "Equalizer",
    "Fir",
    "Gain",
    "MidSide",
    "MultibandEqualizer",
    "NoiseReduction",
    "chain",
    "leaves",
]
