"""Parameters of effects: one declarative table, and everything that follows from it.

The table is the only place where a range is defined. Sampling, sliders, locks, preset checks,
the width of a network's output and the documentation are derived from it. What a parameter means
to the rest of the code is its ``role``, never its name.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from retone.errors import SettingError

Setting = dict[str, Tensor]
"""Parameter values in physical units: name -> tensor [B]."""

Scale = Literal["linear", "log", "slope"]
Role = Literal["threshold", "ratio", "knee", "makeup", "gain", "frequency", "q", "time", "mix", ""]
"""What a parameter does.

``makeup`` is a gain of the whole signal; ``gain`` is a gain of one band, which its own
``frequency`` and ``q`` go with; ``time`` is an attack or release; ``""`` is anything else.
"""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its name (unit included), range, default and scale.

    Args:
        name: shown to users, with the unit as suffix (``threshold_db``).
        unit: ``"dB"``, ``"Hz"``, ``"ms"``, ``":1"`` or ``""``.
        low, high: range in physical units, independent of the sample rate.
        default: initial value.
        scale: how a slider and the unit interval map to the range: ``"linear"``, ``"log"``, or
            ``"slope"`` (linear in ``1 - 1/value``, for ratios).
        help: one sentence for users.
        neutral: the value at which the parameter has no effect, if it has one; ``amount``
            moves the parameter between this and its set value.
        audible_when: name of the parameter that must be off its neutral value for this one to
            be audible (a band's frequency needs its gain), or several, of which one must be.
        role: what the parameter does (see ``Role``).
        level_relative: whether the value is a level of the input in dBFS, so that it moves with
            the input's gain, as thresholds do.
    """

    name: str
    unit: str
    low: float
    high: float
    default: float
    scale: Scale
    help: str
    neutral: float | None = None
    audible_when: str | tuple[str, ...] | None = None
    role: Role = ""
    level_relative: bool = False

    def __post_init__(self) -> None:
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not (finite and self.low <= self.default <= self.high and self.low < self.high):
            raise SettingError(
                f"{self.name}: expected finite numbers with low <= default <= high, got "
                f"{self.low}, {self.default}, {self.high}."
            )
        if self.scale in ("log", "slope") and self.low <= 0:
            raise SettingError(f"{self.name}: a {self.scale} scale needs low > 0, got {self.low}.")

    @property
    def gates(self) -> tuple[str, ...]:
        """The names in ``audible_when``."""
        if isinstance(self.audible_when, tuple):
            return self.audible_when
        return (self.audible_when,) if self.audible_when else ()

    def to_physical(self, unit: Tensor) -> Tensor:
        """Unit interval [0, 1] to physical units."""
        if self.scale == "log":
            return self.low * torch.exp(unit * math.log(self.high / self.low))
        if self.scale == "slope":
            low, high = 1 - 1 / self.low, 1 - 1 / self.high
            return 1 / (1 - (low + unit * (high - low)))
        return self.low + unit * (self.high - self.low)

    def to_unit(self, value: Tensor) -> Tensor:
        """Physical units to the unit interval; values outside the range land outside it."""
        if self.scale == "log":
            return torch.log(value / self.low) / math.log(self.high / self.low)
        if self.scale == "slope":
            low, high = 1 - 1 / self.low, 1 - 1 / self.high
            return ((1 - 1 / value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def tidy(self, value: float) -> float:
        """A value rounded to the digits an engineer would write; see ``tidy_setting``."""
        if self.unit == "dB":
            rounded = round(value, 2)
        else:
            digits = 4 if self.unit in ("Hz", ":1") else 3
            size = math.floor(math.log10(abs(value))) if value else 0
            rounded = round(value, digits - 1 - size)
        return min(max(rounded, self.low), self.high)

    def blend(self, value: Tensor, amount: float) -> Tensor:
        """Move from neutral (amount 0) to the value (amount 1); unchanged without a neutral.

        Ratios move linearly in slope ``1 - 1/ratio``, everything else in its own unit.
        """
        if self.neutral is None:
            return value
        if self.scale == "slope":
            slope = amount * (1 - 1 / value) + (1 - amount) * (1 - 1 / self.neutral)
            return 1 / (1 - slope)
        return amount * value + (1 - amount) * self.neutral


@dataclass(frozen=True)
class ParamTable:
    """An ordered set of parameters; iterating gives them in the order of the unit vector."""

    params: tuple[Param, ...]

    def __post_init__(self) -> None:
        names = [p.name for p in self.params]
        if len(set(names)) < len(names):
            twice = {n for n in names if names.count(n) > 1}
            raise SettingError(f"parameter names must differ, but {sorted(twice)} appear twice.")

    def __iter__(self) -> Iterator[Param]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, name: str) -> Param:
        for p in self.params:
            if p.name == name:
                return p
        near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.4)
        hint = (
            f" Did you mean {' or '.join(near)}?" if near else f" Known: {', '.join(self.names)}."
        )
        raise SettingError(f"no parameter is called '{name}'.{hint}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.params)

    @functools.cached_property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest values [P, 1], a rounding error of float32 wider than the ranges."""
        rows = torch.tensor([[p.low, p.high] for p in self.params], dtype=torch.float64)
        slack = 1e-6 * rows.abs().amax(1, keepdim=True)
        return rows[:, :1] - slack, rows[:, 1:] + slack

    def with_role(self, *roles: Role) -> tuple[str, ...]:
        """Names of the parameters with one of these roles, in order."""
        return tuple(p.name for p in self.params if p.role in roles)

    def prefixed(self, prefix: str) -> ParamTable:
        """The same table with dotted names, for use inside a chain."""
        return ParamTable(
            tuple(
                replace(
                    p,
                    name=f"{prefix}.{p.name}",
                    audible_when=tuple(f"{prefix}.{gate}" for gate in p.gates) or None,
                )
                for p in self.params
            )
        )

    def to_physical(self, unit: Tensor) -> Setting:
        """Unit vectors [B, P] in [0, 1] to a setting."""
        if unit.ndim != 2 or unit.shape[1] != len(self):
            raise SettingError(
                f"expected unit parameters [B, {len(self)}], got {list(unit.shape)}."
            )
        return {p.name: p.to_physical(unit[:, i]) for i, p in enumerate(self.params)}

    def to_unit(self, setting: Mapping[str, Tensor]) -> Tensor:
        """A setting to unit vectors [B, P]."""
        return torch.stack([p.to_unit(setting[p.name]) for p in self.params], dim=1)

    def defaults(self, batch: int, dtype: torch.dtype = torch.float64) -> Setting:
        """Every parameter at its default, as a setting for ``batch`` items."""
        return {p.name: torch.full((batch,), p.default, dtype=dtype) for p in self.params}

    def neutral(self, batch: int, dtype: torch.dtype = torch.float64) -> Setting:
        """Every parameter at its neutral value, or at its default if it has none."""
        return {
            p.name: torch.full((batch,), p.default if p.neutral is None else p.neutral, dtype=dtype)
            for p in self.params
        }

    def sample(self, batch: int, generator: torch.Generator) -> Setting:
        """Independent uniform draws on each parameter's own scale."""
        unit = torch.rand(batch, len(self), generator=generator, dtype=torch.float64)
        return self.to_physical(unit)

    def setting(self, values: Mapping[str, float], batch: int = 1) -> Setting:
        """A checked setting from plain numbers; parameters not named keep their default.

        Raises:
            SettingError: for an unknown name, a value out of range or not a finite number.
        """
        full = self.defaults(batch)
        for name, value in values.items():
            param = self[name]
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise SettingError(f"{name}: expected a number, got {value!r}.") from None
            slack = 1e-6 * (param.high - param.low)
            if not param.low - slack <= number <= param.high + slack:
                raise SettingError(
                    f"{name} = {number:g} is outside its range "
                    f"{param.low:g}..{param.high:g} {param.unit}".rstrip()
                    + "."
                )
            full[name] = torch.full((batch,), number, dtype=torch.float64)
        return full

    def blend(self, setting: Mapping[str, Tensor], amount: float) -> Setting:
        """A setting with its effect scaled: 0 does nothing, 1 is the setting, 0.5 is half way."""
        return {p.name: p.blend(setting[p.name], amount) for p in self.params}


def to_numbers(setting: Mapping[str, Tensor], item: int = 0) -> dict[str, float]:
    """One item of a setting as plain numbers, in the setting's order."""
    return {name: float(value[item]) for name, value in setting.items()}


def tidy_setting(table: ParamTable, setting: Mapping[str, Tensor]) -> Setting:
    """A setting rounded to the digits an engineer would write, still inside its ranges.

    Decibels get two decimals, everything else three or four significant digits; an equaliser's
    response moves by 0.02 dB at its worst frequency as a rule, by 0.16 dB at the extremes of the
    ranges. Rounding before rendering gives settings files with short numbers that replay exactly.
    """
    return {
        p.name: torch.tensor([p.tidy(float(v)) for v in setting[p.name]], dtype=torch.float64)
        for p in table
    }
