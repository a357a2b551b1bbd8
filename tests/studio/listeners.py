"""Simulated listeners of known preference, who answer as the page would store it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from retone.studio.listening.order import order_of
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
    study: Mapping[str, Any],
    name: str,
    *,
    quality: Mapping[str, float] = QUALITY,
    sure: float = 0.15,
    bad: bool = False,
) -> list[Row]:
    """A listener's rows.

    Args:
        quality: of each system; ``sure`` is the standard deviation of each judgement.
        bad: answers at random.
    """
    rng = random.Random(f"{name}{study['id']}")
    rows: list[Row] = []
    design = study["design"]
    for position, place in enumerate(order_of(study, name)):
        trial = study["trials"][place["trial"]]
        stimuli = trial["stimuli"]
        base: dict[str, Any] = {
            "listener": name, "trial": trial["id"], "position": position, "kind": trial["kind"],
            "item": trial["item"],
        }  # fmt: skip

        def felt(s: Mapping[str, str]) -> float:
            return rng.random() if bad else quality[s["system"]] + rng.gauss(0, sure)

        if design == "mushra":
            for s in stimuli:
                heard = 1.0 if s["role"] == "reference" and not bad else felt(s)
                score = round(100 * min(max(heard, 0), 1))
                rows.append(Row(**base, system=s["system"], role=s["role"], score=score))
            continue
        first = stimuli[0]
        row: dict[str, Any] = {**base, "system": first["system"], "role": first["role"]}
        if design == "acr":
            score = min(max(round(1 + 4 * felt(first)), 1), 5)
            if trial["kind"] == "check" and not bad:
                score = trial["expected"]
            row["score"] = float(score)
            if trial["kind"] == "check":
                row["correct"] = score == trial["expected"]
        else:
            row["other"] = stimuli[1]["system"]
            apart = felt(stimuli[0]) - felt(stimuli[1])
            if design == "ab":
                better = stimuli[0] if apart > 0 else stimuli[1]
                row["choice"] = better["system"]
                if trial["kind"] == "check":
                    row["correct"] = row["choice"] == trial["expected"]
            else:
                knows = abs(quality[first["system"]] - quality[row["other"]]) > 0.1 and not bad
                row["correct"] = knows or rng.random() < 0.5
                row["choice"] = first["system"]
        rows.append(Row(**row))
    return rows


def sent(study: Mapping[str, Any], name: str, rows: list[Row]) -> bytes:
    """What the page would send of a listener."""
    plain = [{k: v for k, v in asdict(r).items() if v is not None} for r in rows]
    for r in plain:
        r["study"] = study["id"]
        if "correct" in r:
            r["correct"] = int(r["correct"])
    return json.dumps({"study": study["id"], "listener": name, "rows": plain}).encode()
