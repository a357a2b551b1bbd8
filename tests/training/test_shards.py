"""Shards: any pair again, few of them on disk, and runs that resume."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny import losses, tiny_recipe

from retone.cli.main import main
from retone.errors import DataError
from retone.training.data import shards
from retone.training.data.shards import ShardCache, index_shards, open_shards
from retone.training.feed import PairDataset
from retone.training.loop import train

RATE = 24000


def write_shard(path: Path, speakers: int, first: int, seconds: float = 1.6) -> None:
    """A tar file as WebDataset has it: FLAC at another rate, and JSON beside it."""
    with tarfile.open(path, "w") as tar:
        for i in range(first, first + speakers):
            rng = np.random.default_rng(i)
            body = io.BytesIO()
            audio = 0.1 * rng.standard_normal(round(seconds * 16000)).astype(np.float32)
            soundfile.write(body, audio, 16000, format="FLAC")
            for name, data in (
                (f"./clip{i:03}.flac", body.getvalue()),
                (f"./clip{i:03}.json", json.dumps({"speaker": f"s{i:03}"}).encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for k in range(8):
        write_shard(folder / f"{k:03}.tar", 5, 5 * k)
    assert index_shards(str(folder), sample_rate=RATE) == 40
    return folder


def splits(folder: Path, cache: Path, max_bytes: int = 10**9) -> dict[str, Any]:
    return open_shards(str(folder), cache=cache, max_bytes=max_bytes, kind="speech")


def test_clips_are_read_as_they_are(folder: Path, tmp_path: Path) -> None:
    import soxr

    whole = splits(folder, tmp_path)
    tracks = [t for c in whole.values() for t in c.tracks]
    assert len({t.group for t in tracks}) == len(tracks) and whole["train"].tracks
    for track in tracks[:6]:
        rng = np.random.default_rng(int(track.group[1:]))
        want = 0.1 * rng.standard_normal(round(1.6 * 16000)).astype(np.float32)
        want = soxr.resample(want, 16000, RATE, quality="HQ")
        np.testing.assert_allclose(track.read(0, track.samples), want[: track.samples], atol=1e-4)


def test_a_window_uses_few_shards_and_any_pair_comes_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "WINDOW", 6)
    train_part = splits(folder, tmp_path)["train"]
    used = [{t.shard for t in train_part.at(n).tracks} for n in range(30)]
    assert all(0 < len(s) <= shards.AT_ONCE for s in used)
    assert all(used[n] == used[n - n % 6] for n in range(30)) and len({*map(frozenset, used)}) > 2
    recipe = tiny_recipe()
    data = [PairDataset(recipe, splits(folder, tmp_path / str(i))["train"]) for i in range(2)]
    for number in (0, 7, 29, 3):
        a, b = (d[number] for d in data)
        assert a.problem == b.problem == ""
        assert all((x == y).all() for x, y in zip(a[:3], b[:3], strict=True))


def test_the_cache_stays_below_its_limit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "WINDOW", 4)
    sizes = [p.stat().st_size for p in folder.glob("*.tar")]
    limit = 5 * max(sizes) + 1
    data = PairDataset(tiny_recipe(), splits(folder, tmp_path, limit)["train"])
    most = 0
    for number in range(40):
        data[number]
        most = max(most, sum(p.stat().st_size for p in tmp_path.glob("*.tar")))
    assert 0 < most <= limit < sum(sizes)
    with pytest.raises(DataError, match="cannot hold 5 shards"):
        splits(folder, tmp_path, 4 * max(sizes))
    small = ShardCache(tmp_path, 10, str(folder))
    with pytest.raises(DataError, match="Use smaller"):
        small.path("none.tar", 11)


def test_a_run_from_shards_resumes_as_if_it_had_not_stopped(folder: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(steps=4)
    whole = splits(folder, tmp_path / "a")
    train(recipe, whole, tmp_path / "one", workers=0, log_every=1)
    for _ in range(4):
        train(recipe, splits(folder, tmp_path / "b"), tmp_path / "two", workers=0, log_every=1,
              stop_after_s=0)  # fmt: skip
    assert losses(tmp_path / "two") == losses(tmp_path / "one")


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no .tar files"):
        index_shards(str(tmp_path), sample_rate=RATE)
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(DataError, match="not a readable tar"):
        index_shards(str(tmp_path), sample_rate=RATE)
    with pytest.raises(DataError, match="Index the shards first"):
        splits(tmp_path, tmp_path / "cache")
    with pytest.raises(DataError):
        shards.filesystem("s3nosuch://bucket/x")
    (tmp_path / "x.tar").unlink()
    write_shard(tmp_path / "x.tar", 4, 0)
    assert main(["corpus", "index", str(tmp_path), "--sample-rate", "16000"]) == 0
    assert "4 clips" in capsys.readouterr().out
    words = ["train", "compact_smoke", "--shards", str(tmp_path), "--cache", str(tmp_path / "c")]
    assert main(words) == 2
    assert "indexed for 16000 Hz" in capsys.readouterr().err


def test_a_corpus_larger_than_the_disk_is_simulated(tmp_path: Path) -> None:
    """Only its index and the shards in use exist; the index is what reading a shard gives."""
    from retone.lab.bench.memory import peak_growth_mib
    from retone.lab.bench.shards import Plan, measure_shards, text

    plan = Plan(10**10, 16_000_000, clip_s=4.2, sample_rate=RATE)
    found: dict[str, Any] = {}

    def measure() -> None:
        found.update(
            measure_shards(plan, tmp_path, cache_bytes=85_000_000, windows=3, pairs=2, steps=1)
        )

    assert peak_growth_mib(measure) < 2048  # other tests may have filled this process before
    assert found["corpus_bytes"] > 9e9 and found["shards"] > 500
    assert 0 < found["cache_most_bytes"] <= 85_000_000 < found["fetched_bytes"] < 4e8
    assert found["memory_peak_bytes"] > 0 and not found["replaced_pairs"]
    assert "10 GB" in text(found)
    with pytest.raises(DataError, match="or more are needed"):
        measure_shards(
            Plan(10**9, 10**6, RATE), tmp_path, cache_bytes=1, windows=1, pairs=1, steps=1
        )
