"""Weights from a stranger: bounded in memory, refused in a sentence, never run as code."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from retone.errors import DataError, RetoneError
from retone.estimators.base import Excerpt
from retone.estimators.reference_free import SHIPPED, ReferenceFree
from retone.nets import checkpoint

RATE = 24000


@pytest.fixture(scope="module")
def excerpt() -> Excerpt:
    noise = torch.randn(2 * RATE, generator=torch.Generator().manual_seed(1))
    return Excerpt(0.05 * noise, RATE)


def changed(
    folder: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]
) -> Path:
    """The shipped weights with another header or other tensors."""
    shipped = Path(str(resources.files("retone") / "weights" / SHIPPED))
    tensors, header = checkpoint.read(shipped)
    change(header, tensors)
    path = folder / "own.safetensors"
    checkpoint.write(path, tensors, header)
    return path


def nan(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    next(t for t in tensors.values() if t.is_floating_point()).view(-1)[0] = torch.nan


def huge_weights(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    for t in tensors.values():
        if t.is_floating_point():
            t.mul_(1e20)


def of_recipe(*path: str, value: Any) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    def change(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        place = header["recipe"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


DEEP: Any = "x"
for _ in range(200):
    DEEP = [DEEP]
CHANGES = {
    "nan": nan,
    "huge weights": huge_weights,
    "gradient a list": of_recipe("gradient", value=[1]),
    "dilations": of_recipe("network", "dilations", value=[[1, 2]] * 8),
    "kernel 0": of_recipe("network", "kernel", value=0),
    "wide": of_recipe("network", "channels", value=60000),
    "wider": of_recipe("network", "hidden", value=10**12),
    "length 0": of_recipe("pairs", "length", value=0),
    "length 1": of_recipe("pairs", "length", value=1),
    "length text": of_recipe("pairs", "length", value="x"),
    "deep": of_recipe("effect", value=DEEP),
    "no effect": of_recipe("effect", value=None),
    "recipe a list": lambda header, tensors: header.update(recipe=[]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_damaged_weights_are_refused_in_a_sentence(
    name: str, tmp_path: Path, excerpt: Excerpt
) -> None:
    path = changed(tmp_path, CHANGES[name])
    with pytest.raises(RetoneError) as caught:
        ReferenceFree(weights=path).estimate(excerpt, locks={})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", [2000, 20000, 65000])
def test_a_network_is_no_larger_than_its_file(tmp_path: Path, value: int) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for field in ("channels", "hidden", "gru"):
        path = changed(tmp_path, of_recipe("network", field, value=value))
        with pytest.raises(DataError):
            ReferenceFree(weights=path).load()
        path.unlink()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KB


def test_a_header_that_promises_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    head = {"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(DataError, match="not a readable safetensors file"):
        checkpoint.read(path)
    with path.open("ab") as file:
        file.truncate(3 << 30)
    with pytest.raises(DataError, match="larger than 2 GB"):
        checkpoint.read(path)


def test_a_full_disk_is_said_where_a_state_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    def full(*args: object, **how: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(DataError, match="could not be written"):
        checkpoint.write(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {})
    assert not list(tmp_path.iterdir())
