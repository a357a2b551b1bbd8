"""The page's settings, checked, and how an effect is described to a page.

The page is built from ``stages`` (parameters with name, unit, range and scale) and ``describe``
(curves, and the parameters that a curve's handles move). It knows no effect by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from retone.audio.meters.spectrum import log_frequencies
from retone.dsp.effect import Effect
from retone.dsp.param import ParamTable, Setting
from retone.effects import Chain, leaves
from retone.errors import SettingError
from retone.process.result import Decision, Options, effective_setting
from retone.report.collect import views
from retone.report.data import BandView, CurveView, ResponseView
from retone.report.format import frequency_of, heading
from retone.report.format import label as label_of
from retone.studio.intake import short
from retone.studio.limits import Refused
from retone.studio.session import Recording, Session

POINTS = 200
RANGES = (("Lows", 200.0), ("Mids", 2000.0), ("Highs", math.inf))
"""Groups of gains at frequencies, with the frequency in Hz that each stays below."""
LOWEST_DB = -80.0
"""Lowest input level of static curves, in dB."""


@dataclass(frozen=True)
class State:
    """The page's settings: an effect with values at full strength, locks, amount and levels.

    ``found`` is the decision that the page began with.
    """

    found: Decision
    setting: Mapping[str, float]
    locks: tuple[str, ...]
    amount: float
    loudness: str | float
    ceiling_dbtp: float | None

    @property
    def effect(self) -> Effect:
        return self.found.effect

    @property
    def decision(self) -> Decision:
        """The page's current settings as a decision."""
        setting = self.effect.params.setting(self.setting)
        return replace(
            self.found, setting=setting, target_lufs=self.target_lufs, gain_db=None, references=(),
            warnings=(),
        )  # fmt: skip

    @property
    def options(self) -> Options:
        return Options(
            amount=self.amount,
            locks={n: self.setting[n] for n in self.locks},
            loudness=self.loudness,
            true_peak_dbtp=self.ceiling_dbtp,
        )

    @property
    def target_lufs(self) -> float | None:
        """Loudness to reach at amount 1, None for no change."""
        if isinstance(self.loudness, float):
            return self.loudness
        return self.found.target_lufs if self.loudness == "match" else None

    def effective_setting(self) -> Setting:
        """The setting with ``amount`` and locks applied."""
        return effective_setting(self.decision, self.options)


def read_state(session: Session, body: Mapping[str, Any]) -> State:
    """The page's settings from JSON.

    Raises:
        Refused: they are not what a page sends, or the effect is no longer known.
        SettingError: a value is unknown, out of range or not a number.
    """
    found = session.decision(body.get("effect"))
    given, locks = body.get("setting"), body.get("locks", [])
    if not isinstance(given, dict) or not isinstance(locks, list):
        raise Refused(400, "The request holds no setting.")
    table: ParamTable = found.effect.params
    full = table.setting(given)
    for name in locks:
        table[str(name)]  # raises with the nearest names
    loudness: str | float = body.get("loudness", "match")
    if loudness not in ("match", "off"):
        loudness = _number(loudness, "loudness", -70.0, -5.0)
    ceiling = body.get("ceiling_dbtp")
    return State(
        found,
        {n: float(v[0]) for n, v in full.items()},
        tuple(str(n) for n in locks),
        _number(body.get("amount", 1.0), "amount", 0.0, 1.0),
        loudness,
        None if ceiling is None else _number(ceiling, "true peak", -60.0, 0.0),
    )


def _number(value: Any, what: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise SettingError(f"{what}: expected a number from {low:g} to {high:g}, got {value!r}.")
    return float(value)


def stages(effect: Effect) -> list[dict[str, Any]]:
    """The effect's members in order, with the parameters that the user may move."""
    found = []
    for path, member, _ in leaves(effect, effect.params.defaults(1)):
        prefix = f"{path}." if isinstance(effect, Chain) else ""
        rows = []
        for p in member.params:
            about = p.help.split(":")[0] if ":" in p.help else ""
            words = label_of(p)
            group = about if about and words.lower().startswith(about.lower()) else ""
            words = words[len(group) :].strip().capitalize() if group else words
            if at_hz := frequency_of(p):
                group = next(name for name, top_hz in RANGES if at_hz < top_hz)
            rows.append(
                {
                    "name": prefix + p.name,
                    "group": group,
                    "label": words,
                    "unit": p.unit,
                    "low": p.low,
                    "high": p.high,
                    "default": p.default,
                    "neutral": p.neutral,
                    "scale": p.scale,
                    "help": p.help,
                    "role": p.role,
                    "audible_when": [prefix + gate for gate in p.gates],
                }
            )
        found.append({"path": path, "title": heading(member.name), "params": rows})
    return found


def describe(state: State, sample_rate: int) -> dict[str, Any]:
    """Curves of a setting: responses with their handles, and compressors' static curves."""
    effect, setting = state.effect, state.effective_setting()
    frequency = log_frequencies(sample_rate, count=POINTS)
    found = views(effect, setting, sample_rate, frequency)
    return {
        "frequency_hz": short(frequency, 1),
        "responses": [
            _response(v, state, sample_rate)
            for v in found["responses"]
            if isinstance(v, ResponseView)
        ],
        "curves": [_curve(v) for v in found["curves"] if isinstance(v, CurveView)],
    }


def _curve(view: CurveView) -> dict[str, Any]:
    """Output for steady input levels, one point each decibel."""
    level = np.arange(LOWEST_DB, 1.0)
    return {
        "title": view.title if view.band is None else f"Band {view.band}",
        "css": "after" if view.band is None else f"b{(view.band - 1) % 6 + 1}",
        "input_db": short(level, 1),
        "output_db": short(np.interp(level, view.input_db, view.output_db)),
        "threshold_db": view.dynamics.threshold_db if view.dynamics and not view.band else None,
    }


def _response(view: ResponseView, state: State, sample_rate: int) -> dict[str, Any]:
    prefix = f"{view.name}." if isinstance(state.effect, Chain) else ""

    def band(b: BandView) -> dict[str, Any]:
        x, y, q = (
            prefix + b.moves[r] if r in b.moves else None for r in ("frequency", "gain", "q")
        )
        return {
            "label": b.label,
            "x": x, "y": y, "q": q,
            "frequency_hz": round(b.frequency_hz, 2),
            "gain_db": round(b.gain_db, 3),
            "full_gain_db": state.setting.get(y, 0.0) if y else 0.0,
            "response_db": short(b.response_db),
            "low_hz": round(b.low_hz, 1), "high_hz": round(b.high_hz, 1),
        }  # fmt: skip

    return {
        "name": view.name,
        "title": view.title,
        "about": view.about,
        "total_db": short(view.total_db),
        "bands": [band(b) for b in view.bands or _points(view.name, state, sample_rate)],
        "edges": [{"x": prefix + n, "hz": round(state.setting[prefix + n], 2)} for n in view.edges],
    }


def _points(path: str, state: State, sample_rate: int) -> tuple[BandView, ...]:
    """A member's gains at frequencies as handles on its curve, without curves of their own."""
    members = leaves(state.effect, state.effective_setting())
    table, values = next((m.params, own) for name, m, own in members if name == path)
    found = []
    for p in table:
        at_hz = frequency_of(p)
        if at_hz is None or at_hz >= sample_rate / 2:
            continue
        gain_db = float(values[p.name][0])
        low_hz, high_hz = at_hz * 2 ** (-1 / 6), min(at_hz * 2 ** (1 / 6), sample_rate / 2)
        no_curve, moves = np.zeros(0), {"gain": p.name}
        found.append(BandView(label_of(p), at_hz, gain_db, None, no_curve, low_hz, high_hz, moves))
    return tuple(found)


def spectrum_of(meter: Any, sample_rate: int, frequency: np.ndarray) -> list[float | None]:
    """A spectrum for the page; None above what the recording holds."""
    db = meter.result(frequency)
    db[(db < -150) | (frequency > 0.98 * sample_rate / 2)] = np.nan
    return short(db, 1)


def spectra_of(session: Session) -> dict[str, Any]:
    """Spectra of the recordings, at the input's frequencies, with their loudness.

    Several references are averaged at equal loudness, as in the report.
    """
    if session.input is None:
        return {}
    frequency = log_frequencies(session.input.sample_rate, count=POINTS)

    def one(r: Recording) -> tuple[list[float | None], float | None]:
        return spectrum_of(r.spectrum, r.sample_rate, frequency), r.levels["integrated_lufs"]

    spectrum, lufs = one(session.input)
    found: dict[str, Any] = {"before": {"db": spectrum, "lufs": lufs}}
    rows, loudness = [], []
    for reference in session.references:
        spectrum, lufs = one(reference)
        if lufs is not None:
            rows.append(np.array([np.nan if v is None else v - lufs for v in spectrum]))
            loudness.append(lufs)
    if rows:
        power = 10 ** (np.array(rows) / 10)
        known = np.isfinite(power).any(axis=0)
        mean = np.full(POINTS, np.nan)
        mean[known] = 10 * np.log10(np.nanmean(power[:, known], axis=0))
        level = float(np.mean(loudness))
        found["reference"] = {"db": short(mean + level, 1), "lufs": level}
    return found
