"""Predicting wanted frames: scenes and pairs, the network, its training, and the fit to frames."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SAMPLE_RATE, contents, log_rows
from torch import Tensor

from retone.cli.main import main
from retone.dsp.effect import Effect
from retone.effects import MATCH_CHAIN
from retone.errors import AudioError, DataError
from retone.estimators.base import Estimate, Excerpt
from retone.estimators.closed_form import ClosedForm
from retone.estimators.frame_fit import FitRules, FrameGoal, fit_frames
from retone.estimators.frames import MAKEUP, Frames, combined, load, shortened
from retone.estimators.level_rule import LevelRule
from retone.losses.frames import cell_weight, curve_error_db
from retone.nets import checkpoint
from retone.nets.frames import DB, FrameNetConfig
from retone.nets.frontend import FrontEnd, FrontEndConfig, louder_summary
from retone.training import frames_loop
from retone.training.data.corpora import Corpus, Track
from retone.training.data.scenes import SceneMaker, at_peak
from retone.training.frames_loop import follow, train_frames
from retone.training.recipes.frames import FrameRecipe, frames_speech
from retone.training.recipes.recipe import Optimizer
from retone.training.scene_feed import Feed, SceneStream
from retone.training.scene_pool import CLIPS, ScenePool, draw_pairs

TABLE = MATCH_CHAIN.params
FRONT_END = FrontEndConfig(sample_rate=SAMPLE_RATE, window=1024, hop=512, mels=24, measures=True)


def tiny(**changes: Any) -> FrameRecipe:
    full = frames_speech()
    recipe = replace(
        full,
        scenes=replace(full.scenes, length=12288, augment_probability=0.0),
        network=FrameNetConfig(
            outputs=full.network.outputs, initial=full.network.initial, front_end=FRONT_END,
            content=12, key=8, trunk=16, hidden=24, curve=12, width=16,
        ),
        optimizer=replace(full.optimizer, learning_rate=1e-3, warmup_steps=2),
        batch_size=4, steps=8, kept_scenes=12, first_scenes=6, scenes_per_step=0.5,
        validation_scenes=2, validate_every=4,
    )  # fmt: skip
    return replace(recipe, **changes)


def clips(count: int, seed: int = 4) -> Tensor:
    torch.manual_seed(seed)
    level = torch.rand(count, 1, 24).repeat_interleave(512, dim=2).flatten(1)
    return 0.1 * level * torch.randn(count, 12288)


def test_a_scene_is_the_same_each_time_and_has_one_peak(corpora: dict[str, Any]) -> None:
    maker: SceneMaker = tiny().scenes
    one, again = (maker.scene(corpora["train"], 3, 5) for _ in range(2))
    np.testing.assert_array_equal(one.audio, again.audio)
    assert one.audio.shape == (2, 2, 2, 12288) and one.groups[0] != one.groups[1]
    np.testing.assert_allclose(np.abs(one.audio).max(-1), 10 ** (-12 / 20), rtol=1e-4)
    assert (one.bandwidth_hz <= SAMPLE_RATE / 2).all()


def test_gains_lead_back_to_halves_of_one_clip(corpora: dict[str, Any]) -> None:
    """Of both halves at the level of their clip, one has the peak of the clip."""
    scene = tiny().scenes.scene(corpora["train"], 1, 5)
    assert (np.abs(scene.gain_db.min(-1)) < 1e-3).all() and (scene.gain_db >= -1e-3).all()


def test_same_processings_leave_nothing_to_do(corpora: dict[str, Any]) -> None:
    maker = replace(tiny().scenes, same_processing_probability=1.0)
    audio = maker.scene(corpora["train"], 0, 5).audio
    np.testing.assert_array_equal(audio[:, 0], audio[:, 1])


def test_silence_stays_silence() -> None:
    audio, gain_db = at_peak(np.zeros(8, np.float32), -12.0)
    assert not audio.any() and gain_db == 0.0


def test_a_target_has_the_level_of_its_reference(tmp_path: Path, corpora: dict[str, Any]) -> None:
    """What is wanted is what the target sounds like when the reference is at its peak."""
    recipe = tiny()
    pool = ScenePool(tmp_path, 4, FRONT_END, 12288)
    scene = recipe.scenes.scene(corpora["train"], 2, 5)
    pool.add(scene)
    draws = draw_pairs(np.random.default_rng(1), np.array([0]), 0.0, 0.0)
    pair = pool.pairs(draws)
    target, reference = draws.target[0], draws.reference[0]
    audio, gain = scene.audio.reshape(CLIPS, -1), scene.gain_db.reshape(CLIPS)
    louder = 10 ** ((gain[reference] - gain[target]) / 20)
    heard = FrontEnd(FRONT_END)(torch.from_numpy(audio[target] * louder)[None])
    loud = pair.target.weight > 0
    torch.testing.assert_close(pair.target.frames[loud], heard.frames[loud], atol=0.02, rtol=0)
    torch.testing.assert_close(pair.target.summary, heard.summary, atol=0.1, rtol=0)


def test_draws_keep_the_clip_of_the_input() -> None:
    scenes = np.arange(40)
    for cross in (0.0, 1.0):
        draws = draw_pairs(np.random.default_rng(0), scenes, cross, 0.5)
        np.testing.assert_array_equal(draws.scene, scenes)
        voice, processing, half = np.unravel_index(draws.source, (2, 2, 2))
        kept = np.ravel_multi_index((voice, 1 - processing, half), (2, 2, 2))
        np.testing.assert_array_equal(draws.target, kept)
        who, style, where = np.unravel_index(draws.reference, (2, 2, 2))
        assert (style == 1 - processing).all() and (draws.cross == bool(cross)).all()
        assert ((who != voice) == draws.cross).all() and ((where != half) | draws.cross).all()
        for choice in (voice, processing, half, where):
            assert 5 < choice.sum() < 35


def test_the_pool_is_a_ring_on_disk(tmp_path: Path, corpora: dict[str, Any]) -> None:
    recipe = tiny(kept_scenes=3, first_scenes=4)
    feed = Feed(recipe, corpora["train"], ScenePool(tmp_path, 3, FRONT_END, 12288))
    batch = feed.batch(0)
    assert feed.pool.count == 4 and batch.source.frames.shape[0] == 3  # each of another scene
    again = Feed(recipe, corpora["train"], ScenePool(tmp_path, 3, FRONT_END, 12288))
    assert again.pool.count == 4
    torch.testing.assert_close(again.batch(0).source.frames, batch.source.frames)


def test_bands_that_the_recording_lacks_have_no_weight() -> None:
    frames = torch.zeros(1, 3, 4)
    bands = torch.tensor([[1.0, 1.0, 0.0]])
    quiet = frames.clone()
    quiet[:, 0] = -5.0
    weight = cell_weight(quiet, quiet, torch.full((1, 4), 0.25), bands)
    assert (weight[0, 0] == 0).all() and (weight[0, 1] == 1).all() and (weight[0, 2] == 0).all()
    miss = torch.ones(1, 3, 4) * weight
    torch.testing.assert_close(curve_error_db(miss, weight), torch.tensor([DB]))


def test_a_gain_moves_levels_of_the_summary_only() -> None:
    hear = FrontEnd(FRONT_END)
    quiet, loud = hear(clips(2)).summary, hear(10 * clips(2)).summary
    torch.testing.assert_close(loud - quiet, louder_summary(FRONT_END).expand(2, -1), atol=2e-3,
                               rtol=0)  # fmt: skip


def test_frames_and_measures_are_those_of_the_summary() -> None:
    hear = FrontEnd(FRONT_END)
    frames, measures = hear.frames_and_measures(clips(2))
    heard = hear(clips(2))
    torch.testing.assert_close(frames, heard.frames)
    torch.testing.assert_close(measures, heard.summary[:, -3:])
    slow, same = hear.frames_and_measures(clips(2).double().float().requires_grad_())
    torch.testing.assert_close(slow, frames)
    torch.testing.assert_close(same, measures)


def test_passes_go_on_from_each_other() -> None:
    torch.manual_seed(0)
    one = tiny().network.build()
    for p in one.parameters():
        torch.nn.init.normal_(p, std=0.1)
    two = replace(tiny().network, passes=2).build()
    two.load_state_dict(one.state_dict())
    first, second = two(clips(2), clips(2, 5))
    torch.testing.assert_close(first.frames, one(clips(2), clips(2, 5))[0].frames)
    assert first.frames.shape == (2, 24, 25) and not torch.allclose(first.frames, second.frames)


def test_an_average_follows() -> None:
    a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    wanted = 0.75 * a.weight.detach().clone() + 0.25 * b.weight.detach()
    follow(a, b, 0.75)
    torch.testing.assert_close(a.weight.detach(), wanted)


def test_a_run_learns_goes_on_and_refuses_another_network(
    tmp_path: Path, corpora: dict[str, Any]
) -> None:
    best = train_frames(tiny(steps=4), corpora, tmp_path / "run", log_every=2)
    train_frames(tiny(), corpora, tmp_path / "run", log_every=2)
    whole = train_frames(tiny(), corpora, tmp_path / "whole", log_every=2)
    steps = [r["step"] for r in log_rows(tmp_path / "run") if "loss" in r]
    assert steps == [2, 4, 6, 8]
    parts = [checkpoint.read(p.with_name("last.safetensors"))[0] for p in (best, whole)]
    assert set(parts[0]) == set(parts[1])
    for name, tensor in parts[0].items():
        torch.testing.assert_close(tensor, parts[1][name], msg=name)
    assert [r["step"] for r in log_rows(tmp_path / "run") if "validation" in r] == [0, 4, 8]
    before = contents(tmp_path / "run")
    fewer = replace(tiny().network.front_end, mels=20)
    for other in (replace(tiny().network, width=8), replace(tiny().network, front_end=fewer)):
        with pytest.raises(DataError, match="another network"):
            train_frames(tiny(network=other), corpora, tmp_path / "run")
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("kind", ["missing", "other"])
def test_weights_that_do_not_fit_leave_no_run(
    tmp_path: Path, corpora: dict[str, Any], kind: str
) -> None:
    weights = tmp_path / "weights.safetensors"
    if kind == "other":
        checkpoint.write(weights, {"network.other": torch.zeros(3)}, {})
    with pytest.raises(DataError):
        train_frames(tiny(), corpora, tmp_path / "run", warm_start=weights)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_corpus_without_scenes_leaves_no_run(
    tmp_path: Path, corpora: dict[str, Any], split: str
) -> None:
    silent = {**corpora, split: replace(corpora[split], tracks=())}
    with pytest.raises(DataError):
        train_frames(tiny(), silent, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_scenes_outlive_a_run_that_cannot_go_on(
    tmp_path: Path, corpora: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may run out while scenes are made: the next start goes on from there."""

    def taken(feed: Feed, step: int) -> None:
        feed.pool.add(feed.scenes[feed.pool.count])
        raise DataError("the processes that make scenes stopped")

    with monkeypatch.context() as patched:
        patched.setattr(Feed, "batch", taken)
        with pytest.raises(DataError, match="stopped"):
            train_frames(tiny(), corpora, tmp_path / "run")
    assert ScenePool(tmp_path / "run" / "scenes", 12, FRONT_END, 12288).count == 2
    whole, after = (
        checkpoint.read(train_frames(tiny(), corpora, tmp_path / name))[0]
        for name in ("whole", "run")
    )
    for name, tensor in whole.items():
        torch.testing.assert_close(after[name], tensor, msg=name)


@pytest.mark.parametrize("size", [2, 5])
def test_a_pool_of_another_size_makes_its_scenes_again(
    tmp_path: Path, corpora: dict[str, Any], size: int
) -> None:
    recipe = tiny(kept_scenes=3, first_scenes=4)
    Feed(recipe, corpora["train"], ScenePool(tmp_path / "a", 3, FRONT_END, 12288)).batch(0)
    other = replace(recipe, kept_scenes=size)
    again, new = (
        Feed(other, corpora["train"], ScenePool(tmp_path / name, size, FRONT_END, 12288)).batch(0)
        for name in ("a", "b")
    )
    torch.testing.assert_close(again, new, rtol=0, atol=0)


def test_other_processes_make_the_same_batches(tmp_path: Path, corpora: dict[str, Any]) -> None:
    recipe = tiny(first_scenes=7, kept_scenes=5, scenes_per_step=2.5)
    alone, helped = (
        Feed(recipe, corpora["train"], ScenePool(tmp_path / str(n), 5, FRONT_END, 12288), n)
        for n in (0, 2)
    )
    for step in (0, 1, 4):
        one, other = alone.batch(step), helped.batch(step)
        assert alone.pool.count == helped.pool.count == 7 + int(2.5 * step)
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    helped.close()


def test_scenes_that_cannot_be_made_end_the_run_with_the_reason(
    tmp_path: Path, corpora: dict[str, Any]
) -> None:
    maker = replace(tiny().scenes, min_mean_square=1e9)
    recipe = tiny(scenes=maker)
    feed = Feed(recipe, corpora["train"], ScenePool(tmp_path, 12, FRONT_END, 12288))
    feed.stream = SceneStream(feed.scenes, 0, 1)
    with pytest.raises(DataError, match="all too quiet; lower min_mean_square") as error:
        feed.batch(0)
    assert "Traceback" not in str(error.value)
    feed.close()


def test_a_run_by_the_clock_ends_in_time_with_a_small_learning_rate(
    tmp_path: Path, corpora: dict[str, Any]
) -> None:
    """The schedule follows the time, and a resumed run trains for the rest of it only."""
    recipe = tiny(steps=1, optimizer=Optimizer(learning_rate=1e-3, cosine=True))
    run, started = tmp_path / "run", time.monotonic()
    train_frames(recipe, corpora, run, budget_s=3.0, stop_after_s=1.0, workers=1, log_every=1)
    train_frames(recipe, corpora, run, budget_s=3.0, log_every=1)
    assert time.monotonic() - started < 30
    rows = [r for r in log_rows(run) if "loss" in r]
    rates = [r["learning_rate"] for r in rows]
    assert rows[-1]["step"] > 4 and rates[-1] < 0.1 * rates[0]
    _, header = checkpoint.read(run / "last.safetensors")
    assert 3.0 <= header["state"]["trained_s"] < 4.0


def test_a_pool_on_a_device_gives_the_same_pairs(tmp_path: Path, corpora: dict[str, Any]) -> None:
    """``meta`` stands in for a GPU's memory: shapes only, and nothing is read back."""
    recipe = tiny()
    feed = Feed(recipe, corpora["train"], ScenePool(tmp_path, 12, FRONT_END, 12288))
    plain = feed.batch(0)
    held = ScenePool(tmp_path, 12, FRONT_END, 12288)
    held._held = {name: torch.from_numpy(array) for name, array in held._kept.items()}
    other = Feed(recipe, corpora["train"], held).batch(0)
    torch.testing.assert_close(plain, other)
    meta = ScenePool(tmp_path, 12, FRONT_END, 12288, torch.device("meta"))
    shapes = Feed(recipe, corpora["train"], meta).batch(0)
    assert shapes.source.frames.shape == plain.source.frames.shape
    assert shapes.target.weight.device.type == "meta"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_further_layers_change_nothing_until_they_are_trained(precision: str) -> None:
    small = tiny().network.build()
    large = replace(tiny().network, blocks=5, exchanges=2).build()
    missing = large.load_state_dict(small.state_dict(), strict=False)
    assert missing.missing_keys and not missing.unexpected_keys
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        found = large(clips(2), clips(2, 5))[-1]
    assert found.frames.dtype == found.log_scale.dtype == torch.float32
    wanted = small(clips(2), clips(2, 5))[-1]
    torch.testing.assert_close(
        found.frames, wanted.frames, rtol=0, atol=1e-5 if precision == "float32" else 0.02
    )
    found.frames.sum().backward()
    assert all(bool(e.out.weight.grad.any()) for e in large.exchanges)  # type: ignore[union-attr]


def test_full_band_recordings_are_drawn_more_often() -> None:
    edge = 0.5 * SAMPLE_RATE
    tracks = tuple(
        Track(str(i), "train", "speech", Path("x"), 50000, edge if i < 2 else 8000.0)
        for i in range(6)
    )
    corpus = Corpus("x", SAMPLE_RATE, tracks, "")
    shares = replace(tiny().scenes, full_band_weight=3.0)._shares(corpus)
    np.testing.assert_allclose(shares[:2] / shares[2:4], 3.0)
    np.testing.assert_allclose(shares[2:], shares[2])


def test_band_widths_weight_the_loss() -> None:
    """An error in a wide band costs more, and equal errors in all bands cost the same."""
    miss = torch.zeros(2, 3, 4)
    miss[0, 2] = miss[1, 0] = 1.0
    weight, bands = torch.ones(2, 3, 4), torch.tensor([0.5, 0.5, 2.0])
    wide, narrow = curve_error_db(miss, weight, bands).tolist()
    assert wide == pytest.approx(4 * narrow)
    ones = torch.ones(1, 3, 4)
    torch.testing.assert_close(curve_error_db(ones, ones, bands), curve_error_db(ones, ones, None))


def test_steps_lower_the_loss_and_survive_a_bad_batch(
    tmp_path: Path, corpora: dict[str, Any]
) -> None:
    recipe = tiny(steps=40)
    pool = ScenePool(tmp_path / "scenes", 12, FRONT_END, 12288)
    batch = Feed(recipe, corpora["train"], pool).batch(0)
    run = frames_loop._Run(recipe, tmp_path, torch.device("cpu"))
    run.network.standardize(pool.summaries())
    losses = [float(run.train_on(batch, 40)[0]) for _ in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    broken = batch._replace(source=batch.source._replace(frames=batch.source.frames * math.nan))
    loss, norm = run.train_on(broken, 40)
    assert not math.isfinite(float(norm)) and float(loss) == 0.0
    assert all(bool(torch.isfinite(p).all()) for p in run.network.parameters())


class Neutral:
    """A first estimate that changes nothing."""

    name = "neutral"

    def estimate(self, *args: Any, **more: Any) -> Estimate:
        return Estimate(MATCH_CHAIN, TABLE.neutral(1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, corpora: dict[str, Any]) -> Path:
    return train_frames(tiny(steps=2), corpora, tmp_path_factory.mktemp("frames"))


def test_the_estimator_gives_a_setting_and_keeps_locks(weights: Path) -> None:
    source, reference = (Excerpt(0.25 * c / c.abs().max(), SAMPLE_RATE) for c in clips(2))
    estimator = Frames(weights, rules=FitRules(steps=2))
    found = estimator.estimate(source, [reference, source], locks={"compressor.ratio": 3.0})
    assert found.effect is MATCH_CHAIN
    assert float(found.setting["compressor.ratio"]) == pytest.approx(3.0, rel=1e-3)
    assert all(bool(torch.isfinite(v).all()) for v in found.setting.values())
    with pytest.raises(AudioError, match="references"):
        estimator.estimate(source, [], locks={})


@pytest.mark.parametrize("gain", [0.0, 1e-6])
def test_a_silent_reference_counts_nowhere(weights: Path, gain: float) -> None:
    source, reference = (Excerpt(0.25 * c / c.abs().max(), SAMPLE_RATE) for c in clips(2))
    silent = replace(source, audio=gain * source.audio)
    estimator = Frames(weights, first=Neutral(), rules=FitRules(steps=2))
    alone = estimator.estimate(source, [reference], locks={})
    assert estimator.estimate(source, [silent, reference], locks={}) == alone


def test_speech_is_compared_in_the_band_that_both_recordings_have(
    weights: Path, tmp_path: Path
) -> None:
    """What the reference holds above the end of the source's content does not count."""
    tensors, header = checkpoint.read(weights)
    torch.manual_seed(0)  # two steps of training hardly see the reference
    moved = {n: t + 0.05 * torch.randn_like(t) for n, t in tensors.items()}
    checkpoint.write(tmp_path / "moved.safetensors", moved, header)
    audio = clips(2).repeat(1, 6)
    hz = torch.fft.rfftfreq(audio.shape[1], 1 / SAMPLE_RATE)
    narrow, wide = torch.fft.rfft(audio) * torch.stack([hz < 4000, hz < SAMPLE_RATE])
    source, *references = (
        Excerpt(0.1 * torch.fft.irfft(x), SAMPLE_RATE)
        for x in (narrow, wide, torch.where(hz < 5000, wide, 0.1 * wide))
    )
    estimator = Frames(
        tmp_path / "moved.safetensors", first=Neutral(), rules=FitRules(steps=2), level=None
    )
    found, other = (estimator.estimate(source, [r], locks={}).setting for r in references)
    for name, value in found.items():
        assert float(other[name]) == pytest.approx(float(value), abs=1e-4), name


def test_a_first_answer_may_have_a_say(weights: Path) -> None:
    """With all of it the fit has nothing to do, and stays there."""
    source, reference = (Excerpt(0.25 * c / c.abs().max(), SAMPLE_RATE) for c in clips(2))
    first = ClosedForm().estimate(source, [reference], locks={})
    estimator = Frames(weights, rules=FitRules(steps=2), first_share=1.0, level=None)
    found = estimator.estimate(source, [reference], locks={})
    unit, start = (TABLE.to_unit(e.setting) for e in (found, first))
    torch.testing.assert_close(unit, start, atol=1e-3, rtol=0)


def test_the_level_rule_applies_as_far_as_the_network_is_in_doubt(weights: Path) -> None:
    source, reference = (Excerpt(0.25 * c / c.abs().max(), SAMPLE_RATE) for c in clips(2))
    makeups = []
    for scale_db in (0.0, 1e9, None):
        level = None if scale_db is None else LevelRule(same=1.0, peak=1.0)
        estimator = Frames(weights, rules=FitRules(2), level=level, level_scale_db=scale_db or 0.0)
        found = estimator.estimate(source, [reference], locks={})
        makeups.append(float(found.setting[MAKEUP]))
    assert makeups[1] == pytest.approx(makeups[2], abs=1e-3)
    assert abs(makeups[0] - makeups[2]) > 0.1


def test_long_recordings_are_heard_in_pieces(weights: Path) -> None:
    long = Excerpt(clips(1).repeat(1, 4).flatten(), SAMPLE_RATE)
    found = Frames(weights, rules=FitRules(steps=1), fit_pieces=2).estimate(long, [long], locks={})
    assert all(bool(torch.isfinite(v).all()) for v in found.setting.values())


def test_a_fit_may_hear_the_loudest_part_only() -> None:
    hear, clip = FrontEnd(FRONT_END), clips(2)
    clip[:, :6144] *= 0.01
    frames = hear(clip).frames
    audio, cut, weight = shortened(clip, frames, torch.ones_like(frames), 9, 512)
    assert audio.shape == (2, 8 * 512) and cut.shape == weight.shape == (2, 24, 9)
    assert not weight[..., 0].any() and not weight[..., -1].any()
    torch.testing.assert_close(hear(audio).frames[..., 1:-1], cut[..., 1:-1])
    assert float(audio.abs().amax(1).min()) > 0.05
    assert shortened(clip, frames, frames, 0, 512)[0] is clip


def test_references_agree_on_what_is_wanted(weights: Path) -> None:
    network = load(weights).network
    with torch.no_grad():
        one = network(clips(1), clips(1, 5))[-1]
    same = combined([one, one])
    torch.testing.assert_close(same.frames, one.frames)
    other = one._replace(frames=one.frames + 1, log_scale=one.log_scale + 5)
    assert float((combined([one, other]).frames - one.frames).abs().max()) < 0.01


def test_other_weights_are_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"recipe": {}})
    with pytest.raises(DataError, match="recipe that predicts frames"):
        load(tmp_path / "x.safetensors")


def aimed(effect: Effect, changes: dict[str, float]) -> tuple[FrontEnd, Tensor, FrameGoal]:
    hear, clip = FrontEnd(FRONT_END), clips(2)
    with torch.no_grad():
        out = effect.render(clip[:, None], SAMPLE_RATE, TABLE.setting(changes)).audio[:, 0]
        frames, measures = hear.frames_and_measures(out)
    return hear, clip, FrameGoal(frames, torch.ones_like(frames), measures,
                                 torch.full_like(measures, 0.1))  # fmt: skip


def test_a_fit_finds_what_was_done_and_is_never_worse() -> None:
    hear, clip, goal = aimed(MATCH_CHAIN, {"equalizer.high_shelf_gain_db": 6.0})
    start = TABLE.to_unit(TABLE.setting({})).float()
    unit, misfit = fit_frames(
        MATCH_CHAIN, hear, clip, goal, start, rules=FitRules(steps=30), locks={}
    )
    _, before = fit_frames(MATCH_CHAIN, hear, clip, goal, start, rules=FitRules(steps=0), locks={})
    assert misfit < 0.3 * before
    assert float(TABLE.to_physical(unit)["equalizer.high_shelf_gain_db"]) > 3


def test_a_fit_keeps_locks_and_stays_finite() -> None:
    hear, clip, goal = aimed(MATCH_CHAIN, {"equalizer.high_shelf_gain_db": 6.0})
    start = TABLE.to_unit(TABLE.setting({})).float()
    lock = {"equalizer.high_shelf_gain_db": -3.0}
    rules = FitRules(steps=5)
    unit, _ = fit_frames(MATCH_CHAIN, hear, clip, goal, start, rules=rules, locks=lock)
    shelf = float(TABLE.to_physical(unit)["equalizer.high_shelf_gain_db"])
    assert shelf == pytest.approx(-3.0, abs=1e-3)
    broken = goal._replace(frames=goal.frames * float("nan"))
    unit, misfit = fit_frames(MATCH_CHAIN, hear, clip, broken, start, rules=rules, locks={})
    torch.testing.assert_close(unit, start)
    assert misfit == float("inf")


def test_the_command_line_trains_it(
    tmp_path: Path, voices: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["steps=2", "batch_size=2", "scenes.length=12288", "kept_scenes=4", "first_scenes=2",
             "validation_scenes=2", "network.trunk=16", "network.hidden=24", "network.content=12",
             "network.width=16", "network.curve=12", "network.front_end.mels=24",
             "scenes.augment_probability=0"]  # fmt: skip
    args = ["train", "frames_speech", "--corpus", f"folder={voices}", "--cache", str(cache)]
    args += ["--run", str(tmp_path / "run")] + [a for s in small for a in ("--set", s)]
    assert main(args) == 0
    assert "best weights" in capsys.readouterr().out
    assert load(tmp_path / "run" / "best.safetensors").length == 12288


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--cpu-minutes", "4"], "--cpu-minutes"), (["--plugin", "x.vst3"], "--plugin")],
)  # fmt: skip
def test_options_that_its_loop_lacks_are_refused(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from retone.cli.main import main

    assert main(["train", "frames_speech", "--corpus", "folder=x", *words]) == 2
    assert named in capsys.readouterr().err
