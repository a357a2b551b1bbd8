"""DeepAFx-ST's Table 5: the cost of each differentiation strategy on this machine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from retone.audio import Clip
from retone.estimators.base import Excerpt
from retone.estimators.rules import Rules
from retone.lab.bench.training import STAGES, Step, noise_corpus
from retone.lab.published import READABLE, TABLE_5
from retone.lab.reproduce.filled import Cell, Filled
from retone.lab.reproduce.work import Work, deviation_notes, rows_of
from retone.process.stream import render_whole
from retone.training.data.corpora import Corpus
from retone.training.model import effect_networks_of
from retone.training.recipes.deepafx import SAMPLE_RATE
from retone.training.recipes.deviations import RB_DSP
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.table import recipe_named

SECONDS, RATE = 5.0, SAMPLE_RATE
RECIPE_OF_ROW = {
    "cTCN 1": "deepafx_ctcn1_speech", "cTCN 2": "deepafx_ctcn2_speech",
    "NP": "deepafx_np_speech", "NP-HH": "deepafx_np_hh_speech", "NP-FH": "deepafx_np_fh_speech",
    "SPSA": "deepafx_spsa_speech", "AD": "deepafx_speech",
    "AD, rendered exactly (not printed)": "deepafx_exact_speech",
    "exact gradient (not printed)": "deepafx_exact_speech",
}  # fmt: skip
MORE = ("exact gradient (not printed)",)
OTHER_RECIPES = ("diffdeq_paper", "diffdeq_peq", "proxy_equalizer", "proxy_compressor")
"""Trainings whose steps are timed too, for docs/reproducing.md; they are no rows of the table."""


def table_5(work: Work) -> Filled:
    """Seconds of a training step, seconds of rendering a second of audio, weights."""
    filled = work.start(TABLE_5, MORE)
    batch, length, rounds = work.scale.bench
    filled.question |= {"batch": batch, "length": length, "rounds": rounds,
                        "threads": torch.get_num_threads()}  # fmt: skip
    with work.timed(filled), tempfile.TemporaryDirectory(prefix="retone-table-5-") as folder:
        corpus = noise_corpus(Path(folder), RATE, length, work.seed)
        _rules_row(filled, rounds)
        for row in filled.rows[1:]:
            work.say(f"table-5, {row}")
            step, spent = _steps(RECIPE_OF_ROW[row], corpus, work.scale.bench)
            filled.put(row, "", "Train step (s)", spent)
            _inference(filled, row, step.recipe, step.model, rounds)
        for name in OTHER_RECIPES:
            work.say(f"table-5, a step of {name}")
            filled.facts[name] = {
                "step_s": round(_steps(name, corpus, work.scale.bench)[1].mean, 4)
            }
    filled.notes += [
        f"A training step has {batch} examples of {length} samples (the paper: 6 of 131,072): both "
        "encoder passes, controller, effects, loss, backward, Adam; pairs are not counted. CPU "
        f"time of {torch.get_num_threads()} thread(s), median [lowest, highest] of {rounds}.",
        f"CPU and GPU are seconds of rendering for a second of audio ({SECONDS:g} s, batch 1), "
        "without the encoder, as in the paper; RB-DSP's search for its setting is not counted.",
        "The published program times a step of 4 examples, and the NP rows with one network where "
        "the paper counts the weights of two.",
        "Weights are untrained, which does not affect the times.",
        "AD renders its approximations, as printed; the last row is the effects themselves, "
        "trained through their exact gradient.",
        *deviation_notes(rows_of(TABLE_5), RB_DSP),
    ]
    return filled


def _steps(name: str, corpus: Corpus, sizes: tuple[int, int, int]) -> tuple[Step, Cell]:
    """Steps of a recipe as wide as the paper's, and the CPU seconds of one without its pairs."""
    batch, length, rounds = sizes
    recipe = recipe_named(name)
    recipe = replace(recipe, batch_size=batch, pairs=replace(recipe.pairs, length=length))
    step = Step(recipe, corpus)
    for _ in range(rounds + 1):  # the first one warms up
        step()
    used = [s for s in STAGES if s != "pairs"]
    return step, _spread([sum(step.spent[s][i] for s in used) for i in range(1, rounds + 1)])


def _inference(
    filled: Filled, row: str, recipe: Recipe, model: torch.nn.Module, rounds: int
) -> None:
    model.eval()
    noise = 0.1 * torch.randn(1, round(SECONDS * RATE), generator=torch.Generator().manual_seed(0))
    unit = torch.full((1, len(recipe.effect.params)), 0.5)
    for column, device in (("CPU", "cpu"), ("GPU", "cuda")):
        if device == "cuda" and not torch.cuda.is_available():
            filled.put(row, "", column, Cell(missing="no GPU in this machine"))
            continue
        own = model.to(device)
        audio, setting = noise.to(device), unit.to(device)
        times = []
        with torch.no_grad():
            for _ in range(rounds + 2):
                times.append(_timed(recipe, own, audio, setting, device))
        filled.put(row, "", column, _spread([t / SECONDS for t in times[2:]]))
        own.to("cpu")
    networks = effect_networks_of(model)
    weights = sum(p.numel() for p in networks.parameters()) if networks is not None else 0
    if not recipe.gradient.contract.inference.endswith("networks"):
        weights = 0
    filled.put(row, "", "Parameters", Cell(float(weights), float(weights), float(weights), 1))
    readable = float(recipe.gradient.contract.readable)
    filled.put(row, "", "Interpretable", Cell(readable, readable, readable, 1))
    assert (row in READABLE) == bool(readable) or row in MORE


def _timed(
    recipe: Recipe, model: torch.nn.Module, audio: torch.Tensor, unit: torch.Tensor, device: str
) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    began = clock()
    recipe.infer(model, audio, unit)
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def _rules_row(filled: Filled, rounds: int) -> None:
    rng = np.random.default_rng(0)
    one, other = (
        Excerpt(torch.from_numpy(x.astype(np.float32)), RATE)
        for x in 0.05 * rng.standard_normal((2, round(SECONDS * RATE)))
    )
    found = Rules(paper=True).estimate(one, [other], locks={})
    audio = Clip(one.audio[None].numpy(), RATE).samples
    times = []
    for _ in range(rounds + 2):
        began = time.process_time()
        render_whole(found.effect, audio, RATE, found.setting)
        times.append((time.process_time() - began) / SECONDS)
    filled.put("RB-DSP", "", "CPU", _spread(times[2:]))
    filled.put("RB-DSP", "", "Train step (s)", Cell(missing="nothing is trained"))
    filled.put("RB-DSP", "", "GPU", Cell(missing="the paper has none either"))
    filled.put("RB-DSP", "", "Parameters", Cell(0.0, 0.0, 0.0, 1))
    filled.put("RB-DSP", "", "Interpretable", Cell(0.0, 0.0, 0.0, 1))


def _spread(values: list[float]) -> Cell:
    return Cell(float(np.median(values)), min(values), max(values), len(values))
