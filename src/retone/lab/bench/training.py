"""Training: examples per second of the compact recipe and of the paper's, stage by stage."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from retone.lab.bench.loss import AURALOSS, _auraloss
from retone.lab.bench.methods import WARM_UP_CALLS, Method, measure, missing
from retone.lab.bench.reference import moving_pink_noise
from retone.lab.bench.result import Section
from retone.losses import MultiResolutionSTFT
from retone.training.data.corpora import PCM_SCALE, Corpus, Track
from retone.training.feed import PairDataset
from retone.training.loop import predictions_loss
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.table import recipe_named

STAGES = {
    "pairs": "making pairs",
    "network": "features, encoder",
    "effect": "effects",
    "loss": "loss",
    "backward": "backward",
    "optimizer": "clip, Adam",
}
SPEAKERS, CLIPS_EACH = 4, 3

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Step:
    """A recipe's training step on fresh pairs, with the CPU seconds of every stage and call."""

    recipe: Recipe
    corpus: Corpus
    distance: Distance | None = None
    """Replaces the recipe's loss."""
    spent: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STAGES})

    def __post_init__(self) -> None:
        torch.manual_seed(self.recipe.seed)
        self.model = self.recipe.build(pretrained=False)
        self.learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.learning, lr=1e-4)
        self.pairs = PairDataset(self.recipe, self.corpus)
        self.numbers = itertools.count()

    def __call__(self) -> float:
        clock = [time.process_time()]

        def lap(stage: str) -> None:
            clock.append(time.process_time())
            self.spent[stage].append(clock[-1] - clock[-2])

        r, rate = self.recipe, self.recipe.pairs.sample_rate
        items = [self.pairs[next(self.numbers)] for _ in range(r.batch_size)]
        source, reference, target = (torch.stack(s) for s in list(zip(*items, strict=True))[:3])
        lap("pairs")
        effect_s = 0.0

        def render(unit: Tensor) -> Tensor:
            nonlocal effect_s
            start = time.process_time()
            networks = self.model.effect_networks
            out = r.gradient.train(r.effect, source[:, None], rate, unit, networks)[:, 0]
            effect_s += time.process_time() - start
            return out

        predictions = r.predict(self.model, source, reference, render)
        clock.append(time.process_time())
        self.spent["network"].append(clock[-1] - clock[-2] - effect_s)
        self.spent["effect"].append(effect_s)
        if self.distance is None:
            loss = predictions_loss(r, predictions, target)
        else:
            loss = self.distance(predictions.renders[-1][:, None], target[:, None])
        lap("loss")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        lap("backward")
        nn.utils.clip_grad_norm_(self.learning, r.optimizer.clip_norm)
        self.optimizer.step()
        lap("optimizer")
        return float(loss.detach())


def straightforward_loss() -> tuple[Distance, str]:
    """The paper's loss, computed with auraloss or plain autograd, and which of the two."""
    plan = MultiResolutionSTFT()
    if missing(AURALOSS):
        by = "plain autograd"

        def spectral(estimate: Tensor, target: Tensor) -> Tensor:
            return plan._plain(estimate[:, 0], target[:, 0]).mean()
    else:
        by = "auraloss"
        spectral = _auraloss(plan)  # type: ignore[assignment]

    def distance(estimate: Tensor, target: Tensor) -> Tensor:
        return spectral(estimate, target) + 100 * (estimate - target).abs().mean()

    return distance, by


def noise_corpus(folder: Path, sample_rate: int, length: int, seed: int) -> Corpus:
    """Speakers of moving pink noise, long enough for clips of two times ``length`` samples."""
    tracks = []
    size = 2 * CLIPS_EACH * length
    for i, audio in enumerate(moving_pink_noise(size, sample_rate, seed, SPEAKERS)):
        path = folder / f"{i}.npy"
        np.save(path, np.rint(audio * PCM_SCALE).astype("<i2"))
        tracks.append(Track(f"noise/{i}", "train", "speech", path, size))
    return Corpus("noise", sample_rate, tuple(tracks), "")


def training_section(
    *,
    length: int,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
    recipes: Mapping[str, str] | None = None,
) -> Section:
    """Measure whole training steps, pairs included, per example.

    Args:
        length: samples of a signal of a pair, instead of the recipes' own.
        rounds, seed, say: as in ``equalizer_section``.
        recipes: names of the compact, the exact and the published recipe, to replace them.
    """
    names = {
        "compact": "compact_speech",
        "exact": "deepafx_exact_speech",
        "published": "deepafx_speech",
        **(recipes or {}),
    }
    known = {key: recipe_named(name) for key, name in names.items()}
    known = {k: replace(r, pairs=replace(r.pairs, length=length)) for k, r in known.items()}
    rates = {r.pairs.sample_rate for r in known.values()}
    (sample_rate,) = rates
    distance, by = straightforward_loss()
    labels = {
        "compact": "compact recipe",
        "exact": "DeepAFx-ST's network, retone's effects and loss",
        "published": f"DeepAFx-ST as published (frequency sampling, {by})",
    }
    section = Section(
        "training",
        f"Training per example: pairs of {length} samples at {sample_rate} Hz, forward, backward "
        "and Adam, float32",
        baseline=labels["compact"],
        audio_s=length / sample_rate,
        figures=[
            ("examples_rate", "examples per CPU second"),
            *((f"{stage}_s", heading) for stage, heading in STAGES.items()),
        ],
        notes=[
            f"Times of a step over its batch ({known['compact'].batch_size} examples of the "
            f"compact recipe, {known['published'].batch_size} of DeepAFx-ST's); medians of CPU "
            "time per stage. Pairs are made in the same process, from noise, of which no clip "
            "is rejected as silent. What an example teaches differs between the recipes."
        ],
    )
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        corpus = noise_corpus(Path(folder), sample_rate, length, seed)
        steps: dict[str, Step] = {}

        def build(key: str, distance: Distance | None) -> Callable[[], Step]:
            def make() -> Step:
                steps[labels[key]] = Step(known[key], corpus, distance)
                return steps[labels[key]]

            return make

        methods = [
            Method(labels["compact"], build("compact", None)),
            Method(labels["exact"], build("exact", None)),
            Method(
                labels["published"],
                build("published", distance),
                AURALOSS if by == "auraloss" else {},
            ),
        ]
        measure(section, methods, rounds=rounds, seed=seed, say=say)
    for row in section.rows:
        step = steps.get(row.method)
        if row.ok and step is not None:
            batch = step.recipe.batch_size
            weights = sum(p.numel() for p in step.model.parameters())
            row.note = f"batch {batch}, {weights / 1e6:.1f} M weights"
            row.wall_s = [t / batch for t in row.wall_s]
            row.cpu_s = [t / batch for t in row.cpu_s]
            row.figures["examples_rate"] = 1 / float(np.median(row.cpu_s))
            for stage, times in step.spent.items():
                row.figures[f"{stage}_s"] = float(np.median(times[WARM_UP_CALLS:])) / batch
    return section
