"""The effects: one file holds one effect. ``EFFECTS`` lists them all for tests, docs and tools."""

from __future__ import annotations

from retone.dsp.effect import Effect
from retone.effects.chain import Chain, chain
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

MATCH_CHAIN = chain("match", Equalizer(), Compressor())
"""What ``retone match`` drives: the six-band equaliser, then the compressor."""

PAPER_CHAIN = chain(
    "paper_eq_comp",
    Equalizer(table=PAPER_EQUALIZER_TABLE),
    Compressor(table=PAPER_COMPRESSOR_TABLE),
)
"""The same chain with DeepAFx-ST's 24 parameters, ranges and linear scales."""

ENHANCE_CHAIN = chain("enhance", Equalizer(), MultibandEqualizer())
"""What ``retone enhance`` drives: the six-band equaliser, then the multiband dynamics."""

EFFECTS: tuple[Effect, ...] = (
    Gain(),
    Equalizer(),
    Compressor(),
    Compressor(name="expander_compressor", table=EXPANDER_TABLE, rms_ms=10.0),
    Compressor(name="linear_compressor", table=EXPANDER_TABLE, rms_ms=10.0, smooth="gain"),
    DynamicEqualizer(),
    MultibandEqualizer(),
    MATCH_CHAIN,
    PAPER_CHAIN,
    ENHANCE_CHAIN,
)

__all__ = [
    "COMPRESSOR_TABLE",
    "EFFECTS",
    "ENHANCE_CHAIN",
    "EQUALIZER_TABLE",
    "EXPANDER_TABLE",
    "MATCH_CHAIN",
    "PAPER_CHAIN",
    "PAPER_COMPRESSOR_TABLE",
    "PAPER_EQUALIZER_TABLE",
    "Chain",
    "Compressor",
    "DynamicEqualizer",
    "Equalizer",
    "Fir",
    "Gain",
    "MultibandEqualizer",
    "chain",
]
