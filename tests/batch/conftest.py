"""Fixtures for jobs over many recordings: tiny recordings, settings to apply, and trees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from retone.batch.job import Job, local_engine
from retone.batch.plan import plan_of
from retone.batch.rows import Recipe
from retone.effects import Equalizer
from retone.process.settings_file import LevelPlan, SettingsFile

RATE = 8000


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """``clip("in/a.wav", seed=1, gain_db=0)`` writes 0.3 s of noise."""

    def make(name: str, *, seed: int = 0, gain_db: float = 0.0, seconds: float = 0.3) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
        sf.write(path, 0.1 * 10 ** (gain_db / 20) * noise, RATE)
        return path

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file: an equaliser and a gain."""
    effect = Equalizer()
    values = {p.name: p.default for p in effect.params} | {"peak_1_gain_db": 6.0}
    path = tmp_path / "settings.json"
    SettingsFile(effect, values, RATE, "test", level_plan=LevelPlan(-3.0)).write(path)
    return path


@pytest.fixture
def job(tmp_path: Path, settings: Path) -> Callable[..., Job]:
    """``job(inputs, "out", workers=0, options={})`` applies the settings; not yet run."""

    def make(
        inputs: list[Path] | Path,
        folder: str = "out",
        *,
        workers: int = 0,
        options: Mapping[str, Any] | None = None,
        force: bool = False,
        **how: Any,
    ) -> Job:
        names = [str(p) for p in (inputs if isinstance(inputs, list) else [inputs])]
        where = str(tmp_path / folder)
        recipe = Recipe("apply", {"settings": str(settings), **(options or {})})
        plan = plan_of(names, where, verb="apply", **how)
        return Job(plan, recipe, where, local_engine(workers), force=force)

    return make


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, and a hash of its bytes."""
    return {
        os.fsdecode(os.path.relpath(path, folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
