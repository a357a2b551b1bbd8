"""One training loop, top to bottom.

A run lives in a folder: ``recipe.json`` and ``provenance.json`` say what it is, ``log.jsonl`` how
it went, ``best.safetensors`` and ``last.safetensors`` where it stands, and ``examples`` how the
best weights sound. Every item is drawn from (seed, its number), so a run that was killed at any
moment goes on from ``last`` as if it had not been; and N processes (torchrun) see the items that
one process with an N times larger batch sees.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from retone.errors import DataError, PluginError
from retone.nets import checkpoint
from retone.nets.iterative import Answers
from retone.progress import TRAINING, Progress, silent
from retone.training.feed import Batch, PairDataset, Place, batches
from retone.training.log import (
    EXAMPLES,
    Report,
    RunLog,
    corpus_problems,
    write_examples,
    write_record,
)
from retone.training.recipes.config import Optimizer, Recipe, describe, differences, fingerprint
from retone.training.recipes.warm_start import grown
from retone.training.validation import Validation

LAST, BEST = "last.safetensors", "best.safetensors"
SKIPS = 100
"""Steps in a row without a finite gradient before a run gives up."""
MODEL = "model."


def learning_rate(o: Optimizer, step: int, steps: int) -> float:
    """The schedule: optional warm-up, then a cosine or divisions by ten at the milestones."""
    if step < o.warmup_steps:
        return o.learning_rate * (step + 1) / o.warmup_steps
    if o.cosine:
        done = (step - o.warmup_steps) / max(1, steps - o.warmup_steps)
        return o.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
    return o.learning_rate * 0.1 ** sum(step >= m * steps for m in o.milestones)


def estimate_loss(recipe: Recipe, network: nn.Module, batch: Batch, step: int = 0) -> Tensor:
    """One batch through network, effect and loss; only the network may run in bfloat16."""
    source, reference, target = batch[:3]
    rate = recipe.pairs.sample_rate

    networks = getattr(getattr(network, "module", network), "stand_in", None)

    def render(unit: Tensor) -> Tensor:
        audio = source[:, None]
        return recipe.gradient.train(recipe.effect, audio, rate, unit.float(), networks)[:, 0]

    half = recipe.precision == "bfloat16"
    with torch.autocast(source.device.type, torch.bfloat16, enabled=half):
        answers = recipe.answers(network, source, reference, render)
    return answers_loss(recipe, answers, target, step)


def answers_loss(recipe: Recipe, answers: Answers, target: Tensor, step: int = 0) -> Tensor:
    """A recipe's loss of a network's answers, given targets [B, T]: the mean over its passes.

    Of ``scored_passes`` the step decides which, so that all processes score the same.
    """
    audio = target[:, None]
    count = len(answers.units)
    scored = list(range(count))
    if 0 < recipe.scored_passes < count:
        draw = torch.Generator().manual_seed(recipe.seed + 1_000_003 * step)
        scored = torch.randperm(count, generator=draw)[: recipe.scored_passes].tolist()
    wanted = recipe.loss.prepare(audio) if len(scored) > 1 else audio
    total = torch.zeros((), device=target.device)
    for number in scored:
        unit, estimate = answers.units[number], answers.renders[number]
        goal = recipe.goal(audio, unit) if recipe.rest_in_target else wanted
        total = total + recipe.loss(estimate[:, None], goal, recipe.pairs.sample_rate)
    total = total / len(scored)
    if answers.truth is not None and recipe.expectation_weight:
        truth = answers.truth(target)
        surprise = torch.stack([e.surprise(truth).mean() for e in answers.expected])
        total = total + recipe.expectation_weight * surprise.mean()
    return total


def train(
    recipe: Recipe,
    corpora: dict[str, Any],
    folder: Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    save_every_s: float = 240.0,
    log_every: int = 50,
    warm_start: Path | None = None,
    stop_after_s: float | None = None,
    stop_at_cpu_s: float | None = None,
    report: Report | None = None,
    progress: Progress = silent,
) -> Path:
    """Run a recipe, or go on with the run in ``folder``. Ctrl-C and SIGTERM save and stop.

    Args:
        recipe: what to train.
        corpora: ``"train"`` and ``"val"`` splits, as ``retone.training.data.corpora`` opens them.
        folder: run folder; a run already there is resumed if it is the same recipe.
        device: ``"cpu"``, ``"cuda"`` or a torch device name.
        workers: processes that make pairs.
        save_every_s: seconds between saved states.
        log_every: steps between log rows.
        warm_start: weights to begin from, when there is no run to resume.
        stop_after_s: save and return after so many seconds.
        stop_at_cpu_s: the same once the run's steps have used so much CPU time of this process,
            pairs included without workers and validation not: an equal budget on a busy machine.
        report: called with each log row.
        progress: told the steps of this call, done and to do.

    Returns:
        Path of the best weights.

    Raises:
        DataError: the folder holds another recipe's run, weights do not fit, pairs cannot be
            made, or gradients stay infinite.
        PluginError: a plug-in fails again and again; the run is saved first.
    """
    place = Place.join(device)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    resumed = (folder / LAST).exists()
    network = recipe.build(pretrained=not resumed).to(place.device)
    learning = [p for p in network.parameters() if p.requires_grad]  # not frozen proxies
    optimizer = torch.optim.Adam(learning, lr=recipe.optimizer.learning_rate)
    state = _resume(recipe, network, optimizer, folder, warm_start)
    first = state["step"]
    log = RunLog(folder, first, report) if place.rank == 0 else None
    validation = None
    if log:
        if first == 0:
            write_record(recipe, corpora, folder)
            for problem in corpus_problems(recipe, corpora):
                log.note(problem)
            if warm_start is None:
                _standardize(recipe, network, corpora["train"], place.world)
        validation = Validation.of(recipe, corpora["val"])
    model: nn.Module = network
    if place.world > 1:
        model = nn.parallel.DistributedDataParallel(network)  # and hands out rank 0's weights

    feed = batches(
        recipe, corpora["train"], first, place, workers, log.note if log else lambda text: None
    )
    started = saved = since = time.monotonic()
    seen = 0
    network.train()
    with _interrupts() as interrupted:
        while state["step"] < recipe.steps:
            begun = time.process_time()
            batch = next(feed)
            problems = [text for text in batch[3] if text]
            moved = tuple(t.to(place.device, non_blocking=True) for t in batch[:3])
            torch.manual_seed(recipe.seed + 1_000_003 * (state["step"] * place.world + place.rank))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe.optimizer, state["step"], recipe.steps)
            optimizer.zero_grad(set_to_none=True)
            try:
                item = (*moved, [])
                loss = estimate_loss(recipe, model, item, state["step"])  # type: ignore[arg-type]
                loss.backward()
            except PluginError:  # again and again: stop, but keep what was learnt
                if log:
                    _save(folder / LAST, recipe, network, optimizer, state)
                raise
            norm = nn.utils.clip_grad_norm_(learning, recipe.optimizer.clip_norm)
            if torch.isfinite(norm):
                optimizer.step()
                state["skipped_in_a_row"] = 0
            else:
                state["skipped"] += 1
                state["skipped_in_a_row"] += 1
            state["step"] += 1
            state["window"] = [state["window"][0] + float(loss.detach()), state["window"][1] + 1]
            state["replaced"] += len(problems)
            seen += recipe.batch_size * place.world

            now = time.monotonic()
            last_step = state["step"] == recipe.steps
            state["cpu_s"] += time.process_time() - begun
            late = stop_after_s is not None and now - started > stop_after_s
            late |= stop_at_cpu_s is not None and state["cpu_s"] > stop_at_cpu_s
            stop = place.any(late or interrupted()) or last_step
            for text in recipe.effect.problems():
                if log:
                    log.note(f"step {state['step']}: {text}")
            if log and problems:
                log.note(f"step {state['step']}: an item was replaced ({problems[0]})")
            if state["step"] % log_every == 0 or last_step:
                total, count = state["window"]
                mean_loss = place.mean(total / count)
                state["window"] = [0.0, 0]
                speed = seen / max(now - since, 1e-9)
                left = (recipe.steps - state["step"]) * recipe.batch_size * place.world
                if log:
                    log.row(
                        {
                            "step": state["step"],
                            "loss": mean_loss,
                            "grad_norm": float(norm),
                            "learning_rate": optimizer.param_groups[0]["lr"],
                            "skipped": state["skipped"],
                            "replaced": state["replaced"],
                            "examples_per_s": speed,
                            "eta_s": left / speed,
                        }
                    )
                since, seen = now, 0
            if log and validation and (state["step"] % recipe.validate_every == 0 or last_step):
                scores = validation.run(network, place.device)
                log.row({"step": state["step"], "validation": scores})
                if scores["loss"] < state["best"]:
                    state["best"] = scores["loss"]
                    _save(folder / BEST, recipe, network, None, {**state, "validation": scores})
                    heard = validation.listen(network, place.device)
                    write_examples(folder / EXAMPLES, recipe.pairs.sample_rate, heard)
                since, seen = time.monotonic(), 0
            if log and (stop or time.monotonic() - saved > save_every_s):
                _save(folder / LAST, recipe, network, optimizer, state)
                saved = time.monotonic()
            progress(TRAINING, state["step"] - first, recipe.steps - first)
            if state["skipped_in_a_row"] >= SKIPS:
                raise DataError(
                    f"{SKIPS} steps in a row had no finite gradient (norm {float(norm):g}). Lower "
                    "optimizer.learning_rate, or go back to an earlier state."
                )
            if stop:
                break
    if log:
        log.close()
    if place.world > 1:
        dist.barrier()
    return folder / BEST


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into an answer; the second Ctrl-C raises as ever."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def handle(number: int, _: Any) -> None:
        seen.append(number)
        if signal.SIGINT in before:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {
        which: signal.signal(which, handle)
        for which in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(which) is not signal.SIG_IGN  # as for a job in the background
    }
    try:
        yield lambda: bool(seen)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _resume(
    recipe: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    warm_start: Path | None,
) -> dict[str, Any]:
    state: dict[str, Any] = {
        "step": 0,
        "best": math.inf,
        "skipped": 0,
        "skipped_in_a_row": 0,
        "replaced": 0,
        "cpu_s": 0.0,
        "window": [0.0, 0],
    }
    last = folder / LAST
    if last.exists():
        tensors, header = checkpoint.read(last)
        if not {"recipe", "state", "optimizer"} <= set(header):
            raise DataError(
                f"{last} holds weights but no training state. Give it to --warm-start, with "
                "another run folder."
            )
        changed = differences(header["recipe"], recipe)
        if changed:
            raise DataError(
                f"{folder} holds a run of another recipe: {'; '.join(changed[:3])} "
                f"({len(changed)} in all). Choose another folder, or start warm from its weights "
                f"with --warm-start {folder / BEST}."
            )
        checkpoint.load_module(network, _model(tensors), last)
        checkpoint.unpack_optimizer(optimizer, tensors, header["optimizer"])
        state.update({k: header["state"][k] for k in state if k in header["state"]})
        if state["best"] is None:
            state["best"] = math.inf
    elif warm_start is not None:
        tensors, header = checkpoint.read(warm_start)
        fitting = grown(_model(tensors), header, network, recipe.effect)
        checkpoint.load_module(network, fitting, warm_start)
    return state


def _model(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(MODEL): t for n, t in tensors.items() if n.startswith(MODEL)}


def _standardize(recipe: Recipe, network: Any, corpus: Any, world: int) -> None:
    """Fix the network's input scaling from the first examples, however many processes there are."""
    if not hasattr(network, "standardize"):  # it hears nothing
        return
    data = PairDataset(recipe, corpus)
    heard = []
    device = next(network.parameters()).device
    for number in range(min(recipe.batch_size * world * 16, 256)):
        source, reference = data[number][:2]
        heard.append(network.statistics(torch.stack([source, reference]).to(device)))
    network.standardize(torch.cat(heard))


def _save(
    path: Path,
    recipe: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: dict[str, Any],
) -> None:
    tensors = {f"{MODEL}{n}": t for n, t in network.state_dict().items()}
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
