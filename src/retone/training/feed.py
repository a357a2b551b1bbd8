"""How pairs reach the training loop: made by number, in worker processes that may die.

Item numbers follow from the step, the process and the batch size alone, so any step's batch can
be made again: after a stop, after a worker was killed, or by another number of processes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from retone.errors import DataError
from retone.training.recipes.config import Recipe

DRAWS = 3
SPARE = 1 << 40
"""Where the numbers of replacement items begin: no run is that long."""
DEATHS = 3
"""Workers lost in a row, without one batch in between, before a run gives up."""

Batch = tuple[Tensor, Tensor, Tensor, list[str]]
"""Source, reference and target [B, T], and for each item why it is a replacement, or ''."""


@dataclass(frozen=True)
class Place:
    """Which process this is, of how many, and where its tensors lie."""

    rank: int
    world: int
    device: torch.device

    @staticmethod
    def join(device: str) -> Place:
        """Join the process group that torchrun announced, if any."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        rank = int(os.environ.get("RANK", "0"))
        if device == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        if world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return Place(rank, world, torch.device(device))

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; all must ask."""
        if self.world == 1:
            return mine
        flag = torch.tensor(float(mine), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def mean(self, mine: float) -> float:
        """Mean over the processes; all must ask."""
        if self.world == 1:
            return mine
        total = torch.tensor(mine, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / self.world


class PairDataset(Dataset):  # type: ignore[type-arg]
    """Pairs by number, made on the fly; the same number always gives the same pair."""

    def __init__(self, recipe: Recipe, corpus: Any) -> None:
        self.maker, self.corpus, self.seed = recipe.pairs, corpus, recipe.seed

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor, str]:
        """A pair; one that cannot be made is replaced by another, of a fixed number too.

        Raises:
            DataError: its replacements could not be made either.
        """
        problem = ""
        for draw in range(DRAWS):
            try:
                pair = self.maker.make(self.corpus, number + draw * SPARE, self.seed)
            except (DataError, OSError, ValueError) as e:
                problem = f"{type(e).__name__}: {e}"
                continue
            audio = (torch.from_numpy(a) for a in (pair.input, pair.reference, pair.target))
            return (*audio, problem)  # type: ignore[return-value]
        raise DataError(
            f"training item {number} could not be made, nor {DRAWS - 1} others in its place. "
            f"The last reason: {problem}"
        )


class Numbers(Sampler[int]):
    """Item numbers of steps [start, recipe.steps) that a process draws, in order."""

    def __init__(self, recipe: Recipe, start: int, place: Place) -> None:
        self.recipe, self.start, self.place = recipe, start, place

    def __len__(self) -> int:
        return (self.recipe.steps - self.start) * self.recipe.batch_size

    def __iter__(self) -> Iterator[int]:
        b, w, r = self.recipe.batch_size, self.place.world, self.place.rank
        for step in range(self.start, self.recipe.steps):
            yield from range((step * w + r) * b, (step * w + r + 1) * b)


def batches(
    recipe: Recipe,
    corpus: Any,
    start: int,
    place: Place,
    workers: int,
    note: Callable[[str], None],
) -> Iterator[Batch]:
    """The batches of steps ``start`` to the end of the run.

    Args:
        recipe, corpus: what pairs are made of.
        start: first step.
        place: which process this is.
        workers: processes that make pairs; 0 makes them here.
        note: told of every worker that was lost.

    Raises:
        DataError: items could not be made, or workers died again and again.
    """
    step, deaths = start, 0
    while step < recipe.steps:
        try:
            for batch in _loader(recipe, corpus, step, place, workers):
                yield batch  # type: ignore[misc]
                step, deaths = step + 1, 0
        except DataError as e:
            raise DataError(_own_words(e)) from None
        except RuntimeError as e:
            if "DataLoader worker" not in str(e):
                raise
            deaths += 1
            if deaths > DEATHS:
                raise DataError(
                    f"the processes that make pairs died {deaths} times in a row at step {step}. "
                    "Often memory ran out, or a file of the corpus' cache was cut: lower --workers "
                    "(0 shows the fault itself) or delete the cache."
                ) from e
            note(f"a process that makes pairs died at step {step}; another goes on")


def _loader(
    recipe: Recipe, corpus: Any, start: int, place: Place, workers: int
) -> Iterator[list[Any]]:
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    loader = iter(
        DataLoader(
            PairDataset(recipe, corpus),
            batch_size=recipe.batch_size,
            sampler=Numbers(recipe, start, place),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=place.device.type == "cuda",
            worker_init_fn=_leave_interrupts,
        )
    )
    if workers and before is not None and threading.current_thread() is threading.main_thread():
        # torch would raise from the signal, in the middle of any step; next() tells as well.
        signal.signal(signal.SIGCHLD, before)
    return loader


def _leave_interrupts(_: int) -> None:
    """Ctrl-C is the training process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _own_words(error: DataError) -> str:
    """A worker's error arrives wrapped in its traceback; its own sentence is the last line."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    return text.strip().splitlines()[-1].partition("DataError: ")[2] or text
