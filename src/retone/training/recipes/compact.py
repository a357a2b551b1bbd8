"""Compact recipes for style transfer: predict a setting from input and reference."""

from __future__ import annotations

from dataclasses import replace

from retone.effects import MATCH_CHAIN
from retone.losses import L1, MultiResolutionSTFT, WeightedSum
from retone.losses.style import StyleDistance
from retone.nets.frontend import COMPACT_FRONT_END
from retone.nets.iterative import IterativeNetConfig
from retone.training.data.pairs import PairMaker
from retone.training.recipes.recipe import Optimizer, Recipe

SAMPLE_RATE = COMPACT_FRONT_END.sample_rate
LENGTH = 131072

START = {"compressor.ratio": 1.3, "compressor.threshold_db": -30.0}
"""An untrained network starts at the neutral setting, except that the compressor acts, so that it
has gradients."""


def start_units() -> tuple[float, ...]:
    """Unit parameters that an untrained network predicts."""
    setting = MATCH_CHAIN.params.setting(START)
    return tuple(float(v) for v in MATCH_CHAIN.params.to_unit(setting)[0])


def compact_speech() -> Recipe:
    """The recipe for small machines: an iterative network on log-mel frames, exact effects."""
    return Recipe(
        name="compact_speech",
        kind="speech",
        pairs=PairMaker(
            sample_rate=SAMPLE_RATE,
            length=LENGTH,
            augment_probability=0.2,  # pitch and tempo cost more than the rest of a pair
            color_probability=0.9,
            levels_probability=0.4,
            noise_probability=0.3,
            cross_source_probability=0.25,
            leveled_probability=0.7,
        ),
        effect=MATCH_CHAIN,
        network=IterativeNetConfig(
            outputs=len(MATCH_CHAIN.params),
            front_end=COMPACT_FRONT_END,
            initial=start_units(),
        ),
        loss=WeightedSum(
            (MultiResolutionSTFT((128, 512, 2048, 8192)), L1(), StyleDistance()), (1.0, 25.0, 1.0)
        ),
        optimizer=Optimizer(learning_rate=5e-4, warmup_steps=200),
        batch_size=16,
        steps=100_000,
        expectation_weight=1.0,
        scored_passes=1,
    )


def compact_music() -> Recipe:
    """The recipe for small machines, trained on music."""
    return replace(compact_speech(), name="compact_music", kind="music")


def compact_smoke() -> Recipe:
    """A run of a few seconds that uses every part."""
    r = compact_speech()
    return replace(
        r,
        name="compact_smoke",
        pairs=replace(r.pairs, length=32768),
        batch_size=2,
        steps=6,
        validation_pairs=2,
        validate_every=3,
    )
