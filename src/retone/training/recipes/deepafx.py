"""DeepAFx-ST's recipes: its network, effects, loss and schedule (JAES 70(9), 2022).

``recipes.deviations`` lists where they differ from the paper.
"""

from __future__ import annotations

from dataclasses import replace

from retone.effects import PAPER_CHAIN
from retone.losses import L1, MultiResolutionSTFT, WeightedSum
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.siamese import SiameseConfig, SpectrogramConfig
from retone.training.data.pairs import PairMaker
from retone.training.gradients import Exact, FrequencySampled
from retone.training.recipes.recipe import Optimizer, Recipe

SAMPLE_RATE = 24000
LENGTH = 131072
EPOCHS, EXAMPLES_PER_EPOCH, BATCH = 400, 20_000, 6


def deepafx_speech() -> Recipe:
    """The paper's recipe: EfficientNet-B2, frequency-sampled effects, 400 epochs of 20000."""
    return Recipe(
        name="deepafx_speech",
        kind="speech",
        pairs=PairMaker(
            sample_rate=SAMPLE_RATE,
            length=LENGTH,
            min_mean_square=1e-3,
            silence_of_clip=True,
            balance=0.0,
        ),
        effect=PAPER_CHAIN,
        network=SiameseConfig(
            outputs=len(PAPER_CHAIN.params), front_end=SpectrogramConfig(sample_rate=SAMPLE_RATE)
        ),
        gradient=FrequencySampled(),
        loss=WeightedSum((MultiResolutionSTFT(), L1()), (1.0, 100.0)),
        optimizer=Optimizer(learning_rate=1e-4, milestones=(0.8, 0.95), clip_norm=4.0),
        batch_size=BATCH,
        steps=EPOCHS * EXAMPLES_PER_EPOCH // BATCH,
        validation_pairs=200,
        validate_every=EXAMPLES_PER_EPOCH // BATCH,
        best_by="l1",
    )


def deepafx_music() -> Recipe:
    """The paper's recipe for music."""
    return replace(deepafx_speech(), name="deepafx_music", kind="music")


def deepafx_exact_speech() -> Recipe:
    """The paper's network and data, with the effects and their exact gradients."""
    return replace(deepafx_speech(), name="deepafx_exact_speech", gradient=Exact())


def deepafx_reference_speech() -> Recipe:
    """The paper's recipe with pairs exactly as its published program makes them, bugs included."""
    pairs = PairMaker(
        sample_rate=SAMPLE_RATE, length=LENGTH, min_mean_square=1e-5, reference_compatible=True
    )
    return replace(deepafx_speech(), name="deepafx_reference_speech", pairs=pairs)


def deepafx_smoke() -> Recipe:
    """A run of a few seconds through all parts of the paper's recipe, with a narrower network."""
    r = deepafx_speech()
    narrow = EfficientNetConfig(width=0.25, depth=0.5)
    return replace(
        r,
        name="deepafx_smoke",
        pairs=replace(r.pairs, length=32768),
        network=replace(r.network, encoder=narrow, embedding=64),
        batch_size=2,
        steps=4,
        validation_pairs=2,
        validate_every=2,
    )
