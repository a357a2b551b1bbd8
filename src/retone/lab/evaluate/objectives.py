"""Does a loss with perceptual terms train a better ``retone enhance``?

The shipped network is trained further on the same pairs for the same number of steps: with its
recipe's loss, with perceptual terms added, and with those terms alone. The terms differ from each
other, so that no single one can be exploited, and each has the weight that makes it as large as the
recipe's loss on training pairs that nothing has processed yet. All rows are judged by measures
that none of the losses contains.

Two of the terms are defined here: loudness in bands (S. S. Stevens, "The measurement of loudness",
JASA 27, 1955: a power law), and the spread of short levels, which dynamics change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.dsp.spectral import frequencies_hz, k_weighting_gain, mel_filterbank
from retone.estimators.reference_free import SHIPPED
from retone.lab.evaluate.encoders import cdpam_distance
from retone.lab.evaluate.enhance import MATCHED, TARGET, distances, network_alone, predicted
from retone.lab.evaluate.enhance_page import BETTER, cell, show
from retone.lab.evaluate.methods import Estimated, Input, Method, to_loudness
from retone.lab.evaluate.result import Result, Row, interval
from retone.losses import AtEqualLoudness, Loss, PreparedTarget, StyleDistance, WeightedSum
from retone.losses.waveform import PerItem
from retone.progress import Phase, Progress, silent
from retone.training.feed import PairDataset
from retone.training.loop import train
from retone.training.provenance import provenance
from retone.training.recipes.diffdeq import diffdeq_improved, scoring_pairs
from retone.training.recipes.recipe import Recipe

USUAL = "recipe's loss"
WITH_TERMS = "recipe's loss and perceptual terms"
TERMS_ALONE = "perceptual terms alone"
SHIPPED_ROW = "shipped weights"
CASE = "degraded by phase-transparent bands"
JUDGED = {
    "pesq": "higher", "stoi": "higher", "dnsmos.overall": "higher", "dnsmos.signal": "higher",
    "dnsmos.background": "higher", "dnsmos.p808": "higher", "nisqa.overall": "higher",
    "nisqa.coloration": "higher", "cdpam": "lower",
}  # fmt: skip
"""Measure that no loss contains -> which values are better."""
TRAINED_ON = f"stft_auraloss{MATCHED}"
"""Close to the recipe's loss, shown to tell whether that loss itself falls."""
_WINDOW, _BANDS, _EXPONENT, _FLOOR = 1024, 40, 0.25, 1e-5
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class LoudnessDistance(PerItem):
    """Mean difference of K-weighted loudness in 40 mel bands of short frames, over its mean.

    Loudness is the power relative to the target's mean power, to the exponent 0.25. Quiet bands and
    frames weigh more than they do in power, and less than they do in decibels.
    """

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]; waveforms are [B, C, T] of any length."""
        audio = target.audio if isinstance(target, PreparedTarget) else target
        own, goal = (_band_power(x, sample_rate, _BANDS) for x in (estimate, audio))
        scale = goal.mean((1, 2), keepdim=True) + 1e-12
        own, goal = ((p / scale + _FLOOR) ** _EXPONENT for p in (own, goal))
        return (own - goal).abs().mean((1, 2)) / goal.mean((1, 2))


@dataclass(frozen=True)
class LevelSpread(PerItem):
    """Mean difference in dB / 10 of the quantiles of short levels, in each of 20 mel bands.

    Each band's levels are taken relative to its median, so the spectrum does not count.
    """

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]; waveforms are [B, C, T] of any length."""
        audio = target.audio if isinstance(target, PreparedTarget) else target
        own, goal = (_spread(x, sample_rate) for x in (estimate, audio))
        return (own - goal).abs().mean((1, 2)) / 10


def _band_power(audio: Tensor, sample_rate: float, bands: int) -> Tensor:
    """K-weighted power [B, frames, bands] of the first channel."""
    window = torch.hann_window(_WINDOW, dtype=audio.dtype)
    frames = audio[:, 0].unfold(-1, _WINDOW, _WINDOW // 2) * window
    spectrum = torch.fft.rfft(frames)
    weight = k_weighting_gain(frequencies_hz(_WINDOW, sample_rate)).square()
    bank = mel_filterbank(bands, _WINDOW, sample_rate) * weight
    return (spectrum.real.square() + spectrum.imag.square()) @ bank.T.to(audio.dtype)


def _spread(audio: Tensor, sample_rate: float) -> Tensor:
    """Quantiles [B, Q, bands] of short levels in dB, relative to the median."""
    level = 10 * torch.log10(_band_power(audio, sample_rate, 20).clamp_min(1e-8))
    found = torch.quantile(level, torch.tensor(_QUANTILES, dtype=audio.dtype), dim=1).movedim(0, 1)
    return found - found[:, len(_QUANTILES) // 2 :][:, :1]


TERMS: dict[str, Loss] = {
    "loudness in bands": LoudnessDistance(),
    "spread of levels": LevelSpread(),
    "long-term spectrum": StyleDistance(level_weight=0.0),
}


def balanced(recipe: Recipe, corpus: Any, pairs: int = 64) -> dict[str, float]:
    """Weights that make each term as large as the recipe's loss, over the number of terms."""
    data = PairDataset(recipe, corpus)
    items = [data[number] for number in range(pairs)]
    source, target = (torch.stack([getattr(i, n) for i in items])[:, None] for n in
                      ("source", "target"))  # fmt: skip
    with torch.no_grad():
        usual = float(recipe.loss(source, target, recipe.pairs.sample_rate))
        own = {n: float(AtEqualLoudness(t)(source, target, recipe.pairs.sample_rate))
               for n, t in TERMS.items()}  # fmt: skip
    return {name: usual / value / len(TERMS) for name, value in own.items()}


def recipes(steps: int, weights: Mapping[str, float]) -> dict[str, Recipe]:
    """Row -> its recipe; the rows differ in their loss only."""
    usual = diffdeq_improved()
    base = replace(
        usual, steps=steps, validation_pairs=16, validate_every=steps,
        optimizer=replace(usual.optimizer, learning_rate=3e-4, warmup_steps=steps // 15),
    )  # fmt: skip
    assert isinstance(usual.loss, AtEqualLoudness)
    terms = WeightedSum(tuple(TERMS.values()), tuple(weights[n] for n in TERMS))
    both = WeightedSum((usual.loss.loss, terms), (0.5, 0.5))
    losses = {USUAL: usual.loss.loss, WITH_TERMS: both, TERMS_ALONE: terms}
    return {name: replace(base, loss=AtEqualLoudness(loss)) for name, loss in losses.items()}


def train_all(
    corpora: dict[str, Any], folder: Path, steps: int, progress: Progress = silent
) -> tuple[list[Method], dict[str, float]]:
    """Train every row from the shipped weights; runs in ``folder`` are continued.

    Returns:
        The rows of the comparison, and the weights of the terms.
    """
    import retone

    shipped = Path(retone.__file__).parent / "weights" / SHIPPED
    base = diffdeq_improved()
    weights = balanced(base, corpora["train"])
    rows: list[Method] = [Input(), _row(SHIPPED_ROW, None)]
    for name, recipe in recipes(steps, weights).items():
        run = folder / name.replace(" ", "-").replace("'", "")
        best = train(recipe, corpora, run, workers=0, warm_start=shipped, progress=progress)
        rows.append(_row(name, best))
    return rows, weights


def _row(name: str, weights: Path | None) -> Estimated:
    return Estimated(name, network_alone(weights), 1.0)


def evaluate(
    corpus: Any,
    methods: Sequence[Method],
    *,
    pairs: int,
    cdpam_pairs: int,
    seed: int,
    about: Mapping[str, Any],
    path: Path | None = None,
    progress: Progress = silent,
) -> Result:
    """Measure every row on seeded pairs of voices that no row was trained on.

    Args:
        corpus: held-out voices.
        methods: rows; ``train_all`` makes them.
        pairs: number of pairs.
        cdpam_pairs: how many of them CDPAM judges, which takes seconds each.
        seed: of the pairs.
        about: further entries of the question.
        path: result file; rows in it are not measured again.
    """
    maker = scoring_pairs(diffdeq_improved())
    rate = maker.sample_rate
    question = {
        "what": "objectives", "corpus": corpus.name, "corpus_sha256": corpus.sha256,
        "sample_rate": rate, "length": maker.length, "pairs": pairs, "cdpam_pairs": cdpam_pairs,
        "seed": seed, **about,
    }  # fmt: skip
    result = Result.resumed(question, provenance(), path)
    done = {(r.item, r.method) for r in result.rows}
    for item in range(pairs):
        pair: Any = maker.make(corpus, item, seed)
        outputs = {m.name: m for m in methods if (item, m.name) not in done}
        for name, method in outputs.items():
            out = np.asarray(method.run(pair, rate), np.float32)
            values = distances(out, pair.target, rate, ("pesq", "stoi", "stft_auraloss"))
            values |= predicted(out, rate, ("dnsmos", "nisqa"))
            if item < cdpam_pairs:
                matched = to_loudness(out, pair.target, rate, 1.0)
                values["cdpam"] = cdpam_distance(matched, pair.target, rate)
            result.rows.append(Row(item, pair.group, CASE, name, values))
        if outputs:
            quality = predicted(pair.target, rate, ("dnsmos", "nisqa"))
            result.rows.append(Row(item, pair.group, CASE, TARGET, quality))
            if path is not None:
                result.save(path)
        progress(Phase("evaluating", "pairs"), item + 1, pairs)
    return result


def changes(result: Result, name: str) -> dict[str, tuple[float, float, float]]:
    """Measure -> mean and 95 % interval of how much better a row is than ``USUAL``, pair by pair.

    Positive is better, whatever the measure's direction.
    """
    found = {}
    for measure, direction in JUDGED.items():
        own, usual = (result.values(CASE, m, measure) for m in (name, USUAL))
        sign = 1.0 if direction == "higher" else -1.0
        gaps = [(own[i][0], sign * (own[i][1] - usual[i][1])) for i in own if i in usual]
        found[measure] = interval(gaps)
    return found


def verdict(result: Result, name: str) -> str:
    """One sentence: on how many measures a row is better or worse by more than its interval."""
    found = changes(result, name)
    better = [m for m, (_, low, _) in found.items() if low > 0]
    worse = [m for m, (_, _, high) in found.items() if high < 0]
    named = [f" ({', '.join(words)})" if words else "" for words in (better, worse)]
    return (
        f"{name[0].upper()}{name[1:]}: better than the {USUAL} by more than the interval on "
        f"{len(better)} of {len(found)} measures{named[0]}, worse on {len(worse)}{named[1]}."
    )


def section(result: Result) -> str:
    """The section of the page on enhancement."""
    q = result.question
    rows = [m for m in result.names("method") if m != TARGET]
    trained = [m for m in rows if m in (WITH_TERMS, TERMS_ALONE)]
    measures = {**JUDGED, TRAINED_ON: "lower"}
    voices = len({r.group for r in result.rows})
    weights = ", ".join(f"{n} {w:.3g}" for n, w in q["weights"].items())
    lines = [
        "## What a perceptual loss changes",
        "",
        "Generated from `docs/results/objectives_enhance.json` (`python -m retone.lab evaluate",
        "objectives`). The shipped network was trained further on the same pairs for "
        f"{q['steps']} steps per row:",
        "with its recipe's loss, with three perceptual terms added in equal parts, and with those",
        f"terms alone. The terms' weights ({weights}) make each as large as",
        "the recipe's loss on unprocessed training pairs. None of the measures is part of a loss,",
        "except for the last one, which is close to the recipe's. The weights of `retone enhance`",
        "were trained with the recipe's loss, and stay.",
        "",
        f"{q['pairs']} pairs from {voices} voices of {q['corpus']}, none of them trained on, seed "
        f"{q['seed']}; CDPAM on the",
        f"middle second of {q['cdpam_pairs']} pairs; trained on {q['trained_on']}; "
        f"{result.provenance['date']}.",
        "",
        "| measure | better | " + " | ".join(rows) + " |",
        "|---|---|" + "---|" * len(rows),
    ]
    for measure, direction in measures.items():
        cells = [show(cell(result, CASE, m, measure)) for m in rows]
        lines.append(f"| {measure} | {BETTER[direction]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Change against the {USUAL}, pair by pair; positive is better:",
        "",
        "| measure | " + " | ".join(trained) + " |",
        "|---|" + "---|" * len(trained),
    ]
    found = {m: changes(result, m) for m in trained}
    lines += [f"| {n} | " + " | ".join(show(found[m][n]) for m in trained) + " |" for n in JUDGED]
    return "\n".join([*lines, "", *(f"- {verdict(result, m)}" for m in trained)])
