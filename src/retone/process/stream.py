"""Run an effect over audio of any length, block by block, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect, State

if TYPE_CHECKING:
    from retone.audio import AudioReader

BLOCK_FRAMES = 65536
BLOCK_SAMPLES = 1 << 19
HEAD_S = 0.5
"""Seconds of a recording's beginning that pre-roll the dynamics before it starts."""


def block_frames(channels: int) -> int:
    """Frames to render at a time: many, so that designing filters costs little, yet few MB."""
    return max(4096, min(4 * BLOCK_FRAMES, BLOCK_SAMPLES // channels))


class Renderer:
    """An effect with one setting, which keeps its state between blocks.

    The result is bit-identical for any block size, or equal to rounding (``Effect.exact_blocks``).
    ``process`` returns it as late as the effect is; ``aligned`` and ``whole`` undo that. With
    ``head`` [C, n], the first `HEAD_S` of the recording, dynamics are warmed up
    (`Effect.warm_state`); without it all states start at zero.
    """

    def __init__(
        self,
        effect: Effect,
        setting: Mapping[str, Tensor],
        sample_rate: int,
        *,
        head: np.ndarray | None = None,
    ) -> None:
        self.effect, self.setting, self.sample_rate = effect, setting, sample_rate
        self._state: State | None = None
        self._first = True  # the setting's values are checked once
        if head is not None and head.shape[1]:
            audio = torch.from_numpy(np.ascontiguousarray(head))[None]
            with torch.no_grad():
                self._state = effect.warm_state(audio, sample_rate, setting)

    def process(self, block: np.ndarray) -> np.ndarray:
        """Render [C, n] samples; returns [C, n] of the same dtype."""
        return self.process_with_curves(block, curves=False)[0]

    @torch.no_grad()
    def process_with_curves(
        self, block: np.ndarray, *, curves: bool = True
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Render [C, n] samples, and the effect's curves over time, name -> [n]."""
        audio = torch.from_numpy(np.ascontiguousarray(block))[None]
        out = self.effect.render(
            audio, self.sample_rate, self.setting, self._state, curves=curves, checked=self._first
        )
        self._state, self._first = out.state, False
        return out.audio[0].numpy(), {name: c[0].numpy() for name, c in out.curves.items()}

    def aligned(
        self, blocks: Iterable[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
        """Render consecutive blocks [C, n] from the beginning, without the effect's latency.

        Yields:
            Each block, its result [C, n] and the effect's curves, name -> [n].
        """
        late = self.effect.latency_samples(self.sample_rate)
        waiting: list[np.ndarray] = []
        ready = np.zeros((0, 0), np.float32)
        curves: dict[str, np.ndarray] = {}
        skip = late
        for block in _then_silence(blocks, late):
            out, own = self.process_with_curves(block.samples)
            if not late:
                yield block.samples, out, own
                continue
            if not block.is_silence:
                waiting.append(block.samples)
            cut, skip = min(skip, out.shape[1]), max(0, skip - out.shape[1])
            ready = np.concatenate([ready, out[:, cut:]], axis=1) if ready.size else out[:, cut:]
            for name, curve in own.items():
                curves[name] = np.concatenate([curves.get(name, curve[:0]), curve[cut:]])
            while waiting and waiting[0].shape[1] <= ready.shape[1]:
                n = waiting[0].shape[1]
                yield waiting.pop(0), ready[:, :n], {name: c[:n] for name, c in curves.items()}
                ready, curves = ready[:, n:], {name: c[n:] for name, c in curves.items()}

    def whole(self, audio: np.ndarray) -> np.ndarray:
        """Render a recording [C, T] in one go, without the effect's latency."""
        return next((out for _, out, _ in self.aligned([audio])), audio)


class _Block(NamedTuple):
    samples: np.ndarray
    is_silence: bool


def _then_silence(blocks: Iterable[np.ndarray], late: int) -> Iterator[_Block]:
    """The blocks, then silence [C, late] that pushes the last samples out."""
    block = None
    for block in blocks:
        yield _Block(block, False)
    if late and block is not None:
        yield _Block(np.zeros((block.shape[0], late), block.dtype), True)


def head_frames(sample_rate: int) -> int:
    """Number of frames to pass to ``Renderer`` as ``head``."""
    return round(HEAD_S * sample_rate)


def head_of(reader: AudioReader) -> np.ndarray:
    """Read the beginning [C, n] of a recording, then seek back to frame 0."""
    reader.seek(0)
    blocks, wanted = [], head_frames(reader.info.sample_rate)
    while wanted and (block := reader.read(wanted)).shape[1]:
        blocks.append(block)
        wanted -= block.shape[1]
    reader.seek(0)
    if not blocks:
        return np.zeros((reader.info.channels, 0), np.float32)
    return np.concatenate(blocks, axis=1)


def render_whole(
    effect: Effect, audio: np.ndarray, sample_rate: int, setting: Mapping[str, Tensor]
) -> np.ndarray:
    """Render a recording [C, T] with warmed-up dynamics."""
    head = audio[:, : head_frames(sample_rate)]
    return Renderer(effect, setting, sample_rate, head=head).whole(audio)
