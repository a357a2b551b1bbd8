"""Diff-DEQ's recipes: reference-free enhancement of speech (S. Sarkar, L. Lindborg, EUSIPCO 2025).

The paper states: 24 kHz, segments of 70,972 samples, MR-STFT (auraloss) + L1, Adam at 1e-4
with a cosine over 200 epochs, batches of 16. It states no loss settings (auraloss's defaults, both
weights 1), and no examples per epoch (10,000 here).

L1 on samples needs equal phase, but a Linkwitz-Riley crossover is an all-pass: one in the effect
that degrades and one in the effect that restores. In paper mode the target passes through both
all-passes (``allpass_target`` of the pairs and of the recipe), so that a setting can reach
the target of L1. The improved recipes' bands are phase-transparent; their target is the clean
clip.
"""

from __future__ import annotations

from dataclasses import replace

from retone.dsp.effect import Effect
from retone.effects import (
    ENHANCE_CHAIN,
    PAPER_EQUALIZER_TABLE,
    DynamicEqualizer,
    Equalizer,
    MultibandEqualizer,
)
from retone.errors import SettingError
from retone.losses import (
    L1,
    AtEqualLoudness,
    MultiResolutionSTFT,
    WeightedSum,
    auraloss_default,
)
from retone.nets.tcn import ConvStemConfig, MelConfig, TcnConfig
from retone.training.data.enhance_pairs import EnhanceMaker
from retone.training.recipes.recipe import Optimizer, Recipe

SAMPLE_RATE = 24000
EPOCHS, EXAMPLES_PER_EPOCH, BATCH = 200, 10_000, 16
IMPROVED_PEAK_DBFS = -12.0
MEL = MelConfig(sample_rate=SAMPLE_RATE, window=2048, hop=1024)  # 70 frames a clip


def _network(effect: Effect, front_end: ConvStemConfig | MelConfig) -> TcnConfig:
    """A network whose untrained output is the effect's neutral setting."""
    table = effect.params
    return TcnConfig(
        outputs=len(table),
        front_end=front_end,
        initial=tuple(float(v) for v in table.to_unit(table.neutral(1))[0]),
        crossover_outputs=tuple(i for i, n in enumerate(table.names) if "crossover_" in n),
    )


def diffdeq_paper() -> Recipe:
    """The paper's DEQ: Linkwitz-Riley bands, 47 parameters predicted from raw audio."""
    effect = DynamicEqualizer()
    return Recipe(
        name="diffdeq_paper",
        kind="speech",
        pairs=EnhanceMaker(
            sample_rate=SAMPLE_RATE,
            corruption=DynamicEqualizer(),
            allpass_target=True,
            peak_dbfs=0.0,
            balance=0.0,
        ),
        effect=effect,
        network=_network(effect, ConvStemConfig(sample_rate=SAMPLE_RATE)),
        loss=WeightedSum((auraloss_default(), L1()), (1.0, 1.0)),
        optimizer=Optimizer(learning_rate=1e-4, cosine=True, cosine_end=0.0, clip_norm=0.0),
        batch_size=BATCH,
        steps=EPOCHS * EXAMPLES_PER_EPOCH // BATCH,
        validation_pairs=64,
        validate_every=EXAMPLES_PER_EPOCH // BATCH,
        allpass_target=True,
    )


def diffdeq_peq() -> Recipe:
    """The paper's PEQ: six equaliser bands, 18 parameters, the same pipeline and pairs."""
    effect = Equalizer(table=PAPER_EQUALIZER_TABLE)
    return replace(
        diffdeq_paper(),
        name="diffdeq_peq",
        effect=effect,
        network=_network(effect, ConvStemConfig(sample_rate=SAMPLE_RATE)),
        allpass_target=False,  # an equaliser has no crossovers
    )


def diffdeq_improved() -> Recipe:
    """An equaliser and phase-transparent bands that compress and expand; log-mel frames.

    Levels are matched before the loss, since the level cannot be known from one signal. Pairs also
    hold clean and slightly degraded clips, room noise, band-limited clips, and voices at other
    speeds. Use `diffdeq_improved_peq`'s best weights as warm start: it learns the equaliser at less
    than half the cost per step.
    """
    paper = diffdeq_paper()
    return replace(
        paper,
        name="diffdeq_improved",
        pairs=EnhanceMaker(
            sample_rate=SAMPLE_RATE,
            corruption=MultibandEqualizer(),
            gain_db=24.0,  # first-order slopes reduce it to 5 dB RMS over frequency
            expansion=True,
            drive_db=12.0,
            device_probability=0.35,
            clean_probability=0.12,
            min_strength=0.2,
            noise_probability=0.4,
            low_band_probability=0.15,
            speed=1.15,
            peak_dbfs=IMPROVED_PEAK_DBFS,
        ),
        effect=ENHANCE_CHAIN,
        network=_network(ENHANCE_CHAIN, MEL),
        loss=AtEqualLoudness(
            WeightedSum((MultiResolutionSTFT((128, 512, 2048, 8192)), L1()), (1.0, 25.0))
        ),
        optimizer=Optimizer(learning_rate=7e-4, warmup_steps=100, cosine=True),
        batch_size=8,
        steps=100_000,
        validate_every=500,
        allpass_target=False,
    )


def diffdeq_improved_both() -> Recipe:
    """The improved recipe, half of whose pairs are degraded by the paper's bands.

    Voices whose content ends below the full band are drawn less often.
    """
    r = diffdeq_improved()
    assert isinstance(r.pairs, EnhanceMaker)
    own = replace(r.pairs, full_band_weight=20.0)
    paper_bands = replace(
        own,
        corruption=DynamicEqualizer(),
        allpass_target=True,
        gain_db=12.0,
        expansion=False,
        drive_db=24.0,
    )
    return replace(r, name="diffdeq_improved_both", pairs=replace(own, alternate=paper_bands))


def diffdeq_improved_peq() -> Recipe:
    """The improved recipe with the equaliser alone, to measure the benefit of the dynamics."""
    r = diffdeq_improved()
    effect = Equalizer()
    return replace(r, name="diffdeq_improved_peq", effect=effect, network=_network(effect, MEL))


def diffdeq_smoke() -> Recipe:
    """A run of a few seconds through all parts of the improved recipe, with a narrower network."""
    r = diffdeq_improved()
    return replace(
        r,
        name="diffdeq_smoke",
        pairs=replace(r.pairs, length=24000),
        network=replace(r.network, channels=16, gru=16, hidden=32),
        batch_size=2,
        steps=6,
        validation_pairs=2,
        validate_every=3,
    )


def scoring_pairs(recipe: Recipe) -> EnhanceMaker:
    """The pair maker for scoring on a recipe's kind of degradation.

    Raises:
        SettingError: the recipe's pairs are not made for enhancement.
    """
    if not isinstance(recipe.pairs, EnhanceMaker):
        raise SettingError(
            f"{recipe.name} is not a recipe for enhancement; use one of the diffdeq recipes."
        )
    return recipe.pairs.for_scoring()
