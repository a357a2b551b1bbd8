"""Training from a corpus larger than the disk: memory and cache, with shards made when read.

The shards are those of an fsspec file system of its own, which writes a shard's bytes when the
cache fetches it: tar files of FLAC clips as ``retone corpus index`` reads them. So the whole
corpus never exists, but everything that training handles does: the index of all clips, and every
fetched shard at its full size.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import DataError
from retone.progress import Progress, silent
from retone.training.data import shards
from retone.training.feed import PairDataset
from retone.training.loop import train
from retone.training.provenance import provenance
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import override
from retone.training.recipes.table import recipe_named

PROTOCOL = "simulated"
BODIES = 16
"""Different recordings; all clips are copies of them."""
CLIPS_OF_SPEAKER = 40
RECIPE = "compact_exact_speech"


@dataclass(frozen=True)
class Plan:
    """A simulated corpus.

    Args:
        total_bytes, shard_bytes: of all shards, and of one at the most.
        sample_rate: of clips and index, in Hz.
        clip_s: length of a clip in seconds.
    """

    total_bytes: int
    shard_bytes: int
    sample_rate: int
    clip_s: float = 12.0


class Simulated:
    """The shards of a plan: their index, and the bytes of any of them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.bodies = [_recording(plan, seed) for seed in range(BODIES)]
        mean = sum(_padded(len(b)) for b in self.bodies) / BODIES + 3 * tarfile.BLOCKSIZE
        self.clips = int((plan.shard_bytes - tarfile.RECORDSIZE) / mean)
        if self.clips < 2 * CLIPS_OF_SPEAKER:
            raise DataError(
                f"a shard of {plan.shard_bytes / 1e6:.0f} MB holds {self.clips} clips; "
                f"{2 * CLIPS_OF_SPEAKER} or more are needed."
            )
        first = io.BytesIO()
        self.write(0, first)
        self.size = first.tell()
        with tarfile.open(fileobj=io.BytesIO(first.getvalue())) as tar:
            members = [m for m in tar if m.name.endswith(".flac")]
        self.places = [(m.offset_data, m.size) for m in members]
        self.count = max(1, round(plan.total_bytes / self.size))

    def name(self, shard: int) -> str:
        """File name of a shard."""
        return f"{shard:05}.tar"

    def speaker(self, shard: int, clip: int) -> str:
        """Who speaks in a clip."""
        return f"s{shard:05}-{clip // CLIPS_OF_SPEAKER:03}"

    def write(self, shard: int, file: Any) -> None:
        """Write a shard; all have the same size."""
        with tarfile.open(fileobj=file, mode="w") as tar:
            for clip in range(self.clips):
                stem = f"{shard:05}-{clip:05}"
                known = json.dumps({"speaker": self.speaker(shard, clip)}).encode()
                for name, body in (
                    (f"{stem}.flac", self.bodies[clip % BODIES]), (f"{stem}.json", known),
                ):  # fmt: skip
                    member = tarfile.TarInfo(name)
                    member.size = len(body)
                    tar.addfile(member, io.BytesIO(body))

    def index(self) -> dict[str, Any]:
        """What ``index_shards`` writes for all shards."""
        samples = round(self.plan.clip_s * self.plan.sample_rate)
        found = []
        for shard in range(self.count):
            clips = [
                [*place, samples, self.speaker(shard, clip)]
                for clip, place in enumerate(self.places)
            ]
            found.append({"name": self.name(shard), "bytes": self.size, "clips": clips})
        return {"retone_shards": shards.FORMAT, "sample_rate": self.plan.sample_rate,
                "shards": found}  # fmt: skip


def _recording(plan: Plan, seed: int) -> bytes:
    """Noise in syllables, as FLAC."""
    import soundfile

    rng = np.random.default_rng(seed)
    count = round(plan.clip_s * plan.sample_rate)
    syllables = np.repeat(rng.uniform(0.05, 0.3, int(6 * plan.clip_s) + 1), plan.sample_rate // 6)
    noise = np.convolve(rng.standard_normal(count), np.ones(4) / 2, "same")
    body = io.BytesIO()
    audio = (syllables[:count] * noise).clip(-1, 1).astype(np.float32)
    soundfile.write(body, audio, plan.sample_rate, format="FLAC", subtype="PCM_16")
    return body.getvalue()


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


@dataclass
class Fetched:
    """What was read from the simulated file system."""

    shards: int = 0
    bytes: int = 0


def register(simulated: Simulated) -> Fetched:
    """Make ``simulated://`` known to fsspec; the result counts what is fetched."""
    import fsspec

    index = json.dumps(simulated.index()).encode()
    fetched = Fetched()

    class Files(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = PROTOCOL
        cachable = False

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            if path.endswith(shards.INDEX):
                return io.BytesIO(index)
            body = io.BytesIO()
            simulated.write(int(Path(path).stem), body)
            body.seek(0)
            return body

        def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
            with Path(lpath).open("wb") as file:
                simulated.write(int(Path(rpath).stem), file)
            fetched.shards += 1
            fetched.bytes += simulated.size

    fsspec.register_implementation(PROTOCOL, Files, clobber=True)
    return fetched


def measure_shards(
    plan: Plan,
    folder: Path,
    *,
    cache_bytes: int,
    windows: int,
    pairs: int,
    steps: int,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Make pairs from several windows, then train some steps; watch memory and disk.

    Args:
        plan: the corpus.
        folder: for cache and run.
        cache_bytes: limit of the cache.
        windows, pairs: windows of ``shards.WINDOW`` pairs, and pairs made in each.
        steps: training steps.

    Raises:
        DataError: pairs cannot be made, or the index differs from what reading a shard gives.
    """
    began = time.process_time()
    simulated = Simulated(plan)
    fetched = register(simulated)
    url, cache = f"{PROTOCOL}://corpus", folder / "cache"
    say(f"{simulated.count} shards of {simulated.size / 1e6:.0f} MB, {simulated.clips} clips each")
    _check_index(simulated, url)
    splits = shards.open_shards(url, cache=cache, max_bytes=cache_bytes, kind="speech")
    recipe = override(recipe_named(RECIPE), [f"steps={steps}", "batch_size=2", "validation_pairs=2",
                                             "pairs.length=49152"])  # fmt: skip
    assert isinstance(recipe, Recipe)
    data = PairDataset(recipe, splits["train"])
    most, replaced = 0, 0
    made_s = time.process_time()
    for window in range(windows):
        for number in range(pairs):
            replaced += bool(data[window * shards.WINDOW + number].problem)
            most = max(most, on_disk(cache))
        say(f"window {window}: {fetched.shards} shards fetched, {most / 1e9:.2f} GB on disk, "
            f"{peak_bytes() / 1e9:.2f} GB of memory")  # fmt: skip
    made_s = time.process_time() - made_s
    train(replace(recipe, validate_every=steps), splits, folder / "run", workers=0,
          progress=progress)  # fmt: skip
    most = max(most, on_disk(cache))
    return {
        "retone_shards_bench": 1,
        "question": {
            **asdict(plan), "cache_bytes": cache_bytes, "windows": windows, "pairs": pairs,
            "steps": steps, "recipe": RECIPE, "seed": recipe.seed,
        },
        "provenance": provenance(),
        "corpus_bytes": simulated.count * simulated.size,
        "shards": simulated.count,
        "clips": simulated.count * simulated.clips,
        "hours": simulated.count * simulated.clips * plan.clip_s / 3600,
        "fetched_shards": fetched.shards,
        "fetched_bytes": fetched.bytes,
        "replaced_pairs": replaced,
        "cache_most_bytes": most,
        "memory_peak_bytes": peak_bytes(),
        "pairs_cpu_s": round(made_s, 1),
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip


def _check_index(simulated: Simulated, url: str) -> None:
    """Two shards, read as ``retone corpus index`` reads them, against the index in use."""
    fs, root = shards.filesystem(url)
    for shard in {0, simulated.count - 1}:
        with fs.open(f"{root}/{simulated.name(shard)}", "rb") as file:
            found = shards.clips_of(file, simulated.plan.sample_rate)
        samples = round(simulated.plan.clip_s * simulated.plan.sample_rate)
        known = [[*place, samples, simulated.speaker(shard, clip)]
                 for clip, place in enumerate(simulated.places)]  # fmt: skip
        if found != known:
            raise DataError(f"shard {shard}: its clips are not where the index has them.")


def on_disk(cache: Path) -> int:
    """Bytes of all files in a folder, unfinished ones included."""
    return sum(p.stat().st_size for p in cache.rglob("*") if p.is_file())


def peak_bytes() -> int:
    """Most memory that this process has held (its resident set)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def text(found: dict[str, Any]) -> str:
    """What was measured as a Markdown table."""
    q = found["question"]
    rows = [
        ("corpus", f"{found['corpus_bytes'] / 1e9:.0f} GB, {found['hours']:.0f} h"),
        ("shards, clips", f"{found['shards']}, {found['clips']}"),
        ("fetched", f"{found['fetched_shards']} shards, {found['fetched_bytes'] / 1e9:.1f} GB"),
        ("pairs made, from windows", f"{q['windows'] * q['pairs']}, {q['windows']}"),
        ("training steps after that", f"{q['steps']}"),
        ("most on disk, limit of the cache",
         f"{found['cache_most_bytes'] / 1e9:.2f} GB, {q['cache_bytes'] / 1e9:.2f} GB"),
        ("peak memory of the process", f"{found['memory_peak_bytes'] / 1e9:.2f} GB"),
    ]  # fmt: skip
    return "\n".join(["| what | measured |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])
