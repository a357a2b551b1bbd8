"""The training loop of networks that predict frames: one process, and no effect is rendered.

Like ``retone.training.loop``, it continues a run that was killed: ``last.safetensors`` holds the
whole state, ``scenes`` the features that batches are drawn from, and ``best.safetensors`` the
averaged weights with the best validation loss.
"""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

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
from retone.training.log import RowCallback, RunLog, write_record
from retone.training.loop import interrupts, learning_rate
from retone.training.recipes.frames import FrameRecipe
from retone.training.recipes.record import describe
from retone.training.scene_pool import BATCH_SEED, Feed, FramePair, ScenePool, validation_batches
from retone.training.state import BEST, LAST

MODEL, AVERAGE = checkpoint.NETWORK, "average."
MEASURED = ("rms_db", "loudness_db", "centroid_100hz")


def train_frames(
    recipe: FrameRecipe,
    corpora: dict[str, Corpus],
    folder: Path,
    *,
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
        DataError: the folder holds a run of another network, or scenes cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network = recipe.network.build()
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.optimizer.learning_rate)
    state = _resume(recipe, network, average, optimizer, folder)
    log = RunLog(folder, state["step"], report)
    pool = ScenePool(
        folder / "scenes", recipe.kept_scenes, recipe.network.front_end, recipe.scenes.length
    )
    feed = Feed(recipe, corpora["train"], pool)
    if state["step"] == 0:
        write_record(recipe, corpora, folder)
        feed.batch(0)
        network.standardize(pool.summaries())
        if warm_start is not None:
            log.note(f"initialised from {warm_start}: {copy_matching(network, warm_start)}")
        average.load_state_dict(network.state_dict())
    held_out = validation_batches(recipe, corpora["val"], folder / "validation")
    if state["step"] == 0:
        log.row({"step": 0, "validation": validate(average, held_out)})
    first = state["step"]
    started = saved = since = time.monotonic()
    total = count = 0.0
    with interrupts() as interrupted:
        while state["step"] < recipe.steps:
            step = state["step"]
            batch = feed.batch(step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe.optimizer, step, recipe.steps)
            optimizer.zero_grad(set_to_none=True)
            number = scored_pass(recipe, step)
            wanted = network.predict_at(number, batch.source, batch.reference)
            loss = recipe.loss(network, wanted, batch.target)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.optimizer.clip_norm)
            if torch.isfinite(norm):
                optimizer.step()
                follow(average, network, min(recipe.average, (1 + step) / (10 + step)))
                total, count = total + float(loss.detach()), count + 1
            state["step"] = step = step + 1
            now = time.monotonic()
            last = step == recipe.steps or interrupted()
            last |= stop_after_s is not None and now - started > stop_after_s
            if step % log_every == 0:
                speed = log_every * recipe.batch_size / max(now - since, 1e-9)
                left = (recipe.steps - step) * recipe.batch_size
                row = {
                    "step": step,
                    "loss": total / max(count, 1.0),
                    "grad_norm": float(norm),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "scenes": pool.count,
                    "examples_per_s": speed,
                    "eta_s": left / speed,
                }
                log.row(row)
                since, total, count = now, 0.0, 0.0
            if step % recipe.validate_every == 0 or step == recipe.steps:
                scores = validate(average, held_out)
                log.row({"step": step, "validation": scores})
                if scores["loss"] < state["best"]:
                    state["best"] = scores["loss"]
                    _save(folder / BEST, recipe, average, {**state, "validation": scores})
                since = time.monotonic()
            if last or time.monotonic() - saved > save_every_s:
                _save(folder / LAST, recipe, network, state, average, optimizer)
                saved = time.monotonic()
            progress(TRAINING, step - first, recipe.steps - first)
            if last:
                break
    log.close()
    return folder / BEST


def scored_pass(recipe: FrameRecipe, step: int) -> int:
    """Number of the pass that a step scores; all are equally likely."""
    rng = np.random.default_rng([recipe.seed, BATCH_SEED - 1 - step])
    return int(rng.integers(recipe.network.passes))


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Update averaged weights: they keep a share ``keep`` and take the rest from a network."""
    own, other = average.state_dict(), network.state_dict()
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(other[name], 1 - keep)


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
    """Copy tensors that match by name and shape from a weights file; returns a summary."""
    tensors, _ = checkpoint.read(weights)
    own, taken = network.state_dict(), 0
    for name, tensor in checkpoint.network_tensors(tensors).items():
        if name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)
            taken += 1
    return f"{taken} of {len(own)} tensors"


def _resume(
    recipe: FrameRecipe,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: Path,
) -> dict[str, Any]:
    state: dict[str, Any] = {"step": 0, "best": math.inf}
    last = folder / LAST
    if not last.is_file():
        return state
    tensors, header = checkpoint.read(last)
    if header.get("recipe", {}).get("network") != describe(recipe.network):
        raise DataError(f"{folder} holds a run of another network. Choose another folder.")
    for prefix, module in ((MODEL, network), (AVERAGE, average)):
        checkpoint.load_module(module, checkpoint.tensors_under(tensors, prefix), last)
    checkpoint.unpack_optimizer(optimizer, tensors, header["optimizer"])
    best = header["state"]["best"]
    return {"step": header["state"]["step"], "best": math.inf if best is None else best}


def _save(
    path: Path,
    recipe: FrameRecipe,
    network: nn.Module,
    state: dict[str, Any],
    average: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    tensors = {f"{MODEL}{n}": t for n, t in network.state_dict().items()}
    finite = {k: (None if v == math.inf else v) for k, v in state.items()}
    header: dict[str, Any] = {"recipe": describe(recipe), "state": finite}
    if average is not None:
        tensors |= {f"{AVERAGE}{n}": t for n, t in average.state_dict().items()}
    if optimizer is not None:
        packed, header["optimizer"] = checkpoint.pack_optimizer(optimizer)
        tensors |= packed
    checkpoint.write(path, tensors, header)
