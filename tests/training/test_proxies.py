"""Proxies and end-to-end networks through the real training loop, and runs that use them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SAMPLE_RATE, losses, tiny_recipe, validations

from retone.effects import MATCH_CHAIN
from retone.errors import DataError, SettingError
from retone.nets import checkpoint
from retone.nets.proxy import ProxyConfig, TcnSizes
from retone.training.data.proxy_pairs import ProxyMaker
from retone.training.gradients import EndToEnd, NeuralProxy, Spsa
from retone.training.loop import train
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.strategies import proxy

SIZES = TcnSizes(channels=4, kernel=5, dilations=(1, 8))


def tiny_proxy(member: int) -> Recipe:
    recipe = proxy(MATCH_CHAIN.members[member], compact=True)
    return replace(
        recipe,
        pairs=replace(recipe.pairs, length=8192),
        gradient=EndToEnd("proxy", True, SIZES),
        loss=tiny_recipe().loss,
        optimizer=replace(recipe.optimizer, learning_rate=1e-2, warmup_steps=0, cosine=False),
        batch_size=4,
        steps=12,
        validation_pairs=4,
        validate_every=6,
    )


def test_pairs_are_told_settings(corpora: dict[str, Any]) -> None:
    effect = MATCH_CHAIN.members[1]
    maker = ProxyMaker(sample_rate=SAMPLE_RATE, effect=effect, length=8192)
    pair, same, other = (maker.make(corpora["train"], i, 1) for i in (0, 0, 1))
    assert np.array_equal(pair.target, same.target) and not np.array_equal(pair.input, other.input)
    assert pair.reference.shape == (6,) and pair.reference[-1] == 0.5  # make-up at 0 dB
    peak_db = 20 * np.log10(np.abs(pair.input).max())
    assert -24.001 <= peak_db <= -11.999
    setting = effect.params.to_physical(torch.from_numpy(pair.reference)[None].double())
    out = effect.render(torch.from_numpy(pair.input)[None, None], SAMPLE_RATE, setting).audio
    np.testing.assert_allclose(pair.target, 2 * np.tanh(out[0, 0].numpy() / 2), atol=1e-6)
    with pytest.raises(SettingError, match="open the corpus at that rate"):
        replace(maker, sample_rate=44100).make(corpora["train"], 0, 1)
    with pytest.raises(DataError, match="make length shorter"):
        replace(maker, length=10**8).make(corpora["train"], 0, 1)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_may_start_as_the_identity_and_still_learns(training: bool) -> None:
    sizes = replace(SIZES, identity=True)
    network = ProxyConfig(3, sizes).build().train(training)
    audio, unit = torch.randn(2, 1, 300), torch.rand(2, 3)
    y = network(audio, unit)
    torch.testing.assert_close(y, audio, rtol=0, atol=0)
    y.square().sum().backward()
    gains = network.mix.weight.grad
    assert gains is not None and (gains.abs() > 0).all()
    film = network.blocks[0].film.bias.grad
    assert film is not None and film[0] != 0
    assert not torch.equal(ProxyConfig(3, SIZES).build()(audio, unit), audio)


def test_proxies_learn_and_then_serve(corpora: dict[str, Any], tmp_path: Path) -> None:
    files = []
    for member in (0, 1):
        recipe = tiny_proxy(member)
        files.append(str(train(recipe, corpora, tmp_path / f"proxy{member}", workers=0)))
        first, last = validations(tmp_path / f"proxy{member}")
        assert last[1]["loss"] < first[1]["loss"]
        heard = {p.name for p in (tmp_path / f"proxy{member}" / "examples").iterdir()}
        assert "1_target.flac" in heard and "1_reference.flac" not in heard

    recipe = tiny_recipe(gradient=NeuralProxy("np_fh", tuple(files), SIZES), steps=4)
    folder = tmp_path / "fh"
    train(recipe, corpora, folder, workers=0, stop_after_s=0.0)  # one step, then go on
    for file in files:
        Path(file).unlink()  # the run holds what it needs
    best = train(recipe, corpora, folder, workers=0)
    assert [step for step, _ in losses(folder)] == [4]
    tensors, header = checkpoint.read(best)
    assert header["recipe"]["gradient"]["mode"] == "np_fh"
    proxies = [n for n in tensors if n.startswith("model.stand_in.networks.equalizer.")]
    assert proxies


@pytest.mark.parametrize(
    "gradient", [Spsa(directions=2), EndToEnd("ctcn2", True, SIZES)], ids=lambda g: g.name
)
def test_the_other_strategies_train_and_resume_exactly(
    gradient: Any, corpora: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tiny_recipe(gradient=gradient, steps=4, validate_every=4)
    train(recipe, corpora, tmp_path / "whole", workers=0)
    train(recipe, corpora, tmp_path / "parts", workers=0, stop_after_s=0.0)
    train(recipe, corpora, tmp_path / "parts", workers=0)
    whole, parts = (checkpoint.read(tmp_path / f / "last.safetensors")[0]
                    for f in ("whole", "parts"))  # fmt: skip
    assert all(torch.equal(t, parts[n]) for n, t in whole.items())
    moved = [n for n in whole if n.startswith("model.stand_in.") and "film" in n]
    assert bool(moved) == isinstance(gradient, EndToEnd)


def test_weights_of_hybrids_drive_the_effect_and_end_to_end_ones_are_refused(
    tmp_path: Path,
) -> None:
    from retone.estimators.loading import load
    from retone.training.state import RunState, save_state

    for gradient in (NeuralProxy("np_fh", sizes=SIZES), EndToEnd("ctcn1", False, SIZES)):
        recipe = tiny_recipe(gradient=gradient)
        file = tmp_path / f"{gradient.name}.safetensors"
        save_state(file, recipe, recipe.build(pretrained=False), None, RunState(step=1, best=1.0))
    assert load(tmp_path / "np_fh.safetensors").effect == MATCH_CHAIN
    with pytest.raises(DataError, match="there are no settings"):
        load(tmp_path / "ctcn1.safetensors")
