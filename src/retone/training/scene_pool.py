"""Features of scenes, kept on disk, and batches of pairs drawn from them.

Making a scene costs more than a training step on one of its pairs. So the features of the most
recent scenes are kept in memory-mapped arrays. New scenes replace the oldest, and each pair of a
batch comes from a different scene.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retone.losses.frames import FrameTarget, cell_weight
from retone.nets.frames import DB
from retone.nets.frontend import (
    BAND_QUANTILES,
    Features,
    FrontEnd,
    FrontEndConfig,
    louder_summary,
)
from retone.training.data.scenes import HALVES, PROCESSINGS, VOICES, Scene

Array = np.ndarray
CLIPS = VOICES * PROCESSINGS * HALVES
CPU = torch.device("cpu")
ABSENT = 0.5
"""Weight of bands above a recording's bandwidth. They hold only noise, but a change of noise is
audible and measured like any other. Such recordings do not teach the network that these bands are
empty, since it learns changes, and input and target are the same recording."""


class FramePair(NamedTuple):
    """A batch: features of source and reference, and the target of the prediction.

    ``cross`` [B]: whether the reference is another voice.
    """

    source: Features
    reference: Features
    target: FrameTarget
    cross: Tensor


class Draws(NamedTuple):
    """Scenes, and their clips that make pairs, by number, [B] each.

    ``target`` has the content of the source; ``cross``: the reference is another voice.
    """

    scene: Array
    source: Array
    target: Array
    reference: Array
    cross: Array


class SceneFeatures(NamedTuple):
    """What a pool keeps of a scene.

    ``frames`` [clips, M, N] in 16 bits, ``energy`` [clips, N] and ``summary`` [clips, S] as in
    ``Features``; ``gain_db`` [clips] and ``bandwidth_hz`` [voices] as in ``Scene``.
    """

    frames: Tensor
    energy: Tensor
    summary: Tensor
    gain_db: Tensor
    bandwidth_hz: Tensor


@torch.no_grad()
def analysed(scene: Scene, front_end: FrontEnd) -> SceneFeatures:
    """The features of a scene."""
    features = front_end(torch.from_numpy(scene.audio.reshape(CLIPS, -1)))
    return SceneFeatures(
        features.frames.half(), features.energy, features.summary,
        torch.from_numpy(scene.gain_db.reshape(CLIPS)), torch.from_numpy(scene.bandwidth_hz),
    )  # fmt: skip


class ScenePool:
    """Features of scenes in a folder: a ring buffer of fixed size.

    ``count`` is the number of scenes made so far; scene n is in slot n modulo the size. On another
    device than the CPU a copy in its memory serves the pairs. Scenes that were made for another
    size, front end or length are made again.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        front_end: FrontEndConfig,
        length: int,
        device: torch.device = CPU,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.size, self.device = folder, size, device
        self.front_end = FrontEnd(front_end)
        self.bands = torch.from_numpy(upper_edges_hz(front_end)).float().to(device)
        self._louder = louder_summary(front_end).to(device)
        frames = length // front_end.hop + 1
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "frames": (np.float16, (CLIPS, front_end.mels, frames)),
            "energy": (np.float32, (CLIPS, frames)),
            "summary": (np.float32, (CLIPS, front_end.summary_size)),
            "gain_db": (np.float32, (CLIPS,)),
            "bandwidth_hz": (np.float32, (VOICES,)),
        }
        self._count = self._map("count", np.int64, (), 1)
        self._kept = {name: self._map(name, *shape) for name, shape in shapes.items()}
        self._held: dict[str, Tensor] = {}
        if device.type != "cpu":
            self._held = {name: self._copy(array) for name, array in self._kept.items()}

    def _map(self, name: str, kind: type, shape: tuple[int, ...], rows: int = 0) -> Array:
        path, whole = self.folder / f"{name}.npy", (rows or self.size, *shape)
        if path.is_file():
            old = np.load(path, mmap_mode="r+")
            if old.shape == whole:
                return old
        if name != "count":
            self._count[0] = 0
        return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=whole)

    def _copy(self, array: Array) -> Tensor:
        kind = torch.from_numpy(array[:0]).dtype
        whole = torch.empty(array.shape, dtype=kind, device=self.device)
        made = min(self.count, self.size)
        whole[:made] = torch.from_numpy(array[:made]).to(self.device)
        return whole

    @property
    def count(self) -> int:
        return int(self._count[0])

    def add(self, scene: Scene | SceneFeatures) -> None:
        """Replace the oldest scene."""
        features = analysed(scene, self.front_end) if isinstance(scene, Scene) else scene
        slot = self.count % self.size
        for name, value in features._asdict().items():
            self._kept[name][slot] = value.numpy()
            if self._held:
                self._held[name][slot] = value.to(self.device, non_blocking=True)
        self._count[0] += 1

    def summaries(self) -> Tensor:
        """All summary statistics in the pool, [scenes * clips, S]."""
        count = min(self.count, self.size)
        return torch.from_numpy(self._kept["summary"][:count].reshape(count * CLIPS, -1).copy())

    def pairs(self, draws: Draws) -> FramePair:
        """The drawn pairs as one batch, on the pool's device."""
        slots = draws.scene % self.size
        voices = draws.source // (PROCESSINGS * HALVES)
        index = torch.from_numpy(
            np.stack([slots, draws.source, draws.target, draws.reference, voices, draws.cross])
        ).to(self.device)
        slot, source, target, reference, voice, cross = index
        features = self._features(slot, source)
        gain = self._rows("gain_db", slot, reference) - self._rows("gain_db", slot, target)
        shift = gain[:, None] / DB
        wanted = self._rows("frames", slot, target) + shift[..., None]
        known = self._rows("bandwidth_hz", slot, voice)
        bands = (self.bands[None] <= known[:, None]).float().clamp(min=ABSENT)
        weight = cell_weight(features.frames, wanted, features.energy, bands)
        summary = self._rows("summary", slot, target) + shift * self._louder
        statistics = torch.ones_like(summary)
        rows = 2 + len(BAND_QUANTILES)
        statistics[:, : rows * bands.shape[1]] = bands.repeat(1, rows)
        truth = FrameTarget(wanted, weight, summary, statistics)
        return FramePair(features, self._features(slot, reference), truth, cross.bool())

    def _features(self, slot: Tensor, clip: Tensor) -> Features:
        frames, energy, summary = (
            self._rows(name, slot, clip) for name in ("frames", "energy", "summary")
        )
        return Features(frames, energy, summary)

    def _rows(self, name: str, slot: Tensor, clip: Tensor) -> Tensor:
        if self._held:
            return self._held[name][slot, clip].float()
        return torch.from_numpy(self._kept[name][slot.numpy(), clip.numpy()].astype(np.float32))


def upper_edges_hz(front_end: FrontEndConfig) -> Array:
    """Upper edges of the mel bands in Hz, [M]."""
    bank = FrontEnd(front_end).bank.numpy()
    step = front_end.sample_rate / front_end.window
    last = bank.shape[1] - 1 - (bank[:, ::-1] > 0.5 * bank.max(1, keepdims=True)).argmax(1)
    return np.asarray(last * step)


def draw_pairs(rng: np.random.Generator, scenes: Array, cross: float, swap: float) -> Draws:
    """Draw a pair of each scene.

    Args:
        rng: random generator.
        scenes: numbers of the scenes, [B].
        cross: probability that the reference is the other voice.
        swap: probability that the two processings swap roles.
    """
    count = len(scenes)
    voice, half, anywhere = rng.integers(2, size=(3, count))
    given = (rng.random(count) < swap).astype(np.int64)
    other = rng.random(count) < cross
    who = np.where(other, 1 - voice, voice)
    where = np.where(other, anywhere, 1 - half)
    return Draws(
        np.asarray(scenes), _clip(voice, given, half), _clip(voice, 1 - given, half),
        _clip(who, 1 - given, where), other,
    )  # fmt: skip


def _clip(voice: Array, processing: Array, half: Array) -> Array:
    return (voice * PROCESSINGS + processing) * HALVES + half
