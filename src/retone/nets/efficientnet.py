"""EfficientNet as a feature extractor, for any number of input channels.

M. Tan, Q. V. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML
2019. Convolutions pad as the original does: to ``ceil(size / stride)`` outputs, an odd sample of
padding at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retone.errors import SettingError

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01
SQUEEZE = 0.25
STEM, HEAD = 32, 1280


class Stage(NamedTuple):
    """A series of equal blocks, before scaling."""

    expand: int
    channels: int
    blocks: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


@dataclass(frozen=True)
class EfficientNetConfig:
    """Scaling of the B0 layout; the defaults are B2.

    Args:
        channels: input channels.
        width, depth: factors for channels and on blocks per stage.
        drop_connect: probability of dropping the last block's branch in training, per item;
            lower for earlier blocks, in proportion to their index. 0.2 in the original.
    """

    channels: int = 1
    width: float = 1.1
    depth: float = 1.2
    drop_connect: float = 0.2

    def __post_init__(self) -> None:
        if self.channels < 1 or self.width <= 0 or self.depth <= 0:
            raise SettingError("EfficientNet: channels, width and depth must be above 0.")
        if not 0 <= self.drop_connect < 1:
            raise SettingError(f"EfficientNet: drop_connect {self.drop_connect} is not in [0, 1).")

    def scaled(self, channels: int) -> int:
        """Channels times width, rounded to a multiple of 8 that is at most 10 % lower."""
        wanted = channels * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    @property
    def outputs(self) -> int:
        """Channels of the features."""
        return self.scaled(HEAD)

    def build(self) -> EfficientNet:
        return EfficientNet(self)


class SameConv2d(nn.Conv2d):
    """A convolution with ``ceil(size / stride)`` outputs."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):  # noqa: B905
            total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
            pads += [total // 2, total - total // 2]
        if any(pads):
            x = F.pad(x, pads)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)


class Block(nn.Module):
    """Inverted bottleneck: expand, filter each channel, squeeze and excite, project."""

    def __init__(
        self, inputs: int, outputs: int, expand: int, kernel: int, stride: int, drop: float
    ) -> None:
        super().__init__()
        inner, squeezed = inputs * expand, max(1, int(inputs * SQUEEZE))
        self.expand: nn.Module = nn.Identity()
        if expand != 1:
            self.expand = nn.Sequential(
                nn.Conv2d(inputs, inner, 1, bias=False), _norm(inner), nn.SiLU()
            )
        self.filter = nn.Sequential(
            SameConv2d(inner, inner, kernel, stride, groups=inner, bias=False),
            _norm(inner),
            nn.SiLU(),
        )
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inner, squeezed, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed, inner, 1),
            nn.Sigmoid(),
        )
        self.project = nn.Sequential(nn.Conv2d(inner, outputs, 1, bias=False), _norm(outputs))
        self.residual = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        h = self.filter(self.expand(x))
        h = self.project(h * self.weigh(h))
        if not self.residual:
            return h  # type: ignore[no-any-return]
        if self.training and self.drop:
            keep = 1 - self.drop
            kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) < keep
            h = h * (kept / keep).to(h.dtype)
        return x + h


class EfficientNet(nn.Module):
    """Image [B, C, H, W] -> features [B, config.outputs, ceil(H / 32), ceil(W / 32)]."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        stem = config.scaled(STEM)
        self.stem = nn.Sequential(
            SameConv2d(config.channels, stem, 3, 2, bias=False), _norm(stem), nn.SiLU()
        )
        plans = []
        inputs = stem
        for stage in STAGES:
            outputs = config.scaled(stage.channels)
            for i in range(math.ceil(stage.blocks * config.depth)):
                stride = stage.stride if i == 0 else 1
                plans.append((inputs, outputs, stage.expand, stage.kernel, stride))
                inputs = outputs
        self.blocks = nn.Sequential(
            *(Block(*p, config.drop_connect * i / len(plans)) for i, p in enumerate(plans))
        )
        self.head = nn.Sequential(
            nn.Conv2d(inputs, config.outputs, 1, bias=False), _norm(config.outputs), nn.SiLU()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(image)))  # type: ignore[no-any-return]
