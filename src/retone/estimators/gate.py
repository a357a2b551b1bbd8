"""How much of its change a network should make: shares of tone, dynamics, level, from evidence.

A network changes every recording, even where the reference says little about it: with another voice
or piece, many changes are worse than none. What the network knows tells how far to trust it: how
far the input's statistics lie from those that it expects of the target, how certain it is of them,
how far its setting moves the input towards them, and how likely both recordings are of one source.
Ridge regressions on this evidence and its squares, fitted on pairs whose target is known
(``python -m retone.lab evaluate gate``), predict the logarithm ``p`` of the ratio of the result's
error to the input's at several shares of tone, dynamics and level. The shares made are their mean,
weighted by ``exp(-p / TEMPERATURE)``; shares near 0 and 1 become 0 and 1.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.dsp.measure import Array
from retone.dsp.param import ParamTable, Setting
from retone.dsp.third_octaves import CENTRES_HZ, third_octave_levels_db, used_bands
from retone.files.atomic import write_text_atomic
from retone.nets.frames import FramePrediction
from retone.nets.frontend import LEVELS, MEASURES
from retone.nets.iterative import Expected

FARTHEST = 4.0
"""Evidence beyond so many standard deviations counts as this far."""
STEPS = (0.0, 0.5, 1.0)
GRID = np.array(list(itertools.product(STEPS, repeat=3)))
"""The shares of tone, dynamics and level at which errors are predicted, [K, 3]; first comes no
change."""
TEMPERATURE, SNAP = 0.01, 0.15
GROUPS = ("bands", "levels", "measures")
FEWEST_BANDS, LOWEST_GAIN = 4, 1e-6
DIGITS = 6
MENTIONED = 0.5
FIELDS = ("mean", "scale", "weights")
"""What a file holds besides the names."""


class Shares(NamedTuple):
    """Shares of a change to make, 0 to 1: of the tone, of dynamics, and of the level."""

    tone: float
    dynamics: float
    level: float

    def lessened(self, caution: float) -> Shares:
        """Shares that leave out only ``caution``, 0 to 1, of what these leave out."""
        return Shares(*(1 - caution * (1 - share) for share in self))

    def notes(self) -> tuple[str, ...]:
        """A sentence for the user where less than half of a change is made."""
        if min(self.tone, self.dynamics) >= MENTIONED:
            return ()
        tone, dynamics = (f"{100 * share:.0f} %" for share in self[:2])
        made = f"only {tone} of the estimated change in tone and {dynamics} of that in dynamics are"
        if tone == dynamics == "0 %":
            made = "none of the estimated change in tone and dynamics is"
        return (
            f"It is doubtful whether the estimated change would help: {made} made. A higher "
            "strength follows the reference's whole sound.",
        )


@dataclass(frozen=True, eq=False)
class Gate:
    """From evidence to shares.

    Args:
        names: evidence that counts, in order.
        mean, scale: of each over the training pairs, [E].
        weights: of 1, standardised evidence and its squares, for each of ``GRID``, [K, 2 E + 1].
        favour: a whole change counts as this much better than predicted. Above 0 doubt alone does
            not hold it back; below 0 fewer pairs get worse, and the mean error is a little larger.
    """

    names: tuple[str, ...]
    mean: Array
    scale: Array
    weights: Array
    favour: float

    def takes(self, evidence: Collection[str]) -> bool:
        """Whether some evidence is all that is needed."""
        return set(self.names) <= set(evidence)

    def shares(self, evidence: Mapping[str, float]) -> Shares:
        """The shares for some evidence, which may hold more than is needed.

        With evidence that is not finite the whole change is made.

        Raises:
            KeyError: evidence is missing.
        """
        values = np.array([[evidence[name] for name in self.names]])
        if not np.isfinite(values).all():
            return Shares(1.0, 1.0, 1.0)
        predicted = (terms(values, self.mean, self.scale) @ self.weights.T)[0]
        return shares_from(predicted, self.favour)

    def write(self, path: Path) -> None:
        """Write a JSON file for ``read``."""
        arrays = {name: _short(getattr(self, name)) for name in FIELDS}
        text = json.dumps({"names": self.names, "favour": self.favour, **arrays}, indent=1)
        write_text_atomic(path, text + "\n", force=True)


def terms(values: Array, mean: Array, scale: Array) -> Array:
    """What the regressions weight, [N, 2 E + 1], for evidence [N, E]."""
    z = np.clip((values - mean) / scale, -FARTHEST, FARTHEST)
    return np.column_stack([np.ones(len(z)), z, z * z])


def shares_from(predicted: Array, favour: float) -> Shares:
    """The shares for log ratios predicted at each of ``GRID``, [K]; the first counts as 0."""
    known = np.concatenate([[0.0], predicted[1:]]) - favour * GRID.mean(axis=1)
    weight = np.exp((known.min() - known) / TEMPERATURE)
    mean = weight @ GRID / weight.sum()
    return Shares(*np.clip((mean - SNAP) / (1 - 2 * SNAP), 0.0, 1.0).tolist())


def _short(values: Array) -> Any:
    """Nested lists of numbers with a few significant digits."""
    if values.ndim > 1:
        return [_short(row) for row in values]
    return [float(f"{v:.{DIGITS}g}") for v in values]


def read(path: Any) -> Gate:
    """A gate from a file that ``Gate.write`` made."""
    data = json.loads(path.read_text(encoding="utf-8"))
    mean, scale, weights = (np.array(data[name], dtype=float) for name in FIELDS)
    return Gate(tuple(data["names"]), mean, scale, weights, float(data["favour"]))


@functools.cache
def packaged(weights: str) -> Gate | None:
    """The gate for shipped weights, ``"speech"`` or ``"music"``; None if there is none."""
    path = resources.files("retone") / "estimators" / "data" / f"gate_{weights}.json"
    return read(path) if path.is_file() else None


def blended(table: ParamTable, setting: Setting, shares: Shares) -> Setting:
    """A setting with these shares of its change: band gains by tone, the rest by dynamics."""
    tone, rest = (table.blend(setting, share) for share in shares[:2])
    gains = set(table.with_role("gain"))
    return {name: (tone if name in gains else rest)[name] for name in setting}


def without_locked(table: ParamTable, shares: Shares, locks: Collection[str]) -> Shares:
    """Whole shares for what holds a locked parameter: the others of its kind allow for it."""
    gains = set(table.with_role("gain", "frequency", "q"))
    tone = any(name in gains for name in locks)
    others = set(table.names) - gains - set(table.with_role("makeup"))
    rest = any(name in others for name in locks)
    return Shares(1.0 if tone else shares.tone, 1.0 if rest else shares.dynamics, shares.level)


def evidence_of(
    own: Tensor,
    result: Tensor,
    expected: Expected,
    same_source: Sequence[float],
    effect: Effect,
    setting: Setting,
    clips: Sequence[Tensor],
    sample_rate: int,
) -> dict[str, float]:
    """What a network knows about its answer, and how it compares with the plain difference.

    Args:
        own, result: standardised statistics [S] of the input, and of the input with the setting.
        expected: those that the network expects of the target, [1, S].
        same_source: probability for each reference that it is of the input's source.
        effect, setting: the answer.
        clips: what was analysed of the input and then of each reference, [N, T] each.
        sample_rate: of the clips, in Hz.
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
    for name in effect.params.with_role("ratio"):
        found["compression"] = 1 - 1 / float(setting[name][0])
    for name in effect.params.with_role("makeup"):
        found["makeup"] = float(setting[name][0])
    return found | _against_difference(effect, setting, clips, sample_rate)


def agreement_of(
    expected: Expected,
    second: Tensor,
    misfits: Sequence[float],
    levels_db: Sequence[float],
    wanted: FramePrediction,
) -> dict[str, float]:
    """What a second network adds: where two predictions differ, one of them is wrong.

    Args:
        expected: statistics that the first network expects, [1, S].
        second: those that the second expects, on the scale of the first, [S].
        misfits: of the input and of the result to the frames that the second predicts.
        levels_db: of the input and of the result.
        wanted: what the second predicts.
    """
    mean, log_scale = expected.mean[0], expected.log_scale[0]
    apart = (mean - second).abs()
    sizes = (len(mean) - MEASURES - LEVELS, LEVELS, MEASURES)
    found = {
        f"{group}: {name}": float(part.mean())
        for name, row in (
            ("disagreement", apart * (-log_scale).exp()),
            ("raw disagreement", apart),
            ("second uncertainty", wanted.expected.log_scale[0]),
        )
        for group, part in zip(GROUPS, row.split(sizes), strict=True)
    }
    return found | {
        "frames: distance": misfits[0],
        "frames: rest": misfits[1],
        "frames: uncertainty": float(wanted.log_scale.mean()),
        "level change": levels_db[1] - levels_db[0],
    }


def _against_difference(
    effect: Effect, setting: Setting, clips: Sequence[Tensor], sample_rate: int
) -> dict[str, float]:
    """The gains of a setting against the plain difference in third-octave levels, in dB."""
    own, *others = (third_octave_levels_db(c.flatten().numpy(), sample_rate) for c in clips)
    reference = np.mean(others, axis=0)
    used = used_bands(own, reference)
    if used.sum() < FEWEST_BANDS:
        used = np.isfinite(own) & np.isfinite(reference)
    hz = torch.from_numpy(CENTRES_HZ[used])
    response = effect.response(hz, sample_rate, setting)
    gains = np.zeros(len(hz))
    if response is not None:
        gains = 20 * np.log10(np.maximum(response[0].abs().numpy(), LOWEST_GAIN))
    wanted = (reference - own)[used]
    level = float(np.median(wanted))
    gains, wanted = gains - np.median(gains), wanted - np.median(wanted)
    spread = float(gains.std() * wanted.std())
    return {
        "gains": float(np.abs(gains).mean()),
        "difference": float(np.abs(wanted).mean()),
        "left of the difference": float(np.abs(wanted - gains).mean()),
        "agreement": float(np.cov(gains, wanted, bias=True)[0, 1] / (spread + 1e-9)),
        "level difference": level,
        "roughness": float(np.abs(np.diff(wanted)).mean()),
    }
