"""What every table and figure of a reproduction needs at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retone.lab.evaluate.strategies import Trained
from retone.lab.published import Group, Printed
from retone.lab.reproduce.filled import Filled
from retone.lab.reproduce.recordings import Recordings
from retone.lab.reproduce.scales import Scale
from retone.lab.reproduce.systems import Runs, System, budget, systems
from retone.progress import Progress, silent
from retone.training.provenance import provenance
from retone.training.recipes.deviations import Deviation, deviations
from retone.training.state import BEST

RAW = "raw"


@dataclass
class Work:
    """A reproduction in progress.

    Args:
        folder: results: one JSON for each table and figure, pictures, and ``raw`` with one row for
            each pair.
        recordings, runs, scale, seed: what is measured.
        workers: processes.
        say: called with a sentence.
    """

    folder: Path
    recordings: Recordings
    runs: Runs
    scale: Scale
    seed: int = 42
    workers: int = 1
    say: Callable[[str], None] = lambda text: None
    progress: Progress = silent

    def raw(self, name: str, group: Group) -> Path:
        """The file of a group's single measurements."""
        place = self.folder / RAW
        place.mkdir(parents=True, exist_ok=True)
        safe = "".join(c if c.isalnum() or c in "-." else "_" for c in group.name)
        return place / f"{name}_{safe}.json"

    def start(self, printed: Printed, more_rows: Sequence[str] = ()) -> Filled:
        """An empty table with all its rows and groups."""
        groups = self.recordings.groups(printed) if printed.groups[0].corpus else printed.groups
        question = {"scale": self.scale.name, "seed": self.seed}
        return Filled(
            printed, list(groups), [*printed.rows, *more_rows], list(printed.columns), question,
            provenance(),
        )  # fmt: skip

    def methods(
        self, filled: Filled, systems: Mapping[str, System], group: str = ""
    ) -> list[Trained]:
        """The systems of a table's rows that can be had; the others' cells say why they cannot."""
        found = []
        for row in filled.rows:
            if row not in systems:
                continue
            method = self.runs.method(row, systems[row])
            if method is None:
                name = systems[row].run
                filled.leave(self.runs.missing[name], row=row, group=group)
                continue
            found.append(method)
            filled.facts[f"{row}, {group}" if group else row] = budget(Path(method.folder))
        return found

    @contextmanager
    def timed(self, filled: Filled) -> Iterator[None]:
        """Add the CPU time inside, without that of trainings, to a table's."""
        began = time.process_time() - self.runs.trained_s
        try:
            yield
        finally:
            filled.cpu_s += time.process_time() - self.runs.trained_s - began


def about_runs(methods: Sequence[Trained]) -> dict[str, Any]:
    """What decides the rows of trained systems, for the question of an evaluation."""
    known = {}
    for m in methods:
        b = budget(Path(m.folder))
        known[m.name] = [b["fingerprint"], b["best_step"] if m.state == BEST else b["steps"]]
    return {"runs": known}


def deviation_notes(
    rows: Iterable[tuple[str, System]], extra: Sequence[Deviation] = ()
) -> list[str]:
    """In what the recipes behind rows differ from the paper; one line for those that differ alike.

    Args:
        rows: names of rows and their systems; a row of speech and music stands there twice.
        extra: differences of rows without a recipe.
    """
    alike: dict[str, tuple[list[str], list[str]]] = {}
    for row, system in rows:
        words = "; ".join(f"{d.what}: {d.here}" for d in deviations(system.recipe))
        names, recipes = alike.setdefault(words, ([], []))
        names.append(row.removesuffix(" (not printed)"))
        recipes.append(f"`{system.recipe}`")
    found = []
    for words, (names, recipes) in alike.items():
        row_names, recipe_names = (", ".join(dict.fromkeys(x)) for x in (names, recipes))
        found.append(f"{row_names} ({recipe_names}) differ from the paper in: {words}.")
    found += [f"{d.what}: {d.here}." for d in extra]
    return found


def rows_of(printed: Printed) -> list[tuple[str, System]]:
    """The rows of a table of DeepAFx-ST with their systems, for speech and music where both are."""
    kinds = dict.fromkeys(g.kind for g in printed.groups)
    return [(r, known[r]) for k in kinds for known in [systems(k)] for r in printed.rows
            if r in known]  # fmt: skip
