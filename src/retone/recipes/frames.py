"""Recipes of networks that predict the wanted frames; no effect is rendered while they train."""

from __future__ import annotations

from dataclasses import dataclass

from retone.data.scenes import SceneMaker
from retone.effects import MATCH_CHAIN
from retone.frame_loss import FrameLoss
from retone.nets.frames import FrameNetConfig
from retone.nets.frontend import FrontEndConfig
from retone.recipes.config import Optimizer
from retone.recipes.style import _start_units

SAMPLE_RATE, LENGTH = 24000, 131072


@dataclass(frozen=True, kw_only=True)
class FrameRecipe:
    """Everything that decides the outcome of a run, but the recordings themselves.

    Args:
        name: what the command line calls it.
        kind: ``"speech"`` or ``"music"``.
        scenes: the generator of scenes; it holds rate and length.
        network: sizes.
        loss: what is minimised.
        optimizer: Adam and its schedule.
        batch_size: pairs per step, each of another scene.
        steps: length of the run.
        kept_scenes: how many scenes are held to draw pairs from, the last ones made.
        first_scenes: how many are made before the first step.
        scenes_per_step: how many new ones each step adds, on average.
        cross_source_probability: how often the reference is the other voice.
        swap_probability: how often the input's treatment is the wanted one.
        average: how slowly the averaged weights follow (the share they keep each step).
        validation_scenes: a fixed, seeded list on held-out voices.
        validate_every: steps between validations.
        seed: of weights and data.
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
    average: float = 0.999
    validation_scenes: int = 96
    validate_every: int = 500
    seed: int = 42


def frames_speech() -> FrameRecipe:
    """Speech, for one core."""
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
        ),
        network=FrameNetConfig(
            outputs=len(MATCH_CHAIN.params), front_end=front_end, initial=_start_units()
        ),
    )


FRAME_RECIPES = {f.__name__: f for f in (frames_speech,)}
