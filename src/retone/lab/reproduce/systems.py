"""The papers' trained systems: which recipe and which proxies stand behind a row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from retone.errors import DataError, RetoneError
from retone.lab.evaluate.strategies import Trained
from retone.lab.reproduce.scales import Scale
from retone.nets import checkpoint
from retone.progress import Progress, silent
from retone.training.gradients import NeuralProxy
from retone.training.loop import train
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.table import recipe_named
from retone.training.state import BEST, LAST

Say = Callable[[str], None]
Opener = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class System:
    """A row's system.

    Args:
        recipe: name of its recipe.
        hybrid: render with the effect itself instead of what the recipe renders with.
        proxies: ``"speech"`` or ``"music"``, what its proxies were trained on; empty for none.
    """

    recipe: str
    hybrid: bool = False
    proxies: str = ""

    @property
    def run(self) -> str:
        """Name of its run folder."""
        music = "music" in self.recipe
        return f"{self.recipe}_{self.proxies}_proxies" if self.proxies and music else self.recipe


def speech_systems() -> dict[str, System]:
    """Rows of Table 1 (and of the speech halves of Tables 3 and 4) -> system."""
    np = System("deepafx_np_speech", proxies="speech")
    return {
        "cTCN 1": System("deepafx_ctcn1_speech"),
        "cTCN 2": System("deepafx_ctcn2_speech"),
        "NP": np,
        "NP-HH": replace(np, hybrid=True),
        "NP-HH S": replace(np, hybrid=True),
        "NP-FH": System("deepafx_np_fh_speech", proxies="speech"),
        "SPSA": System("deepafx_spsa_speech"),
        "AD": System("deepafx_speech"),
        "AD, rendered exactly (not printed)": System("deepafx_speech", hybrid=True),
    }


def music_systems() -> dict[str, System]:
    """Rows of Table 2 (and of the music halves of Tables 3 and 4) -> system."""
    found = {
        "cTCN 1": System("deepafx_ctcn1_music"),
        "cTCN 2": System("deepafx_ctcn2_music"),
        "SPSA": System("deepafx_spsa_music"),
        "AD": System("deepafx_music"),
        "AD, rendered exactly (not printed)": System("deepafx_music", hybrid=True),
    }
    for letter, kind in (("S", "speech"), ("M", "music")):
        np = System("deepafx_np_music", proxies=kind)
        found[f"NP {letter}"] = np
        found[f"NP-HH ({letter})"] = replace(np, hybrid=True)
        found[f"NP-FH ({letter})"] = System("deepafx_np_fh_music", proxies=kind)
    found["NP-HH S"] = found["NP-HH (S)"]
    return found


DIFFDEQ = {"deq": System("diffdeq_paper"), "peq": System("diffdeq_peq")}


def systems(kind: str) -> dict[str, System]:
    """Row -> system, of DeepAFx-ST."""
    return speech_systems() if kind == "speech" else music_systems()


@dataclass
class Runs:
    """The run folders of a reproduction: found, continued, or why there is none.

    Args:
        folder: holds one run folder for each system and proxy.
        scale: sizes.
        open_splits: ``"speech"`` or ``"music"`` -> the splits to train on; raises DataError.
        may_train: train what is missing.
        say: called with a sentence for each run.
        trained_s: CPU seconds of the trainings so far.
    """

    folder: Path
    scale: Scale
    open_splits: Opener
    may_train: bool = True
    say: Say = lambda text: None
    progress: Progress = silent
    device: str = "cpu"
    workers: int = 0
    trained_s: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)
    _known: dict[str, Path] = field(default_factory=dict)

    def method(self, row: str, system: System, state: str = BEST) -> Trained | None:
        """The system as an evaluation's row; None if it cannot be had (``missing`` says why)."""
        folder = self.of(system)
        return Trained(row, str(folder), system.hybrid, state) if folder else None

    def of(self, system: System) -> Path | None:
        """The finished run of a system; None if it cannot be had."""
        return self._run(system.run, lambda: self._recipe(system))

    def recipe(self, system: System) -> Recipe:
        """The system's recipe at this scale, without the files of its proxies."""
        return self.scale.sized(recipe_named(system.recipe))

    def _recipe(self, system: System) -> Recipe:
        recipe = self.recipe(system)
        if not system.proxies:
            return recipe
        files = []
        for member in ("equalizer", "compressor"):
            name = f"proxy_{member}" + ("_music" if system.proxies == "music" else "")
            found = self._run(name, lambda n=name: self.scale.sized(recipe_named(n)))  # type: ignore[misc]
            if found is None:
                raise DataError(f"its proxy is missing: {self.missing[name]}")
            files.append(str(found / BEST))
        gradient = recipe.gradient
        assert isinstance(gradient, NeuralProxy)
        return replace(recipe, gradient=replace(gradient, proxies=tuple(files)))

    def _run(self, name: str, make: Callable[[], Recipe]) -> Path | None:
        if name in self._known:
            return self._known[name]
        if name in self.missing:
            return None
        folder = self.folder / name
        try:
            if not self._finished(folder):
                self._train(name, folder, make())
        except RetoneError as error:
            self.missing[name] = f"run {name}: {error}"
            self.say(self.missing[name])
            return None
        self._known[name] = folder
        return folder

    def _finished(self, folder: Path) -> bool:
        if not (folder / BEST).is_file():
            return False
        if not (folder / LAST).is_file():
            return True  # weights alone, as other people hand them on
        _, header = checkpoint.read(folder / LAST)
        done = int(header["state"]["step"]) >= int(header["recipe"]["steps"])
        return done or not self.may_train

    def _train(self, name: str, folder: Path, recipe: Recipe) -> None:
        if not self.may_train:
            raise DataError("there is none, and training was not asked for")
        corpora = self.open_splits(recipe.kind)
        began = time.process_time()
        self.say(f"training {name}: {recipe.steps} steps of {recipe.batch_size}")
        train(
            recipe, corpora, folder, device=self.device, workers=self.workers,
            progress=self.progress,
        )  # fmt: skip
        self.trained_s += time.process_time() - began
        if not self._finished(folder):
            raise DataError("it was stopped before its end; run the command again to go on")


def budget(folder: Path) -> dict[str, Any]:
    """How long a run was trained, and at which step its best weights were saved."""
    header = checkpoint.read(folder / BEST)[1]
    last = folder / LAST
    state = checkpoint.read(last)[1]["state"] if last.is_file() else header["state"]
    recipe = header["recipe"]
    return {
        "recipe": recipe["name"],
        "fingerprint": header.get("fingerprint", ""),
        "steps": state["step"],
        "best_step": header["state"]["step"],
        "examples": state["step"] * recipe["batch_size"],
        "cpu_minutes": round(state.get("cpu_s", 0.0) / 60, 2),
    }
