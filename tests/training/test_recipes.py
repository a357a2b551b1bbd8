"""Recipes: typed overrides, helpful refusals, stable descriptions, networks that build."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import tiny_recipe

from retone.errors import SettingError
from retone.training.data.proxy_pairs import ProxyMaker
from retone.training.feed import Batch
from retone.training.loop import estimate_loss, learning_rate
from retone.training.recipes.deepafx import deepafx_reference_speech, deepafx_speech
from retone.training.recipes.diffdeq import diffdeq_paper
from retone.training.recipes.frames import FRAME_RECIPES
from retone.training.recipes.plugin import PLUGIN_RECIPES
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import describe, differences, fingerprint, override
from retone.training.recipes.table import RECIPES, recipe_named

LENGTH = 12288


def test_an_unknown_name_lists_every_recipe() -> None:
    with pytest.raises(SettingError, match="Did you mean frames_speech") as e:
        recipe_named("frame_speech")
    for name in (*RECIPES, *FRAME_RECIPES, *PLUGIN_RECIPES):
        assert name in str(e.value)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("optimizer.learning_rate=3e-5", ("optimizer", "learning_rate"), 3e-5),
        ("batch_size=4", ("batch_size",), 4),
        ("optimizer.cosine=true", ("optimizer", "cosine"), True),
        ("optimizer.milestones=[0.5, 0.9]", ("optimizer", "milestones"), (0.5, 0.9)),
        ("pairs.length=65536", ("pairs", "length"), 65536),
        ("name=mine", ("name",), "mine"),
        ("precision=bfloat16", ("precision",), "bfloat16"),
        ("network.front_end.mels=64", ("network", "front_end", "mels"), 64),
    ],
)
def test_overrides_are_typed(text: str, path: tuple[str, ...], value: Any) -> None:
    recipe = tiny_recipe()
    node: Any = override(recipe, [text])
    for name in path:
        node = getattr(node, name)
    assert node == value and type(node) is type(value)
    assert fingerprint(override(recipe, [text])) != fingerprint(recipe)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("optimizer.learning_rat=1", "no field 'learning_rat'. Did you mean learning_rate"),
        ("optimizer.lr=1", "no field 'lr'. Did you mean learning_rate?"),
        ("optimizer.zzz=1", "no field 'zzz'. Known: "),
        ("optimizer.zzz=1", "learning_rate"),
        ("zzz=1", "batch_size"),
        ("optimizer.learning_rate.x=1", "what comes before 'x' has no fields"),
        ("optimiser.learning_rate=1", "no field 'optimiser'. Did you mean optimizer"),
        ("batch_size", "expected path=value"),
        ("batch_size=4.5", "expected a value of type int"),
        ("batch_size=0", "batch_size 0 must be 1 or more"),
        ("optimizer.cosine=perhaps", "expected a value of type bool"),
        ("optimizer=3", "choose one of its fields"),
        ("precision=float8", "choose one of float32, bfloat16"),
        ("pairs.augment_probability=2", "not between 0 and 1"),
    ],
)
def test_wrong_overrides_are_refused_with_help(text: str, reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        override(tiny_recipe(), [text])
    assert reason in str(caught.value)


def test_unknown_recipes_list_the_known_ones() -> None:
    with pytest.raises(SettingError) as caught:
        recipe_named("compact_speach")
    assert "Did you mean compact_speech?" in str(caught.value)
    assert all(name in str(caught.value) for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_descriptions_are_json_and_fingerprints_stay(name: str) -> None:
    recipe = recipe_named(name)
    assert recipe.name == name
    stored = json.loads(json.dumps(describe(recipe), allow_nan=False))
    assert stored == describe(recipe)
    assert fingerprint(recipe_named(name)) == fingerprint(recipe)
    assert not differences(stored, recipe)


def test_fingerprints_tell_recipes_apart() -> None:
    assert len({fingerprint(recipe_named(name)) for name in RECIPES}) == len(RECIPES)


def test_differences_name_the_path_and_both_values() -> None:
    recipe = tiny_recipe()
    stored = json.loads(json.dumps(describe(recipe)))
    changed = override(recipe, ["optimizer.learning_rate=1", "network.front_end.mels=30"])
    found = differences(stored, changed)
    assert found == [
        "network.front_end.mels: 24, now 30",
        "optimizer.learning_rate: 0.003, now 1.0",
    ]
    weights = replace(recipe, loss=replace(recipe.loss, weights=(1.0, 2.0)))
    assert differences(stored, weights) == ["loss.weights.1: 25.0, now 2.0"]
    del stored["precision"], stored["optimizer"]["cosine"]
    assert not differences(stored, recipe)
    stored["wings"] = 2
    assert differences(stored, recipe) == ["wings: 2, now absent"]


def random_batch(recipe: Recipe, count: int) -> Batch:
    generator = torch.Generator().manual_seed(5)
    audio = (0.1 * torch.randn(count, recipe.pairs.length, generator=generator) for _ in range(3))
    return Batch(*audio, problems=[""] * count)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_takes_a_batch(name: str) -> None:
    recipe = recipe_named(name)
    recipe = replace(recipe, pairs=replace(recipe.pairs, length=LENGTH))
    if name.endswith("_music"):
        same = recipe_named(
            name.removesuffix("_music") + "_speech" * (not name.startswith("proxy"))
        )
        if replace(same, name=name, kind="music", gradient=recipe.gradient) == recipe:
            return  # the same parts, which that one's case builds
    torch.manual_seed(0)
    network = recipe.build(pretrained=False).eval()
    source, reference = random_batch(recipe, 2)[:2]
    if isinstance(recipe.pairs, ProxyMaker):  # is told settings
        reference = torch.rand(2, len(recipe.effect.params)) * 0.98 + 0.01
    rate, networks = recipe.pairs.sample_rate, network.effect_networks

    def render(unit: torch.Tensor) -> torch.Tensor:
        return recipe.gradient.train(recipe.effect, source[:, None], rate, unit, networks)[:, 0]

    with torch.no_grad():
        predictions = recipe.predict(network, source, reference, render)
    unit, out = predictions.units[-1], predictions.renders[-1][:, None]
    assert unit.shape == (2, len(recipe.effect.params))
    assert bool(((unit > 0) & (unit < 1)).all())
    assert out.shape == (2, 1, recipe.pairs.length) and bool(out.isfinite().all())


@pytest.mark.parametrize("name", ["compact_smoke", "deepafx_smoke"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_gives_finite_gradients_in_either_precision(name: str, precision: str) -> None:
    recipe = override(recipe_named(name), [f"precision={precision}"])
    torch.manual_seed(0)
    network = recipe.network.build()
    loss = estimate_loss(recipe, network, random_batch(recipe, 2))
    assert loss.dtype == torch.float32
    loss.backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.dtype == torch.float32 for g in gradients)
    assert all(bool(g.isfinite().all()) for g in gradients)  # type: ignore[union-attr]
    assert any(float(g.abs().max()) > 0 for g in gradients)  # type: ignore[union-attr]


def test_deepafx_is_the_papers_recipe() -> None:
    r = deepafx_speech()
    assert r.batch_size * r.steps == pytest.approx(400 * 20_000, abs=r.batch_size)
    rates = [learning_rate(r.optimizer, round(f * r.steps), r.steps) for f in (0, 0.79, 0.81, 0.96)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6])
    assert r.optimizer.clip_norm == 4.0 and r.pairs.length == 131072
    assert r.loss.weights == (1.0, 100.0) and len(r.effect.params) == 24
    assert r.loss.losses[0].windows == (32, 128, 512, 2048, 8192, 32768)
    assert deepafx_reference_speech().pairs.reference_compatible


def test_the_schedule_warms_up_and_falls() -> None:
    o = tiny_recipe().optimizer
    o = replace(o, learning_rate=1.0, warmup_steps=10, cosine=True)
    rates = [learning_rate(o, step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert all(a >= b for a, b in zip(rates[9:-1], rates[10:], strict=True))
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_former_field_names_are_no_differences() -> None:
    """Runs that an earlier version began can be resumed."""
    recipe = diffdeq_paper()
    stored = describe(recipe)
    stored["rest_in_target"] = stored.pop("allpass_target")
    stored["pairs"]["target_at_rest"] = stored["pairs"].pop("allpass_target")
    stored["pairs"]["least_strength"] = stored["pairs"].pop("min_strength")
    assert differences(stored, recipe) == []
