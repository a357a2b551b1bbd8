"""Simulated listeners: what a test's screening finds before anybody has listened."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from retone.studio.listening.order import order_of
from retone.studio.listening.results import Row
from retone.studio.listening.screening import least_seconds, screened
from retone.studio.listening.statistics import proportion

KINDS = {
    "attentive": "judges as the sounds' qualities say, with one slip in fifty answers",
    "careless": "answers every second question at random",
    "random": "answers at random, in the time that others take",
    "hurried": "answers at random, as fast as the page allows",
    "first": "always takes the first button, or the top of the scale",
    "same": "always gives the same answer",
}
SLIPS = {"attentive": 0.02, "careless": 0.5, "random": 1.0, "hurried": 1.0}
AUDIBLE = 0.1
"""Smallest difference of qualities that an attentive listener hears."""


@dataclass(frozen=True)
class Rate:
    """How many listeners of a kind were left out, with a 95 % interval of the share."""

    kind: str
    left_out: int
    listeners: int
    low: float
    high: float


def qualities(study: Mapping[str, Any]) -> dict[str, float]:
    """A quality from 0 to 1 for each sound of a test: reference 1, systems 0.8 to 0.4, anchors."""
    systems = sorted({s["system"] for t in study["trials"] for s in t["stimuli"]
                      if s["role"] == "system"})  # fmt: skip
    step = 0.4 / max(1, len(systems) - 1)
    found = {name: 0.8 - i * step for i, name in enumerate(systems)}
    return {"reference": 1.0, "anchor70": 0.3, "anchor35": 0.1} | found


def answers(
    study: Mapping[str, Any],
    name: str,
    kind: str = "attentive",
    *,
    quality: Mapping[str, float] | None = None,
    spread: float = 0.15,
    slips: float | None = None,
) -> list[Row]:
    """The rows of a listener.

    Args:
        study: the content of ``study.json``.
        name: of the listener.
        kind: one of ``KINDS``.
        quality: of each system, 0 to 1; None for ``qualities``.
        spread: standard deviation of each judgement.
        slips: share of answers at random; None for the kind's.
    """
    listener = _Listener(study, name, kind, quality or qualities(study), spread)
    listener.slips = SLIPS.get(kind, 0.0) if slips is None else slips
    return [row for place in enumerate(order_of(study, name)) for row in listener.rows(*place)]


class _Listener:
    def __init__(
        self,
        study: Mapping[str, Any],
        name: str,
        kind: str,
        quality: Mapping[str, float],
        spread: float,
    ) -> None:
        self.study, self.name, self.kind = study, name, kind
        self.quality, self.spread = quality, spread
        self.random = random.Random(f"{name}{kind}{study['id']}")
        self.design = str(study["design"])
        self.slips = 0.0

    def felt(self, stimulus: Mapping[str, str]) -> float:
        return self.quality[stimulus["system"]] + self.random.gauss(0, self.spread)

    def rows(self, position: int, place: Mapping[str, Any]) -> Iterable[Row]:
        trial = self.study["trials"][place["trial"]]
        least_s = least_seconds(self.study, trial["id"])
        took = 1.05 if self.kind == "hurried" else self.random.lognormvariate(1.0, 0.4)
        base: dict[str, Any] = {
            "listener": self.name, "trial": trial["id"], "position": position,
            "kind": trial["kind"], "item": trial["item"],
            "seconds": round(took * least_s, 2) if least_s else None,
        }  # fmt: skip
        blind = self.random.random() < self.slips
        stimuli = trial["stimuli"]
        if self.design == "mushra":
            for s in stimuli:
                yield Row(**base, system=s["system"], role=s["role"], score=self.rate(s, blind))
            return
        first = stimuli[0]
        base |= {"system": first["system"], "role": first["role"]}
        if self.design == "acr":
            score = self.grade(trial, blind)
            right = score == trial["expected"] if trial["kind"] == "check" else None
            yield Row(**base, score=float(score), correct=right)
            return
        button = self.button(trial, place, blind)
        base["other"] = stimuli[1]["system"]
        choice = stimuli[place["sounds"][button]]["system"]
        right = button == place["x"] if self.design == "abx" else None
        if right is None and trial["kind"] == "check":
            right = choice == trial["expected"]
        yield Row(**base, choice=choice, correct=right)

    def rate(self, stimulus: Mapping[str, str], blind: bool) -> float:
        if self.kind in ("first", "same"):
            return 100.0 if self.kind == "first" else 50.0
        if blind:
            return float(self.random.randint(0, 100))
        felt = 1.0 if stimulus["role"] == "reference" else self.felt(stimulus)
        return float(round(100 * min(max(felt, 0), 1)))

    def grade(self, trial: Mapping[str, Any], blind: bool) -> int:
        if self.kind in ("first", "same"):
            return 5 if self.kind == "first" else 3
        if blind:
            return self.random.randint(1, 5)
        if trial["kind"] == "check":
            return int(trial["expected"])
        return min(max(round(1 + 4 * self.felt(trial["stimuli"][0])), 1), 5)

    def button(self, trial: Mapping[str, Any], place: Mapping[str, Any], blind: bool) -> int:
        """0 for A, 1 for B."""
        if self.kind in ("first", "same"):
            return int(self.kind == "same")
        if blind:
            return self.random.randrange(2)
        stimuli = trial["stimuli"]
        if self.design == "abx":
            a, b = (self.quality[s["system"]] for s in stimuli)
            return int(place["x"]) if abs(a - b) > AUDIBLE else self.random.randrange(2)
        if trial.get("told"):
            systems = [stimuli[s]["system"] for s in place["sounds"]]
            return systems.index(trial["expected"])
        a, b = (self.felt(stimuli[s]) for s in place["sounds"])
        return int(b > a)


def rates(study: Mapping[str, Any], listeners: int) -> list[Rate]:
    """How many of each kind of listeners the screening leaves out.

    Args:
        study: the content of ``study.json``.
        listeners: simulated of each kind.
    """
    found = []
    for kind in KINDS:
        rows = [r for i in range(listeners) for r in answers(study, f"{kind} {i}", kind)]
        count = len(screened(study, rows))
        found.append(Rate(kind, count, listeners, *proportion(count, listeners)))
    return found
