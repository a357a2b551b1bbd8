"""Simulated listeners of known preference, who answer as the page would store it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from retone.studio.listening import simulate
from retone.studio.listening.results import Row

RATE = 16000
QUALITY = {"reference": 1.0, "ours": 0.8, "other": 0.55, "input": 0.4, "anchor70": 0.3,
           "anchor35": 0.1}  # fmt: skip
"""What the listeners think of each system, 0 to 1."""


def results_folder(folder: Path, seconds: float = 0.8, items: int = 2) -> Path:
    """A folder of results: noise with more or less of its top, at different levels."""
    rng = np.random.default_rng(0)
    for item in range(items):
        noise = 0.1 * rng.standard_normal(round(seconds * RATE))
        dull = np.convolve(noise, np.ones(4) / 4, "same")
        versions = {"reference": noise, "ours": 0.7 * noise + 0.3 * dull, "other": dull * 2,
                    "input": 0.3 * dull}  # fmt: skip
        for name, audio in versions.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            sf.write(folder / name / f"item{item}.wav", audio, RATE)
    return folder


def answers(
    study: Mapping[str, Any], name: str, *, bad: bool = False, sure: float = 0.15
) -> list[Row]:
    """A listener's rows, without slips; a bad one answers at random."""
    kind = "random" if bad else "attentive"
    return simulate.answers(study, name, kind, quality=QUALITY, spread=sure, slips=float(bad))


def sent(study: Mapping[str, Any], name: str, rows: list[Row]) -> bytes:
    """What the page would send of a listener."""
    plain = [{k: v for k, v in asdict(r).items() if v is not None} for r in rows]
    for r in plain:
        r["study"] = study["id"]
        if "correct" in r:
            r["correct"] = int(r["correct"])
    return json.dumps({"study": study["id"], "listener": name, "rows": plain}).encode()
