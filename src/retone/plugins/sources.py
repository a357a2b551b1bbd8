"""What runs inside the worker: a VST3 plug-in through pedalboard, or a Python function."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retone.errors import MissingExtraError, PluginError

Array = np.ndarray


class Processor(Protocol):
    """An audio processor with numeric parameters."""

    def describe(self) -> dict[str, Any]:
        """``{"name": ..., "parameters": [{"name", "low", "high", "default", "unit"}]}``, and
        ``"switches"``, the on/off parameters: name -> value."""
        ...

    def render(
        self, audio: Array, sample_rate: float, settings: Mapping[str, float], reset: bool
    ) -> Any:
        """Process audio [C, T] float32; without ``reset`` the state of the last call is kept."""
        ...


def open_source(source: str) -> Processor:
    """The processor that a source names.

    Raises:
        PluginError: it does not exist, cannot be loaded or has no parameters.
        MissingExtraError: pedalboard is not installed.
    """
    path, colon, function = source.rpartition(":")
    if colon and path.endswith(".py"):
        return Function(Path(path), function)
    if Path(source).suffix.lower() in (".vst3", ".component"):
        return Vst3(Path(source))
    raise PluginError(f"{source}: expected a plug-in PATH.vst3 or a function FILE.py:NAME.")


class Vst3:
    """A plug-in in pedalboard; one with fewer channels than the audio runs once per channel."""

    def __init__(self, path: Path) -> None:
        try:
            import pedalboard
        except ImportError as e:
            raise MissingExtraError("Hosting a VST3 plug-in", "pedalboard", "plugins") from e
        if not path.exists():
            raise PluginError(f"{path} does not exist.")
        self.path = path
        self._load = lambda: pedalboard.load_plugin(str(path))
        try:
            self.instances: list[Any] = [self._load()]
        except (ImportError, ValueError, RuntimeError, OSError) as e:
            raise PluginError(f"{path} cannot be loaded as a plug-in ({e}).") from e
        if not self.instances[0].is_effect:
            raise PluginError(f"{path.name} is an instrument; expected an effect.")
        self.one_by_one = False

    def describe(self) -> dict[str, Any]:
        plugin = self.instances[0]
        parameters, switches = [], {}
        for name, p in plugin.parameters.items():
            if not p.is_automatable:  # meters, buffer sizes
                continue
            value = getattr(plugin, name)
            if p.type is bool or (p.type is float and p.num_steps == 2):
                switches[name] = float(value)
            elif p.type is float and p.min_value < p.max_value:
                parameters.append(
                    {
                        "name": name,
                        "low": float(p.min_value),
                        "high": float(p.max_value),
                        "default": float(value),
                        "unit": (p.label or "").strip(),
                    }
                )
        return {"name": self.path.stem, "parameters": parameters, "switches": switches}

    def render(
        self, audio: Array, sample_rate: float, settings: Mapping[str, float], reset: bool
    ) -> Array:
        if reset:
            self.one_by_one = False
        if not self.one_by_one:
            try:
                return self._run(0, audio, sample_rate, settings, reset)
            except ValueError as e:
                if "channel" not in str(e) or audio.shape[0] == 1:
                    raise
                self.one_by_one = True
        while len(self.instances) < audio.shape[0]:
            self.instances.append(self._load())
        return np.concatenate(
            [
                self._run(i, audio[i : i + 1], sample_rate, settings, reset)
                for i in range(audio.shape[0])
            ]
        )

    def _run(
        self, which: int, audio: Array, sample_rate: float, settings: Mapping[str, float],
        reset: bool,
    ) -> Array:  # fmt: skip
        plugin = self.instances[which]
        for name, value in settings.items():
            p = plugin.parameters[name]
            held = bool(value) if p.type is bool else min(max(value, p.min_value), p.max_value)
            setattr(plugin, name, held)
        return np.asarray(plugin.process(audio, sample_rate, reset=reset))


class Function:
    """``function(audio [C, T] float32, sample_rate, settings) -> audio [C, T]``.

    Its attribute ``parameters`` maps names to (low, high, default), with the unit at the end of
    the name. The function keeps no state between calls.
    """

    def __init__(self, path: Path, name: str) -> None:
        if not path.is_file():
            raise PluginError(f"{path} does not exist.")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as e:
            raise PluginError(f"{path} cannot be imported ({type(e).__name__}: {e}).") from e
        self.function = getattr(module, name, None)
        self.name = name
        if not callable(self.function):
            raise PluginError(f"{path} has no function '{name}'.")

    def describe(self) -> dict[str, Any]:
        table = getattr(self.function, "parameters", None) or {}
        try:
            parameters = [
                {"name": n, "low": float(r[0]), "high": float(r[1]), "default": float(r[2]),
                 "unit": ""}
                for n, r in dict(table).items()
            ]  # fmt: skip
        except (TypeError, ValueError, IndexError) as e:
            raise PluginError(
                f"{self.name}.parameters: expected name -> (low, high, default), got {table!r}."
            ) from e
        return {"name": self.name, "parameters": parameters, "switches": {}}

    def render(
        self, audio: Array, sample_rate: float, settings: Mapping[str, float], reset: bool
    ) -> Any:
        assert self.function is not None
        return self.function(audio, sample_rate, dict(settings))
