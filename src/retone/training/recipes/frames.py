"""Recipes of networks that predict the target's frames; no effect is rendered in training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from retone.effects import MATCH_CHAIN
from retone.losses.frames import FrameLoss
from retone.nets.frames import FrameNetConfig
from retone.nets.frontend import FrontEndConfig
from retone.training.data.scenes import SceneMaker
from retone.training.recipes.compact import start_units
from retone.training.recipes.recipe import Optimizer

SAMPLE_RATE, LENGTH = 24000, 131072


@dataclass(frozen=True, kw_only=True)
class FrameRecipe:
    """Everything that decides the outcome of a run, except the recordings.

    Args:
        name: unique, lower case.
        kind: ``"speech"`` or ``"music"``.
        scenes: the generator of scenes; it holds sample rate and length.
        network: sizes.
        loss: what is minimised.
        optimizer: Adam and its schedule.
        batch_size: pairs per step, each from a different scene.
        steps: length of the run.
        kept_scenes: number of most recent scenes that pairs are drawn from.
        first_scenes: number of scenes made before the first step.
        scenes_per_step: number of new scenes per step, on average.
        cross_source_probability: probability that the reference is the other voice.
        swap_probability: probability that the scene's two processings swap roles.
        precision: ``"float32"``, or ``"bfloat16"`` for the network's inner layers in training;
            levels, spectra and loss stay in float32.
        average: decay of the averaged weights: the share they keep in each step.
        validation_scenes: size of the fixed, seeded list of scenes from held-out voices.
        validate_every: steps between validations.
        seed: random seed for weights and data.
    """

    name: str
    kind: str
    scenes: SceneMaker
    network: FrameNetConfig
    loss: FrameLoss = FrameLoss()
    optimizer: Optimizer = Optimizer(learning_rate=5e-4, warmup_steps=200)
    batch_size: int = 16
    steps: int = 60_000
    kept_scenes: int = 3000
    first_scenes: int = 200
    scenes_per_step: float = 1.0
    cross_source_probability: float = 0.35
    swap_probability: float = 0.2
    precision: str = "float32"
    average: float = 0.999
    validation_scenes: int = 96
    validate_every: int = 500
    seed: int = 42


def frames_speech() -> FrameRecipe:
    """Predict the target's log-mel frames instead of settings; no effect is rendered."""
    front_end = FrontEndConfig(sample_rate=SAMPLE_RATE, measures=True)
    return FrameRecipe(
        name="frames_speech",
        kind="speech",
        scenes=SceneMaker(
            sample_rate=SAMPLE_RATE,
            length=LENGTH,
            augment_probability=0.1,
            color_probability=0.9,
            levels_probability=0.4,
            noise_probability=0.3,
            balance=0.25,
            full_band_weight=2.5,
        ),
        network=FrameNetConfig(
            outputs=len(MATCH_CHAIN.params), front_end=front_end, initial=start_units(),
            blocks=6, exchanges=2,
        ),
        loss=FrameLoss(measure_weight=0.06, linear=0.4),
    )  # fmt: skip


def frames_music() -> FrameRecipe:
    """Predict the target's log-mel frames, trained on music."""
    return replace(frames_speech(), name="frames_music", kind="music")


FRAME_RECIPES = {f.__name__: f for f in (frames_speech, frames_music)}
"""Recipes that ``train_frames`` runs, by name."""
