"""Bad recordings, items that cannot be made, workers that die: training goes on and says so."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import SAMPLE_RATE, log_rows, losses, open_splits, tiny_recipe

from retone.errors import DataError
from retone.training.data.corpora import Corpus, Track
from retone.training.feed import (
    MAX_ATTEMPTS,
    REPLACEMENT_OFFSET,
    DistributedContext,
    Numbers,
    PairDataset,
    batches,
)
from retone.training.loop import train

HERE = DistributedContext(0, 1, torch.device("cpu"))


def notes(folder: Path) -> str:
    return "\n".join(row["note"] for row in log_rows(folder) if "note" in row)


def test_bad_files_are_left_out_and_named(voices: Path, tmp_path: Path) -> None:
    """Unreadable, silent, too short, repeated; other rates and channels are fine."""
    folder = tmp_path / "mixed"
    shutil.copytree(voices, folder)
    good = sorted(p.name for p in folder.iterdir())
    rng = np.random.default_rng(0)
    rates = {soundfile.info(folder / name).samplerate for name in good}
    soundfile.write(folder / "high_rate.wav", 0.2 * rng.standard_normal((96000, 2)), 48000)
    assert len(rates | {48000}) >= 2
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(200))
    (folder / "empty.flac").write_bytes(b"")
    soundfile.write(folder / "silent.wav", np.zeros(60000), SAMPLE_RATE)
    soundfile.write(folder / "short.wav", 0.2 * rng.standard_normal(2000), SAMPLE_RATE)
    soundfile.write(folder / "brief.wav", 0.2 * rng.standard_normal(16000), SAMPLE_RATE)
    shutil.copy(folder / good[0], folder / "copy.wav")

    corpora = open_splits(folder, tmp_path / "cache")
    run = tmp_path / "run"
    train(tiny_recipe(steps=2), corpora, run, workers=0, log_every=1)
    assert len(losses(run)) == 2
    said = notes(run)
    assert "2 files unreadable" in said
    assert "1 files silent, such as silent.wav" in said
    assert "1 files too short, such as short.wav" in said
    assert "1 files duplicate" in said
    assert "shorter than a clip of 1.0 s, such as mixed/brief" in said
    train(tiny_recipe(steps=2), corpora, run, workers=0)
    assert notes(run) == said, "said once, not at every start"


class Faulty:
    """A pair maker that fails for some item numbers, as a disk does."""

    def __init__(self, maker: Any, bad: tuple[int, ...]) -> None:
        self.maker, self.bad = maker, bad

    def make(self, corpus: Any, number: int, seed: int) -> Any:
        if number in self.bad:
            raise OSError(5, "Input/output error")
        return self.maker.make(corpus, number, seed)


@pytest.fixture
def dataset(corpora: dict[str, Any]) -> PairDataset:
    return PairDataset(tiny_recipe(), corpora["train"])


def test_an_item_that_cannot_be_made_is_replaced_by_a_fixed_other(dataset: PairDataset) -> None:
    spare, plain = dataset[3 + REPLACEMENT_OFFSET], dataset[4]
    dataset.maker = Faulty(dataset.maker, (3,))
    replaced = dataset[3]
    assert "Input/output error" in replaced[3] and spare[3] == ""
    for a, b in zip(replaced[:3], spare[:3], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(dataset[4][:3], plain[:3], strict=True):
        assert torch.equal(a, b)


def test_items_that_can_never_be_made_end_the_run_with_the_reason(dataset: PairDataset) -> None:
    dataset.maker = Faulty(
        dataset.maker, tuple(3 + i * REPLACEMENT_OFFSET for i in range(MAX_ATTEMPTS))
    )
    with pytest.raises(DataError, match=r"item 3 could not be made.*Input/output error"):
        dataset[3]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corpus_without_a_usable_speaker_says_what_to_do(
    corpora: dict[str, Any], workers: int
) -> None:
    recipe = tiny_recipe()
    recipe = replace(recipe, pairs=replace(recipe.pairs, length=SAMPLE_RATE * 10))
    feed = batches(recipe, corpora["train"], 0, HERE, workers, lambda text: None)
    with pytest.raises(DataError, match="add recordings or make length shorter") as caught:
        next(feed)
    assert "Traceback" not in str(caught.value)


def test_replacements_are_counted_and_noted(
    corpora: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(steps=2)
    maker = type(recipe.pairs)
    make = maker.make

    def sometimes(self: Any, corpus: Any, number: int, seed: int) -> Any:
        if number == 1 and seed == recipe.seed and corpus is corpora["train"]:
            sometimes.calls += 1
            if sometimes.calls > 1:  # the first is for the network's input scaling
                raise OSError(5, "Input/output error")
        return make(self, corpus, number, seed)

    sometimes.calls = 0
    monkeypatch.setattr(maker, "make", sometimes)
    train(recipe, corpora, tmp_path, workers=0, log_every=1)
    assert [r["replaced"] for r in log_rows(tmp_path) if "loss" in r] == [1, 1]
    assert "step 1: an item was replaced (OSError" in notes(tmp_path)


class Lethal:
    """A track that kills the process reading it, as often as its file has letters."""

    def __init__(self, track: Track, lives: Path) -> None:
        self.track, self.lives = track, lives
        self.group, self.samples, self.path = track.group, track.samples, track.path

    def read(self, start: int, length: int) -> np.ndarray:
        left = self.lives.read_text()
        if left:
            self.lives.write_text(left[1:])
            os.kill(os.getpid(), signal.SIGKILL)
        return self.track.read(start, length)


def lethal(corpora: dict[str, Any], lives: Path) -> Corpus:
    corpus = corpora["train"]
    return replace(corpus, tracks=tuple(Lethal(t, lives) for t in corpus.tracks))


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch looks after its workers every five seconds; here oftener."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


@pytest.mark.usefixtures("quick_watch")
def test_a_killed_worker_is_replaced_and_the_items_stay_the_same(
    corpora: dict[str, Any], tmp_path: Path
) -> None:
    lives, said = tmp_path / "lives", []
    lives.write_text("x")
    recipe = tiny_recipe(steps=3)
    plain = list(batches(recipe, corpora["train"], 0, HERE, 0, said.append))
    assert not said
    found = list(batches(recipe, lethal(corpora, lives), 0, HERE, 1, said.append))
    assert said == ["a process that makes pairs died at step 0; another one continues"]
    assert len(found) == len(plain) == 3
    for one, other in zip(found, plain, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


@pytest.mark.usefixtures("quick_watch")
def test_workers_that_always_die_end_the_run(corpora: dict[str, Any], tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_text("x" * 50)
    feed = batches(tiny_recipe(), lethal(corpora, lives), 0, HERE, 1, lambda text: None)
    with pytest.raises(DataError, match="died 4 times in a row at step 0"):
        next(feed)


def test_processes_share_out_the_numbers_of_a_larger_batch() -> None:
    two, four = tiny_recipe(), tiny_recipe(batch_size=4)
    alone = list(Numbers(four, 3, HERE))
    parts = [list(Numbers(two, 3, DistributedContext(r, 2, HERE.device))) for r in (0, 1)]
    shared = [n for i in range(0, len(parts[0]), 2) for p in parts for n in p[i : i + 2]]
    assert shared == alone and alone[0] == 12
    assert len(Numbers(four, 3, HERE)) == len(alone)


def test_no_finite_gradient_ends_the_run(
    corpora: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retone.training.loop.MAX_SKIPPED_STEPS", 2)
    recipe = tiny_recipe()
    loss = replace(recipe.loss, weights=(1.0, float("inf")))
    with pytest.raises(DataError, match="2 steps in a row had no finite gradient"):
        train(replace(recipe, loss=loss), corpora, tmp_path, workers=0)
