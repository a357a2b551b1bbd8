"""How much of its change a network should make: shares for tone and dynamics, from evidence.

A network changes every recording, even where the reference says little about it: with another voice
or piece, many changes are worse than none. What the network knows tells how far to trust it: how
far the input's statistics lie from those that it expects of the target, how certain it is of them,
how far its setting moves the input towards them, and how likely both recordings are of one source.
From this evidence a small network, trained on the error of the result, computes the shares::

    share = 1 / (1 + exp(-(W2 tanh(W1 z + b1) + b2))),  z = (evidence - mean) / scale
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from retone.dsp.measure import Array
from retone.dsp.param import ParamTable, Setting
from retone.nets.frontend import LEVELS, MEASURES
from retone.nets.iterative import Expected

FARTHEST = 4.0
"""Evidence beyond so many standard deviations counts as this far."""
GROUPS = ("bands", "levels", "measures")
ROUND = 5


class Shares(NamedTuple):
    """Shares of a change to make, 0 to 1: of the tone, and of dynamics and level."""

    tone: float
    dynamics: float


@dataclass(frozen=True, eq=False)
class Gate:
    """From evidence to shares.

    Args:
        names: evidence that counts, in order.
        mean, scale: of each over the training pairs, [E].
        hidden: W1 and, as the last column, b1, [H, E + 1].
        output: W2 and b2, [2, H + 1].
    """

    names: tuple[str, ...]
    mean: Array
    scale: Array
    hidden: Array
    output: Array

    def shares(self, evidence: Mapping[str, float]) -> Shares:
        """The shares for some evidence."""
        values = np.array([evidence[name] for name in self.names])
        z = np.clip((values - self.mean) / self.scale, -FARTHEST, FARTHEST)
        inner = np.tanh(self.hidden[:, :-1] @ z + self.hidden[:, -1])
        logits = self.output[:, :-1] @ inner + self.output[:, -1]
        tone, dynamics = 1 / (1 + np.exp(-logits))
        return Shares(float(tone), float(dynamics))

    def write(self, path: Path) -> None:
        """Write a file for ``read``."""
        arrays = {
            name: np.round(getattr(self, name), ROUND).tolist()
            for name in ("mean", "scale", "hidden", "output")
        }
        path.write_text(json.dumps({"names": self.names, **arrays}, indent=1) + "\n")


def read(path: Any) -> Gate:
    """A gate from a file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    arrays = [np.array(data[name], dtype=float) for name in ("mean", "scale", "hidden", "output")]
    return Gate(tuple(data["names"]), *arrays)


@functools.cache
def packaged(weights: str) -> Gate | None:
    """The gate for shipped weights, ``"speech"`` or ``"music"``; None if there is none."""
    path = resources.files("retone") / "estimators" / "data" / f"gate_{weights}.json"
    return read(path) if path.is_file() else None


def blended(table: ParamTable, setting: Setting, shares: Shares) -> Setting:
    """A setting with these shares of its change: band gains by tone, the rest by dynamics."""
    tone, rest = (table.blend(setting, share) for share in shares)
    gains = set(table.with_role("gain"))
    return {name: (tone if name in gains else rest)[name] for name in setting}


def evidence_of(
    own: Tensor,
    result: Tensor,
    expected: Expected,
    same_source: Sequence[float],
    table: ParamTable,
    setting: Setting,
) -> dict[str, float]:
    """What a network knows about its answer.

    Args:
        own, result: standardised statistics [S] of the input, and of the input with the setting.
        expected: those that the network expects of the target, [1, S].
        same_source: probability for each reference that it is of the input's source.
        table, setting: the answer.
    """
    mean, log_scale = expected.mean[0], expected.log_scale[0]
    certainty = (-log_scale).exp()
    rows = {
        "distance": (own - mean).abs() * certainty,
        "rest": (result - mean).abs() * certainty,
        "uncertainty": log_scale,
        "raw distance": (own - mean).abs(),
        "raw rest": (result - mean).abs(),
        "move": (result - own).abs(),
    }
    bands = len(mean) - MEASURES - LEVELS
    sizes = (bands, LEVELS, MEASURES)
    found = {
        f"{group}: {name}": float(part.mean())
        for name, row in rows.items()
        for group, part in zip(GROUPS, row.split(sizes), strict=True)
    }
    found["same source"] = float(np.mean(same_source))
    for name in table.with_role("ratio"):
        found["compression"] = 1 - 1 / float(setting[name][0])
    for name in table.with_role("makeup"):
        found["makeup"] = float(setting[name][0])
    return found
