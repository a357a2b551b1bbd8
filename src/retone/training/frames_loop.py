"""The training loop of networks that predict frames; no effect is rendered.

The network trains on the CPU or on a GPU; other processes can make the scenes. A killed run
continues: ``last.safetensors`` holds the whole state, ``scenes`` the features that batches are
drawn from, and ``best.safetensors`` the averaged weights with the best validation loss.
"""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retone.errors import DataError
from retone.losses.frames import (
    cell_error_db,
    curve_error_db,
    frame_errors,
    frame_nll,
    masked,
    measure_errors,
)
from retone.nets import checkpoint
from retone.nets.frames import DB, FrameNet
from retone.progress import TRAINING, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.log import RowCallback, RunLog, one_run, run_folder, write_record
from retone.training.loop import learning_rate
from retone.training.model import follow
from retone.training.processes import device_named, interrupts
from retone.training.recipes.frames import FrameRecipe
from retone.training.recipes.record import describe
from retone.training.scene_feed import BATCH_SEED, Feed, SceneDataset, validation_batches
from retone.training.scene_pool import FramePair, ScenePool
from retone.training.state import BEST, LAST

MODEL, AVERAGE = checkpoint.NETWORK, "average."
MEASURED = ("rms_db", "loudness_db", "centroid_100hz")


def train_frames(
    recipe: FrameRecipe,
    corpora: dict[str, Corpus],
    folder: Path,
    *,
    device: str = "cpu",
    workers: int = 0,
    budget_s: float | None = None,
    save_every_s: float = 300.0,
    log_every: int = 100,
    warm_start: Path | None = None,
    stop_after_s: float | None = None,
    report: RowCallback | None = None,
    progress: Progress = silent,
) -> Path:
    """Run a recipe, or continue the run in ``folder``. Ctrl-C and SIGTERM save and stop.

    Args:
        recipe: what to train; everything except the network may change when a run is resumed.
        corpora: ``"train"`` and ``"val"`` splits.
        folder: run folder; a run in it is resumed if it is of the same network.
        device: where the network and the scenes' features are, as torch names it.
        workers: processes that make scenes; 0 makes them in this one. The batches are the same.
        budget_s: length of the run in seconds of training, instead of ``recipe.steps``: the
            learning rate follows the clock, and every step takes all scenes that are ready.
        save_every_s: seconds between saved states.
        log_every: steps between log rows.
        warm_start: initial weights, used when there is no run to resume; tensors that match by name
            and shape are copied.
        stop_after_s: save and return after this many seconds.
        report: called with each log row.
        progress: called with the steps done in this call, and their total.

    Returns:
        Path of the best weights.

    Raises:
        DataError: the folder holds a run of another network, another process trains there, weights
            do not fit, or scenes cannot be made.
        SettingError: the device cannot be used.
    """
    place = device_named(device)
    with one_run(folder):
        with run_folder(folder):  # whatever may refuse the run comes before what it changes
            if warm_start is not None and not (folder / LAST).is_file():
                copy_matching(recipe.network.build(), warm_start)
            run = _Run(recipe, folder, place)
            held_out = validation_batches(recipe, corpora["val"], folder / "validation", place)
            shape = (recipe.network.front_end, recipe.scenes.length)
            pool = ScenePool(folder / "scenes", recipe.kept_scenes, *shape, place)
            if not pool.count:
                pool.add(SceneDataset(recipe, corpora["train"])[0])
        log = RunLog(folder, run.step, report)
        feed = Feed(recipe, corpora["train"], pool, workers, eager=budget_s is not None)
        try:
            if run.step == 0:
                write_record(recipe, corpora, folder)
                feed.batch(0)
                run.network.standardize(pool.summaries().to(place))
                if warm_start is not None:
                    copied = copy_matching(run.network, warm_start)
                    log.note(f"initialised from {warm_start}: {copied}")
                run.average.load_state_dict(run.network.state_dict())
                log.row({"step": 0, "validation": validate(run.average, held_out)})
            _train(
                run, feed, held_out, log, budget_s=budget_s, save_every_s=save_every_s,
                log_every=log_every, stop_after_s=stop_after_s, progress=progress,
            )  # fmt: skip
        finally:
            feed.close()
            log.close()
    return folder / BEST


class _Run:
    """Networks, optimizer and position of a run; a saved one is continued."""

    def __init__(self, recipe: FrameRecipe, folder: Path, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.device = recipe, folder, device
        self.network = recipe.network.build().to(device)
        self.average = copy.deepcopy(self.network)
        cuda = device.type == "cuda"
        if cuda:
            torch.set_float32_matmul_precision("high")
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=recipe.optimizer.learning_rate, fused=cuda
        )
        self.step, self.trained_s, self.best = 0, 0.0, math.inf
        if (folder / LAST).is_file():
            self._resume(folder / LAST)

    def train_on(self, batch: FramePair, steps: int) -> tuple[Tensor, Tensor]:
        """A step of a run of ``steps``; returns its loss and the norm of its gradient.

        A gradient that is not finite counts as zero. Nothing is read from the device.
        """
        r = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(r.optimizer, self.step, steps)
        self.optimizer.zero_grad(set_to_none=True)
        half = r.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            number = scored_pass(r, self.step)
            wanted = self.network.predict_at(number, batch.source, batch.reference)
        loss = r.loss(self.network, wanted, batch.target)
        loss.backward()
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, r.optimizer.clip_norm)
        sound = torch.isfinite(norm)
        for p in parameters:
            assert p.grad is not None
            p.grad = torch.where(sound, p.grad, 0.0)
        self.optimizer.step()
        follow(self.average, self.network, min(r.average, (1 + self.step) / (10 + self.step)))
        self.step += 1
        return torch.where(sound, loss.detach(), 0.0), norm

    def save_best(self, scores: dict[str, float]) -> None:
        """Save the averaged weights if no others had a lower validation loss."""
        if scores["loss"] < self.best:
            self.best = scores["loss"]
            tensors = {f"{MODEL}{n}": t for n, t in self.average.state_dict().items()}
            checkpoint.write(self.folder / BEST, tensors, self._header(validation=scores))

    def save(self) -> None:
        """Save everything that continuing needs, in one file."""
        packed, optimizer = checkpoint.pack_optimizer(self.optimizer)
        for prefix, module in ((MODEL, self.network), (AVERAGE, self.average)):
            packed |= {f"{prefix}{n}": t for n, t in module.state_dict().items()}
        checkpoint.write(self.folder / LAST, packed, {**self._header(), "optimizer": optimizer})

    def _header(self, **more: Any) -> dict[str, Any]:
        best = None if self.best == math.inf else self.best
        state = {"step": self.step, "trained_s": round(self.trained_s, 1), "best": best, **more}
        return {"recipe": describe(self.recipe), "state": state}

    def _resume(self, last: Path) -> None:
        tensors, header = checkpoint.read(last)
        if header.get("recipe", {}).get("network") != describe(self.recipe.network):
            raise DataError(f"{self.folder} holds a run of another network. Choose another folder.")
        for prefix, module in ((MODEL, self.network), (AVERAGE, self.average)):
            checkpoint.load_module(module, checkpoint.tensors_under(tensors, prefix), last)
        checkpoint.unpack_optimizer(self.optimizer, tensors, header["optimizer"])
        state = header["state"]
        self.step, self.trained_s = state["step"], state.get("trained_s", 0.0)
        self.best = math.inf if state["best"] is None else state["best"]


def _train(
    run: _Run,
    feed: Feed,
    held_out: list[FramePair],
    log: RunLog,
    *,
    budget_s: float | None,
    save_every_s: float,
    log_every: int,
    stop_after_s: float | None,
    progress: Progress,
) -> None:
    """Steps until the run is complete or interrupted, with log rows, validations and saves."""
    r, first, before_s = run.recipe, run.step, run.trained_s
    started = saved = since = time.monotonic()
    total, row_at = torch.zeros((), device=run.device), run.step
    with interrupts() as interrupted:
        while True:
            steps = r.steps
            if budget_s is not None and run.trained_s > 0:
                steps = max(run.step + 1, round(run.step * budget_s / run.trained_s))
            if run.step >= r.steps and budget_s is None:
                break
            loss, norm = run.train_on(feed.batch(run.step), steps)
            total = total + loss
            now = time.monotonic()
            run.trained_s = before_s + now - started
            complete = run.step >= r.steps if budget_s is None else run.trained_s >= budget_s
            last = complete or interrupted()
            last |= stop_after_s is not None and now - started > stop_after_s
            if run.step % log_every == 0:
                mean, size = float(total) / (run.step - row_at), float(norm)
                speed = (run.step - row_at) * r.batch_size / (time.monotonic() - since)
                left_s = (steps - run.step) * r.batch_size / speed
                log.row(
                    {
                        "step": run.step,
                        "loss": mean,
                        "grad_norm": size,
                        "learning_rate": run.optimizer.param_groups[0]["lr"],
                        "scenes": feed.pool.count,
                        "examples_per_s": speed,
                        "eta_s": left_s if budget_s is None else budget_s - run.trained_s,
                    }
                )
                total, row_at, since = torch.zeros_like(total), run.step, time.monotonic()
            if run.step % r.validate_every == 0 or complete:
                scores = validate(run.average, held_out)
                log.row({"step": run.step, "validation": scores})
                run.save_best(scores)
                total, row_at, since = torch.zeros_like(total), run.step, time.monotonic()
            if last or time.monotonic() - saved > save_every_s:
                run.save()
                saved = time.monotonic()
            progress(TRAINING, run.step - first, steps - first)
            if last:
                break


def scored_pass(recipe: FrameRecipe, step: int) -> int:
    """Number of the pass that a step scores; all are equally likely."""
    rng = np.random.default_rng([recipe.seed, BATCH_SEED - 1 - step])
    return int(rng.integers(recipe.network.passes))


@torch.no_grad()
def validate(network: FrameNet, batches: list[FramePair]) -> dict[str, float]:
    """Mean negative log-likelihood, and errors in dB of frames, of band means (tone) and of level.

    Errors of frames and tone exclude that of the level. They are given for a reference of the
    ``same`` voice and of another (``cross``). ``untouched`` is the error of the input itself,
    ``first`` that after one pass.
    """
    network.eval()
    rows: dict[str, list[float]] = {}
    for batch in batches:
        passes = network.predict(batch.source, batch.reference)
        wanted = passes[-1]
        each = {
            "": wanted.frames,
            "first_": passes[0].frames,
            "untouched_": batch.source.frames,
        }
        summary = network.standardized(batch.target.summary)
        expected = masked(wanted.expected, batch.target.known)
        rows.setdefault("statistics_nll", []).extend(expected.nll(summary).tolist())
        for name, one in each.items():
            level, tone = frame_errors(one, batch.target)
            weight = batch.target.weight
            errors = {
                "frames_db": cell_error_db(tone * weight, weight),
                "tone_db": curve_error_db(tone * weight, weight),
                "level_db": DB * level.abs(),
            }
            errors = {what: values.cpu() for what, values in errors.items()}
            for i, cross in enumerate(batch.cross.tolist()):
                case = "cross" if cross else "same"
                for what, values in errors.items():
                    rows.setdefault(f"{name}{case}_{what}", []).append(float(values[i]))
        off = measure_errors(network.front_end, wanted.frames, batch.target).abs()
        for i, cross in enumerate(batch.cross.tolist()):
            case = "cross" if cross else "same"
            for what, value in zip(MEASURED, off[i].tolist(), strict=True):
                rows.setdefault(f"{case}_{what}", []).append(value)
        tone = frame_errors(wanted.frames, batch.target).tone
        loss = frame_nll(tone, wanted.log_scale, batch.target.weight)
        rows.setdefault("loss", []).extend(loss.tolist())
    network.train()
    return {name: sum(values) / len(values) for name, values in sorted(rows.items())}


def copy_matching(network: FrameNet, weights: Path) -> str:
    """Copy tensors that match by name and shape from a weights file; returns a summary.

    Raises:
        DataError: the file is missing or damaged, or no tensor matches.
    """
    tensors, _ = checkpoint.read(weights)
    own, taken = network.state_dict(), 0
    for name, tensor in checkpoint.network_tensors(tensors).items():
        if name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)
            taken += 1
    if not taken:
        raise DataError(
            f"{weights.name}: no tensor fits this network. Use weights of a frames recipe."
        )
    return f"{taken} of {len(own)} tensors"
