"""The network that revises its answer: what each pass hears, and what it may learn from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import tiny_recipe
from torch import Tensor

from retone.nets.aligned import AlignedNetConfig
from retone.nets.iterative import IterativeNet, IterativeNetConfig
from retone.training.feed import Batch
from retone.training.loop import estimate_loss, predictions_loss

RECIPE = replace(tiny_recipe(), scored_passes=0)
RATE = RECIPE.pairs.sample_rate


def network(passes: int = 3) -> IterativeNet:
    torch.manual_seed(3)
    net = replace(RECIPE.network, passes=passes).build()
    net.standardize(net.statistics(clips(8)))
    for p in net.parameters():  # away from the identity, where every pass says nothing
        torch.nn.init.normal_(p, std=0.1)
    return net


def clips(count: int) -> Tensor:
    torch.manual_seed(4)
    level = torch.rand(count, 1, 24).repeat_interleave(512, dim=2).flatten(1)
    return 0.1 * level * torch.randn(count, 12288)


def gain(source: Tensor):  # type: ignore[no-untyped-def]
    """A render whose only parameter is the first."""
    return lambda unit: source * (0.5 + unit[:, :1])


def test_each_pass_hears_the_render_of_the_one_before() -> None:
    net, source, reference = network(), clips(2), clips(2).flip(0)
    heard = []
    encode = net.encode
    net.encode = lambda audio: heard.append(audio) or encode(audio)  # type: ignore[method-assign]
    predictions = net(source, reference, gain(source))
    assert len(predictions.units) == len(predictions.renders) == len(predictions.expected) == 3
    assert heard[0] is source and heard[1] is reference
    for pass_, audio in enumerate(heard[2:]):
        torch.testing.assert_close(audio, predictions.renders[pass_])
        assert not audio.requires_grad
    assert not torch.allclose(predictions.units[0], predictions.units[1])


def test_fewer_passes_are_the_first_of_more() -> None:
    source, reference = clips(2), clips(2).flip(0)
    many = network(3)(source, reference, gain(source)).units
    few = network(1)(source, reference, gain(source)).units
    torch.testing.assert_close(few[0], many[0])


def test_no_gradient_flows_between_passes() -> None:
    """The gradient of all passes' loss is the sum of each one's own."""
    source, reference = clips(2), clips(2).flip(0)
    net = network(2)
    predictions = net(source, reference, gain(source))
    whole = torch.autograd.grad(
        predictions.renders[1].square().sum(),
        predictions.units[0],
        allow_unused=True,
        retain_graph=True,
    )
    assert whole == (None,)
    own = torch.autograd.grad(predictions.renders[0].square().sum(), predictions.units[0])
    assert own[0].abs().sum() > 0


def test_an_untrained_network_stays_at_its_start() -> None:
    net = RECIPE.network.build()
    source = clips(2)
    start = torch.tensor(RECIPE.network.initial).clamp(0.02, 0.98)
    for unit in net(source, source.flip(0), gain(source)).units:
        torch.testing.assert_close(unit, start.expand_as(unit), atol=0.05, rtol=0)


def test_gradients_reach_every_weight() -> None:
    net = network(2)
    source = clips(2)
    loss = estimate_loss(RECIPE, net, Batch(source, source.flip(0), source.roll(50, 1), ["", ""]))
    loss.backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_expectations_are_compared_with_the_targets_statistics() -> None:
    net, source, target = network(2), clips(2), clips(2) * 2
    predictions = net(source, source, gain(source))
    wanted = net.standardized(net.statistics(target))
    silent = replace(RECIPE, expectation_weight=0.0)
    weighed = replace(RECIPE, expectation_weight=1.0)
    with torch.no_grad():
        part = predictions_loss(weighed, predictions, target) - predictions_loss(
            silent, predictions, target
        )
        miss = [
            ((wanted - e.mean).abs() / e.log_scale.exp() + e.log_scale).mean()
            for e in predictions.expected
        ]
    assert float(part) == pytest.approx(float(sum(miss)) / 2, rel=1e-3)  # two passes
    for e in predictions.expected:  # the likeliest statistics are the expected ones
        assert (e.nll(e.mean) < e.nll(e.mean + 0.1)).all()


def test_one_pass_takes_over_the_weights_of_a_network_of_one_look() -> None:
    """With its start taken off the bias, an aligned network's answer is the first pass's."""
    c = RECIPE.network
    assert isinstance(c, IterativeNetConfig)
    names = ("outputs", "front_end", "content", "key", "trunk", "hidden", "initial")
    old = AlignedNetConfig(**{n: getattr(c, n) for n in names}).build()
    new = replace(c, passes=1).build()
    state = new.state_dict()
    state.update(old.state_dict())
    last = max(n for n in state if n.startswith("head.") and n.endswith(".bias"))
    state[last] = state[last] - new.start
    new.load_state_dict(state)
    source, reference = clips(3), clips(3).flip(0)
    answer = new(source, reference, gain(source)).units[0]
    torch.testing.assert_close(answer, old(source, reference), atol=1e-6, rtol=1e-4)


def test_scored_passes_are_drawn_and_the_others_only_learn_what_to_expect() -> None:
    torch.manual_seed(3)
    net, source, target = network(2), clips(2), clips(2) * 2
    predictions = net(source, source, gain(source))
    shifted = predictions._replace(renders=[r * (1 + n) for n, r in enumerate(predictions.renders)])
    bare = replace(RECIPE, expectation_weight=0.0)
    each = []
    for number in range(2):
        alone = shifted._replace(
            units=[shifted.units[number]],
            renders=[shifted.renders[number]],
            expected=[shifted.expected[number]],
        )
        each.append(float(predictions_loss(bare, alone, target).detach()))
    one = replace(bare, scored_passes=1)
    drawn = {round(float(predictions_loss(one, shifted, target, n).detach()), 5) for n in range(20)}
    assert drawn == {round(x, 5) for x in each}
    every = float(predictions_loss(bare, shifted, target).detach())
    assert every == pytest.approx(sum(each) / 2, rel=1e-5)
