"""Diff-DEQ: its network, its pairs and its recipes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import SAMPLE_RATE, losses, validations
from torch import Tensor

from retone.effects import DynamicEqualizer, Equalizer, MultibandEqualizer
from retone.errors import DataError, SettingError
from retone.nets import checkpoint
from retone.nets.conditioning import SIZE, Conditioning, ConditioningConfig
from retone.nets.tcn import ConvStemConfig, MelConfig, TcnConfig
from retone.training.data.enhance_pairs import EnhanceMaker
from retone.training.feed import Batch, PairDataset
from retone.training.loop import estimate_loss, learning_rate, train
from retone.training.recipes.diffdeq import (
    diffdeq_improved,
    diffdeq_improved_both,
    diffdeq_paper,
    diffdeq_peq,
    diffdeq_smoke,
)
from retone.training.recipes.record import override
from retone.training.recipes.table import recipe_named
from retone.training.recipes.warm_start import fitted_to

FRONT_ENDS = (ConvStemConfig(sample_rate=SAMPLE_RATE), MelConfig(sample_rate=SAMPLE_RATE))
DIFFDEQ = ("diffdeq_paper", "diffdeq_peq", "diffdeq_improved", "diffdeq_improved_peq")


def clips(count: int, length: int = 24000) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.1 * torch.randn(count, length, generator=generator)


def small(front_end: Any, **changes: Any) -> TcnConfig:
    config = TcnConfig(
        outputs=4,
        front_end=front_end,
        initial=(0.5, 0.25, 0.0, 0.9),
        crossover_outputs=(1, 3),
        channels=8,
        gru=8,
        hidden=16,
    )
    return replace(config, **changes)


# --- the network --------------------------------------------------------------------------------


def test_the_papers_trunk() -> None:
    network = diffdeq_paper().network
    assert network.outputs == 47 and len(network.crossover_outputs) == 5
    assert network.dilations == (1, 3, 9, 27) * 2 and network.kernel == 5 and network.reach == 321
    assert diffdeq_peq().network.outputs == 18
    assert sum(p.numel() for p in network.build().parameters()) < 1_000_000


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=["samples", "mel"])
@pytest.mark.parametrize("length", [1600, 12000, 70972])
def test_any_length_gives_unit_parameters(front_end: Any, length: int) -> None:
    torch.manual_seed(0)
    network = small(front_end).build().eval()
    audio = clips(3, length)
    with torch.no_grad():
        unit = network(audio, audio.flip(0))
        torch.testing.assert_close(network(audio), unit)  # no reference is heard
        torch.testing.assert_close(network(audio[1:2]), unit[1:2], atol=1e-5, rtol=0)
    assert unit.shape == (3, 4) and bool(((unit > 0) & (unit < 1)).all())
    frames = network.front_end(audio).shape[-1]
    assert frames == (-(-length // 512) if front_end is FRONT_ENDS[0] else 1 + length // 256)


@pytest.mark.parametrize("name", DIFFDEQ)
def test_an_untrained_network_is_the_identity(name: str) -> None:
    """Output within 0.1 dB of the input in magnitude, whatever is heard."""
    recipe = recipe_named(name)
    torch.manual_seed(0)
    network = recipe.network.build().eval()
    audio = clips(2, 48000)
    audio *= 10 ** (recipe.pairs.peak_dbfs / 20) / audio.abs().amax(1, keepdim=True)
    network.standardize(network.statistics(clips(8)))
    with torch.no_grad():
        setting = recipe.effect.params.to_physical(network(audio))
        whole = torch.nn.functional.pad(audio, (0, 24000))[:, None]  # an all-pass rings on
        out = recipe.effect.render(whole, SAMPLE_RATE, setting).audio
    power = [torch.fft.rfft(x[:, 0]).abs().square() for x in (whole, out)]
    edges = [round(3 * 20 * 2 ** (i / 3)) for i in range(28)]  # 20 Hz to 10 kHz, 1/3 octaves
    for low, high in zip(edges, edges[1:], strict=False):
        before, after = (p[:, low:high].sum(1).log10() * 10 for p in power)
        assert float((after - before).abs().max()) < 0.1, (low / 3, high / 3)


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=["samples", "mel"])
def test_gradients_reach_every_weight(front_end: Any) -> None:
    torch.manual_seed(1)
    network = small(front_end).build()
    network.head[-1].weight.data.normal_()
    (network(clips(3)) * torch.tensor([1.0, -2.0, 3.0, 1.0])).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [n for n in idle if not n.startswith("film.")], idle
    network.film[-1].weight.data.normal_()
    network.zero_grad()
    network.standardize(network.statistics(clips(8)))
    network(clips(3)).square().sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_global_features_modulate_the_frames() -> None:
    torch.manual_seed(2)
    network = small(FRONT_ENDS[1]).build().eval()
    network.film[-1].weight.data.normal_()
    network.head[-1].weight.data.normal_()
    audio = clips(1)
    before = network(audio)
    network.conditioning.center += 1.0
    assert float((network(audio) - before).detach().abs().max()) > 1e-3


def test_crossovers_are_predicted_or_shared_or_held() -> None:
    torch.manual_seed(3)
    heard = {}
    for mode in ("predicted", "global", "fixed"):
        network = small(FRONT_ENDS[1], crossover=mode).build()
        network.head[-1].weight.data.normal_()
        if mode == "global":
            network.crossover_logits.data += 0.5
        unit = network(clips(3))
        heard[mode] = unit.detach()
        unit[:, [1, 3]].sum().backward()
        if mode == "global":
            assert bool((network.crossover_logits.grad[[1, 3]] != 0).all())
            assert not network.crossover_logits.grad[[0, 2]].any()
        assert (network.head[-1].bias.grad is None or not network.head[-1].bias.grad.any()) == (
            mode != "predicted"
        )
    assert bool((heard["predicted"].std(0) > 0).all())
    for mode, moved in (("global", 0.5), ("fixed", 0.0)):
        wanted = torch.sigmoid(torch.logit(torch.tensor([0.25, 0.9])) + moved)
        torch.testing.assert_close(heard[mode][:, [1, 3]], wanted.expand(3, -1))
        assert bool((heard[mode][:, [0, 2]].std(0) > 0).all())
    with pytest.raises(SettingError, match="predicted, global, fixed"):
        small(FRONT_ENDS[0], crossover="guessed")
    with pytest.raises(SettingError, match="as many"):
        small(FRONT_ENDS[0], initial=(0.5,))
    assert override(diffdeq_paper(), ["network.crossover=fixed"]).network.crossover == "fixed"


def test_conditioning_measures_what_it_says() -> None:
    """A sine at a known level: its level, crest and frequency; loudness as the meter has it."""
    from retone.audio import LoudnessMeter

    conditioning = Conditioning(ConditioningConfig(sample_rate=SAMPLE_RATE))
    t = torch.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    tone = 0.1 * torch.sin(2 * math.pi * 2000 * t)[None]
    pulsed = tone * (torch.sin(2 * math.pi * 0.7 * t) > 0) + 1e-4 * clips(1, t.numel())
    for audio in (tone, pulsed):
        found = conditioning.features(audio)[0]
        meter = LoudnessMeter(SAMPLE_RATE, 1)
        meter.update(audio.numpy())
        assert found.shape == (SIZE,)
        assert float(found[0]) == pytest.approx(meter.result().integrated_lufs, abs=0.5)
        assert float(found[1]) == pytest.approx(10 * math.log10(audio.square().mean()), abs=0.01)
        assert float(found[3]) == pytest.approx(1.0, abs=0.1)  # an octave over 1 kHz
    quieter = conditioning.features(0.1 * tone)[0] - conditioning.features(tone)[0]
    assert quieter[:2].tolist() == pytest.approx([-20, -20], abs=0.1)
    assert float(quieter[2]) == pytest.approx(0, abs=0.01)
    assert float(conditioning.features(tone)[0, 2]) == pytest.approx(3.01, abs=0.01)
    conditioning.standardize(conditioning.features(clips(16)))
    assert float(conditioning(clips(16)).std(0)[:2].mean()) == pytest.approx(1, abs=0.2)


def maker(**changes: Any) -> EnhanceMaker:
    made = EnhanceMaker(sample_rate=SAMPLE_RATE, corruption=MultibandEqualizer(), length=24000)
    return replace(made, **changes)


# --- recipes ----------------------------------------------------------------------------------


def test_the_recipe_is_the_papers() -> None:
    r = diffdeq_paper()
    assert (r.pairs.length, r.pairs.sample_rate, r.batch_size) == (70972, 24000, 16)
    assert isinstance(r.effect, DynamicEqualizer) and r.loss.weights == (1.0, 1.0)
    plan = r.loss.losses[0].plan
    assert [(p.fft_size, p.hop, p.window) for p in plan] == [
        (1024, 120, 600), (2048, 240, 1200), (512, 50, 240)]  # fmt: skip
    rates = [learning_rate(r.optimizer, f * r.steps // 2, r.steps) for f in (0, 1, 2)]
    assert rates[0] == pytest.approx(1e-4) and rates[1] == pytest.approx(5e-5, rel=0.02)
    assert isinstance(diffdeq_peq().effect, Equalizer) and diffdeq_peq().pairs == r.pairs


def test_loss_on_samples_asks_for_no_turn_of_phase(corpora: dict[str, Any]) -> None:
    """Undamaged speech and neutral bands: L1 sees no difference, though the phase is turned."""
    paper = diffdeq_paper()
    clip = torch.from_numpy(maker().make(corpora["train"], 1, 1).target)[None]
    unit = torch.tensor([paper.network.initial], dtype=torch.float32).clamp(0, 1)

    class Neutral(torch.nn.Module):
        def forward(self, source: Tensor, reference: Tensor) -> Tensor:
            return unit

    batch = Batch(clip, clip, clip, [""])
    assert float(estimate_loss(paper, Neutral(), batch)) < 1e-3
    assert float(estimate_loss(replace(paper, allpass_target=False), Neutral(), batch)) > 0.01


def test_a_run_from_end_to_end(corpora: dict[str, Any], tmp_path: Any) -> None:
    recipe = replace(diffdeq_smoke(), steps=4, validate_every=2)
    best = train(recipe, corpora, tmp_path, workers=0, log_every=2)
    assert best.is_file() and len(losses(tmp_path)) == 2
    for _, scores in validations(tmp_path):
        assert scores["stft"] == pytest.approx(1.0, abs=0.1)  # still near the identity
    assert {p.name for p in (tmp_path / "examples").iterdir()} >= {"1_input.flac", "1_output.flac"}


def test_the_paper_takes_a_step(corpora: dict[str, Any]) -> None:
    recipe = diffdeq_paper()
    recipe = replace(recipe, pairs=replace(recipe.pairs, length=12000))
    data = PairDataset(recipe, corpora["train"])
    source, reference, target, _ = data[0]
    torch.manual_seed(0)
    network = recipe.network.build()
    batch = Batch(*(torch.stack([a, a]) for a in (source, reference, target)), problems=["", ""])
    estimate_loss(recipe, network, batch).backward()
    bias = network.head[-1].bias.grad
    assert bool(bias.isfinite().all()) and int((bias != 0).sum()) >= 30


def test_an_equalisers_weights_begin_the_whole_chain(
    corpora: dict[str, Any], tmp_path: Any
) -> None:
    """Outputs are matched by name; those of the bands keep their own, neutral beginning."""
    smoke = replace(diffdeq_smoke(), steps=1, validate_every=1)
    peq = Equalizer()
    first = tuple(float(v) for v in peq.params.to_unit(peq.params.neutral(1))[0])
    narrow = replace(smoke.network, outputs=18, initial=first, crossover_outputs=())
    best = train(replace(smoke, effect=peq, network=narrow), corpora, tmp_path / "a", workers=0)
    tensors, header = checkpoint.read(best)
    given = checkpoint.network_tensors(tensors)
    model = smoke.build()
    network: Any = model.network
    before = network.head[-1].bias.detach().clone()
    model.load(fitted_to(tensors, header, model, smoke.effect), best)
    names = smoke.effect.params.names
    at = [names.index(f"equalizer.{n}") for n in peq.params.names]
    torch.testing.assert_close(network.head[-1].bias.detach()[at], given["head.4.bias"])
    others = [i for i in range(len(names)) if i not in at]
    torch.testing.assert_close(network.head[-1].bias.detach()[others], before[others])
    train(smoke, corpora, tmp_path / "b", workers=0, warm_start=best)
    with pytest.raises(DataError, match="another network"):
        train(diffdeq_paper(), corpora, tmp_path / "c", workers=0, warm_start=best)


def test_one_recipe_learns_from_both_kinds_of_bands() -> None:
    assert diffdeq_improved().pairs.alternate is None
    pairs = diffdeq_improved_both().pairs
    assert isinstance(pairs.corruption, MultibandEqualizer) and not pairs.allpass_target
    assert pairs.alternate and isinstance(pairs.alternate.corruption, DynamicEqualizer)
    assert pairs.alternate.allpass_target and pairs.alternate.drive_db == 24


def test_improved_can_undo_more_than_an_equaliser() -> None:
    names = diffdeq_improved().effect.params.names
    assert set(Equalizer(name="equalizer").params.prefixed("equalizer").names) < set(names)
