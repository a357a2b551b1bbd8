"""A trained estimator as an ONNX file, checked against the original before it is kept."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.effects.spec import effect_to_spec
from retone.errors import AudioError, DataError, MissingExtraError
from retone.estimators.network import load
from retone.nets.tcn import Tcn

PARITY = 1e-4
"""Largest difference of a unit parameter that is accepted."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written: input names, clip length in samples, its rate in Hz, and the parity."""

    inputs: tuple[str, ...]
    length: int
    sample_rate: int
    outputs: int
    difference: float


def export_onnx(weights: Path | str, output: Path, *, force: bool = False) -> OnnxExport:
    """Write a network that ``retone train`` made, or one that ships, as ONNX.

    The graph takes clips [1, length] at the network's rate (``source`` and, for a style network,
    ``reference``) and gives unit parameters [1, P]; names, ranges and the effect stand in the
    file's metadata. Clips of the training length are what the estimator hears.

    Args:
        weights: a ``.safetensors`` file, or ``"speech"`` or ``"music"``.
        output: the file to write; it appears complete or not at all.
        force: replace an existing file.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        DataError: the weights cannot be read, or onnxruntime does not give the same.
        AudioError: the output exists.
    """
    if output.exists() and not force:
        raise AudioError(f"{output} exists: choose another name with -o or pass --force.")
    runtime, onnx = _packages()
    loaded = load(weights)
    network: Any = loaded.network.float().eval()
    rate = network.config.front_end.sample_rate
    alone = isinstance(loaded.network, Tcn)
    names = ("source",) if alone else ("source", "reference")
    generator = torch.Generator().manual_seed(0)
    clips = [0.1 * torch.randn(1, loaded.length, generator=generator) for _ in names]
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, tuple(clips), dynamo=True, input_names=list(names),
                output_names=["unit"], verbose=False,
            )  # fmt: skip
        model = program.model_proto  # type: ignore[union-attr]
        table = loaded.effect.params
        described = {
            "sample_rate_hz": rate,
            "length": loaded.length,
            "peak_dbfs": loaded.peak_dbfs,
            "effect": effect_to_spec(loaded.effect, rate),
            "params": [
                {"name": p.name, "unit": p.unit, "low": p.low, "high": p.high, "scale": p.scale}
                for p in table
            ],
        }
        onnx.helper.set_model_props(model, {"retone": json.dumps(described)})
        beside.write_bytes(model.SerializeToString())
        difference = _difference(runtime, beside, network, names, loaded.length)
        if not difference < PARITY:
            raise DataError(
                f"{output}: onnxruntime differs from the network by {difference:.1e}, more than "
                f"{PARITY:.0e}; the file was not kept."
            )
        beside.replace(output)
    finally:
        beside.unlink(missing_ok=True)
    return OnnxExport(names, loaded.length, rate, len(table), difference)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        name = error.name or "onnx"
        raise MissingExtraError("export --to onnx", name, "export") from error
    return onnxruntime, onnx


def _difference(
    runtime: Any, path: Path, network: Any, names: tuple[str, ...], length: int
) -> float:
    """Largest difference between the file under onnxruntime and the network, on four clips."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for level in (0.25, 0.1, 0.03, 0.01):
        clips = [level * torch.randn(1, length, generator=generator) for _ in names]
        with torch.no_grad():
            want = network(*clips).numpy()
        feed = {n: c.numpy() for n, c in zip(names, clips, strict=True)}
        worst = max(worst, float(np.abs(session.run(None, feed)[0] - want).max()))
    return worst
