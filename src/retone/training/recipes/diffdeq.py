"""Diff-DEQ's recipes: blind enhancement of speech (S. Sarkar, L. Lindborg, EUSIPCO 2025).

What the paper states: 24 kHz, segments of 70,972 samples, MR-STFT (auraloss) + L1, Adam at 1e-4
with a cosine over 200 epochs, batches of 16. It states no loss settings (auraloss's defaults, both
weights 1), and no examples per epoch (10,000 here).

L1 on samples needs equal phase, but a Linkwitz-Riley crossover turns it: once in the effect that
damages and once in the one that repairs. So in paper mode targets go through both at rest
(``target_at_rest``, ``rest_in_target``), and L1 asks for nothing that no setting can give. The
improved recipes' bands turn no phase, and compare with the clean clip itself.
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
from retone.training.recipes.config import Optimizer, Recipe

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
    """The paper's DEQ: Linkwitz-Riley bands, 47 parameters, clip by clip from raw audio."""
    effect = DynamicEqualizer()
    return Recipe(
        name="diffdeq_paper",
        kind="speech",
        pairs=EnhanceMaker(
            sample_rate=SAMPLE_RATE, corruption=DynamicEqualizer(), target_at_rest=True
        ),
        effect=effect,
        network=_network(effect, ConvStemConfig(sample_rate=SAMPLE_RATE)),
        loss=WeightedSum((auraloss_default(), L1()), (1.0, 1.0)),
        optimizer=Optimizer(learning_rate=1e-4, cosine=True),
        batch_size=BATCH,
        steps=EPOCHS * EXAMPLES_PER_EPOCH // BATCH,
        validation_pairs=64,
        validate_every=EXAMPLES_PER_EPOCH // BATCH,
        rest_in_target=True,
    )


def diffdeq_peq() -> Recipe:
    """The paper's PEQ: six equaliser bands, 18 parameters, the same pipeline and pairs."""
    effect = Equalizer(table=PAPER_EQUALIZER_TABLE)
    return replace(
        diffdeq_paper(),
        name="diffdeq_peq",
        effect=effect,
        network=_network(effect, ConvStemConfig(sample_rate=SAMPLE_RATE)),
        rest_in_target=False,  # an equaliser at rest is the identity
    )


def diffdeq_improved() -> Recipe:
    """An equaliser and bands that turn no phase, compress and expand; log-mel frames.

    Levels are matched before the loss, so none is spent on what nobody can hear from one signal.
    Pairs hold clean and slightly damaged clips too, room noise, low bands, and voices at other
    speeds. Begin from `diffdeq_improved_peq`'s weights (--warm-start): it learns the equaliser at
    less than half the cost a step.
    """
    paper = diffdeq_paper()
    return replace(
        paper,
        name="diffdeq_improved",
        pairs=EnhanceMaker(
            sample_rate=SAMPLE_RATE,
            corruption=MultibandEqualizer(),
            gain_db=24.0,  # shelves of first order blunt it: 5 dB RMS over frequency are left
            expansion=True,
            drive_db=12.0,
            device_probability=0.35,
            clean_probability=0.12,
            least_strength=0.2,
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
        rest_in_target=False,
    )


def diffdeq_improved_peq() -> Recipe:
    """The same with the equaliser alone: what the dynamics are worth."""
    r = diffdeq_improved()
    effect = Equalizer()
    return replace(r, name="diffdeq_improved_peq", effect=effect, network=_network(effect, MEL))


def diffdeq_smoke() -> Recipe:
    """A run of seconds through the improved recipe's parts, with a narrower network."""
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


def table_pairs(recipe: Recipe) -> EnhanceMaker:
    """The maker that scores a recipe's kind of damage.

    Raises:
        SettingError: the recipe's pairs are not made for enhancement.
    """
    if not isinstance(recipe.pairs, EnhanceMaker):
        raise SettingError(f"{recipe.name} is no recipe for enhancement; use a diffdeq one.")
    return recipe.pairs.for_table()
