"""Recipes as JSON for the record: described, compared, and changed by typed assignments."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from retone.dsp.effect import Effect
from retone.errors import SettingError, nearest
from retone.losses import Loss, loss_named

FORMER_NAMES = {"rest_in_target": "allpass_target", "target_at_rest": "allpass_target",
                "least_strength": "min_strength",
                "same_treatment_probability": "same_processing_probability"}  # fmt: skip
"""Old field names in files of earlier versions -> current names."""


def describe(value: Any) -> Any:
    """A recipe, or a part of one, as JSON-ready values."""
    if isinstance(value, Effect):
        from retone.effects.spec import effect_to_spec

        return effect_to_spec(value, 1.0)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "type": type(value).__name__,
            **{f.name: describe(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [describe(v) for v in value]
    return value


def fingerprint(recipe: Any) -> str:
    """Short hash of a recipe; it names the run folder."""
    text = json.dumps(describe(recipe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def differences(stored: Any, recipe: Any, path: str = "") -> list[str]:
    """How a recipe differs from what ``describe`` once wrote, as ``path: then, now``.

    A field that the stored recipe lacks counts only if it differs from its default.
    """
    now = describe(recipe)
    if isinstance(stored, Mapping):
        stored = {FORMER_NAMES.get(k, k): v for k, v in stored.items()}
    if not (is_dataclass(recipe) and isinstance(stored, Mapping)) or isinstance(recipe, Effect):
        if isinstance(recipe, tuple) and isinstance(stored, list) and len(stored) == len(recipe):
            parts = zip(stored, recipe, strict=True)
            return [d for i, (s, r) in enumerate(parts) for d in differences(s, r, f"{path}.{i}")]
        return [] if stored == now else [f"{path}: {_short(stored)}, now {_short(now)}"]
    found = []
    if stored.get("type") != now["type"]:
        return [f"{path}: {stored.get('type')}, now {now['type']}"]
    for f in fields(recipe):
        here = f"{path}.{f.name}" if path else f.name
        value = getattr(recipe, f.name)
        if f.name in stored:
            found += differences(stored[f.name], value, here)
        elif describe(value) != describe(f.default):
            found.append(f"{here}: absent, now {_short(now[f.name])}")
    removed = set(stored) - set(now)
    for name in sorted(removed):
        here = f"{path}.{name}" if path else name
        found.append(f"{here}: {_short(stored[name])}, now absent")
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def override(recipe: Any, assignments: Sequence[str]) -> Any:
    """A recipe with ``path.to.field=value`` assignments applied, typed by the field.

    Raises:
        SettingError: unknown path (with the nearest names) or a value of the wrong type.
    """
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise SettingError(
                f"'{text}': expected path=value, as in optimizer.learning_rate=3e-5."
            )
        recipe = _assign(recipe, path.strip().split("."), value.strip(), text)
    return recipe


def _assign(node: Any, path: list[str], value: str, text: str) -> Any:
    names = [f.name for f in fields(node)] if is_dataclass(node) else []
    head = path[0]
    if head not in names:
        if not names:
            raise SettingError(f"'{text}': what comes before '{head}' has no fields.")
        hint = nearest(head, names) or f" Known: {', '.join(names)}."
        raise SettingError(f"'{text}': there is no field '{head}'.{hint}")
    current = getattr(node, head)
    if len(path) > 1:
        return dataclasses.replace(node, **{head: _assign(current, path[1:], value, text)})
    hint = typing.get_type_hints(type(node)).get(head, type(current))
    return dataclasses.replace(node, **{head: _parse(value, hint, current, text)})


def _parse(value: str, hint: Any, current: Any, text: str) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value.lower() == "none" and type(None) in typing.get_args(hint):
            return None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    if hint is Loss:
        return loss_named(value)
    if is_dataclass(current):
        raise SettingError(
            f"'{text}': choose one of its fields: {', '.join(f.name for f in fields(current))}."
        )
    try:
        if hint is bool:
            return {"true": True, "false": False}[value.lower()]
        if hint in (int, float, str):
            return hint(value)
        parsed = json.loads(value)
        return tuple(parsed) if isinstance(parsed, list) else parsed
    except (KeyError, ValueError):
        kind = getattr(hint, "__name__", str(hint))
        raise SettingError(f"'{text}': expected a value of type {kind}.") from None
