"""Serialise effects: ``effect_to_spec`` and ``effect_from_spec``.

A spec names an effect's type (``Effect.kind``), its own name and the fields of its dataclass; it
holds no parameter values. How a field is written follows from its type: text, numbers, choices,
effects, tuples of them, and parameter tables by their names in ``Effect.tables``. A field's
``metadata`` may hold:

- ``low``, ``high``: range of a number
- ``spec``: False leaves the field out of files
- ``key``: its name in files; ``last``: written after the others
- ``write``, ``read``: functions value -> JSON and (``Fields``, key) -> value
- ``only``, ``base``: the field is an effect that may differ from ``base`` in these fields alone,
  which are written under ``key`` (in the effect's own object if ``key`` is empty)
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from retone.dsp.effect import Effect
from retone.dsp.param import ParamTable
from retone.effects import EFFECT_TYPES
from retone.errors import DataError, SettingError
from retone.files.fields import Fields, number

MAX_ITEMS = 1 << 17
MAX_NUMBERS = 2 * MAX_ITEMS
"""Most numbers in all lists together."""
"""Most numbers in a list, such as the taps of a filter: 2.7 s at 48 kHz."""
MAX_EFFECTS, MAX_NESTING = 64, 8
"""Most effects in a chain with all of its members, and most of them inside one another."""
Spec = dict[str, Any]


def effect_to_spec(effect: Effect, sample_rate: float) -> Spec:
    """An effect as JSON-ready data.

    Args:
        effect: an effect of a registered type, or a chain of them.
        sample_rate: in Hz, the rate FIR filters in it were made for.

    Raises:
        SettingError: for an effect type that is not registered, or a table without a name.
    """
    cls = type(effect)
    if EFFECT_TYPES.get(effect.kind) is not cls:
        raise SettingError(
            f"{effect.name}: a {cls.__name__} cannot be written to a settings file, because no "
            f"effect type is registered for it. Give it a 'kind' and an entry point in "
            f"'{EFFECT_TYPES.group}', or call EFFECT_TYPES.add(kind, {cls.__name__})."
        )
    rate = {"sample_rate_hz": sample_rate} if effect.tied_to_rate else {}
    return {"type": effect.kind, "name": effect.name, **rate, **_written(effect, sample_rate)}


def effect_from_spec(
    spec: Mapping[str, Any], sample_rate: float, *, where: str = "effect"
) -> Effect:
    """The effect that a spec describes.

    Args:
        spec: what ``effect_to_spec`` returned, or the same read from a file.
        sample_rate: in Hz, the rate the effect will run at.
        where: the name that messages begin with.

    Raises:
        DataError: the spec is not well formed (unknown type or field, missing field), or holds more
            than ``MAX_EFFECTS`` effects or ``MAX_ITEMS`` numbers in a list.
        SettingError: a FIR filter in it was made for another sample rate.
    """
    _check_size(spec, where)
    return _read(Fields(spec, where), sample_rate)


def _check_size(spec: Any, where: str) -> None:
    """Refuse more effects, or deeper ones, than are ever needed, before any is made."""
    waiting, count, numbers = [(spec, 0)], 0, 0
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, dict):
            inside = "type" in item
            count += inside
            depth += inside
            if count > MAX_EFFECTS or depth > MAX_NESTING:
                raise DataError(
                    f"{where}: more than {MAX_EFFECTS} effects, or more than {MAX_NESTING} inside "
                    "one another. Apply them one after another, in several files."
                )
            waiting += [(v, depth) for v in item.values() if isinstance(v, (dict, list))]
        elif isinstance(item, list) and item and isinstance(item[0], (int, float)):
            numbers += len(item)
            if numbers > MAX_NUMBERS:
                raise DataError(f"{where}: more than {MAX_NUMBERS} numbers in lists, such as taps.")
        elif isinstance(item, list):
            waiting += [(v, depth) for v in item if isinstance(v, (dict, list))]


def _read(f: Fields, sample_rate: float) -> Effect:
    kind = f.text("type")
    try:
        cls = EFFECT_TYPES.named(kind)
    except SettingError:
        f.choice("type", tuple(EFFECT_TYPES))  # raises with the place and the nearest names
        raise
    name = f.name("name")
    if not name or any(c in "./\\" for c in name):
        raise DataError(f"{f.where}.name: '{name}' must be a word without dots and slashes.")
    if cls.tied_to_rate:
        made_for = f.number("sample_rate_hz", low=1.0)
    values = {w.name: _read_field(f, w, hint, cls, sample_rate) for w, hint in _fields(cls)}
    f.done()
    if cls.tied_to_rate and made_for != sample_rate:
        raise SettingError(
            f"{f.where}: the filter '{name}' was made for {made_for:g} Hz and cannot run at "
            f"{sample_rate:g} Hz. Resample the recording to {made_for:g} Hz first."
        )
    try:
        return cls(name=name, **values)  # type: ignore[call-arg]
    except SettingError as error:
        raise DataError(f"{f.where}: {error}") from None


def _fields(cls: type[Effect]) -> Iterator[tuple[Field[Any], Any]]:
    """The fields that files hold, with their types, in their order there."""
    hints = get_type_hints(cls)
    kept = [f for f in fields(cls) if f.name != "name" and f.metadata.get("spec", True)]  # type: ignore[arg-type]
    for f in sorted(kept, key=lambda f: f.metadata.get("last", False)):
        yield f, hints[f.name]


def _key(field: Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


def _written(effect: Effect, sample_rate: float) -> Spec:
    found: Spec = {}
    for field, hint in _fields(type(effect)):
        value, meta, key = getattr(effect, field.name), field.metadata, _key(field)
        if "only" in meta:
            own = {n: getattr(value, n) for n in meta["only"]}
            if value != replace(meta["base"], **own):
                raise SettingError(
                    f"{effect.name}: its {field.name} may differ from {_shown(meta['base'])} in "
                    f"{' and '.join(own)} only, so it cannot be written to a settings file."
                )
            found.update({key: own} if key else own)
        elif "write" in meta:
            found[key] = meta["write"](value)
        elif hint is ParamTable:
            found[key] = _table_name(effect, value)
        elif isinstance(value, Effect):
            found[key] = effect_to_spec(value, sample_rate)
        elif isinstance(value, tuple):
            found[key] = [
                effect_to_spec(v, sample_rate) if isinstance(v, Effect) else v for v in value
            ]
        else:
            found[key] = value
    return found


def _shown(effect: Effect) -> str:
    """An effect as a constructor call, with parameter tables by name."""
    given = []
    for f in fields(effect):  # type: ignore[arg-type]
        value = getattr(effect, f.name)
        if value != f.default:
            given.append(f"{f.name}={_table_name(effect, value)!r}"
                         if isinstance(value, ParamTable) else f"{f.name}={value!r}")  # fmt: skip
    return f"{type(effect).__name__}({', '.join(given)})"


def _table_name(effect: Effect, table: ParamTable) -> str:
    for name, own in effect.tables.items():
        if own == table:
            return name
    raise SettingError(
        f"{effect.name}: its parameter table is not one of {', '.join(effect.tables) or 'none'}, "
        "so it cannot be written to a settings file."
    )


def _read_field(
    f: Fields, field: Field[Any], hint: Any, cls: type[Effect], sample_rate: float
) -> Any:
    meta, key = field.metadata, _key(field)
    if "only" in meta:
        base = meta["base"]
        place = f.fields(key) if key else f
        own = {
            w.name: _read_field(place, w, h, type(base), sample_rate)
            for w, h in _fields(type(base))
            if w.name in meta["only"]
        }
        if key:
            place.done()
        return replace(base, **own)
    if "read" in meta:
        return meta["read"](f, key)
    if hint is ParamTable:
        return cls.tables[f.choice(key, tuple(cls.tables))]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f.choice(key, arguments)
    if origin in (types.UnionType,) and type(None) in arguments:
        if f.take(key) is None:
            return None
        hint = next(a for a in arguments if a is not type(None))
    if hint is bool:
        return f.flag(key)
    if hint in (int, float):
        bounds = {n: meta[n] for n in ("low", "high") if n in meta}
        return f.number(key, whole=hint is int, **bounds)
    if hint is str:
        return f.text(key)
    if isinstance(hint, type) and issubclass(hint, Effect):
        return _read(f.fields(key), sample_rate)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _read_items(f, key, arguments[0], sample_rate)
    raise SettingError(
        f"{cls.__name__}.{field.name}: a field of type {hint} cannot be read from a settings file. "
        "Use text, numbers, choices or effects, or give 'read' and 'write' in its metadata."
    )


def _read_items(f: Fields, key: str, item: Any, sample_rate: float) -> tuple[Any, ...]:
    items = f.items(key)
    where = f"{f.where}.{key}"
    if isinstance(item, type) and issubclass(item, Effect):
        return tuple(_read(Fields(m, f"{where}[{i}]"), sample_rate) for i, m in enumerate(items))
    if not 0 < len(items) <= MAX_ITEMS:
        raise DataError(f"{where}: expected 1..{MAX_ITEMS} numbers, got {len(items)}.")
    return tuple(number(v, f"{where}[{i}]", whole=item is int) for i, v in enumerate(items))
