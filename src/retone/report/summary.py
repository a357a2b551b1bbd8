"""What was done, in words: first what a listener would notice, then what each effect does.

Tone is the change of the average spectrum at equal loudness, averaged over an octave, where the
recording is audible: its A-weighted level is within 45 dB of that of the strongest
band. Moments that hold more of a band than all others, such as a click, count no more than the
next. Dynamics are the change in the spread of the 50 ms levels, loudness is that of ITU-R BS.1770,
without its gate at -70 LUFS for what is quiet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from retone.dsp.short_levels import (
    DIGITAL_SILENCE_DB,
    DYNAMICS_PERCENTILES,
    LIVE_DB,
    percentiles_db,
)
from retone.report.data import ReportData, ResponseView
from retone.report.format import decibels, hertz, plain

LEAST_TONE_DB = 1.5
LEAST_SPREAD_DB, PAUSES_SHARE = 1.0, 0.25
LEAST_FRAMES = 10
"""Moments of 50 ms that must sound before and after; fewer, as of a click, have no dynamics."""
LEAST_LOUDNESS_DB = 0.5
RARE = 100
"""One moment of so many may stand out without being what the recording sounds like."""
ALL_DB = 60.0
"""Moments this far above all others together, as a click in digital silence, are the recording."""
_HEARD_DB, _FULLY_DB = 45.0, 20.0
_NARROWEST = math.sqrt(2)  # of a region that is named, as a ratio of its ends
_HEARD_HZ = (30.0, 16000.0)
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_MIDDLE = ((200.0, "more bass", "less bass"), (900.0, "warmer", "leaner"),
           (5000.0, "more present", "less present"), (math.inf, "crisper", "softer"))  # fmt: skip


@dataclass(frozen=True)
class ToneChange:
    """A region of the spectrum that changed, by ``change_db`` on average.

    ``low_hz`` is None where it begins at the lowest audible frequency, ``high_hz`` where it ends at
    the highest. ``text`` says it in words, ``where`` [F] marks it.
    """

    change_db: float
    low_hz: float | None
    high_hz: float | None
    text: str
    where: np.ndarray


def summary(data: ReportData) -> str:
    """What one notices, and what was done to get there."""
    return " ".join(x for x in (noticed(data), _done(data)) if x)


def noticed(data: ReportData) -> str:
    """One sentence: tone, dynamics, loudness; nothing if the recording was not measured."""
    before, after = (data.settings.levels.get(role, {}) for role in ("before", "after"))
    known = {"before", "after"} <= set(data.spectra) or "integrated_lufs" in after
    if not known:
        return ""
    parts = [t.text for t in tone_changes(data)]
    pauses, spread = dynamics_change_db(data)
    if pauses:
        parts.append(f"pauses {'quieter' if pauses > 0 else 'louder'} by {_whole(pauses)}")
    if spread:
        parts.append(f"{'livelier' if spread > 0 else 'more even'} by {_whole(spread)}")
    louder = loudness_change_db(data)
    if louder:
        parts.append(f"{_whole(louder)} {'louder' if louder > 0 else 'quieter'}")
    text = ", ".join(parts) or "no audible change"
    return text[:1].upper() + text[1:] + "."


def loudness_change_db(data: ReportData) -> float:
    """The change of the integrated loudness in dB; 0 if it is not known or not noticed."""
    before, after = (loudness_lufs(data, role) for role in ("before", "after"))
    if before is None or after is None or abs(after - before) < LEAST_LOUDNESS_DB:
        return 0.0
    return after - before


def loudness_lufs(data: ReportData, role: str) -> float | None:
    """The integrated loudness of a role in LUFS, however quiet it is; None if it is not known."""
    known = data.lufs.get(role)
    return data.settings.levels.get(role, {}).get("integrated_lufs") if known is None else known


def audible(frequency_hz: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Bands [F] in which a spectrum is audible."""
    inside = (frequency_hz >= _HEARD_HZ[0]) & (frequency_hz <= _HEARD_HZ[1]) & np.isfinite(level_db)
    weighted = np.where(inside, level_db + a_weighting_db(frequency_hz), -np.inf)
    most = weighted.max(initial=-np.inf)
    return inside & (weighted >= most - _HEARD_DB) & np.isfinite(most)


def a_weighting_db(frequency_hz: np.ndarray) -> np.ndarray:
    """The A-weighting of IEC 61672-1 in dB, 0 at 1 kHz."""
    f2 = np.asarray(frequency_hz, dtype=np.float64) ** 2
    poles = (f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2)
    return np.asarray(20 * np.log10(12194.0**2 * f2**2 / poles) + 2.0)


def tone_changes(data: ReportData) -> list[ToneChange]:
    """At most two regions of the spectrum, the stronger first."""
    f = data.frequency_hz
    if not {"before", "after"} <= set(data.spectra):
        return []
    before = data.spectra["before"]
    known = audible(f, before) & np.isfinite(data.spectra["after"])
    if known.sum() < 3:
        return []
    usual_db = usual_levels_db(data)
    before = before + usual_db["before"]
    f = f[known]
    change = octaves(f, (data.spectra["after"] + usual_db["after"] - before)[known])
    level_db = before[known] + a_weighting_db(f)
    # A change 45 dB below the strongest band is not noticed, one 20 dB above that fully.
    weight = np.clip((level_db - level_db.max() + _HEARD_DB) / _FULLY_DB, 0, 1)
    found: list[ToneChange] = []
    index = np.flatnonzero(known)
    left = change * weight
    while len(found) < 2:
        top = int(np.abs(left).argmax())
        peak = float(change[top])
        if abs(left[top]) < max(LEAST_TONE_DB, 0.4 * abs(found[0].change_db) if found else 0.0):
            break
        sign = np.sign(peak)
        near = _run(sign * change >= max(abs(peak) / 2, LEAST_TONE_DB / 2), top)
        mean = float(change[near].mean())
        wide = f[near.stop - 1] / f[near.start] >= _NARROWEST
        if wide and abs(mean) >= LEAST_TONE_DB:
            where = np.zeros(known.size, bool)
            where[index[near]] = True
            low = None if near.start == 0 else float(f[near.start])
            high = None if near.stop == len(f) else float(f[near.stop - 1])
            found.append(ToneChange(mean, low, high, _region(f, near, mean), where))
        left[_run(sign * change > 0, top)] = 0.0
    return found


def usual_levels_db(data: ReportData) -> dict[str, np.ndarray]:
    """What to add to the spectra of ``before`` and ``after`` [F] so that no moment outweighs all.

    In each band of the spectrograms the loudest hundredth of the moments before, at least one,
    counts as much as the next loudest one; the same moments after count as much less. Nothing is
    added where hardly anything else sounds.
    """
    pictures = [data.spectrograms.get(role) for role in ("before", "after")]
    none = np.zeros(data.frequency_hz.size)
    before, after = pictures
    if before is None or after is None or before.level_db.shape != after.level_db.shape:
        return {"before": none, "after": none}
    count = before.level_db.shape[1]
    rank = max(1, count // RARE)
    if count <= rank:
        return {"before": none, "after": none}
    next_db = np.partition(before.level_db, -1 - rank, axis=1)[:, -1 - rank][:, None]
    less_db = np.minimum(next_db - before.level_db, 0.0)
    middle_hz = np.sqrt(before.frequency_hz[1:] * before.frequency_hz[:-1])
    found = {}
    for role, level_db in (("before", before.level_db), ("after", after.level_db)):
        whole, usual = (np.sum(10 ** (x / 10), axis=1) for x in (level_db, level_db + less_db))
        if role == "before" and usual.sum() < whole.sum() * 10 ** (-ALL_DB / 10):
            return {"before": none, "after": none}
        found[role] = np.interp(data.frequency_hz, middle_hz, 10 * np.log10(usual / whole))
    return found


def octaves(f: np.ndarray, change_db: np.ndarray) -> np.ndarray:
    """Averages over the octave about each frequency, as far as it is known."""
    low, high = (np.searchsorted(f, f * 2**step) for step in (-0.5, 0.5))
    total = np.concatenate([[0.0], np.cumsum(change_db)])
    return np.asarray((total[high] - total[low]) / np.maximum(high - low, 1))


def _run(where: np.ndarray, at: int) -> slice:
    """The stretch of true values about an index."""
    outside = np.flatnonzero(~where)
    right = np.searchsorted(outside, at)
    start = int(outside[right - 1]) + 1 if right else 0
    return slice(start, int(outside[right]) if right < len(outside) else len(where))


def _region(f: np.ndarray, near: slice, change_db: float) -> str:
    low, high = float(f[near.start]), float(f[near.stop - 1])
    more = change_db > 0
    by = f" by {_whole(change_db)}"
    if near.stop == len(f) and near.start > 0:
        return f"{'brighter' if more else 'darker'} above {round_hz(low)}{by}"
    if near.start == 0 and near.stop < len(f):
        return f"{'fuller' if more else 'thinner'} below {round_hz(high)}{by}"
    if near.start == 0:
        return f"{'more' if more else 'less'} of everything{by}"
    words = next(w for w in _MIDDLE if math.sqrt(low * high) < w[0])
    ends = round_hz(low), round_hz(high)
    where = f"around {ends[0]}" if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"
    return f"{words[1] if more else words[2]} {where}{by}"


def dynamics_change_db(data: ReportData) -> tuple[float, float]:
    """What the dynamics changed in dB: how much quieter pauses are, and the spread of short levels.

    The spread is that of ``retone.dsp.short_levels.dynamics_db``, so it has the sign of its change.
    Where it grew by quieter pauses alone, they are told instead. So they are where it changed only
    because pauses left the levels that it counts, or came among them: they are louder then, which
    is negative. 0 is what is not noticed.
    """
    below, above = _spread_changes_db(data)
    if abs(below + above) >= LEAST_SPREAD_DB and (moved := _pauses_fall_db(data, below + above)):
        return moved, 0.0
    pauses = below if below >= LEAST_SPREAD_DB and above < PAUSES_SHARE * below else 0.0
    spread = below + above
    if abs(spread) < LEAST_SPREAD_DB or (pauses and spread > 0):
        spread = 0.0
    return pauses, spread


def _spread_changes_db(data: ReportData) -> tuple[float, float]:
    """That change below and above the median level."""
    active = [d for d in data.reductions if d.envelope.low.size and d.envelope.low.min() < -0.5]
    levels = [data.short_db.get(role, np.zeros(0)) for role in ("before", "after")]
    live = min(np.count_nonzero(x > x.max(initial=-np.inf) - LIVE_DB) for x in levels)
    if not active or live < LEAST_FRAMES:
        return 0.0, 0.0
    low, high = DYNAMICS_PERCENTILES
    spreads = [np.diff(percentiles_db(x[None], (low, 50.0, high))[:, 0]) for x in levels]
    below, above = (float(v) for v in spreads[1] - spreads[0])
    return below, above


def _pauses_fall_db(data: ReportData, spread_db: float) -> float:
    """How far the moments that left the counted levels fell against the loud ones, in dB, or those
    that came among them, negative; 0 if the spread of the same moments changed as that of all."""
    before, after = (data.short_db[role] for role in ("before", "after"))
    count = min(before.size, after.size)
    before, after = (np.maximum(x[:count], x.max() - DIGITAL_SILENCE_DB) for x in (before, after))
    own, other = (x > x.max() - LIVE_DB for x in (before, after))
    same = [np.diff(np.percentile(x[own], DYNAMICS_PERCENTILES))[0] for x in (before, after)]
    if (same[1] - same[0]) * spread_db > 0 or not (own != other).any():
        return 0.0
    loud = before >= np.percentile(before[own], DYNAMICS_PERCENTILES[1])
    fall = before - after
    fall_db = float(np.median(fall[own != other]) - np.median(fall[loud]))
    return fall_db if fall_db * spread_db < 0 else 0.0


def _whole(change_db: float) -> str:
    return f"{max(1, round(abs(change_db)))} dB"


def round_hz(hz: float) -> str:
    """The nearest frequency that people name."""
    ten = 10.0 ** math.floor(math.log10(hz))
    return hertz(ten * min(_ROUND, key=lambda r: abs(math.log(r * ten / hz))))


def _done(data: ReportData) -> str:
    """What each effect, the gain and the limiter did."""
    parts = [_response(data, r) for r in data.responses]
    parts += _reductions(data)
    plan = data.settings.level_plan
    if plan is not None:
        text = f"the final gain is {decibels(plan.gain_db, signed=True)}"
        if plan.ceiling_dbtp is not None and plan.limiter_most_db >= 0.05:
            text += (
                f", and a limiter holds peaks at {plain(plan.ceiling_dbtp, 1)} dBTP (at most "
                f"{decibels(plan.limiter_most_db)}, {plain(plan.limiter_active_percent, 1)} % "
                "of the time)"
            )
        parts.append(text)
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def _response(data: ReportData, r: ResponseView) -> str:
    """The largest gain of a filter where the recording holds something."""
    f = data.frequency_hz
    where = audible(f, data.spectra.get("before", np.zeros(f.size)))
    if not where.any():
        where = (f >= _HEARD_HZ[0]) & (f <= _HEARD_HZ[1])
    gain_db = np.where(where, r.total_db, 0.0)
    at = int(np.abs(gain_db).argmax())
    if abs(gain_db[at]) < 0.1:
        return f"{r.title} does not change the spectrum"
    return (
        f"{r.title} changes the spectrum by up to "
        f"{decibels(float(gain_db[at]), signed=True)} (at {hertz(float(f[at]))})"
    )


def _reductions(data: ReportData) -> list[str]:
    shown = [d for d in data.reductions if d.envelope.low.size]
    if not shown:
        return []
    if len(shown) == 1:
        deepest, name = shown[0], shown[0].title
    else:
        deepest = min(shown, key=lambda d: float(d.envelope.low.min()))
        name = deepest.title.partition(",")[0] if deepest.css != "after" else deepest.title
    least = -float(deepest.envelope.low.min())
    if least < 0.05:
        return [
            ("no compressor is active" if len(shown) > 1 else f"{name} is not active")
            + " on this recording"
        ]
    where = "" if len(shown) == 1 else ", more than any other"
    return [f"{name} lowers the level by up to {decibels(least)}{where}"]
