"""A trained estimator as an ONNX file, checked against the original before it is kept."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retone.effects.spec import effect_to_spec
from retone.errors import DataError, MissingExtraError, OutputExistsError
from retone.estimators.loading import load
from retone.files.atomic import AtomicFile
from retone.nets.iterative import IterativeNet
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
    ``reference``) and gives unit parameters [1, P]; names, ranges and the effect are in the file's
    metadata. The estimator passes it clips of the training length. For a network that refines its
    prediction the graph is one pass: it also takes ``result`` (the source rendered with the last
    prediction; at first the source itself) and ``logits`` (of the last prediction; at first
    ``start_logits`` of the metadata), and returns the next logits. Run it ``passes`` times.

    Args:
        weights: a ``.safetensors`` file, or ``"speech"`` or ``"music"``.
        output: the file to write; it appears complete or not at all.
        force: replace an existing file.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        DataError: the weights cannot be read, or onnxruntime's result differs.
        OutputExistsError: the output exists and ``force`` is not set.
    """
    if output.exists() and not force:
        raise OutputExistsError(output)
    runtime, onnx = _packages()
    loaded = load(weights)
    network: Any = loaded.network.float().eval()
    rate = network.config.front_end.sample_rate
    names = _inputs(network)
    more: dict[str, Any] = {}
    graph, given = network, "unit"
    if isinstance(network, IterativeNet):
        graph, given = _Pass(network), "next_logits"
        more = {"passes": network.config.passes, "start_logits": network.start.tolist()}
    clips = _examples(names, loaded.length, len(loaded.effect.params), 0.1, seed=0)
    with AtomicFile(output, force=force, sync=False) as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph, tuple(clips), dynamo=True, input_names=list(names),
                output_names=[given], verbose=False,
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
            **more,
        }
        onnx.helper.set_model_props(model, {"retone": json.dumps(described)})
        file.path.write_bytes(model.SerializeToString())
        difference = _difference(runtime, file.path, graph, names, loaded.length, len(table))
        if not difference < PARITY:
            raise DataError(
                f"{output}: onnxruntime differs from the network by {difference:.1e}, more than "
                f"{PARITY:.0e}; the file was not kept."
            )
    return OnnxExport(names, loaded.length, rate, len(table), difference)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        name = error.name or "onnx"
        raise MissingExtraError("an ONNX file", name, "export") from error
    return onnxruntime, onnx


class _Pass(nn.Module):
    """One pass of a network that refines its prediction."""

    def __init__(self, network: IterativeNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, result: Tensor, reference: Tensor, logits: Tensor) -> Tensor:
        return self.network.revise(source, result, reference, logits)


def _inputs(network: Any) -> tuple[str, ...]:
    if isinstance(network, Tcn):
        return ("source",)
    if isinstance(network, IterativeNet):
        return ("source", "result", "reference", "logits")
    return ("source", "reference")


def _examples(
    names: tuple[str, ...], length: int, outputs: int, level: float, *, seed: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(1, outputs, generator=generator)
        if name == "logits"
        else level * torch.randn(1, length, generator=generator)
        for name in names
    ]


def _difference(
    runtime: Any, path: Path, graph: Any, names: tuple[str, ...], length: int, outputs: int
) -> float:
    """Largest difference between the file under onnxruntime and the network, on four clips."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for number, level in enumerate((0.25, 0.1, 0.03, 0.01), start=1):
        clips = _examples(names, length, outputs, level, seed=number)
        with torch.no_grad():
            want = graph(*clips).numpy()
        feed = {n: c.numpy() for n, c in zip(names, clips, strict=True)}
        worst = max(worst, float(np.abs(session.run(None, feed)[0] - want).max()))
    return worst
