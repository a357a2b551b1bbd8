"""A temporal convolutional network that imitates an effect, given its settings.

The proxy of DeepAFx-ST: blocks of a dilated convolution, batch norm, FiLM by the unit parameters
(E. Perez et al., AAAI 2018), PReLU, and a residual path. Causal; with the paper's sizes its
receptive field is 7021 samples (293 ms at 24 kHz). It works at the sample rate of its training
only.

Differences to the paper: the residual path is cropped at its beginning, so that it is aligned with
the convolution (in the published program it is one sample late), and FiLM's scales start around 1.
For short trainings ``TcnSizes.identity`` starts with a network that passes its input through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retone.errors import expect


@dataclass(frozen=True)
class TcnSizes:
    """Channels, kernel and dilations of the blocks; the defaults are the paper's.

    With ``identity`` an untrained network passes the audio unchanged: the first channel is the
    input, and the others contribute once trained.
    """

    channels: int = 64
    kernel: int = 13
    dilations: tuple[int, ...] = (1, 8, 64, 512)
    identity: bool = False

    @property
    def reach(self) -> int:
        """Receptive field in samples."""
        return 1 + (self.kernel - 1) * sum(self.dilations)


@dataclass(frozen=True)
class ProxyConfig:
    """A network for a number of unit parameters.

    Args:
        settings: number of unit parameters.
        sizes: sizes of the blocks.
        gain: index of a parameter that is a gain after the effect; it is applied outside the
            network, whose input for it is always 0.5. None if there is none.
        gain_db: range of that gain in dB.
    """

    settings: int
    sizes: TcnSizes = TcnSizes()
    gain: int | None = None
    gain_db: tuple[float, float] = (0.0, 0.0)

    def build(self) -> Proxy:
        return Proxy(self)


class Block(nn.Module):
    """Dilated convolution, batch norm, FiLM, PReLU; the input is added per channel."""

    def __init__(self, inputs: int, sizes: TcnSizes, dilation: int, settings: int) -> None:
        super().__init__()
        c = sizes.channels
        self.convolve = nn.Conv1d(inputs, c, sizes.kernel, dilation=dilation)
        self.normalise = nn.BatchNorm1d(c, affine=False)  # FiLM scales and shifts
        self.film = nn.Linear(settings, 2 * c)
        self.bend = nn.PReLU(c)
        self.residual = nn.Conv1d(inputs, c, 1, groups=inputs, bias=False)
        nn.init.constant_(self.film.bias[:c], 1.0)
        if sizes.identity:
            with torch.no_grad():
                self.residual.weight[0] = 1.0
                for place in (0, c):  # scale and shift of the first channel
                    self.film.weight[place] = 0.0
                    self.film.bias[place] = 0.0

    def forward(self, x: Tensor, unit: Tensor) -> Tensor:
        y = self.convolve(x)
        scale, shift = self.film(unit)[..., None].chunk(2, dim=1)
        if self.training:
            y = self.normalise(y) * scale + shift
        else:  # both at once
            norm = self.normalise
            assert norm.running_var is not None and norm.running_mean is not None
            scale = scale * torch.rsqrt(norm.running_var + norm.eps)[None, :, None]
            y = torch.addcmul(shift - scale * norm.running_mean[None, :, None], y, scale)
        return self.bend(y) + self.residual(x[..., x.shape[-1] - y.shape[-1] :])  # type: ignore[no-any-return]


class Proxy(nn.Module):
    """(audio [B, C, T], unit parameters [B, P]) -> audio [B, C, T]; each channel on its own."""

    def __init__(self, config: ProxyConfig) -> None:
        super().__init__()
        self.config = config
        s = config.sizes
        self.blocks = nn.ModuleList(
            Block(1 if i == 0 else s.channels, s, d, config.settings)
            for i, d in enumerate(s.dilations)
        )
        self.mix = nn.Conv1d(s.channels, 1, 1)
        if s.identity:
            nn.init.zeros_(self.mix.weight)
            nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]
            nn.init.ones_(self.mix.weight[:, :1])

    def forward(self, audio: Tensor, unit: Tensor) -> Tensor:
        size = expect(audio, "B C T", "Proxy: audio")
        expect(unit, "B P", "Proxy: unit", B=size["B"], P=self.config.settings)
        gain_db, unit = self._split(unit.to(audio.dtype))
        channels = size["C"]
        x = audio.reshape(size["B"] * channels, 1, size["T"])
        settings = unit.repeat_interleave(channels, 0)
        x = nn.functional.pad(x, (self.config.sizes.reach - 1, 0))
        for block in self.blocks:
            x = block(x, settings)
        y = self.mix(x).reshape(audio.shape)
        return y if gain_db is None else y * (10 ** (gain_db / 20))[:, None, None]

    def _split(self, unit: Tensor) -> tuple[Tensor | None, Tensor]:
        """The gain in dB [B], and the network's unit parameters [B, P]."""
        index = self.config.gain
        if index is None:
            return None, unit
        low, high = self.config.gain_db
        pinned = torch.zeros(unit.shape[1], dtype=torch.bool, device=unit.device)
        pinned[index] = True
        return low + (high - low) * unit[:, index], torch.where(pinned, 0.5, unit)


class EffectNetworks(nn.Module):
    """Networks that replace effects, by effect name; called as ``networks(name, audio, unit)``.

    Args:
        configs: effect name -> config.
        frozen: weights and batch-norm statistics stay as they are.
    """

    def __init__(self, configs: Mapping[str, ProxyConfig], *, frozen: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({name: c.build() for name, c in configs.items()})
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()

    def train(self, mode: bool = True) -> EffectNetworks:
        super().train(mode and not self.frozen)
        return self

    def forward(self, name: str, audio: Tensor, unit: Tensor) -> Tensor:
        return self.networks[name](audio, unit)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class GivenConfig:
    """The "estimator" of ``proxy_`` recipes: it returns the settings it is given."""

    outputs: int

    def build(self) -> Given:
        return Given()


class Given(nn.Module):
    """(audio [B, T], unit parameters [B, P]) -> those parameters."""

    def forward(self, source: Tensor, reference: Tensor) -> Tensor:
        return reference
