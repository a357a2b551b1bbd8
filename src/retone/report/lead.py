"""The first paragraph of a report, for readers who know nothing of signal processing.

Four answers: what changed, why, what was left alone, and what to do if it is too much. Whatever
they say was measured, or follows from what the effect can do.
"""

from __future__ import annotations

import numpy as np

from retone.effects import leaves
from retone.report.data import ReportData
from retone.report.format import hertz, plain
from retone.report.summary import (
    ToneChange,
    audible,
    dynamics_change_db,
    loudness_change_db,
    loudness_lufs,
    round_hz,
    tone_changes,
    usual_levels_db,
)

_DEGREES = ((2.5, "slightly"), (5.0, "clearly"), (float("inf"), "much"))


def lead(data: ReportData) -> list[tuple[str, str]]:
    """(question, answer) pairs, in order; empty if nothing was measured."""
    tones = tone_changes(data)
    measured = {"before", "after"} <= set(data.spectra) or data.settings.levels
    if not measured:
        return []
    dynamics, louder = dynamics_change_db(data), loudness_change_db(data)
    found = [("What changed", _changed(tones, *dynamics, louder))]
    for question, answer in (
        ("Why", _why(data, tones, any(dynamics), louder)),
        ("What was left alone", _left(data, tones, any(dynamics), louder)),
        ("If it is too much", _less(data)),
    ):
        if answer:
            found.append((question, answer))
    return found


def _changed(tones: list[ToneChange], pauses: float, spread: float, louder: float) -> str:
    parts = [_tone(t) for t in tones]
    if pauses:
        way = "quieter" if pauses > 0 else "louder"
        parts.append(f"pauses are {_degree(pauses)} {way} (by about {_whole(pauses)} dB)")
    if spread:
        way = "closer together" if spread < 0 else "further apart"
        parts.append(f"loud and quiet moments are {way} (by about {_whole(spread)} dB)")
    if louder:
        way = "louder" if louder > 0 else "quieter"
        parts.append(f"it is {_degree(louder)} {way} overall (by {_whole(louder)} dB)")
    if not parts:
        return "Nothing that you would notice."
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _tone(t: ToneChange) -> str:
    more = t.change_db > 0
    by = f"(by about {_whole(t.change_db)} dB)"
    way = f"{_degree(t.change_db)} {'stronger' if more else 'weaker'}"
    if t.low_hz is not None and t.high_hz is None:
        return f"the treble, everything above {round_hz(t.low_hz)}, is {way} {by}"
    if t.low_hz is None and t.high_hz is not None:
        return f"the bass, everything below {round_hz(t.high_hz)}, is {way} {by}"
    if t.low_hz is None or t.high_hz is None:
        return f"everything is {way} {by}"
    middle = (t.low_hz * t.high_hz) ** 0.5
    name = "low range" if middle < 300 else "middle range" if middle < 3000 else "upper range"
    ends = round_hz(t.low_hz), round_hz(t.high_hz)
    where = f"around {ends[0]}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return f"the {name}, {where}, is {way} {by}"


def _why(data: ReportData, tones: list[ToneChange], dynamics: bool, louder: float) -> str:
    """What the change follows: the reference as measured, or else who chose the settings."""
    s = data.settings
    names = [x.file for x in s.sources if x.role == "reference"]
    if not names:
        return f"The settings were chosen by: {s.estimator}."
    who = names[0] if len(names) == 1 else f"The average of {len(names)} references"
    parts = []
    known = data.spectra.get("reference")
    if known is not None and tones:
        before = data.spectra["before"] + usual_levels_db(data)["before"]
    for t in tones if known is not None else ():
        gap = known[t.where] - before[t.where]  # type: ignore[index]
        gap = gap[np.isfinite(gap)]
        if gap.size and np.sign(gap.mean()) == np.sign(t.change_db) and abs(gap.mean()) >= 1:
            more = "stronger" if t.change_db > 0 else "weaker"
            parts.append(f"{_whole(float(gap.mean()))} dB {more} {_place(t)}")
    mine, other = (loudness_lufs(data, role) for role in ("before", "reference"))
    if louder and mine is not None and other is not None and (other - mine) * louder > 0:
        way = "louder" if other > mine else "quieter"
        parts.append(f"{_whole(other - mine)} dB {way} overall")
    text = f"{who} is {_listed(parts)} than your recording." if parts else f"{who} was followed."
    if dynamics:
        text += " The dynamics follow the reference too."
    if s.strength is not None:
        text += f" The strength was {plain(100 * s.strength, 0)} %."
    return text


def _place(t: ToneChange) -> str:
    if t.low_hz is not None and t.high_hz is None:
        return f"above {round_hz(t.low_hz)}"
    if t.low_hz is None and t.high_hz is not None:
        return f"below {round_hz(t.high_hz)}"
    if t.low_hz is None or t.high_hz is None:
        return "everywhere"
    ends = round_hz(t.low_hz), round_hz(t.high_hz)
    return f"around {ends[0]}" if ends[0] == ends[1] else f"from {ends[0]} to {ends[1]}"


def _left(data: ReportData, tones: list[ToneChange], dynamics: bool, louder: float) -> str:
    parts = []
    if _only_plain(data):
        parts.append(
            "Nothing was cut, moved, added or made up: the words, the notes, their timing and "
            "pitch are those of your recording"
        )
    same = [
        name
        for name, changed in (("tone", tones), ("dynamics", dynamics), ("loudness", louder))
        if not changed
    ]
    if same and len(same) < 3:
        parts.append(f"The {_listed(same)} did not change noticeably")
    empty = _empty_above(data)
    if empty is not None:
        parts.append(f"Above {hertz(empty)} your recording holds next to nothing")
    if data.settings.locks:
        count = len(data.settings.locks)
        parts.append(f"{count} setting{'s' if count > 1 else ''} that you locked kept the value")
    return ". ".join(parts) + "." if parts else ""


def _less(data: ReportData) -> str:
    s = data.settings
    if not any(x.role == "reference" for x in s.sources) and s.strength is None:
        return "Apply the settings again with an amount of 50 %, or lock what should not move."
    if s.amount > 0.5:
        half = plain(50 * s.amount, 0)
        text = f"Apply the settings again with half the amount ({half} %)"
    else:
        text = "Apply the settings again with a smaller amount"
    if s.strength:
        lower = plain(100 * max(s.strength - 0.4, 0.0), 0)
        text += f", or match again with a strength of {lower} % to follow less of it"
    return text + ". If only the loudness disturbs you, give a target loudness of your own."


def _only_plain(data: ReportData) -> bool:
    """Whether every effect is retone's own, which only sets gains; a plug-in may do anything."""
    s = data.settings
    members = (m for _, m, _ in leaves(s.effect, s.effective_setting()))
    return all(type(m).__module__.startswith("retone.") and m.kind != "plugin" for m in members)


def _empty_above(data: ReportData) -> float | None:
    """The frequency above which the recording holds nothing audible, if below 14 kHz."""
    before = data.spectra.get("before")
    if before is None:
        return None
    where = np.flatnonzero(audible(data.frequency_hz, before))
    if not where.size:
        return None
    top = float(data.frequency_hz[where[-1]])
    return top if top < min(14000.0, 0.9 * data.frequency_hz[-1]) else None


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _degree(change_db: float) -> str:
    return next(word for most, word in _DEGREES if abs(change_db) < most)


def _whole(change_db: float) -> int:
    return max(1, round(abs(change_db)))
