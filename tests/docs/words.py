"""Phrases that read as translated or as riddles, and must not come back.

One list, in lower case. CONTRIBUTING.md says how to write instead.
"""

from __future__ import annotations

PHRASES = (
    " anew",
    "are heard in pieces",
    "as it was heard",
    "came with offset",
    "does not look for garbage",
    "doing again, to any recording",
    "finds settled dynamics",
    "garbage where there is none",
    "how far it is",
    "how long work says",
    "in other programs' words",
    "is nobody's wish",
    "let the plug-in that",
    "loose_njit",
    "nobody's wish",
    "part way is gone",
    "saying it again, and what is expected",
    "stands twice",
    "stand twice",
    "takes room from the sound",
    "tells nobody",
    "the guess is what errs",
    "the phase turns",
    "threads for mathematics",
    "turn no phase",
    "turn of phase",
    "turns no phase",
    "two fish of a czech game",
    "weighs two stories",
    "what a person may ask",
    "what an estimator hears",
    "what is what it hears",
    "what of ",
    "what sounds right",
    "told the seconds",
    "told the steps",
    "what the user may ask for",
    "where a range stands",
    "while they wait their turn",
)

STILL_THERE: dict[str, frozenset[str]] = {
    "docs/estimators.md": frozenset(
        {"saying it again, and what is expected", "the guess is what errs"}
    ),
    "docs/exports.md": frozenset({"the phase turns"}),
    "docs/presets.md": frozenset({"weighs two stories"}),
    "docs/studio.md": frozenset({" anew"}),
    "docs/training.md": frozenset({" anew", "turn no phase", "two fish of a czech game"}),
    "src/retone/exports/sox.py": frozenset({"the phase turns"}),
    "src/retone/lab/evaluate/result.py": frozenset({"turn no phase"}),
}
"""File -> phrases that wait to be rewritten. Only take entries out."""
