"""Every differentiation strategy trained for the same CPU time: one network, one recipe.

``strategies_page`` writes what was measured into docs/strategies.md, between marks that name the
result files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from retone.errors import DataError
from retone.files.atomic import write_text_atomic
from retone.lab.evaluate import descent, gradients, strategies
from retone.lab.evaluate.result import Result
from retone.nets import checkpoint
from retone.progress import Progress, silent
from retone.training.gradients import NeuralProxy
from retone.training.loop import train
from retone.training.provenance import provenance
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import override
from retone.training.recipes.strategies import NAMES, proxy_recipes
from retone.training.recipes.table import recipe_named
from retone.training.state import BEST, LAST

BATCH, LENGTH = 8, 49152
CHANGES = (
    f"batch_size={BATCH}", f"pairs.length={LENGTH}", "optimizer.learning_rate=1e-3",
    "optimizer.warmup_steps=10", "validation_pairs=8",
)  # fmt: skip
"""Of the compact recipes, for runs of minutes; the same for every strategy."""
TRAINED = tuple(name for name in NAMES if name != "np_hh")
"""np_hh is np with the effect at inference."""


def recipe_of(strategy: str) -> Recipe:
    """The recipe of a strategy in this comparison: only its gradient differs from the others'."""
    changed = override(recipe_named(f"compact_{strategy}_speech"), CHANGES)
    assert isinstance(changed, Recipe)
    return changed


def train_all(
    corpora: dict[str, Any],
    folder: Path,
    chosen: Sequence[str],
    *,
    cpu_minutes: float,
    proxy_minutes: float,
    say: Callable[[str], None],
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, str]]:
    """Train each strategy for the same CPU time; runs that are there are kept.

    Args:
        corpora: splits to train on.
        folder: for the run folders.
        chosen: names in ``TRAINED``.
        cpu_minutes: of each training, pairs included.
        proxy_minutes: of each proxy, before np and np_fh; 0 leaves those two out.

    Returns:
        Run folders in the order of ``chosen``, and what was left out and why.

    Raises:
        DataError: a training was stopped, or ended before its time.
    """
    found, left_out = [], {}
    for name in chosen:
        recipe = recipe_of(name)
        if isinstance(recipe.gradient, NeuralProxy):
            if proxy_minutes <= 0:
                left_out[name] = "needs proxies, for which no time was given"
                continue
            files = []
            for proxy in proxy_recipes(compact=True):
                place = folder / proxy.name
                _train(proxy, corpora, place, proxy_minutes, say, progress)
                files.append(str(place / BEST))
            recipe = replace(recipe, gradient=replace(recipe.gradient, proxies=tuple(files)))
        _train(recipe, corpora, folder / recipe.name, cpu_minutes, say, progress)
        found.append(folder / recipe.name)
    return found, left_out


def _train(
    recipe: Recipe,
    corpora: dict[str, Any],
    folder: Path,
    minutes: float,
    say: Callable[[str], None],
    progress: Progress,
) -> None:
    if _has_had(folder, minutes):
        return
    say(f"{recipe.name}: {minutes:g} minutes of CPU time")
    train(recipe, corpora, folder, workers=0, stop_at_cpu_s=60 * minutes, progress=progress)
    if not _has_had(folder, minutes):
        raise DataError(
            f"{recipe.name} was stopped before its {minutes:g} minutes; the same call goes on."
        )


def _has_had(folder: Path, minutes: float) -> bool:
    """Whether a run ended at the step nearest to its budget."""
    last = folder / LAST
    if not last.is_file():
        return False
    state = checkpoint.read(last)[1]["state"]
    spent = float(state.get("cpu_s", 0.0))
    step_s = spent / max(1, int(state["step"]))
    return spent + 0.75 * step_s >= 60 * minutes


GRADIENTS = 1


def save_gradients(
    path: Path,
    question: dict[str, Any],
    measured: dict[str, list[gradients.Measured]],
    ends: Sequence[descent.Descent],
) -> None:
    """Write what ``evaluate gradients`` measured as JSON."""
    data = {
        "retone_gradients": GRADIENTS,
        "question": question,
        "provenance": provenance(),
        "places": {place: [asdict(m) for m in rows] for place, rows in measured.items()},
        "descent": [asdict(d) for d in ends],
    }
    write_text_atomic(path, json.dumps(data) + "\n", force=True)


def gradients_text(path: Path) -> str:
    """The tables of a file that ``save_gradients`` wrote.

    Raises:
        DataError: it is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        parts = []
        for place, rows in data["places"].items():
            parts.append(gradients.text(place, [_measured(row) for row in rows]))
        ends = [descent.Descent(**_tuples(row)) for row in data["descent"]]
        if ends:
            parts.append(descent.text(ends, data["question"]["descend_s"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no measured gradients ({error}).") from error
    return "\n\n".join(parts)


def _measured(row: dict[str, Any]) -> gradients.Measured:
    parts = {name: tuple(values) for name, values in row.pop("by_part").items()}
    return gradients.Measured(**_tuples(row), by_part=parts)


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}


def strategies_text(results: Sequence[Result]) -> str:
    """Tables of equal budgets, and which strategies are not in them and why.

    Rows of another network than most rows are left out: they would compare networks.
    """
    left_out = dict(results[0].question.get("left_out", {}))
    known = results[0].question["strategies"]
    sizes = [facts["weights"] for facts in known.values()]
    usual = max(set(sizes), key=sizes.count)
    others = {n: f["recipe"] for n, f in known.items() if f["weights"] != usual}
    left_out |= {n: f"measured with another network, {recipe}" for n, recipe in others.items()}
    kept = []
    for result in results:
        named = {n: f for n, f in known.items() if n not in others}
        rows = [r for r in result.rows if r.method not in others]
        question = {**result.question, "strategies": named}
        kept.append(Result(question, result.provenance, rows))
    lines = [strategies.text(kept)]
    if left_out:
        what = "; ".join(f"{name} ({why})" for name, why in left_out.items())
        lines += ["", f"Not shown: {what}."]
    return "\n".join(lines)


def cost_text(path: Path) -> str:
    """The table of ``bench strategies`` in short."""
    from retone.lab.bench.result import Report

    section = Report.load(path).section("strategies")
    lines = [
        "| strategy | CPU time per example | ratio to exact | x real time at inference | "
        "weights in place of the effect |",
        "|---|---|---|---|---|",
    ]
    for row in section.rows:
        known, ratio = section.summary(row), section.ratio(row.method)
        if known is None or ratio is None:
            continue
        ms = [1000 * known["cpu_s"][k] for k in ("median", "q1", "q3")]
        speed = row.figures["inference_rate"] or 0.0
        weights = next((v for k, v in row.figures.items() if k.endswith("_count")), 0.0)
        lines.append(
            f"| {row.method} | {ms[0]:.3g} ms [{ms[1]:.3g}, {ms[2]:.3g}] | {ratio.median:.2f} "
            f"[{ratio.q1:.2f}, {ratio.q3:.2f}] | {speed:.3g} | "
            f"{weights or 0:.0f} |"
        )
    return "\n".join(lines)


BLOCK = re.compile(r"(<!-- from (?P<files>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def strategies_page(page: str, results: Path) -> str:
    """The page with every block between marks written again from its result files.

    Args:
        page: text of docs/strategies.md.
        results: folder of the result files.
    """

    def block(match: re.Match[str]) -> str:
        files = [results / name for name in match["files"].split()]
        first = files[0].name
        if first.startswith("gradients"):
            text = gradients_text(files[0])
        elif first.startswith("bench"):
            text = cost_text(files[0])
        else:
            text = strategies_text([Result.load(f) for f in files])
        return f"{match[1]}\n{text}\n\n{match[3]}"

    return BLOCK.sub(block, page)
