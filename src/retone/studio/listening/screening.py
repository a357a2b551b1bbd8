"""Which listeners to leave out: BS.1534 post-screening, attention checks, constant answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retone.studio.listening.results import Row

REFERENCE_LEAST, ANCHOR_MOST, SHARE = 90.0, 90.0, 0.15
"""BS.1534-3, 4.1.2: leave out whoever rates the hidden reference below 90 for more than 15 % of the
items, or the mid anchor (7 kHz) above 90 for more than 15 %."""
MID_ANCHOR = "anchor70"
CHECKS_LEAST = 0.75
"""Least share of attention checks that must be right."""
LEAST_CHOICES = 6
"""From so many answers on, always the same one is no judgement."""


def screened(design: str, rows: Sequence[Row]) -> dict[str, str]:
    """Listener -> why they are left out.

    Args:
        design: of the test.
        rows: all answers.
    """
    found = {}
    for listener, own in by_listener(rows).items():
        reasons = (_checks(own), *_references(design, own), _same(design, own))
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
