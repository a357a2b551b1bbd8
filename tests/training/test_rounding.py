"""Weights in fewer bits: what is stored, what it costs, and that what ships stays small."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from retone.errors import DataError
from retone.estimators.shipped import style_weights
from retone.losses.frames import FrameTarget
from retone.nets import checkpoint
from retone.nets.frames import FrameNetConfig
from retone.nets.frontend import Features, FrontEndConfig
from retone.training import rounding
from retone.training.scene_pool import FramePair

MOST_MB = 9.6
"""With everything else, 2.2 MB, the wheel is then below 12 MB."""


def layer(inputs: Tensor, outputs: int) -> rounding.Layer:
    return rounding.Layer(inputs.T @ inputs / len(inputs), torch.rand(outputs) + 0.5)


def deflated(tensors: dict[str, Tensor]) -> int:
    return sum(len(zlib.compress(t.contiguous().numpy().tobytes())) for t in tensors.values())


def correlated(examples: int, inputs: int) -> Tensor:
    return torch.randn(examples, 12) @ torch.randn(12, inputs) + 0.1 * torch.randn(examples, inputs)


@pytest.mark.parametrize("spread", [(0, 9), (9, 0), (0, 0)])
def test_rounded_weights_are_read_as_they_were_written(
    tmp_path: Path, spread: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    whole = torch.from_numpy(rng.integers(-32000, 32000, (40, 90)).astype(np.int16))
    whole[5:, 7:] //= 1000
    rows, columns = (
        torch.from_numpy(rng.integers(-most, most + 1, size).astype(np.int8))
        for most, size in zip(spread, whole.shape, strict=True)
    )
    rounded = checkpoint.Rounded(whole, rows, columns)
    packed = checkpoint.packed_rounded("model.a.weight", rounded, (40, 30, 3))
    checkpoint.write(tmp_path / "a.safetensors", packed, {})
    read, _ = checkpoint.read(tmp_path / "a.safetensors")
    assert set(read) == {"model.a.weight"}
    wanted = whole.double() * 2 ** (rows.double()[:, None] / 4) * 2 ** (columns.double() / 4)
    torch.testing.assert_close(
        read["model.a.weight"].double().flatten(1), wanted, rtol=1e-6, atol=0
    )


def test_small_integers_need_no_second_byte() -> None:
    rounded = checkpoint.Rounded(torch.full((3, 4), -128).short(), *torch.zeros(2, 4).char())
    rounded = rounded._replace(rows=rounded.rows[:3])
    assert checkpoint.HIGH not in "".join(checkpoint.packed_rounded("a", rounded, (3, 4)))


@pytest.mark.parametrize(
    ("suffix", "bad"),
    [
        *((checkpoint.ROW_POWER, torch.zeros(*shape).char()) for shape in ((7,), (0,), (5, 2))),
        *((checkpoint.COLUMN_POWER, torch.zeros(*shape).char()) for shape in ((7,), (0,), (5, 2))),
        (checkpoint.HIGH, torch.zeros(13).char()),
    ],
)
def test_scales_that_do_not_fit_are_refused(tmp_path: Path, suffix: str, bad: Tensor) -> None:
    whole = torch.arange(12).short().reshape(3, 4) * 100
    rounded = checkpoint.Rounded(whole, torch.tensor([1, 2, 3]).char(), torch.zeros(4).char())
    packed = checkpoint.packed_rounded("a", rounded, (3, 4)) | {"a" + suffix: bad}
    checkpoint.write(tmp_path / "a.safetensors", packed, {})
    with pytest.raises(DataError, match="do not fit together"):
        checkpoint.read(tmp_path / "a.safetensors")


def test_rounding_costs_less_than_a_step_per_row_of_the_same_size() -> None:
    torch.manual_seed(0)
    weight = torch.randn(96, 128) * torch.logspace(-1, 0.5, 128)
    inputs, others = correlated(2000, 256).split(128, dim=1)[0].split(1000)
    known = layer(inputs, 96)
    rounded = rounding.rounded(weight, known, 0.3)
    packed = checkpoint.packed_rounded("a", rounded, (96, 128))

    def error(other: Tensor) -> float:  # on examples that rounding did not see
        return float((((others @ (other - weight).T) ** 2).mean(0) * known.rows).sum())

    for bits in range(2, 9):
        step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        plain = (weight / step).round()
        if deflated({"a": plain.char()}) >= deflated(packed):
            break
    assert bits < 8
    assert error(rounded.weights()) < 0.25 * error(plain * step)


def test_errors_of_later_columns_correct_those_of_earlier_ones() -> None:
    torch.manual_seed(1)
    weight, inputs = torch.randn(32, 64), correlated(4000, 64)
    known = layer(inputs, 32)
    rounded = rounding.rounded(weight, known, 1.0)
    scale = checkpoint.scale(rounded.rows)[:, None] * checkpoint.scale(rounded.columns)
    nearest = (weight / scale).round() * scale
    errors = [
        float((inputs @ (w - weight).T).square().mean()) for w in (rounded.weights(), nearest)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_less_noise_is_nearer_and_larger() -> None:
    torch.manual_seed(2)
    weight, inputs = torch.randn(48, 80), correlated(1000, 80)
    found = [rounding.rounded(weight, layer(inputs, 48), noise) for noise in (1.0, 0.1, 0.01)]
    errors = [float((f.weights() - weight).square().mean()) for f in found]
    sizes = [deflated(checkpoint.packed_rounded("a", f, (48, 80))) for f in found]
    assert errors == sorted(errors, reverse=True) and sizes == sorted(sizes)


def pair(mels: int, statistics: int) -> FramePair:
    def features() -> Features:
        return Features(
            torch.randn(2, mels, 9), torch.full((2, 9), 1 / 9), torch.randn(2, statistics)
        )

    target = FrameTarget(
        torch.randn(2, mels, 9), torch.ones(2, mels, 9), torch.randn(2, statistics),
        torch.ones(2, statistics),
    )  # fmt: skip
    return FramePair(features(), features(), target, torch.zeros(2, dtype=torch.bool))


def test_a_network_is_measured_packed_and_read(tmp_path: Path) -> None:
    torch.manual_seed(3)
    front_end = FrontEndConfig(sample_rate=24000, mels=20, measures=True)
    config = FrameNetConfig(
        outputs=24, front_end=front_end, content=32, key=16, trunk=32, hidden=64, curve=32,
        width=32, exchanges=1,
    )  # fmt: skip
    network = config.build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    pairs = [pair(20, front_end.summary_size) for _ in range(3)]
    layers = rounding.measure_layers(network, pairs, probed=2)
    known = {n for n, p in network.named_parameters() if p.dim() > 1 and p.numel() >= 4096}
    assert set(layers) == known
    tensors = {f"model.{n}": t for n, t in network.state_dict().items()}
    path = tmp_path / "small.safetensors"
    checkpoint.write(path, rounding.packed(tensors, layers, 1e-4), {})
    other = config.build()
    checkpoint.load_module(other, checkpoint.network_tensors(checkpoint.read(path)[0]), path)
    with torch.no_grad():
        before, after = (n.predict(*pairs[0][:2])[-1] for n in (network, other))
    assert 0 < float((after.frames - before.frames).abs().max()) < 0.02  # 0.4 dB


def test_inputs_of_a_convolution_give_its_outputs() -> None:
    torch.manual_seed(4)
    for dilation in (1, 2):
        conv = torch.nn.Conv1d(5, 7, 3, padding=dilation, dilation=dilation, bias=False)
        x = torch.randn(2, 5, 11)
        out = rounding._examples(conv, x) @ conv.weight.flatten(1).T
        wanted = conv(x)[..., :: rounding.EVERY].transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(out, wanted)


def test_what_ships_fits_into_a_small_wheel() -> None:
    files = list(style_weights("speech").parent.glob("*.safetensors"))
    assert len(files) == 5
    assert sum(len(zlib.compress(f.read_bytes(), 6)) for f in files) < MOST_MB * 1e6
