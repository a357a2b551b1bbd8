"""Fewer bits per weight: rounding that keeps what a network predicts.

Weights become small integers, which a wheel's compression stores in about as many bits as their
entropy. A layer's step is chosen for each weight, as a product of a scale per row and one per
column, so that every weight's rounding adds the same expected error to the predictions; this needs
the fewest bits for a given error. Columns are rounded in order, and what rounding one of them
changes in the layer's outputs is corrected by those that follow (GPTQ; E. Frantar, S. Ashkboos,
T. Hoefler, D. Alistarh, "GPTQ: accurate post-training quantization", ICLR 2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retone.nets import checkpoint
from retone.nets.frames import DB, FrameNet
from retone.nets.iterative import LOGIT_LIMIT, Expected, IterativeNet
from retone.training.scene_pool import FramePair, ScenePool, draw_pairs

SHRINK = 0.05
"""Share by which correlations of a layer's inputs are lessened: examples are few, layers wide."""
FLOOR = 0.3
"""Added to the mean square of each input, relative to the mean of the layer's: inputs that are
silent in the examples may be active elsewhere. With 0.0001, other recordings changed predictions by
ten times as much."""
CURVE_DB = 1.5
"""Error of a band's mean that counts like the uncertainty of a value; about the networks' own."""
LOGIT = 0.25
"""Error of a setting's logit that counts as much."""
CROSS, SWAP = 0.35, 0.2
"""Shares of pairs with a reference of another voice, and with swapped processings."""
LEAST_EFFECT = 0.3
"""Effect of an output, relative to the median of the layer's, below which it counts as this."""
MOST, MOST_WHOLE = 2**14, 2**15 - 129
"""Largest integer before and after corrections; it is stored in two bytes."""
BATCH = 16
TINY = 1e-30
BLOCK = 128
"""Columns that are corrected one by one; those beyond are corrected at once."""
EVERY = 4
"""Of the frames that a convolution reads, one in this many is an example of its inputs."""


@dataclass
class Layer:
    """What rounding needs to know of a layer whose weights are [R, C], with flattened kernels.

    ``products`` [C, C]: mean products of its inputs; ``rows`` [R]: mean squared effect of an error
    of each output on the predictions, as ``probe`` weights them.
    """

    products: Tensor
    rows: Tensor


def measure_layers(network: nn.Module, pairs: Iterable[FramePair], probed: int) -> dict[str, Layer]:
    """The layers of a network by the names of their weights, measured on batches of pairs.

    Args:
        network: predicts frames, or settings and statistics.
        pairs: batches; each layer should see several times as many examples as it has inputs.
        probed: number of the first batches that also measure effects on predictions, which takes
            three times as long.
    """
    layers = {
        f"{name}.weight": module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d) and module.weight.numel() >= checkpoint.SMALL
    }
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(layers, 0)
    effects = {name: torch.zeros(m.weight.shape[0]) for name, m in layers.items()}

    def note(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
            x = _examples(module, given[0].detach())
            sums[name] = sums.get(name, torch.zeros(())) + x.T @ x
            counts[name] += len(x)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in layers.items()]
    clips = 0
    try:
        for number, batch in enumerate(pairs):
            with torch.set_grad_enabled(number < probed):
                score = probe(network, batch)
            if number < probed:
                clips += len(batch.cross)
                slopes = torch.autograd.grad(score, [m.weight for m in layers.values()])
                for name, slope in zip(layers, slopes, strict=True):
                    effects[name] += slope.flatten(1).square().sum(1)
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for name, total in sums.items():
        products = total / counts[name]
        found[name] = Layer(products, effects[name] / clips / products.trace())
    return found


def _examples(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer multiplies its flattened weights with, one example per row."""
    if not isinstance(layer, nn.Conv1d):
        return x.reshape(-1, x.shape[-1])
    size, apart, edge = layer.kernel_size[0], layer.dilation[0], int(layer.padding[0])
    x = nn.functional.pad(x, (edge, edge))
    x = x.unfold(2, apart * (size - 1) + 1, 1)[..., ::apart]  # [B, C, N, K]
    return x[:, :, ::EVERY].permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def probe(network: Any, pair: FramePair) -> Tensor:
    """A random sum of all that a network predicts for a batch.

    Its variance over draws, for a change of predictions, is the sum over clips of the mean squared
    change in units of the predicted uncertainty.
    """
    if isinstance(network, FrameNet):
        total = torch.zeros(())
        share = pair.target.weight / pair.target.weight.sum((1, 2), keepdim=True).clamp(min=1.0)
        for found in network.predict(pair.source, pair.reference):
            total = total + _random(found.frames, found.log_scale, share)
            curve = (found.frames * share).sum(2) / share.sum(2).clamp(min=1e-9)
            total = total + _random(curve, torch.tensor(math.log(CURVE_DB / DB)))
            total = total + _of_statistics(found.expected)
        return total
    assert isinstance(network, IterativeNet)
    logit = network.start.expand(len(pair.cross), -1)
    total, result = torch.zeros(()), pair.source
    for _ in range(2):
        change, expected = network._revise(pair.source, result, pair.reference, logit)
        logit = (logit.detach() + change).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        total = total + _random(logit, torch.tensor(math.log(LOGIT))) + _of_statistics(expected)
        result = result._replace(  # as if rendered half-way, since no effect is rendered here
            frames=(result.frames + pair.target.frames) / 2,
            summary=(result.summary + pair.target.summary) / 2,
        )
    return total


def _of_statistics(expected: Expected) -> Tensor:
    weight = expected.mean.new_ones(()) if expected.weight is None else expected.weight
    return _random(expected.mean, expected.log_scale, weight / expected.mean.shape[1])


def _random(mean: Tensor, log_scale: Tensor, share: Tensor | None = None) -> Tensor:
    """Random sum of values with these scales, and of the scales where they are predicted."""
    if share is None:
        share = mean.new_full((), 1 / mean[0].numel())
    part = (-log_scale.detach()).exp() * mean * torch.randn_like(mean)
    if log_scale.dim():
        part = part + log_scale * torch.randn_like(mean)
    return (part * share.sqrt()).sum()


def scene_pairs(pool: ScenePool, count: int, seed: int = 5) -> Iterator[FramePair]:
    """Batches of pairs of different scenes of a run, as training draws them."""
    rng = np.random.default_rng(seed)
    known = min(pool.count, pool.size)
    for _ in range(count):
        scenes = rng.choice(known, size=min(BATCH, known), replace=False)
        yield pool.pairs(draw_pairs(rng, scenes, CROSS, SWAP))


def rounded(weight: Tensor, layer: Layer, noise: float) -> checkpoint.Rounded:
    """A layer's weights [R, C] as integers with scales.

    Args:
        weight: [R, C].
        layer: its measurements.
        noise: the square root of 12 times the effect on predictions that rounding a weight may
            have, in the units of ``probe``. A network of N weights then predicts with a mean
            squared change of at most about ``N * noise**2 / 12``.
    """
    left = weight.double().clone()
    mean = float(layer.products.diagonal().mean()) + TINY
    products = (1 - SHRINK) * layer.products.double()
    products += torch.diag(SHRINK * layer.products.diagonal() + FLOOR * mean)
    # Its diagonal is the inverse of the part of each input that does not follow from later ones.
    factor = torch.linalg.cholesky(torch.linalg.inv(products), upper=True)
    effect = layer.rows.double()
    effect = effect.clamp(min=LEAST_EFFECT * float(effect.median()) + TINY)
    unit = factor.diagonal().median()
    columns = _powers(factor.diagonal() / unit)
    wanted = noise * unit / effect.sqrt()
    rows = _powers(wanted.maximum((left / checkpoint.scale(columns)).abs().amax(1) / MOST))
    whole = torch.zeros_like(left)
    for first in range(0, left.shape[1], BLOCK):
        block = slice(first, min(first + BLOCK, left.shape[1]))
        missed = torch.zeros_like(left[:, block])
        for i, column in enumerate(range(block.start, block.stop)):
            step = checkpoint.scale(rows) * checkpoint.scale(columns[column])
            whole[:, column] = (left[:, column] / step).round()
            miss = (left[:, column] - whole[:, column] * step) / factor[column, column]
            left[:, column : block.stop] -= torch.outer(miss, factor[column, column : block.stop])
            missed[:, i] = miss
        left[:, block.stop :] -= missed @ factor[block, block.stop :]
    return checkpoint.Rounded(whole.clamp(-MOST_WHOLE, MOST_WHOLE).short(), rows, columns)


def packed(
    tensors: Mapping[str, Tensor], layers: Mapping[str, Layer], noise: float
) -> dict[str, Tensor]:
    """Tensors for a file that ships: measured layers rounded, all others as ``quantised`` does.

    Args:
        tensors: as in a weights file.
        layers: what ``measure_layers`` found for its network.
        noise: see ``rounded``.
    """
    known = {checkpoint.NETWORK + name: layer for name, layer in layers.items()}
    out = checkpoint.quantised({n: t for n, t in tensors.items() if n not in known})
    for name, layer in known.items():
        weight = tensors[name].float()
        whole = rounded(weight.flatten(1), layer, noise)
        out |= checkpoint.packed_rounded(name, whole, tuple(weight.shape))
    return out


def _powers(scale: Tensor) -> Tensor:
    """Scales as powers, for ``checkpoint.scale``."""
    return (checkpoint.POWERS * torch.log2(scale)).round().clamp(-127, 127).to(torch.int8)
