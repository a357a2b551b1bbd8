"""Features of scenes, kept on disk, and batches of pairs drawn from them.

Making a scene costs more than a training step on one of its pairs. So the features of the most
recent few thousand scenes are kept in memory-mapped arrays. In every step new scenes replace the
oldest, and each pair of a batch comes from a different scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retone.losses.frames import FrameTarget, cell_weight
from retone.nets.frames import DB
from retone.nets.frontend import (
    BAND_QUANTILES,
    Features,
    FrontEnd,
    FrontEndConfig,
    louder_summary,
)
from retone.training.data.corpora import Corpus
from retone.training.data.scenes import HALVES, PROCESSINGS, VOICES, Scene
from retone.training.recipes.frames import FrameRecipe

Array = np.ndarray
CLIPS = VOICES * PROCESSINGS * HALVES
BATCH_SEED = 1 << 40
ABSENT = 0.5
"""Weight of bands above a recording's bandwidth. They hold only noise, but a change of noise is
audible and measured like any other. Such recordings do not teach the network that these bands are
empty, since it learns changes, and input and target are the same recording."""
VALIDATION_SEED = 1_000_003


class FramePair(NamedTuple):
    """A batch: features of source and reference, and the target of the prediction.

    ``cross`` [B]: whether the reference is another voice.
    """

    source: Features
    reference: Features
    target: FrameTarget
    cross: Tensor


@dataclass(frozen=True)
class Draw:
    """The clips of a scene that make a pair, by number; ``target`` has the source's content."""

    scene: int
    source: int
    target: int
    reference: int
    cross: bool


class ScenePool:
    """Features of scenes in a folder: a ring buffer of fixed size.

    ``count`` is the number of scenes made so far; scene n is in slot n modulo the size.
    """

    def __init__(self, folder: Path, size: int, front_end: FrontEndConfig, length: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.size = folder, size
        self.front_end = FrontEnd(front_end)
        self.bands = upper_edges_hz(front_end)
        self._louder = louder_summary(front_end)
        frames = length // front_end.hop + 1
        self._frames = self._map("frames", np.float16, (CLIPS, front_end.mels, frames))
        self._energy = self._map("energy", np.float32, (CLIPS, frames))
        self._summary = self._map("summary", np.float32, (CLIPS, front_end.summary_size))
        self._gain = self._map("gain_db", np.float32, (CLIPS,))
        self._band = self._map("bandwidth_hz", np.float32, (VOICES,))
        self._count = self._map("count", np.int64, (), 1)

    def _map(self, name: str, kind: type, shape: tuple[int, ...], rows: int = 0) -> Array:
        path, whole = self.folder / f"{name}.npy", (rows or self.size, *shape)
        if path.is_file():
            old = np.load(path, mmap_mode="r+")
            if old.shape == whole:
                return old
        return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=whole)

    @property
    def count(self) -> int:
        return int(self._count[0])

    @torch.no_grad()
    def add(self, scene: Scene) -> None:
        """Analyse a scene and replace the oldest with it."""
        slot = self.count % self.size
        features = self.front_end(torch.from_numpy(scene.audio.reshape(CLIPS, -1)))
        self._frames[slot] = features.frames.half().numpy()
        self._energy[slot] = features.energy.numpy()
        self._summary[slot] = features.summary.numpy()
        self._gain[slot] = scene.gain_db.reshape(CLIPS)
        self._band[slot] = scene.bandwidth_hz
        self._count[0] += 1

    def summaries(self) -> Tensor:
        """All summary statistics in the pool, [scenes * clips, S]."""
        count = min(self.count, self.size)
        return torch.from_numpy(self._summary[:count].reshape(count * CLIPS, -1).copy())

    def pairs(self, draws: list[Draw]) -> FramePair:
        """The drawn pairs as one batch."""
        slots = np.array([d.scene % self.size for d in draws])
        source, target, reference = (
            np.array([getattr(d, which) for d in draws])
            for which in ("source", "target", "reference")
        )
        features = self._features(slots, source)
        gain = self._gain[slots, reference] - self._gain[slots, target]
        wanted = self._clips(self._frames, slots, target)
        wanted = wanted + torch.from_numpy(gain / DB).float()[:, None, None]
        band = self._band[slots, source // (PROCESSINGS * HALVES)]
        bands = torch.from_numpy((self.bands[None] <= band[:, None]).astype(np.float32))
        bands = bands.clamp(min=ABSENT)
        weight = cell_weight(features.frames, wanted, features.energy, bands)
        shift = torch.from_numpy(gain / DB).float()[:, None] * self._louder
        summary = self._clips(self._summary, slots, target) + shift
        statistics = torch.ones_like(summary)
        statistics[:, : (2 + len(BAND_QUANTILES)) * bands.shape[1]] = bands.repeat(
            1, 2 + len(BAND_QUANTILES)
        )
        truth = FrameTarget(wanted, weight, summary, statistics)
        cross = torch.tensor([d.cross for d in draws])
        return FramePair(features, self._features(slots, reference), truth, cross)

    def _features(self, slots: Array, clips: Array) -> Features:
        arrays = (self._frames, self._energy, self._summary)
        return Features(*(self._clips(a, slots, clips) for a in arrays))

    def _clips(self, array: Array, slots: Array, clips: Array) -> Tensor:
        return torch.from_numpy(array[slots, clips].astype(np.float32))


def upper_edges_hz(front_end: FrontEndConfig) -> Array:
    """Upper edges of the mel bands in Hz, [M]."""
    bank = FrontEnd(front_end).bank.numpy()
    step = front_end.sample_rate / front_end.window
    last = bank.shape[1] - 1 - (bank[:, ::-1] > 0.5 * bank.max(1, keepdims=True)).argmax(1)
    return np.asarray(last * step)


def draw_pair(rng: np.random.Generator, scene: int, cross: float, swap: float) -> Draw:
    """Draw a pair of a scene.

    Args:
        rng: random generator.
        scene: number of the scene.
        cross: probability that the reference is the other voice.
        swap: probability that the two processings swap roles.
    """
    voice, half = int(rng.integers(VOICES)), int(rng.integers(HALVES))
    given, wanted = (1, 0) if rng.random() < swap else (0, 1)
    other = bool(rng.random() < cross)
    who = 1 - voice if other else voice
    where = int(rng.integers(HALVES)) if other else 1 - half
    return Draw(
        scene, _clip(voice, given, half), _clip(voice, wanted, half), _clip(who, wanted, where),
        other,
    )  # fmt: skip


def _clip(voice: int, processing: int, half: int) -> int:
    return (voice * PROCESSINGS + processing) * HALVES + half


class Feed:
    """Batches by step; they follow from recipe, step and the scenes that the pool holds."""

    def __init__(self, recipe: FrameRecipe, corpus: Corpus, pool: ScenePool) -> None:
        self.recipe, self.corpus, self.pool = recipe, corpus, pool

    def due(self, step: int) -> int:
        """Number of scenes that must exist before a step."""
        return self.recipe.first_scenes + int(step * self.recipe.scenes_per_step)

    def batch(self, step: int) -> FramePair:
        """The pairs of a step; makes missing scenes first."""
        r = self.recipe
        while self.pool.count < self.due(step):
            self.pool.add(r.scenes.scene(self.corpus, self.pool.count, r.seed))
        rng = np.random.default_rng([r.seed, BATCH_SEED + step])
        count = self.pool.count
        first = max(0, count - r.kept_scenes)
        scenes = rng.choice(count - first, size=min(r.batch_size, count - first), replace=False)
        return self.pool.pairs(
            [
                draw_pair(rng, first + int(s), r.cross_source_probability, r.swap_probability)
                for s in scenes
            ]
        )


def validation_batches(recipe: FrameRecipe, corpus: Corpus, folder: Path) -> list[FramePair]:
    """A fixed list of pairs from held-out voices: two per scene, one per kind of reference."""
    r = recipe
    maker = r.scenes.plain()
    pool = ScenePool(folder, r.validation_scenes, r.network.front_end, r.scenes.length)
    while pool.count < r.validation_scenes:
        pool.add(maker.scene(corpus, pool.count, r.seed + VALIDATION_SEED))
    rng = np.random.default_rng(r.seed + VALIDATION_SEED)
    draws = [
        draw_pair(rng, s, cross, 0.0) for s in range(r.validation_scenes) for cross in (0.0, 1.0)
    ]
    size = 2 * r.batch_size
    return [pool.pairs(draws[i : i + size]) for i in range(0, len(draws), size)]
