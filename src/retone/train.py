"""One training loop, top to bottom.

A run lives in a folder: ``recipe.json`` and ``provenance.json`` say what it is, ``log.jsonl`` how
it went, ``best.safetensors`` and ``last.safetensors`` where it stands. Every item is drawn from
(seed, its number), so a run that was killed at any moment goes on from ``last`` as if it had not
been; and N processes (torchrun) see the items that one process with an N times larger batch sees.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from retone import checkpoint
from retone.errors import DataError
from retone.evaluate.validation import Validation
from retone.recipes.config import Optimizer, Recipe, describe, fingerprint

LAST, BEST = "last.safetensors", "best.safetensors"
Batch = tuple[Tensor, Tensor, Tensor]


class PairDataset(Dataset):  # type: ignore[type-arg]
    """Pairs by number, made on the fly; the same number always gives the same pair."""

    def __init__(self, recipe: Recipe, corpus: Any, count: int, *, train: bool) -> None:
        self.maker, self.corpus, self.count = recipe.pairs, corpus, count
        self.seed, self.train = recipe.seed + (0 if train else 1_000_003), train

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Batch:
        pair = self.maker.make(self.corpus, number, self.seed)
        return tuple(torch.from_numpy(a) for a in (pair.input, pair.reference, pair.target))  # type: ignore[return-value]


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


def learning_rate(o: Optimizer, step: int, steps: int) -> float:
    """The schedule: optional warm-up, then a cosine or divisions by ten at the milestones."""
    if step < o.warmup_steps:
        return o.learning_rate * (step + 1) / o.warmup_steps
    if o.cosine:
        done = (step - o.warmup_steps) / max(1, steps - o.warmup_steps)
        return o.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
    return o.learning_rate * 0.1 ** sum(step >= m * steps for m in o.milestones)


def _numbers(start: int, stop: int, recipe: Recipe, place: Place) -> list[int]:
    """Item numbers of steps [start, stop) that this process draws, in order."""
    b, w, r = recipe.batch_size, place.world, place.rank
    return [(s * w + r) * b + j for s in range(start, stop) for j in range(b)]


def _batches(recipe: Recipe, corpus: Any, start: int, place: Place, workers: int) -> Iterator[Batch]:
    data = PairDataset(recipe, corpus, recipe.steps * recipe.batch_size * place.world, train=True)
    return iter(
        DataLoader(
            data,
            batch_size=recipe.batch_size,
            sampler=_numbers(start, recipe.steps, recipe, place),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=place.device.type == "cuda",
        )
    )


def estimate_loss(recipe: Recipe, network: nn.Module, batch: Batch) -> Tensor:
    """One batch through network, effect and loss."""
    source, reference, target = batch
    unit = network(source, reference)
    rate = recipe.pairs.sample_rate
    estimate = recipe.gradient.train(recipe.effect, source[:, None], rate, unit)
    return recipe.loss(estimate, target[:, None], rate)


def train(
    recipe: Recipe,
    corpora: dict[str, Any],
    folder: Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    save_every_s: float = 240.0,
    warm_start: Path | None = None,
    stop_after_s: float | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Run a recipe, or go on with the run in ``folder``.

    Args:
        recipe: what to train.
        corpora: ``"train"`` and ``"val"`` splits, as ``retone.data.corpora`` opens them.
        folder: run folder; a run already there is resumed if it is the same recipe.
        device: ``"cpu"``, ``"cuda"`` or a torch device name.
        workers: processes that make pairs.
        save_every_s: seconds between saved states.
        warm_start: weights to begin from, when there is no run to resume.
        stop_after_s: save and return after so many seconds.
        report: called with each log row.

    Returns:
        Path of the best weights.

    Raises:
        DataError: the folder holds another recipe's run, or weights do not fit.
    """
    place = Place.join(device)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network = recipe.network.build().to(place.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.optimizer.learning_rate)
    state = _resume(recipe, network, optimizer, folder, warm_start)
    if state["step"] == 0 and hasattr(network, "standardize") and warm_start is None:
        _standardize(recipe, network, corpora["train"])
    model: nn.Module = network
    if place.world > 1:
        model = nn.parallel.DistributedDataParallel(network)
    validation = Validation.of(recipe, corpora["val"]) if place.rank == 0 else None
    if place.rank == 0 and state["step"] == 0:
        _write_record(recipe, corpora, folder)

    batches = _batches(recipe, corpora["train"], state["step"], place, workers)
    started = saved = time.monotonic()
    since, seen, running = started, 0, []
    while state["step"] < recipe.steps:
        batch = tuple(t.to(place.device, non_blocking=True) for t in next(batches))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe.optimizer, state["step"], recipe.steps)
        loss = estimate_loss(recipe, model, batch)  # type: ignore[arg-type]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optimizer.clip_norm)
        if torch.isfinite(norm):
            optimizer.step()
        else:
            state["skipped"] += 1
        state["step"] += 1
        running.append(float(loss.detach()))
        seen += recipe.batch_size * place.world

        now = time.monotonic()
        last_step = state["step"] == recipe.steps
        stop = stop_after_s is not None and now - started > stop_after_s
        if place.rank == 0 and (state["step"] % 50 == 0 or last_step or stop):
            rate = seen / max(now - since, 1e-9)
            row = {
                "step": state["step"],
                "loss": sum(running) / len(running),
                "grad_norm": float(norm),
                "learning_rate": optimizer.param_groups[0]["lr"],
                "examples_per_s": rate,
                "eta_s": (recipe.steps - state["step"]) * recipe.batch_size * place.world / rate,
            }
            _log(folder, row, report)
            since, seen, running = now, 0, []
        if validation and (state["step"] % recipe.validate_every == 0 or last_step):
            scores = validation.run(network, place.device)
            _log(folder, {"step": state["step"], "validation": scores}, report)
            if scores["loss"] < state["best"]:
                state["best"] = scores["loss"]
                _save(folder / BEST, recipe, network, None, {**state, "validation": scores})
            since = time.monotonic()
            seen = 0
        if place.rank == 0 and (last_step or stop or time.monotonic() - saved > save_every_s):
            _save(folder / LAST, recipe, network, optimizer, state)
            saved = time.monotonic()
        if stop:
            break
    if place.world > 1:
        dist.barrier()
    return folder / BEST


def _resume(
    recipe: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    warm_start: Path | None,
) -> dict[str, Any]:
    state: dict[str, Any] = {"step": 0, "best": math.inf, "skipped": 0}
    last = folder / LAST
    if last.exists():
        tensors, header = checkpoint.read(last)
        if header["fingerprint"] != fingerprint(recipe):
            raise DataError(
                f"{folder} holds a run of another recipe ({header['recipe']['name']}, "
                f"{header['fingerprint']}). Choose another folder, or start warm from its weights "
                f"with --warm-start {folder / BEST}."
            )
        weights = {n[len("model."):]: t for n, t in tensors.items() if n.startswith("model.")}
        checkpoint.load_module(network, weights, last)
        checkpoint.unpack_optimizer(optimizer, tensors, header["optimizer"])
        state.update({k: header["state"][k] for k in state})
        if state["best"] is None:
            state["best"] = math.inf
    elif warm_start is not None:
        tensors, _ = checkpoint.read(warm_start)
        weights = {n[len("model."):]: t for n, t in tensors.items() if n.startswith("model.")}
        checkpoint.load_module(network, weights, warm_start)
    return state


def _standardize(recipe: Recipe, network: Any, corpus: Any, batches: int = 16) -> None:
    """Fix the network's input scaling from the first examples (every process sees the same)."""
    data = PairDataset(recipe, corpus, recipe.batch_size * batches, train=True)
    heard = []
    device = next(network.parameters()).device
    for number in range(0, min(len(data), 256)):
        source, reference, _ = data[number]
        both = torch.stack([source, reference]).to(device)
        heard.append(network.listen(both).summary)
    network.standardize(torch.cat(heard))


def _save(
    path: Path,
    recipe: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: dict[str, Any],
) -> None:
    tensors = {f"model.{n}": t for n, t in network.state_dict().items()}
    finite = {k: (None if v == math.inf else v) for k, v in state.items()}
    header: dict[str, Any] = {
        "recipe": describe(recipe),
        "fingerprint": fingerprint(recipe),
        "state": finite,
    }
    if optimizer is not None:
        packed, header["optimizer"] = checkpoint.pack_optimizer(optimizer)
        tensors.update(packed)
    checkpoint.write(path, tensors, header)


def _write_record(recipe: Recipe, corpora: dict[str, Any], folder: Path) -> None:
    from retone.provenance import provenance

    record = {"recipe": describe(recipe), "fingerprint": fingerprint(recipe)}
    (folder / "recipe.json").write_text(json.dumps(record, indent=1))
    facts = {**provenance(), "corpora": {k: str(v) for k, v in corpora.items()}}
    (folder / "provenance.json").write_text(json.dumps(facts, indent=1))


def _log(folder: Path, row: dict[str, Any], report: Callable[..., None] | None) -> None:
    with (folder / "log.jsonl").open("a") as handle:
        handle.write(json.dumps({"time": round(time.time(), 1), **row}) + "\n")
    if report is not None:
        report(row)
