"""Batches for the training loop: numbered pairs, made in worker processes that may die.

Item numbers follow from the step, the process and the batch size alone, so the batch of any step
can be made again: after a stop, after a worker was killed, or with another number of processes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from retone.errors import DataError
from retone.training.processes import DistributedContext
from retone.training.recipes.recipe import Recipe

MAX_ATTEMPTS = 3
"""Draws for one item before a run gives up: the item itself and its replacements."""
REPLACEMENT_OFFSET = 1 << 40
"""Replacements are numbered from here on; no run is that long."""
MAX_WORKER_DEATHS = 3
"""Workers lost in a row, without a batch in between, before a run gives up."""


class Item(NamedTuple):
    """One training item: audio [T] each, and why it is a replacement, ``""`` if it is not."""

    source: Tensor
    reference: Tensor
    target: Tensor
    problem: str


class Batch(NamedTuple):
    """Items of one step: audio [B, T] each, and each item's ``problem``."""

    source: Tensor
    reference: Tensor
    target: Tensor
    problems: list[str]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        source, reference, target = (t.to(device, non_blocking=True) for t in self[:3])
        return Batch(source, reference, target, self.problems)


class PairDataset(Dataset):  # type: ignore[type-arg]
    """Pairs by number, made on the fly; the same number always gives the same pair."""

    def __init__(self, recipe: Recipe, corpus: Any) -> None:
        self.maker, self.corpus, self.seed = recipe.pairs, corpus, recipe.seed

    def __getitem__(self, number: int) -> Item:
        """Pair ``number``. If it cannot be made, another pair with a fixed number replaces it.

        Raises:
            DataError: its replacements cannot be made either.
        """
        problem = ""
        part = getattr(self.corpus, "at", lambda number: self.corpus)(number)
        for attempt in range(MAX_ATTEMPTS):
            try:
                pair = self.maker.make(part, number + attempt * REPLACEMENT_OFFSET, self.seed)
            except (DataError, OSError, ValueError) as e:
                problem = f"{type(e).__name__}: {e}"
                continue
            source, reference, target = (
                torch.from_numpy(a) for a in (pair.input, pair.reference, pair.target)
            )
            return Item(source, reference, target, problem)
        raise DataError(
            f"training item {number} could not be made, nor {MAX_ATTEMPTS - 1} replacements. "
            f"The last reason: {problem}"
        )


class Numbers(Sampler[int]):
    """Item numbers of batches from ``start`` to the end of the run, for one process, in order.

    A step has ``recipe.accumulate`` batches. The items of a step are the same for any number of
    processes and of accumulated batches that give the same product.
    """

    def __init__(self, recipe: Recipe, start: int, context: DistributedContext) -> None:
        self.recipe, self.start, self.context = recipe, start, context

    def __len__(self) -> int:
        return (total_batches(self.recipe) - self.start) * self.recipe.batch_size

    def __iter__(self) -> Iterator[int]:
        b, w, r = self.recipe.batch_size, self.context.world, self.context.rank
        for number in range(self.start, total_batches(self.recipe)):
            yield from range((number * w + r) * b, (number * w + r + 1) * b)


def total_batches(recipe: Recipe) -> int:
    """How many batches each process of a run uses."""
    return recipe.steps * recipe.accumulate


def batches(
    recipe: Recipe,
    corpus: Any,
    start: int,
    context: DistributedContext,
    workers: int,
    note: Callable[[str], None],
) -> Iterator[Batch]:
    """The batches from number ``start`` to the end of the run.

    Args:
        recipe, corpus: what pairs are made of.
        start: number of the first batch.
        context: rank of this process.
        workers: processes that make pairs; 0 makes them in this one.
        note: called with a sentence for each worker that died.

    Raises:
        DataError: items cannot be made, or workers died ``MAX_WORKER_DEATHS`` times in a row.
    """
    number, deaths = start, 0
    while number < total_batches(recipe):
        try:
            for items in _loader(recipe, corpus, number, context, workers):
                yield Batch(*items)
                number, deaths = number + 1, 0
        except DataError as e:
            raise DataError(original_message(e)) from None
        except RuntimeError as e:
            if "DataLoader worker" not in str(e):
                raise
            deaths += 1
            if deaths > MAX_WORKER_DEATHS:
                raise DataError(
                    f"the processes that make pairs died {deaths} times in a row at step "
                    f"{number // recipe.accumulate}. Often memory ran out, or a file in the corpus "
                    "cache is truncated: use fewer workers (0 shows the original error) or delete "
                    "the cache."
                ) from e
            step = number // recipe.accumulate
            note(f"a process that makes pairs died at step {step}; another one continues")


def _loader(
    recipe: Recipe, corpus: Any, start: int, context: DistributedContext, workers: int
) -> Iterator[Any]:
    loader: DataLoader[Any] = DataLoader(
        PairDataset(recipe, corpus),
        batch_size=recipe.batch_size,
        sampler=Numbers(recipe, start, context),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=context.device.type == "cuda",
    )
    return quiet_loader(loader, workers)


def quiet_loader(parts: DataLoader[Any], workers: int) -> Iterator[Any]:
    """An iterator over a loader that leaves Ctrl-C and dead workers to the caller."""
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    parts.worker_init_fn = _ignore_sigint
    loader = iter(parts)
    if workers and before is not None and threading.current_thread() is threading.main_thread():
        # torch would raise from the signal handler, in the middle of a step; next() raises too.
        signal.signal(signal.SIGCHLD, before)
    return loader


def _ignore_sigint(_: int) -> None:
    """Leave Ctrl-C to the training process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def original_message(error: DataError) -> str:
    """A worker's error arrives wrapped in a traceback; its own message is the last line."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    return text.strip().splitlines()[-1].partition("DataError: ")[2] or text
