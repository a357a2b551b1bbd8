"""Public functions and classes have docstrings; those of ``retone.api`` document recordings."""

from __future__ import annotations

import importlib
import inspect
from types import FunctionType
from typing import Any

import pytest

import retone

MODULES = (
    "retone.api",
    "retone.effects",
    "retone.nn",
    "retone.process.result",
    "retone.registry",
)
DOCUMENTED = {"input", "audio", "sample_rate", "settings", "to"}
"""Parameters that a function of ``retone.api`` must list under Args."""


def _public() -> dict[str, Any]:
    found = {f"retone.{name}": getattr(retone, name) for name in retone.__all__}
    for name in MODULES:
        for key, value in vars(importlib.import_module(name)).items():
            own = str(getattr(value, "__module__", "")).startswith("retone")
            if own and not key.startswith("_"):
                found[f"{name}.{key}"] = value
    return {k: v for k, v in found.items() if isinstance(v, type | FunctionType)}


PUBLIC = _public()
FUNCTIONS = sorted(
    name
    for name, value in PUBLIC.items()
    if name.startswith("retone.api.") and value.__module__ == "retone.api"
)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_has_a_docstring(name: str) -> None:
    text = PUBLIC[name].__doc__ or ""
    generated = text.startswith(f"{PUBLIC[name].__name__}(")
    assert text.strip() and not generated, f"{name} has no docstring"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_api_functions_document_recordings_results_and_errors(name: str) -> None:
    text = PUBLIC[name].__doc__ or ""
    assert "Returns:" in text and "Raises:" in text, f"{name}: say what it returns and raises"
    arguments = text.partition("Args:")[2].partition("Returns:")[0]
    parameters = DOCUMENTED & set(inspect.signature(PUBLIC[name]).parameters)
    missing = sorted(p for p in parameters if p not in arguments)
    assert not missing, f"{name}: document {', '.join(missing)}"
