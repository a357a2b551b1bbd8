"""The training loop: step, log, validate, save.

A run has a folder: ``recipe.json`` and ``provenance.json`` describe it, ``log.jsonl`` is its log,
``best.safetensors`` and ``last.safetensors`` are its states, and ``examples`` holds audio rendered
with the best weights. Every item is drawn from (seed, item number), so a run that was killed at any
moment continues from ``last`` exactly as if it had not been, and N processes (torchrun) see the
items that one process with an N times larger batch sees. Only the first process reads and writes
the folder.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retone.errors import DataError, PluginError
from retone.nets.iterative import Predictions
from retone.progress import TRAINING, Progress, silent
from retone.training.feed import Batch, PairDataset, batches
from retone.training.log import (
    EXAMPLES,
    RowCallback,
    RunLog,
    corpus_problems,
    one_run,
    run_folder,
    write_examples,
    write_record,
)
from retone.training.model import Model, effect_networks_of, follow
from retone.training.processes import DistributedContext, interrupts
from retone.training.recipes.recipe import Optimizer, Recipe
from retone.training.state import BEST, LAST, RunState, load_state, save_state
from retone.training.validation import Validation

MAX_SKIPPED_STEPS = 100
"""Steps in a row without a finite gradient before a run gives up."""
STEP_SEED = 1_000_003


def learning_rate(o: Optimizer, step: int, steps: int) -> float:
    """The schedule: optional warm-up, then cosine decay or division by ten at the milestones."""
    if step < o.warmup_steps:
        return o.learning_rate * (step + 1) / o.warmup_steps
    if o.cosine:
        done = (step - o.warmup_steps) / max(1, steps - o.warmup_steps)
        share = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return o.learning_rate * (o.cosine_end + (1 - o.cosine_end) * share)
    return o.learning_rate * 0.1 ** sum(step >= m * steps for m in o.milestones)


def estimate_loss(recipe: Recipe, model: nn.Module, batch: Batch, step: int = 0) -> Tensor:
    """Loss of one batch through network and effect; only the network may run in bfloat16."""
    rate, networks = recipe.pairs.sample_rate, effect_networks_of(model)

    def render(unit: Tensor) -> Tensor:
        audio = batch.source[:, None]
        return recipe.gradient.train(recipe.effect, audio, rate, unit.float(), networks)[:, 0]

    half = recipe.precision == "bfloat16"
    with torch.autocast(batch.source.device.type, torch.bfloat16, enabled=half):
        predictions = recipe.predict(model, batch.source, batch.reference, render)
    return predictions_loss(recipe, predictions, batch.target, step)


def predictions_loss(
    recipe: Recipe, predictions: Predictions, target: Tensor, step: int = 0
) -> Tensor:
    """A recipe's loss of predictions, given targets [B, T]: the mean over the scored passes.

    With ``scored_passes`` the step decides which passes, so that all processes score the same.
    """
    audio = target[:, None]
    count = len(predictions.units)
    scored = list(range(count))
    if 0 < recipe.scored_passes < count:
        draw = torch.Generator().manual_seed(recipe.seed + STEP_SEED * step)
        scored = torch.randperm(count, generator=draw)[: recipe.scored_passes].tolist()
    prepared = recipe.loss.prepare(audio) if len(scored) > 1 else audio
    total = torch.zeros((), device=target.device)
    for number in scored:
        unit, estimate = predictions.units[number], predictions.renders[number]
        goal = recipe.loss_target(audio, unit) if recipe.allpass_target else prepared
        total = total + recipe.loss(estimate[:, None], goal, recipe.pairs.sample_rate)
    total = total / len(scored)
    if predictions.target_statistics is not None and recipe.expectation_weight:
        statistics = predictions.target_statistics(target)
        nll = torch.stack([e.nll(statistics).mean() for e in predictions.expected])
        total = total + recipe.expectation_weight * nll.mean()
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
    report: RowCallback | None = None,
    progress: Progress = silent,
) -> Path:
    """Run a recipe, or continue the run in ``folder``. Ctrl-C and SIGTERM save and stop.

    Args:
        recipe: what to train.
        corpora: ``"train"`` and ``"val"`` splits, as ``retone.training.data.corpora`` opens them.
        folder: run folder; a run in it is resumed if it is of the same recipe. With several
            machines that of the first process counts.
        device: ``"cpu"``, ``"cuda"`` or a torch device name.
        workers: processes that make pairs.
        save_every_s: seconds between saved states.
        log_every: steps between log rows.
        warm_start: initial weights, used when there is no run to resume.
        stop_after_s: save and return after this many seconds.
        stop_at_cpu_s: save and return after the step whose end is nearest to this much CPU time of
            this process, with pairs if there are no workers and without validation: an equal budget
            on a busy machine, within half a step.
        report: called with each log row.
        progress: called with the steps done in this call, and their total.

    Returns:
        Path of the best weights.

    Raises:
        DataError: the folder holds a run of another recipe, another process trains there, weights
            do not fit, pairs cannot be made, or gradients stay infinite.
        PluginError: a plug-in fails repeatedly; the run is saved first.
        SettingError: the device cannot be used.
    """
    context = DistributedContext.join(device)
    first = context.rank == 0  # the only process that needs the run folder
    with one_run(folder) if first else nullcontext():
        with run_folder(folder) if first else nullcontext():
            run = _Run(recipe, corpora, folder, context, warm_start, report)
        _loop(
            run, corpora["train"], workers, save_every_s=save_every_s, log_every=log_every,
            stop_after_s=stop_after_s, stop_at_cpu_s=stop_at_cpu_s, progress=progress,
        )  # fmt: skip
        run.close()
    return folder / BEST


def _loop(
    run: _Run,
    corpus: Any,
    workers: int,
    *,
    save_every_s: float,
    log_every: int,
    stop_after_s: float | None,
    stop_at_cpu_s: float | None,
    progress: Progress,
) -> None:
    """Train until the end of the run, or until it is to stop."""
    recipe, context = run.recipe, run.context
    first, share = run.state.step, recipe.accumulate
    feed = batches(recipe, corpus, first * share, context, workers, run.note)
    started = saved = time.monotonic()
    with interrupts() as interrupted:
        while not run.finished:
            began = time.process_time()
            norm = run.step([next(feed) for _ in range(share)])
            step_s = time.process_time() - began
            run.state.cpu_s += step_s
            late = stop_after_s is not None and time.monotonic() - started > stop_after_s
            late |= stop_at_cpu_s is not None and run.state.cpu_s + step_s / 2 > stop_at_cpu_s
            stop = context.any(late or interrupted()) or run.finished
            run.note_problems()
            if run.due(log_every):
                run.log_row(norm)
            if run.due(recipe.validate_every):
                run.validate()
            if stop or time.monotonic() - saved > save_every_s:
                run.save(run.folder / LAST)
                saved = time.monotonic()
            progress(TRAINING, run.state.step - first, recipe.steps - first)
            if run.state.skipped_in_a_row >= MAX_SKIPPED_STEPS:
                raise DataError(
                    f"{MAX_SKIPPED_STEPS} steps in a row had no finite gradient (norm {norm:g}). "
                    "Lower optimizer.learning_rate, or continue from an earlier state."
                )
            if stop:
                break


class _Run:
    """A run in progress; its first process (rank 0) also logs, validates and saves."""

    def __init__(
        self,
        recipe: Recipe,
        corpora: dict[str, Any],
        folder: Path,
        context: DistributedContext,
        warm_start: Path | None,
        report: RowCallback | None,
    ) -> None:
        self.recipe, self.folder, self.context = recipe, folder, context
        first = context.rank == 0  # the only process that needs the run folder
        torch.manual_seed(recipe.seed)
        pretrained = first and not (folder / LAST).exists()
        self.model = recipe.build(pretrained=pretrained).to(context.device)
        self.average: Model | None = None
        if recipe.average:
            self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]  # no proxies
        self.optimizer = torch.optim.Adam(self.parameters, lr=recipe.optimizer.learning_rate)
        self.state = RunState()
        self.recorder: RunLog | None = None
        if first:
            self.state = load_state(
                recipe, self.model, self.optimizer, folder, warm_start, self.average
            )
            if self.state.step == 0 and warm_start is None:
                count = recipe.accumulate * context.world
                _standardize(recipe, self.model.network, corpora["train"], count)
                if self.average is not None:
                    self.average.load_state_dict(self.model.state_dict())
        self._share_state()
        self.validation = Validation.of(recipe, corpora["val"], context)
        if first:  # nothing refuses the run from here on
            self.recorder = RunLog(folder, self.state.step, report)
            if self.state.step == 0:
                write_record(recipe, corpora, folder)
                for problem in corpus_problems(recipe, corpora):
                    self.note(problem)
        self.parallel: nn.Module = self.model
        if context.world > 1:  # also copies the weights of rank 0 to the others
            self.parallel = nn.parallel.DistributedDataParallel(self.model)
        self.model.train()
        self._problems: list[str] = []
        self._restart_clock()

    def _share_state(self) -> None:
        """Give the first process's position, optimizer and averaged weights to the others."""
        context = self.context
        if context.world == 1:
            return
        average = self.average.state_dict() if self.average is not None else None
        state, optimizer, average = context.from_first(
            (self.state.__dict__, self.optimizer.state_dict(), average)
        )
        if context.rank:
            self.state = RunState(**state)
            self.optimizer.load_state_dict(optimizer)
            if self.average is not None:
                self.average.load_state_dict(average)

    @property
    def finished(self) -> bool:
        return self.state.step >= self.recipe.steps

    def due(self, every: int) -> bool:
        """Whether something due every ``every`` steps, and at the end, is due now."""
        return self.state.step % every == 0 or self.finished

    def step(self, parts: Sequence[Batch]) -> float:
        """One optimiser step, left out if the gradient is not finite; returns its norm.

        Args:
            parts: ``recipe.accumulate`` batches, whose gradients are averaged.
        """
        state, recipe, context = self.state, self.recipe, self.context
        self._problems = [text for batch in parts for text in batch.problems if text]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe.optimizer, state.step, recipe.steps)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for number, batch in enumerate(parts):
            place = (state.step * len(parts) + number) * context.world + context.rank
            torch.manual_seed(recipe.seed + STEP_SEED * place)
            try:
                with self._exchange(last=number == len(parts) - 1):
                    loss = estimate_loss(
                        recipe, self.parallel, batch.to(context.device), state.step
                    )
                    (loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            except PluginError:
                self.save(self.folder / LAST)
                raise
            total += float(loss.detach()) / len(parts)
        limit = recipe.optimizer.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        if torch.isfinite(norm):
            self.optimizer.step()
            if self.average is not None:
                keep = min(recipe.average, (1 + state.step) / (10 + state.step))
                follow(self.average, self.model, keep)
            state.skipped_in_a_row = 0
        else:
            state.skipped += 1
            state.skipped_in_a_row += 1
        state.step += 1
        state.window = [state.window[0] + total, state.window[1] + 1]
        state.replaced += len(self._problems)
        self._examples += self._step_examples
        return float(norm)

    @property
    def _step_examples(self) -> int:
        return self.recipe.batch_size * self.recipe.accumulate * self.context.world

    def _exchange(self, *, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients between processes after the last batch of a step only."""
        if last or self.context.world == 1:
            return nullcontext()
        return self.parallel.no_sync()  # type: ignore[operator, no-any-return, union-attr]

    def note(self, text: str) -> None:
        """Write a sentence to the log."""
        if self.recorder:
            self.recorder.note(text)

    def note_problems(self) -> None:
        """Log problems of the last step that did not end the run."""
        for text in self.recipe.effect.problems():
            self.note(f"step {self.state.step}: {text}")
        if self._problems:
            self.note(f"step {self.state.step}: an item was replaced ({self._problems[0]})")

    def log_row(self, norm: float) -> None:
        """Log loss, gradient norm and speed since the last row."""
        state, recipe = self.state, self.recipe
        total, count = state.window
        loss = self.context.mean(total / count)
        state.window = [0.0, 0]
        speed = self._examples / max(time.monotonic() - self._since, 1e-9)
        left = (recipe.steps - state.step) * self._step_examples
        if self.recorder:
            row = {
                "step": state.step,
                "loss": loss,
                "grad_norm": norm,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "skipped": state.skipped,
                "replaced": state.replaced,
                "examples_per_s": speed,
                "eta_s": left / speed,
            }
            self.recorder.row(row)
        self._restart_clock()

    def validate(self) -> None:
        """Score the held-out pairs; the best weights so far are saved with examples."""
        model = self.average or self.model
        for buffer in model.buffers() if self.context.world > 1 else ():
            torch.distributed.broadcast(buffer, 0)  # each process's batch norm has seen its own
        scores = self.validation.run(model, self.context.device)
        if not self.recorder:
            return
        self.recorder.row({"step": self.state.step, "validation": scores})
        if scores[self.recipe.best_by] < self.state.best:
            self.state.best, self.state.validation = scores[self.recipe.best_by], scores
            save_state(self.folder / BEST, self.recipe, model, None, self.state)
            self.state.validation = None
            examples = self.validation.examples(model, self.context.device)
            write_examples(self.folder / EXAMPLES, self.recipe.pairs.sample_rate, examples)
        self._restart_clock()

    def save(self, path: Path) -> None:
        """Save weights, optimiser and state."""
        if self.recorder:
            save_state(path, self.recipe, self.model, self.optimizer, self.state, self.average)

    def close(self) -> None:
        """End the log, wait for the other processes, and part from them."""
        if self.recorder:
            self.recorder.close()
        self.context.wait()
        self.context.leave()

    def _restart_clock(self) -> None:
        self._since, self._examples = time.monotonic(), 0


def _standardize(recipe: Recipe, network: Any, corpus: Any, world: int) -> None:
    """Fix the network's input scaling from the first examples, the same for any ``world``."""
    if not hasattr(network, "standardize"):  # it analyses no audio
        return
    data = PairDataset(recipe, corpus)
    device = next(network.parameters()).device
    statistics = []
    for number in range(min(recipe.batch_size * world * 16, 256)):
        item = data[number]
        clips = torch.stack([item.source, item.reference]).to(device)
        statistics.append(network.statistics(clips))
    network.standardize(torch.cat(statistics))
