"""A plug-in or a Python function as an effect, with the parameters that it reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Role, Setting
from retone.errors import DataError, PluginError, SettingError
from retone.files.fields import Fields, check_name, unicode_text
from retone.plugins import Stream, allow, host_of

MOST_PARAMETERS = 512
UNITS = {"db": "dB", "hz": "Hz", "ms": "ms"}
_ROLES: dict[str, Role] = {
    "threshold": "threshold",
    "ratio": "ratio",
    "mix": "mix",
    "attack": "time",
    "release": "time",
}
LEVELS = ("gain", "boost", "cut", "makeup", "level", "volume")


def _rows(table: ParamTable) -> list[dict[str, Any]]:
    names = ("name", "unit", "low", "high", "default", "scale", "neutral")
    return [{n: getattr(p, n) for n in names} for p in table]


def _table(f: Fields, key: str) -> ParamTable:
    params = []
    for i, row in enumerate(f.items(key)):
        p = Fields(row, f"{f.where}.{key}[{i}]")
        params.append(
            _param(
                p.name("name"), p.name("unit"), p.number("low"), p.number("high"),
                p.number("default"), p.choice("scale", ("linear", "log", "slope")),
                p.number("neutral", None),
            )
        )  # fmt: skip
        p.done()
    return ParamTable(tuple(params))


def _held(f: Fields, key: str) -> tuple[tuple[str, float], ...]:
    held = f.fields(key)
    return tuple((n, held.number(n)) for n in held.names)


@dataclass(frozen=True)
class Plugin(Effect):
    """Third-party code in a separate process; create it with ``Plugin.open``.

    It is not differentiable: train through it with ``Spsa`` or a proxy. It processes float32.
    A plug-in with one channel runs once per channel, so its detectors do not link channels. A
    call that crashes or hangs is retried once in a new process.

    Args:
        name: name in reports.
        source: ``PATH.vst3`` or ``FILE.py:FUNCTION``.
        table: its continuous parameters.
        fixed: switches and parameters with a fixed value, name -> value.
        limit_s: time limit of a call in seconds, plus 5 s for each second of audio.
        on_failure: ``"stop"`` raises; ``"skip"`` gives NaN for an item that failed twice, which
            ``Spsa`` skips, and reports it in ``problems``.
    """

    kind: ClassVar[str] = "plugin"
    noun: ClassVar[str] = "plug-in"
    level_dependent: ClassVar[bool] = True
    linear_across_channels: ClassVar[bool] = False
    name: str
    source: str
    table: ParamTable = field(
        metadata={"key": "parameters", "write": _rows, "read": _table, "last": True}
    )
    fixed: tuple[tuple[str, float], ...] = field(
        default=(), metadata={"write": dict, "read": _held}
    )
    limit_s: float = field(default=20.0, metadata={"spec": False})
    on_failure: str = field(default="stop", compare=False, metadata={"spec": False})

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return ()

    @staticmethod
    def open(
        source: str,
        *,
        name: str | None = None,
        fixed: Mapping[str, float] | None = None,
        limit_s: float = 20.0,
        on_failure: str = "stop",
    ) -> Plugin:
        """Load a source and read its parameters; this also permits running it.

        Args:
            source: ``PATH.vst3`` or ``FILE.py:FUNCTION``; the function's attribute ``parameters``
                maps names to (low, high, default).
            name: replaces the plug-in's own name.
            fixed: switches and parameters to fix, name -> value.

        Raises:
            PluginError: it cannot be loaded, or has no numeric parameter.
            SettingError: ``fixed`` names something it does not have.
            MissingExtraError: a VST3 without the extra that hosts them.
        """
        whole = allow(source)
        found = host_of(whole).describe()
        _check_description(found)
        numbers = {p["name"]: p for p in found["parameters"]}
        held = dict(fixed or {})
        for wrong in held:
            if wrong not in numbers and wrong not in found["switches"]:
                known = ", ".join([*numbers, *found["switches"]])
                raise SettingError(f"{found['name']} has no '{wrong}'. It has: {known}.")
        try:
            params = tuple(param_of(p) for n, p in numbers.items() if n not in held)
        except SettingError as error:
            raise PluginError(f"the plug-in {found['name']}: {error}") from None
        if not params:
            raise PluginError(
                f"the plug-in {found['name']} has no numeric parameters to set"
                + (
                    "; a Python function lists them in its attribute 'parameters', name -> (low, "
                    "high, default)."
                    if ".py:" in whole
                    else "."
                )
            )
        word = re.sub(r"[.\s/\\]", "_", name or found["name"])
        return Plugin(word, whole, ParamTable(params), tuple(held.items()), limit_s, on_failure)

    @property
    def params(self) -> ParamTable:
        return self.table

    def problems(self) -> list[str]:
        return host_of(self.source).take_problems()

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        wants = torch.is_grad_enabled() and (
            audio.requires_grad or any(v.requires_grad for v in setting.values())
        )
        if wants:
            raise SettingError(
                f"{self.name}: a plug-in is not differentiable. Train with gradient Spsa(), "
                "or with a proxy of it; to render only, use torch.no_grad()."
            )
        items, after = [], []
        for i in range(audio.shape[0]):
            block = audio[i].detach().cpu().float().numpy()
            values = {n: float(v[i]) for n, v in setting.items()} | dict(self.fixed)
            out, stream = self._item(block, sample_rate, values, state, i)
            items.append(torch.from_numpy(out))
            after.append(stream)
        y = torch.stack(items) if items else torch.zeros(audio.shape)
        place = {"streams": after, "at": (state["at"] if state else 0) + audio.shape[-1]}
        return Rendered(y.to(audio.device, audio.dtype), place, {})

    def _warm_state(
        self, head: Tensor, sample_rate: float, setting: Setting
    ) -> tuple[State | None, Tensor]:
        return None, head  # a plug-in's internal state cannot be set

    def _item(
        self,
        block: np.ndarray,
        sample_rate: float,
        values: Mapping[str, float],
        state: State | None,
        item: int,
    ) -> tuple[np.ndarray, Any]:
        host = host_of(self.source)
        before: Stream | None = state["streams"][item] if state else None
        try:
            if before is not None and state is not None:
                return before.render(state["at"], block, values, self.limit_s), before
            out = host.render(block, sample_rate, values, self.limit_s)
        except PluginError as e:
            if self.on_failure != "skip":
                raise
            host.note(str(e))
            return np.full_like(block, np.nan), None
        stream = Stream(host, block, sample_rate, values) if block.shape[1] else None
        return out, stream


def _check_description(found: Mapping[str, Any]) -> None:
    """Refuse names that cannot be written to a settings file, and more parameters than are set.

    Raises:
        PluginError: says which.
    """
    names = [found["name"], *(p["name"] for p in found["parameters"]), *found["switches"]]
    if len(names) > MOST_PARAMETERS:
        raise PluginError(
            f"the plug-in has {len(names) - 1} parameters; {MOST_PARAMETERS - 1} can be driven."
        )
    for given in names:
        if not isinstance(given, str) or not given or unicode_text(given) != given:
            raise PluginError(f"the plug-in has a parameter named {given!r}; expected text.")
        try:
            check_name(given, "the plug-in")
        except DataError as error:
            raise PluginError(str(error)) from None


def param_of(data: Mapping[str, Any]) -> Param:
    """A parameter as the plug-in reports it; unit, scale and neutral value follow from its name."""
    name, low, high = data["name"], float(data["low"]), float(data["high"])
    words = name.lower().split("_")
    unit = UNITS.get(words[-1], UNITS.get(str(data.get("unit", "")).lower(), ""))
    is_ratio = "ratio" in words and low >= 1
    scale: Any = "linear"
    if is_ratio:
        unit, scale = ":1", "slope"
    elif unit in ("Hz", "ms") and low > 0 and high > 4 * low:
        scale = "log"
    neutral = None
    if is_ratio and low == 1:
        neutral = 1.0
    elif unit == "dB" and low <= 0 <= high and any(w in words for w in LEVELS):
        neutral = 0.0
    default = min(max(float(data["default"]), low), high)
    return _param(name, unit, low, high, default, scale, neutral)


def _param(
    name: str,
    unit: str,
    low: float,
    high: float,
    default: float,
    scale: Any,
    neutral: float | None,
) -> Param:
    """A parameter whose role follows from its name, since plug-ins report no roles."""
    words = name.lower().split("_")
    role: Role = next((role for word, role in _ROLES.items() if word in words), "")
    if name in ("gain_db", "makeup_db"):
        role = "makeup"
    return Param(
        name, unit, low, high, default, scale, name.replace("_", " ").capitalize() + ".",
        neutral=neutral, role=role, level_relative=name.endswith("threshold_db"),
    )  # fmt: skip
