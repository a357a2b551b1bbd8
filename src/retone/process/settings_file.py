"""The settings file: how a recording was processed; readable, editable, exact when applied again.

Schema version 1. An object with these fields, in this order: ``retone_settings`` (the version),
``estimator``, ``strength`` (if it chose by one), ``amount``, ``setting`` (one parameter a line,
physical units), ``locks``, ``level_plan``, ``levels``, ``sources``, ``notes``, ``warnings``,
``sample_rate_hz``, ``effect`` (how the chain is built) and ``versions``. Numbers carry nine
significant digits.
"""

from __future__ import annotations

import functools
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path, PureWindowsPath
from typing import Any

from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.effects.spec import effect_from_spec, effect_to_spec
from retone.errors import DataError, SettingError, nearest, one_line
from retone.files.atomic import write_text_atomic
from retone.files.fields import MOST_NAME, Fields, number, parse, read_text, unicode_text, write

SCHEMA_VERSION = 1
LEVEL_ROLES = ("before", "after", "reference")
SOURCE_ROLES = ("input", "reference", "output")
MOST_SENTENCES, MOST_CHARACTERS = 256, 4000
MOST_SOURCES = 1024
LOUDEST_LUFS = 200.0
"""Target loudness is within +-200 LUFS, as the gain is within +-200 dB."""


@dataclass(frozen=True)
class Source:
    """One recording that was used; its folder is dropped, so that settings files can be shared.

    Args:
        role: ``"input"``, ``"reference"`` or ``"output"``.
        file: the file's name.
        sample_rate_hz, channels, duration_s: what the file holds.
        sha256: hash of the file's bytes, or None.
    """

    role: str
    file: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.role not in SOURCE_ROLES:
            raise SettingError(
                f"source role '{self.role}' is unknown.{nearest(self.role, SOURCE_ROLES)}"
            )
        object.__setattr__(self, "file", shown_name(self.file))
        object.__setattr__(self, "duration_s", round(float(self.duration_s), 3))


def shown_name(path: str) -> str:
    """A file's name without its folders, of at most 120 printable characters."""
    return one_line(unicode_text(PureWindowsPath(path).name or path))[:MOST_NAME]


@dataclass(frozen=True)
class LevelPlan:
    """Gain and limiter after the effect.

    Args:
        gain_db: the constant gain after the effect.
        target_lufs: target loudness, or None.
        ceiling_dbtp: the limiter's true-peak ceiling, or None without a limiter.
        limiter_most_db: the limiter's greatest reduction in dB (0 or more).
        limiter_active_percent: share of the time with more than 0.1 dB of reduction.
    """

    gain_db: float
    target_lufs: float | None = None
    ceiling_dbtp: float | None = None
    limiter_most_db: float = 0.0
    limiter_active_percent: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None:
                object.__setattr__(self, name, _digits(value, f"level_plan.{name}"))


@dataclass(frozen=True)
class SettingsFile:
    """The record of one match.

    Args:
        effect: the effect or chain that was rendered.
        setting: every parameter's value at full strength, by name, in physical units.
        sample_rate: in Hz, at which it was rendered; FIR filters belong to this rate.
        estimator: name of the estimator that chose the setting.
        strength: how much of the reference's sound the estimator matched, 0 (only its processing)
            to 1; None if it knows no strength.
        amount: how much of the setting is applied, 0..1 (see ``effective_setting``).
        locks: parameters that had to keep a value, and which; ``amount`` leaves them alone.
            What is rendered is always the value in ``setting``.
        level_plan: gain and limiter after the effect.
        levels: ``before``, ``after`` and ``reference`` -> measure -> value, such as
            ``loudness_lufs``; rounded to 0.01, None (null) where silence has none.
        sources: the recordings that were used.
        notes, warnings: sentences for the user.
        versions: package -> version; ``versions_now()`` fills it.

    Raises:
        SettingError: a parameter is missing, unknown, out of range or not finite.
    """

    effect: Effect
    setting: Mapping[str, float]
    sample_rate: int
    estimator: str
    amount: float = 1.0
    locks: Mapping[str, float] = field(default_factory=dict)
    level_plan: LevelPlan | None = None
    levels: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: versions_now())
    strength: float | None = None

    def __post_init__(self) -> None:
        table = self.effect.params
        for name in self.setting:
            table[name]  # raises with the nearest names
        for name in table.names:
            if name not in self.setting:
                raise SettingError(
                    f"setting: '{name}' is missing. Every parameter must be given; "
                    f"its default is {table[name].default:g}."
                )
        numbers = {n: _digits(self.setting[n], f"setting.{n}") for n in table.names}
        locks = {n: _digits(v, f"locks.{n}") for n, v in self.locks.items()}
        table.setting(numbers)
        table.setting(locks)
        amount = _digits(self.amount, "amount")
        if not 0 <= amount <= 1:
            raise SettingError(f"amount = {amount:g} is outside its range 0..1.")
        for role in self.levels:
            if role not in LEVEL_ROLES:
                raise SettingError(f"levels: '{role}' is unknown.{nearest(role, LEVEL_ROLES)}")
        levels = {
            role: {
                n: None if v is None or not math.isfinite(v) else round(float(v), 2)
                for n, v in self.levels[role].items()
            }
            for role in LEVEL_ROLES
            if role in self.levels
        }
        for name, value in (
            ("setting", numbers),
            ("locks", locks),
            ("amount", amount),
            ("levels", levels),
            ("sources", tuple(self.sources)),
            ("notes", tuple(self.notes)),
            ("warnings", tuple(self.warnings)),
            ("versions", dict(self.versions)),
        ):
            object.__setattr__(self, name, value)

    def effective_setting(self) -> Setting:
        """The setting as it is rendered: ``amount`` applied, locked parameters kept."""
        table = self.effect.params
        full = table.setting(self.setting)
        blended = table.blend(full, self.amount)
        return {n: full[n] if n in self.locks else value for n, value in blended.items()}

    def effect_at(self, sample_rate: float) -> Effect:
        """The effect for a recording at ``sample_rate`` Hz.

        Raises:
            SettingError: it holds a FIR filter that was made for another rate.
        """
        return effect_from_spec(effect_to_spec(self.effect, self.sample_rate), sample_rate)

    def to_json(self) -> str:
        """The file's text."""
        table = self.effect.params
        data: dict[str, Any] = {
            "retone_settings": SCHEMA_VERSION,
            "estimator": self.estimator,
            **({} if self.strength is None else {"strength": self.strength}),
            "amount": self.amount,
            "setting": {
                p.name: {
                    "value": self.setting[p.name],
                    "unit": p.unit,
                    "range": f"{p.low:g}..{p.high:g}",
                }
                for p in table
            },
            "locks": dict(self.locks),
        }
        if self.level_plan is not None:
            data["level_plan"] = asdict(self.level_plan)
        data |= {
            "levels": {role: dict(own) for role, own in self.levels.items()},
            "sources": [
                {n: v for n, v in asdict(s).items() if v is not None} for s in self.sources
            ],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "sample_rate_hz": self.sample_rate,
            "effect": effect_to_spec(self.effect, self.sample_rate),
            "versions": dict(self.versions),
        }
        return write(data) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "settings file") -> SettingsFile:
        """Read and check a settings file's text.

        A parameter may be an object (``value``, with ``unit`` and ``range`` as reminders;
        the range is not read) or a bare number.

        Args:
            text: the JSON text.
            where: the file's name, for messages.

        Raises:
            DataError: damaged JSON, unknown schema version, unknown or missing fields.
            SettingError: a parameter is missing, unknown, out of range or not finite.
        """
        f = Fields(parse(text, where), where)
        version = f.take("retone_settings", None)
        if version is None:
            raise DataError(f"{where}: this is not a retone settings file ('retone_settings' "
                            "is missing).")  # fmt: skip
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise DataError(
                f"{where}: settings version {version!r} is unknown; this retone reads version "
                f"{SCHEMA_VERSION}. Update retone, or make the file again."
            )
        sample_rate = f.number("sample_rate_hz", low=1, high=1e6, whole=True)
        effect = effect_from_spec(f.take("effect"), sample_rate, where=f"{where}.effect")
        setting = _read_setting(f.fields("setting"), effect)
        locks = f.fields("locks", {})
        plan = f.take("level_plan", None)
        levels = f.fields("levels", {})
        versions = f.fields("versions", {})
        found = {
            "estimator": f.name("estimator"),
            "strength": _or_none(f, "strength", low=0.0, high=1.0),
            "amount": f.number("amount", 1.0, low=0.0, high=1.0),
            "locks": {n: locks.number(n) for n in locks.names},
            "level_plan": None if plan is None else _read_plan(Fields(plan, f"{where}.level_plan")),
            "levels": {r: _read_levels(levels.fields(r)) for r in levels.names},
            "sources": tuple(
                _read_source(Fields(s, f"{where}.sources[{i}]"))
                for i, s in enumerate(f.items("sources", [], most=MOST_SOURCES))
            ),
            "notes": _sentences(f, "notes"),
            "warnings": _sentences(f, "warnings"),
            "versions": {n: versions.name(n) for n in versions.names},
        }
        f.done()
        try:
            return cls(effect=effect, setting=setting, sample_rate=sample_rate, **found)
        except SettingError as error:
            raise SettingError(f"{where}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write ``to_json`` to a file."""
        write_text_atomic(path, self.to_json(), force=True)

    @classmethod
    def read(cls, path: str | Path, where: str | None = None) -> SettingsFile:
        """Read a file; errors as in ``from_json``, and DataError if it cannot be opened."""
        text = read_text(path, "a settings file (JSON) that 'retone match' wrote")
        return cls.from_json(text, where or Path(path).name)


def versions_now() -> dict[str, str]:
    """Versions of retone, Python, torch and numpy, which determine the results."""
    import retone

    found = {"retone": retone.__version__, "python": platform.python_version()}
    return found | {name: _version(name) for name in ("torch", "numpy")}


_version = functools.cache(metadata.version)


def _digits(value: Any, where: str) -> float:
    """Nine significant digits, as the file holds them; refuses what is not a finite number."""
    try:
        as_float = float(value)
    except (TypeError, ValueError):
        raise SettingError(f"{where}: expected a number, got {value!r}.") from None
    if not math.isfinite(as_float):
        raise SettingError(f"{where}: expected a finite number, got {as_float}.")
    return float(f"{as_float:.9g}")


def _read_setting(f: Fields, effect: Effect) -> dict[str, float]:
    values = {}
    for name in f.names:
        entry, place = f.take(name), f"{f.where}.{name}"
        try:
            param = effect.params[name]
        except SettingError as error:
            raise SettingError(f"{f.where}: {error}") from None
        if isinstance(entry, dict):
            own = Fields(entry, place)
            entry = own.take("value")
            unit = own.text("unit", param.unit)
            own.take("range", None)
            own.done()
            if unit != param.unit:
                raise SettingError(
                    f"{place}: the unit is '{param.unit}', got '{unit}'. Convert the value."
                )
        values[name] = number(entry, place)
    return values


def _read_plan(f: Fields) -> LevelPlan:
    plan = LevelPlan(
        gain_db=f.number("gain_db", low=-200.0, high=200.0),
        target_lufs=_or_none(f, "target_lufs", low=-LOUDEST_LUFS, high=LOUDEST_LUFS),
        ceiling_dbtp=_or_none(f, "ceiling_dbtp", low=-60.0, high=0.0),
        limiter_most_db=f.number("limiter_most_db", 0.0, low=0.0),
        limiter_active_percent=f.number("limiter_active_percent", 0.0, low=0.0, high=100.0),
    )
    f.done()
    return plan


def _or_none(
    f: Fields, name: str, *, low: float = -math.inf, high: float = math.inf
) -> float | None:
    value = f.take(name, None)
    return None if value is None else number(value, f"{f.where}.{name}", low=low, high=high)


def _read_levels(f: Fields) -> dict[str, float | None]:
    return {name: _or_none(f, name) for name in f.names}


def _read_source(f: Fields) -> Source:
    source = Source(
        role=f.choice("role", SOURCE_ROLES),
        file=f.text("file"),
        sample_rate_hz=f.number("sample_rate_hz", low=1, high=1e6, whole=True),
        channels=f.number("channels", low=1, high=64, whole=True),
        duration_s=f.number("duration_s", low=0.0, high=1e9),
        sha256=f.name("sha256", None),
    )
    f.done()
    return source


def _sentences(f: Fields, name: str) -> tuple[str, ...]:
    items = f.items(name, [], most=MOST_SENTENCES)
    for i, item in enumerate(items):
        if not isinstance(item, str) or len(item) > MOST_CHARACTERS:
            raise DataError(
                f"{f.where}.{name}[{i}]: expected text of at most {MOST_CHARACTERS} characters."
            )
    return tuple(items)
