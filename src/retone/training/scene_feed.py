"""Batches of pairs by step, from scenes that this process or others make."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from retone.errors import DataError
from retone.nets.frontend import FrontEnd
from retone.training.data.corpora import Corpus
from retone.training.feed import original_message, quiet_loader
from retone.training.recipes.frames import FrameRecipe
from retone.training.scene_pool import (
    CPU,
    FramePair,
    SceneFeatures,
    ScenePool,
    analysed,
    draw_pairs,
)

BATCH_SEED = 1 << 40
VALIDATION_SEED = 1_000_003
TOGETHER = 4
"""Scenes that a process hands over at a time."""
AHEAD = 512
"""Most scenes that wait to be used."""
WARM_UP = 4
"""Scenes made before other processes start, so that they find the compiled loops in the cache."""
VALIDATION_BATCH = 64


class SceneDataset(Dataset):  # type: ignore[type-arg]
    """Features of scenes by number; the same number always gives the same scene."""

    def __init__(self, recipe: FrameRecipe, corpus: Corpus) -> None:
        self.maker, self.corpus, self.seed = recipe.scenes, corpus, recipe.seed
        self.front_end = FrontEnd(recipe.network.front_end)

    def __getitem__(self, number: int) -> SceneFeatures:
        return analysed(self.maker.scene(self.corpus, number, self.seed), self.front_end)


class _From(Sampler[int]):
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first)


class SceneStream:
    """Scenes from number ``first`` on, in order, made ahead by other processes."""

    def __init__(self, scenes: SceneDataset, first: int, workers: int) -> None:
        self._queue: queue.Queue[SceneFeatures | Exception] = queue.Queue(AHEAD)
        self._open = True
        loader: Any = DataLoader(
            scenes,
            batch_size=TOGETHER,
            sampler=_From(first),
            num_workers=workers,
            prefetch_factor=4,
        )
        self._thread = threading.Thread(
            target=self._pass_on, args=(quiet_loader(loader, workers),), daemon=True
        )
        self._thread.start()

    def _pass_on(self, parts: Iterator[Any]) -> None:
        try:
            for part in parts:
                for i in range(TOGETHER):
                    self._put(SceneFeatures(*(t[i] for t in part)))
                if not self._open:
                    return
        except Exception as e:  # raised again by ``take``
            self._put(e)

    def _put(self, item: SceneFeatures | Exception) -> None:
        while self._open:
            try:
                return self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue

    def waiting(self) -> bool:
        """Whether ``take`` returns at once."""
        return not self._queue.empty()

    def take(self) -> SceneFeatures:
        """The next scene; waits for it.

        Raises:
            DataError: it could not be made, or a process died.
        """
        item = self._queue.get()
        if not isinstance(item, Exception):
            return item
        if isinstance(item, DataError):
            raise DataError(original_message(item)) from None
        raise DataError(
            f"the processes that make scenes stopped ({item}). Often memory ran out: use fewer "
            "workers (0 shows the original error)."
        ) from item

    def close(self) -> None:
        """Stop the processes."""
        self._open = False
        self._thread.join(timeout=5.0)


class Feed:
    """Batches by step; they follow from recipe, step and the scenes that the pool holds.

    Args:
        recipe: what to train.
        corpus: recordings for the scenes.
        pool: keeps the scenes.
        workers: processes that make scenes; 0 makes them in this one.
        eager: a step also takes all scenes that are ready, and waits only for the first ones, so
            that fast and slow machines are busy all the time. Batches then depend on the speed.
    """

    def __init__(
        self,
        recipe: FrameRecipe,
        corpus: Corpus,
        pool: ScenePool,
        workers: int = 0,
        eager: bool = False,
    ) -> None:
        self.recipe, self.pool, self.eager = recipe, pool, eager
        self.scenes = SceneDataset(recipe, corpus)
        self.stream: SceneStream | None = None
        if workers:
            while pool.count < min(WARM_UP, recipe.first_scenes):
                pool.add(self.scenes[pool.count])  # the processes find the loops compiled
            self.stream = SceneStream(self.scenes, pool.count, workers)

    def due(self, step: int) -> int:
        """Number of scenes that must exist before a step."""
        pace = 0.0 if self.eager else self.recipe.scenes_per_step
        return self.recipe.first_scenes + int(step * pace)

    def batch(self, step: int) -> FramePair:
        """The pairs of a step; makes missing scenes first."""
        r = self.recipe
        while self.pool.count < self.due(step) or self._more():
            made = self.stream.take() if self.stream else self.scenes[self.pool.count]
            self.pool.add(made)
        rng = np.random.default_rng([r.seed, BATCH_SEED + step])
        count = self.pool.count
        first = max(0, count - r.kept_scenes)
        scenes = rng.choice(count - first, size=min(r.batch_size, count - first), replace=False)
        return self.pool.pairs(
            draw_pairs(rng, first + scenes, r.cross_source_probability, r.swap_probability)
        )

    def _more(self) -> bool:
        return self.eager and self.stream is not None and self.stream.waiting()

    def close(self) -> None:
        """Stop other processes."""
        if self.stream is not None:
            self.stream.close()


def validation_batches(
    recipe: FrameRecipe, corpus: Corpus, folder: Path, device: torch.device = CPU
) -> list[FramePair]:
    """A fixed list of pairs from held-out voices: two per scene, one per kind of reference."""
    r = recipe
    maker = r.scenes.plain()
    shape = (r.network.front_end, r.scenes.length)
    pool = ScenePool(folder, r.validation_scenes, *shape, device)
    while pool.count < r.validation_scenes:
        pool.add(maker.scene(corpus, pool.count, r.seed + VALIDATION_SEED))
    rng = np.random.default_rng(r.seed + VALIDATION_SEED)
    scenes = np.arange(r.validation_scenes)
    size = max(1, min(VALIDATION_BATCH, r.batch_size) // 2)
    return [
        pool.pairs(draw_pairs(rng, part, cross, 0.0))
        for part in np.array_split(scenes, -(-len(scenes) // size))
        for cross in (0.0, 1.0)
    ]
