"""What every effect does at the edges: nothing to do, wrong kinds, NaN, and torch's own rules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from under_test import each_effect

from retone.audio.clip import LOUDEST
from retone.dsp.effect import Effect
from retone.dsp.param import Setting
from retone.errors import SettingError, ShapeError

RATE = 24000


def inside(effect: Effect, batch: int) -> Setting:
    generator = torch.Generator().manual_seed(2)
    unit = torch.rand(batch, len(effect.params), generator=generator, dtype=torch.float64)
    return effect.params.to_physical(0.2 + 0.6 * unit)


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(3)).double()


@each_effect
@pytest.mark.parametrize("shape", [(0, 1, 50), (2, 1, 0), (0, 2, 0)])
def test_nothing_gives_nothing(effect: Effect, shape: tuple[int, int, int]) -> None:
    audio = torch.zeros(shape).requires_grad_()
    for out in (
        effect.render(audio, RATE, inside(effect, shape[0])).audio,
        effect.relax(audio, RATE, inside(effect, shape[0])),
    ):
        assert out.shape == audio.shape


@each_effect
def test_audio_without_channels_and_plain_numbers_are_refused(effect: Effect) -> None:
    with pytest.raises(ShapeError, match="no channels"):
        effect.render(torch.zeros(1, 0, 9), RATE, inside(effect, 1))
    name = effect.params.names[0]
    with pytest.raises(SettingError, match=rf"{name} must be a tensor.*params\.setting"):
        effect.render(torch.zeros(1, 1, 9), RATE, {**inside(effect, 1), name: 1.0})  # type: ignore[dict-item]


@each_effect
def test_a_parameter_that_is_nan_makes_the_output_nan(effect: Effect) -> None:
    """A network that has diverged must not look like one that has learnt silence."""
    audio, known = noise(1, 1, 400), inside(effect, 1)
    for name in effect.params.names:
        setting = {**known, name: torch.full((1,), torch.nan, dtype=torch.float64)}
        out = effect.render(audio, RATE, setting, checked=False).audio
        assert bool(out.isnan().any()), name


@each_effect
@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf, "below", "above"])
def test_a_value_out_of_range_is_refused(effect: Effect, odd: float | str) -> None:
    """Each parameter in turn, in the second item of a batch."""
    audio, known = noise(2, 1, 400), inside(effect, 2)
    for p in effect.params:
        width = p.high - p.low
        value = {"below": p.low - 0.1 * width, "above": p.high + 0.1 * width}.get(odd, odd)  # type: ignore[arg-type]
        setting = {**known, p.name: known[p.name].clone()}
        setting[p.name][1] = value
        with pytest.raises(SettingError, match=rf"{p.name} = .* outside its range"):
            effect.render(audio, RATE, setting)
        with pytest.raises(SettingError, match=rf"{p.name} = .* outside its range"):
            effect(audio, RATE, setting)


@each_effect
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_sound_gives_finite_sound_up_to_the_loudest(
    effect: Effect, dtype: torch.dtype
) -> None:
    """At both ends of every range; beyond ``LOUDEST`` the audio is refused."""
    audio = noise(1, 2, 3000).to(dtype)
    audio *= 0.999 * LOUDEST / audio.abs().max()
    for unit in (0.0, 0.5, 1.0):
        setting = effect.params.to_physical(
            torch.full((1, len(effect.params)), unit, dtype=torch.float64)
        )
        assert bool(effect.render(audio, RATE, setting).audio.isfinite().all())
    for odd in (torch.nan, torch.inf, 2 * LOUDEST):
        broken = audio.clone()
        broken[0, 1, 7] = odd
        with pytest.raises(SettingError, match="audio holds"):
            effect.render(broken, RATE, inside(effect, 1))


@each_effect
@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_a_broken_item_is_as_broken_in_a_batch(effect: Effect, odd: float) -> None:
    audio, setting = noise(9, 1, 500), inside(effect, 9)
    audio[4, 0, 10] = odd
    batch = effect.render(audio, RATE, setting, checked=False).audio
    one = {name: value[4:5] for name, value in setting.items()}
    alone = effect.render(audio[4:5], RATE, one, checked=False).audio
    torch.testing.assert_close(batch[4:5], alone, rtol=0, atol=0, equal_nan=True)
    assert bool(batch[[0, 3, 5, 8]].isfinite().all())


@each_effect
def test_a_second_derivative_is_right_or_refused(effect: Effect) -> None:
    audio, setting = noise(1, 1, 60).requires_grad_(), inside(effect, 1)

    def steepness(x: Tensor) -> Tensor:
        out = effect.render(x, RATE, setting).audio
        (slope,) = torch.autograd.grad((out * x).sum(), x, create_graph=True)
        return (slope**2).sum()

    try:
        (found,) = torch.autograd.grad(steepness(audio), audio)
    except RuntimeError as e:
        assert "no second" in str(e)
        return
    step = torch.zeros_like(audio)
    step[0, 0, 20] = 1e-6
    expected = (steepness(audio + step) - steepness(audio - step)) / 2e-6
    assert float(found[0, 0, 20]) == pytest.approx(float(expected.detach()), rel=1e-4)


@each_effect
def test_audio_that_is_written_to_before_its_gradient_changes_nothing_unnoticed(
    effect: Effect,
) -> None:
    setting = {n: v.requires_grad_() for n, v in inside(effect, 2).items()}
    audio, leaves = noise(2, 1, 60), list(setting.values())
    out = effect.render(audio, RATE, setting).audio
    want = torch.autograd.grad(out.sum(), leaves, retain_graph=True, allow_unused=True)
    audio.zero_()
    try:
        found = torch.autograd.grad(out.sum(), leaves, allow_unused=True)
    except RuntimeError as e:
        assert "modified by an inplace operation" in str(e)
        return
    for one, other in zip(found, want, strict=True):  # it worked on a copy
        torch.testing.assert_close(one, other)


@each_effect
def test_views_that_are_negated_when_they_are_read_serve(effect: Effect) -> None:
    audio, setting = noise(2, 1, 60), inside(effect, 2)
    want = effect.render(-audio, RATE, setting).audio
    assert torch.equal(effect.render(torch._neg_view(audio), RATE, setting).audio, want)
