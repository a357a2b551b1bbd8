"""Which listeners to leave out.

BS.1534 post-screening, attention checks, constant answers, one button, answers without listening.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from retone.studio.listening.order import order_of
from retone.studio.listening.results import Row
from retone.studio.listening.statistics import binomial_p

REFERENCE_LEAST, ANCHOR_MOST, SHARE = 90.0, 90.0, 0.15
"""BS.1534-3, 4.1.2: leave out whoever rates the hidden reference below 90 for more than 15 % of the
items, or the mid anchor (7 kHz) above 90 for more than 15 %."""
MID_ANCHOR = "anchor70"
CHECKS_LEAST = 0.8
"""Least share of attention checks that must be right."""
ONE_BUTTON_P = 0.001
"""One of two buttons is pressed so often by chance: their order is random in every trial."""
HURRIED = 1.2
"""Half of the answers took less than this times the least that the page allows."""
LEAST_CHOICES = 6
"""From so many answers on, always the same one is no judgement."""


def screened(study: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, str]:
    """Listener -> why they are left out.

    Args:
        study: the content of ``study.json``.
        rows: all answers.
    """
    found, design = {}, str(study["design"])
    for listener, own in by_listener(rows).items():
        reasons = (
            _checks(own), *_references(design, own), _same(design, own), _button(study, own),
            _hurried(study, own),
        )  # fmt: skip
        if any(reasons):
            found[listener] = "; ".join(r for r in reasons if r)
    return found


def by_listener(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Each listener's answers, in the order of names."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda r: (r.listener, r.position)):
        found.setdefault(row.listener, []).append(row)
    return found


def _checks(rows: Sequence[Row]) -> str | None:
    checks = [r for r in rows if r.kind == "check" and r.correct is not None]
    right = sum(bool(r.correct) for r in checks)
    if checks and right < CHECKS_LEAST * len(checks):
        return f"{len(checks) - right} of {len(checks)} attention checks were wrong"
    return None


def _references(design: str, rows: Sequence[Row]) -> list[str]:
    """What BS.1534 says of the hidden reference and the mid anchor; for ACR, that order."""
    found = []
    hidden = [r.score for r in rows if r.role == "reference" and r.score is not None]
    if design == "mushra":
        low = sum(s < REFERENCE_LEAST for s in hidden)
        if hidden and low > SHARE * len(hidden):
            found.append(
                f"the hidden reference got less than {REFERENCE_LEAST:g} in {low} of {len(hidden)} "
                "items"
            )
        mid = [r.score for r in rows if r.system == MID_ANCHOR and r.score is not None]
        high = sum(s > ANCHOR_MOST for s in mid)
        if mid and high > SHARE * len(mid):
            found.append(
                f"the 7 kHz anchor got more than {ANCHOR_MOST:g} in {high} of {len(mid)} items"
            )
    elif design == "acr":
        lowest = min((r.system for r in rows if r.role == "anchor"), default="", key=_cut)
        bad = [r.score for r in rows if r.system == lowest and r.score is not None]
        if hidden and bad and sum(hidden) / len(hidden) <= sum(bad) / len(bad):
            found.append("the reference was rated no better than the lowest anchor")
    return found


def _cut(system: str) -> int:
    digits = system.removeprefix("anchor")
    return int(digits) if digits.isdecimal() else 0


def _same(design: str, rows: Sequence[Row]) -> str | None:
    """Always the same score. (A real preference may well choose one system throughout.)"""
    scores = [r.score for r in rows if r.score is not None and r.kind == "rate"]
    if design in ("mushra", "acr") and len(scores) >= LEAST_CHOICES and len(set(scores)) == 1:
        return "every sound got the same score"
    return None


def _button(study: Mapping[str, Any], rows: Sequence[Row]) -> str | None:
    """Nearly always the first button, or the second, of a pair."""
    buttons = Counter(pressed(study, rows))
    if not buttons:
        return None
    (button, most), count = buttons.most_common(1)[0], buttons.total()
    if 2 * binomial_p(most, count) < ONE_BUTTON_P:
        return f"answered {'AB'[button]} in {most} of {count} questions, whose order is random"
    return None


def pressed(study: Mapping[str, Any], rows: Sequence[Row]) -> list[int]:
    """Which of a pair's buttons a listener pressed: 0 for A, 1 for B; ties are left out.

    Empty where the rows are not in the order that the listener's name gives, as after renaming.
    """
    if study["design"] not in ("ab", "abx"):
        return []
    order, found = order_of(study, rows[0].listener), []
    for row in rows:
        place = order[row.position] if row.position < len(order) else None
        if place is None or study["trials"][place["trial"]]["id"] != row.trial:
            return []
        if study["design"] == "abx":
            found.append(place["x"] if row.correct else 1 - place["x"])
            continue
        systems = [study["trials"][place["trial"]]["stimuli"][s]["system"] for s in place["sounds"]]
        if row.choice in systems:
            found.append(systems.index(row.choice))
    return found


def _hurried(study: Mapping[str, Any], rows: Sequence[Row]) -> str | None:
    """Answers as fast as the page allows; it wants each sound played for a moment."""
    least_s = {r.trial: least_seconds(study, r.trial) for r in rows}
    took = {r.trial: r.seconds / least_s[r.trial] for r in rows if r.seconds and least_s[r.trial]}
    if len(took) >= LEAST_CHOICES and statistics.median(took.values()) < HURRIED:
        return "half of the answers came as fast as the page allows"
    return None


def least_seconds(study: Mapping[str, Any], trial: int) -> float:
    """The least time that the page asks for a trial: each sound for a moment; 0 if not known."""
    if study["design"] == "acr" or not 0 <= trial < len(study["trials"]):
        return 0.0
    sounds = len(study["trials"][trial]["stimuli"]) + (study["design"] == "abx")
    shortest_s = float(study.get("shortest_s", 0.0))
    return sounds * min(float(study.get("least_heard_s", 0.0)), 0.9 * shortest_s)
