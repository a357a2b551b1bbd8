"""torch.func through the effects: grad and vmap in any nesting; one clear sentence for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.effects import Compressor, DynamicEqualizer, Equalizer, MultibandEqualizer

RATE = 24000
EFFECTS = (
    Equalizer(),
    Compressor(),
    Compressor(name="linear", rms_ms=5.0, smooth="gain"),
    DynamicEqualizer(),
    MultibandEqualizer(),
)
each = pytest.mark.parametrize("effect", EFFECTS, ids=lambda e: e.name)


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(1)).double()


def settings(effect: Effect, batch: int) -> Setting:
    unit = torch.rand(
        batch, len(effect.params), generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    return effect.params.to_physical(0.2 + 0.6 * unit)


def energy(effect: Effect, audio: Tensor, setting: Setting) -> Tensor:
    weight = torch.linspace(0, 1, audio.shape[-1], dtype=torch.float64)
    return (effect.render(audio, RATE, setting).audio * weight).square().sum()


def by_backward(effect: Effect, audio: Tensor, setting: Setting) -> dict[str, Tensor]:
    leaves = {n: v.clone().requires_grad_() for n, v in setting.items()}
    found = torch.autograd.grad(energy(effect, audio, leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


@each
def test_grad_is_what_backward_gives(effect: Effect) -> None:
    audio, setting = noise(2, 1, 200), settings(effect, 2)
    found = grad(lambda s: energy(effect, audio, s))(setting)
    for name, want in by_backward(effect, audio, setting).items():
        torch.testing.assert_close(found[name], want, rtol=1e-12, atol=1e-12)


@each
def test_vmap_is_a_batch(effect: Effect) -> None:
    audio, setting = noise(3, 2, 200), settings(effect, 3)
    want = effect.render(audio, RATE, setting).audio

    def one(x: Tensor, s: Setting) -> Tensor:
        return effect.render(x[None], RATE, {n: v[None] for n, v in s.items()}).audio[0]

    torch.testing.assert_close(vmap(one)(audio, setting), want, rtol=0, atol=1e-14)


@each
@pytest.mark.parametrize("order", ["vmap of grad", "grad of vmap"])
def test_per_example_gradients(effect: Effect, order: str) -> None:
    audio, setting = noise(3, 1, 200), settings(effect, 3)

    def one(x: Tensor, s: Setting) -> Tensor:
        return energy(effect, x[None], {n: v[None] for n, v in s.items()})

    if order == "vmap of grad":
        found = vmap(grad(one, argnums=1))(audio, setting)
    else:
        found = grad(lambda s: vmap(one)(audio, s).sum())(setting)
    for name, want in by_backward(effect, audio, setting).items():
        torch.testing.assert_close(found[name], want, rtol=1e-10, atol=1e-12)


@each
def test_what_the_kernels_lack_is_said(effect: Effect) -> None:
    audio, setting = noise(1, 1, 50), settings(effect, 1)
    with pytest.raises(RuntimeError, match="reverse-mode derivatives only. Use torch.func.grad"):
        jvp(lambda x: effect.render(x, RATE, setting).audio, (audio,), (audio,))

    def slope(x: Tensor) -> Tensor:
        return grad(lambda y: energy(effect, y, setting))(x).square().sum()

    with pytest.raises(RuntimeError, match="no second derivatives"):
        grad(slope)(audio)
