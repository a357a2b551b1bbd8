"""Train the gate of a network: which share of its change is best, from what the network knows.

Pairs with a known target are rendered with nine combinations of shares of tone and dynamics, each
at three levels. The gate learns to predict the logarithm of the ratio of their errors to the
input's own. The constants here and in ``retone.estimators.gate`` were chosen by what
``cross_validated`` gave on the pairs of the gates that ship, so those figures are a little
optimistic.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retone.dsp.measure import Array
from retone.errors import DataError
from retone.estimators.base import shift_thresholds
from retone.estimators.gate import GRID, STEPS, Gate, Shares, blended, terms
from retone.estimators.level_rule import levels_of
from retone.estimators.network import Network
from retone.files.atomic import write_text_atomic
from retone.lab.evaluate.methods import excerpt
from retone.lab.evaluate.synthetic import CASES
from retone.metrics import METRICS
from retone.process.stream import render_whole
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.pairs import Pair, PairMaker
from retone.units import db_to_gain

WEIGHTS = {"stft": 1.0, "rms": 0.15, "lufs": 0.15}
"""Metrics that the gate goes by, and their weights."""
FLOOR = 0.02
"""Errors have this share of the input's mean error added, so that tiny ones do not dominate."""
FAVOURS = (0.4, 0.2, 0.1, 0.05, 0.0, -0.1, -0.2, -0.3)
"""From bold to cautious: what is printed of the choice between mean error and pairs made worse."""
RIDGE = 100.0
FAVOUR = 0.0
"""``favour`` of the gates that ship."""
HARM = 0.75
"""An STFT error beyond the input's counts so much more than once."""
FOLDS, TIE = 8, 1e-6
Row = dict[str, Any]


def measure_pairs(
    corpus: Corpus,
    maker: PairMaker,
    network: Network,
    *,
    pairs: int,
    seed: int,
    path: Path,
    progress: Progress = silent,
) -> list[Row]:
    """Evidence and errors for pairs of each case; what the file has is not measured again.

    Each row holds ``case``, ``pair``, ``group`` and ``reference`` (voices or tracks), ``evidence``,
    and ``errors``: metric -> [tone, dynamics, level], at the shares ``STEPS`` of each.

    Raises:
        DataError: the file holds rows of another corpus, rate, length, seed or network.
    """
    question = {
        "corpus": corpus.name, "corpus_sha256": corpus.sha256, "sample_rate": maker.sample_rate,
        "length": maker.length, "seed": seed, "weights": str(network.weights),
        "frames": str(network.frames), "shares": list(Shares._fields),
    }  # fmt: skip
    rows: list[Row] = []
    if path.exists():
        known, rows = load_rows(path)
        if known != question:
            raise DataError(f"{path} holds rows of {known}, not of {question}. Name another file.")
    rows = [row for row in rows if row["pair"] < pairs]
    done = {(row["case"], row["pair"]) for row in rows}
    phase = Phase("measuring pairs", "pairs")
    for i in range(pairs):
        for case, cross in CASES.items():
            if (case, i) not in done:
                pair = maker.for_evaluation(cross_source=cross).make(corpus, i, seed)
                about = {"case": case, "pair": i, "group": pair.group,
                         "reference": pair.reference_group}  # fmt: skip
                found = measured(pair, network, maker.sample_rate)
                if found is not None:
                    rows.append(about | found)
        if i % 10 == 9 or i == pairs - 1:
            text = json.dumps({"question": question, "rows": rows})
            write_text_atomic(path, text, force=True)
        progress(phase, i + 1, pairs)
    return rows


def groups_of(rows: Sequence[Row]) -> int:
    """How many voices or tracks these rows have as inputs or as references."""
    return len({row[name] for row in rows for name in ("group", "reference")})


def load_rows(path: Path) -> tuple[Row, list[Row]]:
    """What ``measure_pairs`` wrote: its question and the rows."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return data["question"], data["rows"]


def measured(pair: Pair, network: Network, rate: int) -> Row | None:
    """The network's evidence for a pair at ``rate`` (Hz), and the errors at all combinations of
    shares; None where there is no evidence."""
    source, gain_db = excerpt(pair.input, rate)
    reference, reference_gain_db = excerpt(pair.reference, rate)
    estimate, evidence = network.answer(source, [reference], locks={})
    if evidence is None:
        return None
    table = estimate.effect.params
    back_db = gain_db - reference_gain_db
    first = levels_of(pair.input, rate)
    whole = None
    errors = {name: np.zeros((len(STEPS),) * 3) for name in WEIGHTS}
    for i, tone in reversed(list(enumerate(STEPS))):
        for j, dynamics in reversed(list(enumerate(STEPS))):
            setting = blended(table, estimate.setting, Shares(tone, dynamics, 1.0))
            setting, _ = shift_thresholds(table, setting, -gain_db)
            out = render_whole(estimate.effect, pair.input[None], rate, setting)[0]
            now = levels_of(out, rate)
            whole = whole or now
            if first is None or whole is None or now is None:
                return None
            for k, level in enumerate(STEPS):
                wanted_db = level * (whole.over(first) + back_db) - now.over(first)
                at_level = out * np.float32(db_to_gain(wanted_db))
                for name, row in errors.items():
                    row[i, j, k] = abs(float(METRICS[name](at_level, pair.target, rate)))
    return {"evidence": evidence, "errors": {name: row.tolist() for name, row in errors.items()}}


def fit_gate(rows: Sequence[Row], favour: float = FAVOUR) -> Gate:
    """A gate trained on all rows."""
    names = tuple(rows[0]["evidence"])
    if any(set(row["evidence"]) != set(names) for row in rows):
        raise DataError(
            "the rows of the files hold different evidence: some were measured with one network, "
            "some with two. Measure all with the same networks."
        )
    values = np.array([[row["evidence"][n] for n in names] for row in rows])
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-9
    x = terms(values, mean, scale)
    wanted = np.zeros((len(rows), len(GRID)))
    for name, weight in WEIGHTS.items():
        errors = errors_of(rows, name).reshape(wanted.shape)
        floor = FLOOR * errors[:, 0].mean()
        ratio = np.log((errors + floor) / (errors[:, :1] + floor))
        wanted += weight * ratio
        if name == "stft":
            wanted += HARM * np.maximum(ratio, 0.0)
    penalty = RIDGE * np.eye(x.shape[1])
    penalty[0, 0] = 0.0
    weights = np.asarray(np.linalg.solve(x.T @ x + penalty, x.T @ wanted).T, np.float64)
    return Gate(names, mean, scale, weights, favour)


def errors_of(rows: Sequence[Row], metric: str) -> Array:
    """Errors [N, tone, dynamics, level]."""
    return np.array([row["errors"][metric] for row in rows])


def interpolated(grid: Array, shares: Array) -> Array:
    """Errors [N] at shares [N, 3], linear in each share in a grid [N, K, K, K]."""
    at = shares * (len(STEPS) - 1)
    low = np.clip(np.floor(at), 0, len(STEPS) - 2).astype(int)
    found = np.zeros(len(grid))
    for corner in itertools.product((0, 1), repeat=GRID.shape[1]):
        near = np.where(corner, at - low, 1 - (at - low)).prod(axis=1)
        found += near * grid[(np.arange(len(grid)), *(low + corner).T)]
    return found


def cross_validated(rows: Sequence[Row], favour: float = FAVOUR) -> Array:
    """Shares [N, 3] that gates give which saw no pair with a row's input's voice or track, neither
    as an input nor as a reference."""
    groups = sorted({row["group"] for row in rows})
    order = np.random.default_rng(0).permutation(len(groups))
    fold = {groups[g]: k % FOLDS for k, g in enumerate(order)}
    shares = np.ones((len(rows), GRID.shape[1]))
    for k in range(FOLDS):
        apart = {group for group, own in fold.items() if own == k}
        kept = [row for row in rows if not {row["group"], row["reference"]} & apart]
        if not kept:
            continue
        gate = fit_gate(kept, favour)
        for i, row in enumerate(rows):
            if row["group"] in apart:
                shares[i] = gate.shares(row["evidence"])
    return shares


def summary(rows: Sequence[Row], shares: Array) -> dict[str, dict[str, float]]:
    """By case: ratios of mean errors to the input's, and the share of pairs worse in STFT."""
    found = {}
    for case in CASES:
        kept = np.array([row["case"] == case for row in rows])
        if not kept.any():
            continue
        numbers = {}
        for name in WEIGHTS:
            grid = errors_of(rows, name)[kept]
            first = grid.reshape(len(grid), -1)[:, 0]
            errors = interpolated(grid, shares[kept])
            numbers[name] = float(errors.mean() / first.mean())
            if name == "stft":
                numbers["worse"] = float((errors > first + TIE).mean())
        means = zip(Shares._fields, shares[kept].mean(axis=0).tolist(), strict=True)
        found[case] = {"pairs": int(kept.sum()), **numbers, **dict(means)}
    return found
