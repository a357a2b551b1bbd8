"""What every differentiation strategy must fulfil, and that its gradients are right."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from conftest import MakeAudio
from retone.dsp.effect import Effect
from retone.effects import EFFECTS, MATCH_CHAIN, PAPER_CHAIN, Equalizer
from retone.errors import DataError, SettingError
from retone.nets import checkpoint
from retone.nets.proxy import TcnSizes
from retone.training.data.proxy_pairs import ProxyMaker
from retone.training.gradients import (
    STRATEGIES,
    EndToEnd,
    Exact,
    FrequencySampled,
    Gradient,
    NeuralProxy,
    Spsa,
)
from retone.training.recipes.record import describe
from retone.training.recipes.strategies import proxy

RATE = 24000
SIZES = TcnSizes(channels=4, kernel=5, dilations=(1, 8))
ALL: tuple[Gradient, ...] = (
    Exact(),
    FrequencySampled(),
    Spsa(),
    Spsa.paper(),
    NeuralProxy("np", sizes=SIZES),
    NeuralProxy("np_hh", sizes=SIZES),
    NeuralProxy("np_fh", sizes=SIZES),
    EndToEnd("ctcn1", False, SIZES),
    EndToEnd("ctcn2", True, SIZES),
    FrequencySampled("frequency_sampled_exact", exact_inference=True),
)
each = pytest.mark.parametrize("strategy", ALL, ids=lambda s: s.name)


def problem(make_audio: MakeAudio, effect: Effect, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    unit = 0.2 + 0.6 * torch.rand(batch, len(effect.params), generator=generator)
    length = 3000 + effect.latency_samples(RATE)
    audio = make_audio(length, RATE, batch=batch, dtype=torch.float32)
    return 0.3 * audio, unit


def built(strategy: Gradient, effect: Effect) -> torch.nn.Module | None:
    torch.manual_seed(0)
    return strategy.build(effect, pretrained=False)


def exact_gradient(effect: Effect, audio: Tensor, unit: Tensor, weight: Tensor) -> Tensor:
    own = unit.detach().double().clone().requires_grad_()
    (Exact().train(effect, audio.double(), RATE, own) * weight).sum().backward()
    assert own.grad is not None
    return own.grad


def test_every_strategy_is_tested_and_listed() -> None:
    assert {type(s) for s in ALL} == set(STRATEGIES.values())
    assert len({s.name for s in ALL}) == len(ALL)
    assert all(describe(s)["type"] in STRATEGIES for s in ALL)


@each
def test_shapes_and_gradients(strategy: Gradient, make_audio: MakeAudio) -> None:
    audio, unit = problem(make_audio, PAPER_CHAIN)
    networks = built(strategy, PAPER_CHAIN)
    unit.requires_grad_()
    out = strategy.train(PAPER_CHAIN, audio, RATE, unit, networks)
    assert out.shape == audio.shape and out.dtype == torch.float32
    out.square().sum().backward()
    assert unit.grad is not None and bool(unit.grad.isfinite().all())
    reached = (unit.grad != 0).float().mean()
    assert float(reached) > 0.9  # paper's AD has no release; a proxy is told no make-up
    with torch.no_grad():
        assert strategy.infer(PAPER_CHAIN, audio, RATE, unit, networks).shape == audio.shape


RUNS = {
    "exact": ({"effect"}, 0, {"effect"}),
    "frequency_sampled": ({"relaxed"}, 0, {"relaxed"}),
    "frequency_sampled_exact": ({"relaxed"}, 0, {"effect"}),
    "spsa": ({"effect"}, 1, {"effect"}),
    "spsa_improved": ({"effect"}, 4, {"effect"}),
    "np": ({"networks"}, 0, {"networks"}),
    "np_hh": ({"networks"}, 0, {"effect"}),
    "np_fh": ({"effect", "networks"}, 0, {"effect"}),
    "ctcn1": ({"networks"}, 0, {"networks"}),
    "ctcn2": ({"networks"}, 0, {"networks"}),
}
"""By strategy: what runs in training forward, how often the effect is rendered in backward (both
signs of a perturbation are one batch), and what runs at inference."""


def what_runs(
    strategy: Gradient, make_audio: MakeAudio, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[str], int, set[str], bool]:
    """The entries of ``RUNS``, measured, and whether the strategy trains networks of its own."""
    effect = Equalizer()
    audio, unit = problem(make_audio, effect)
    networks = built(strategy, effect)
    calls: list[str] = []
    render, relax = Equalizer._render, Equalizer._relax
    with monkeypatch.context() as patch:
        patch.setattr(Equalizer, "_render", lambda *a: (calls.append("effect"), render(*a))[1])
        patch.setattr(Equalizer, "_relax", lambda *a: (calls.append("relaxed"), relax(*a))[1])
        if networks is not None:
            networks.register_forward_hook(lambda *a: calls.append("networks"))
        unit.requires_grad_()
        out = strategy.train(effect, audio, RATE, unit, networks)
        forward = set(calls)
        calls.clear()
        out.sum().backward()
        backward = calls.count("effect")
        calls.clear()
        strategy.infer(effect, audio, RATE, unit, networks)
    trains = networks is not None and any(p.requires_grad for p in networks.parameters())
    return forward, backward, set(calls), trains


@each
def test_what_runs_is_what_the_strategy_is_for(
    strategy: Gradient, make_audio: MakeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, backward, inference, trains = what_runs(strategy, make_audio, monkeypatch)
    assert (forward, backward, inference) == RUNS[strategy.name]
    assert trains == (not strategy.contract.readable)


def test_equal_descriptions_mean_equal_runs(
    make_audio: MakeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever words ``Contract`` uses, one description never covers two ways of running."""
    forward: dict[str, set[tuple[bool, bool, bool]]] = {}
    backward: dict[str, set[int]] = {}
    inference: dict[str, set[tuple[bool, bool, bool]]] = {}
    for strategy in ALL:
        first, renders, last, trains = what_runs(strategy, make_audio, monkeypatch)
        c = strategy.contract
        for texts, text, ran in (
            (forward, c.training_forward, first), (inference, c.inference, last)
        ):  # fmt: skip
            way = ("effect" in ran, "relaxed" in ran, trains)
            texts.setdefault(text, set()).add(way)
        backward.setdefault(c.training_backward, set()).add(renders)
    for described in (forward, backward, inference):
        assert all(len(ways) == 1 for ways in described.values()), described


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda e: e.name)
def test_exact_gradients_are_finite_differences(effect: Effect, make_audio: MakeAudio) -> None:
    audio, unit = problem(make_audio, effect, batch=1)
    audio = audio.double()
    weight = torch.randn(audio.shape, generator=torch.Generator().manual_seed(1)).double()
    got = exact_gradient(effect, audio, unit, weight)[0]
    step = 1e-5

    def loss(u: Tensor) -> float:
        with torch.no_grad():
            return float((Exact().train(effect, audio, RATE, u) * weight).sum())

    for i in range(unit.shape[1]):
        up, down = unit.double(), unit.double()
        up[0, i] += step
        down[0, i] -= step
        wanted = (loss(up) - loss(down)) / (2 * step)
        assert float(got[i]) == pytest.approx(wanted, rel=2e-3, abs=1e-3 * float(got.abs().max()))


@pytest.mark.parametrize("strategy", [Spsa.paper(), Spsa()], ids=lambda s: s.name)
def test_spsa_is_the_gradient_on_average(strategy: Spsa, make_audio: MakeAudio) -> None:
    audio, unit = problem(make_audio, PAPER_CHAIN, batch=1)
    weight = torch.randn(audio.shape, generator=torch.Generator().manual_seed(1))
    wanted = exact_gradient(PAPER_CHAIN, audio, unit, weight.double())[0]
    draws = 4096 // strategy.directions
    torch.manual_seed(0)
    total = torch.zeros(unit.shape[1], dtype=torch.float64)
    batch = 64
    many = unit.expand(batch, -1).clone().requires_grad_()
    for _ in range(draws // batch):
        many.grad = None
        out = strategy.train(PAPER_CHAIN, audio.expand(batch, -1, -1), RATE, many)
        (out * weight).sum().backward()
        assert many.grad is not None
        total += many.grad.double().sum(0)
    cosine = torch.nn.functional.cosine_similarity(total, wanted, dim=0)
    assert float(cosine) > 0.99
    assert float(total.norm() / draws) == pytest.approx(float(wanted.norm()), rel=0.1)


def test_orthogonal_directions_hold_less_noise_and_full_sets_none(make_audio: MakeAudio) -> None:
    effect = Equalizer()
    audio, unit = problem(make_audio, effect, batch=1)
    audio = audio.double()
    weight = torch.randn(audio.shape, generator=torch.Generator().manual_seed(1)).double()
    wanted = exact_gradient(effect, audio, unit, weight)[0]
    size = 32  # the power of two above 18 parameters

    def error(strategy: Spsa) -> float:
        torch.manual_seed(1)
        u = unit.double().expand(16, -1).clone().requires_grad_()
        (strategy.train(effect, audio.expand(16, -1, -1), RATE, u) * weight).sum().backward()
        assert u.grad is not None
        return float((u.grad - wanted).square().sum(1).mean() / wanted.square().sum())

    loose = error(Spsa(directions=8, orthogonal=False))
    tight = error(Spsa(directions=8))
    assert tight < loose
    assert error(Spsa(directions=size)) < 1e-4
    signs = Spsa(directions=size).draw(3, 24)
    assert signs.shape == (size, 3, 24) and bool((signs.abs() == 1).all())
    assert torch.equal(signs[:, 0].T @ signs[:, 0], size * torch.eye(24).double())


def test_the_true_distance_counts_at_the_bounds(make_audio: MakeAudio) -> None:
    effect = Equalizer()
    audio, unit = problem(make_audio, effect, batch=1)
    audio, unit = audio.double(), unit.double()
    unit[0, 0] = 1.0  # the low shelf's gain stands at its highest
    weight = torch.randn(audio.shape, generator=torch.Generator().manual_seed(1)).double()
    wanted = float(exact_gradient(effect, audio, unit, weight)[0, 0])

    def estimate(true_distance: bool) -> float:
        strategy = Spsa(directions=32, true_distance=true_distance)
        torch.manual_seed(2)
        u = unit.clone().requires_grad_()
        (strategy.train(effect, audio, RATE, u) * weight).sum().backward()
        assert u.grad is not None
        return float(u.grad[0, 0])

    assert estimate(True) == pytest.approx(wanted, rel=0.02)
    assert estimate(False) == pytest.approx(0.5 * wanted, rel=0.02)


def test_hybrids_run_what_they_say(make_audio: MakeAudio) -> None:
    audio, unit = problem(make_audio, PAPER_CHAIN)
    networks = built(ALL[4], PAPER_CHAIN)
    np, hh, fh = (NeuralProxy(mode, sizes=SIZES) for mode in ("np", "np_hh", "np_fh"))
    exact = Exact().infer(PAPER_CHAIN, audio, RATE, unit)

    def step(strategy: NeuralProxy) -> tuple[Tensor, Tensor]:
        u = unit.clone().requires_grad_()
        out = strategy.train(PAPER_CHAIN, audio, RATE, u, networks)
        out.pow(3).sum().backward()
        assert u.grad is not None
        return out.detach(), u.grad

    values = {s.mode: step(s) for s in (np, hh, fh)}
    assert torch.equal(values["np_fh"][0], exact)  # to the last bit
    assert torch.equal(values["np"][0], values["np_hh"][0])
    assert torch.equal(values["np"][1], values["np_hh"][1])
    assert not torch.equal(values["np_fh"][1], values["np"][1])
    assert torch.equal(np.infer(PAPER_CHAIN, audio, RATE, unit, networks), values["np"][0])
    for hybrid in (hh, fh):
        assert torch.equal(hybrid.infer(PAPER_CHAIN, audio, RATE, unit, networks), exact)


def test_fh_takes_the_networks_slope_at_the_effects_value(make_audio: MakeAudio) -> None:
    """For one effect: gradient of <w, network(u)>, whatever the effect's own slope is."""
    effect = Equalizer()
    audio, unit = problem(make_audio, effect)
    networks = built(ALL[6], effect)
    assert networks is not None
    weight = torch.randn(audio.shape, generator=torch.Generator().manual_seed(1))
    u = unit.clone().requires_grad_()
    out = NeuralProxy("np_fh", sizes=SIZES).train(effect, audio, RATE, u, networks)
    (out * weight).sum().backward()
    v = unit.clone().requires_grad_()
    (networks("equalizer", audio, v) * weight).sum().backward()
    assert torch.equal(u.grad, v.grad)  # type: ignore[arg-type]


def test_frozen_networks_stay(make_audio: MakeAudio) -> None:
    audio, unit = problem(make_audio, PAPER_CHAIN)
    networks = built(ALL[4], PAPER_CHAIN)
    assert networks is not None
    networks.train()
    before = {n: t.clone() for n, t in networks.state_dict().items()}
    ALL[4].train(PAPER_CHAIN, audio, RATE, unit, networks)
    assert all(torch.equal(t, before[n]) for n, t in networks.state_dict().items())


def test_an_item_that_cannot_be_rendered_teaches_nothing(
    make_audio: MakeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect = Equalizer()
    audio, unit = problem(make_audio, effect, batch=3)
    render = Equalizer._render

    def broken(self, x, *rest):  # type: ignore[no-untyped-def]
        out = render(self, x, *rest)
        out.audio[1::3] = math.nan
        return out

    monkeypatch.setattr(Equalizer, "_render", broken)
    unit.requires_grad_()
    out = Spsa().train(effect, audio, RATE, unit)
    out.square().sum().backward()
    assert torch.equal(out[1], audio[1]) and not torch.equal(out[0], audio[0])
    assert unit.grad is not None and bool((unit.grad[1] == 0).all())
    assert bool(unit.grad.isfinite().all()) and bool((unit.grad[0] != 0).any())


def test_proxies_are_causal_and_keep_the_gain_outside(make_audio: MakeAudio) -> None:
    networks = built(ALL[4], MATCH_CHAIN)
    assert networks is not None
    audio, _ = problem(make_audio, MATCH_CHAIN)
    unit = torch.full((2, 6), 0.3)
    out = networks("compressor", audio, unit)
    later = audio.clone()
    later[..., 2000:] = 0.5
    assert torch.equal(networks("compressor", later, unit)[..., :2000], out[..., :2000])
    louder = unit.clone()
    louder[:, 5] = 0.3 + 6 / 48  # make-up spans 48 dB
    torch.testing.assert_close(networks("compressor", audio, louder), out * 10 ** (6 / 20))


@pytest.mark.parametrize(
    ("effect", "count"), [(PAPER_CHAIN.members[0], 171137), (PAPER_CHAIN.members[1], 164993)]
)
def test_sizes_are_the_papers(effect: Effect, count: int) -> None:
    networks = proxy(effect).build()
    assert sum(p.numel() for p in networks.parameters()) == count
    one = EndToEnd("ctcn1").build(PAPER_CHAIN)
    assert sum(p.numel() for p in one.parameters()) == 174209
    assert TcnSizes().reach == 7021


def test_proxies_are_checked_against_the_effect(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from retone.training.state import RunState, save_state

    recipe = replace(proxy(Equalizer()), gradient=EndToEnd("proxy", True, SIZES))
    file = tmp_path / "best.safetensors"
    network = recipe.build()
    save_state(file, recipe, network, None, RunState(step=1, best=1.0))
    loaded = NeuralProxy("np", (str(file),), SIZES).build(Equalizer())
    for name, tensor in network.effect_networks.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    with pytest.raises(DataError, match="imitates another effect"):
        NeuralProxy("np", (str(file),), SIZES).build(PAPER_CHAIN.members[0])
    with pytest.raises(DataError, match="1 proxies are named for equalizer, compressor"):
        NeuralProxy("np", (str(file),), SIZES).build(MATCH_CHAIN)
    with pytest.raises(DataError, match="train the recipe proxy_equalizer"):
        NeuralProxy("np", (str(tmp_path / "none"),), SIZES).build(Equalizer())
    with pytest.raises(DataError, match="misshapen"):
        NeuralProxy("np", (str(file),), replace(SIZES, channels=8)).build(Equalizer())
    assert checkpoint.read(file)[1]["recipe"]["gradient"]["type"] == "EndToEnd"


def test_wrong_words_are_refused(make_audio: MakeAudio) -> None:
    with pytest.raises(SettingError, match="choose one of"):
        NeuralProxy("half")
    with pytest.raises(SettingError, match="epsilon"):
        Spsa(epsilon=0.0)
    audio, unit = problem(make_audio, Equalizer())
    with pytest.raises(SettingError, match="networks are missing"):
        ALL[4].train(Equalizer(), audio, RATE, unit)
    with pytest.raises(SettingError, match="detach the audio"):
        Spsa().train(Equalizer(), audio.requires_grad_(), RATE, unit)
    with pytest.raises(SettingError, match="positive numbers"):
        ProxyMaker(sample_rate=0, effect=Equalizer())
