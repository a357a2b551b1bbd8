"""A recording read at another sample rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import soxr

from retone.audio.metadata import waves
from retone.audio.reader import AudioReader
from retone.audio.resampling import expect_memory
from retone.errors import AudioError

_PIECE_FRAMES = 16384


class ResampledReader(AudioReader):
    """Another reader's recording at another sample rate, in constant memory.

    Reading goes forwards; a step back resamples again from the beginning. The first frame stays
    the first (no delay), and the length is the nearest to the original one.

    Args:
        reader: the recording; closed with this reader.
        sample_rate: in Hz.
    """

    def __init__(self, reader: AudioReader, sample_rate: int) -> None:
        old = reader.info
        frames = max(1, round(old.frames * sample_rate / old.sample_rate))
        raw = waves.at_rate(old.metadata.raw, old.sample_rate, sample_rate)
        # filters ring beyond the bits of an integer format; the writer rounds
        self.info = replace(
            old, sample_rate=sample_rate, frames=frames, metadata=replace(old.metadata, raw=raw)
        )
        self._reader = reader
        self.warnings = reader.warnings
        self._begin()

    def _begin(self) -> None:
        self._reader.seek(0)
        self._position = 0
        self._ended = False
        self._left = np.zeros((self.info.channels, 0), self.info.dtype)
        expect_memory(0)
        self._stream = soxr.ResampleStream(
            self._reader.info.sample_rate,
            self.info.sample_rate,
            self.info.channels,
            dtype=self.info.dtype.name,
            quality="VHQ",
        )

    def close(self) -> None:
        """Close the recording."""
        self._reader.close()

    def seek(self, frame: int) -> None:
        """Go to a frame, 0 to ``info.frames``."""
        if not 0 <= frame <= self.info.frames:
            raise AudioError(
                f"{self.info.path}: cannot go to frame {frame}; expected 0 to {self.info.frames}."
            )
        if frame < self._position:
            self._begin()
        while self._position < frame:
            self.read(min(_PIECE_FRAMES, frame - self._position))

    def read(self, frames: int) -> np.ndarray:
        """The next block, [channels, n]; n is less than ``frames`` only at the end."""
        frames = max(0, min(frames, self.info.frames - self._position))
        blocks, have = [self._left], self._left.shape[1]
        while have < frames and not self._ended:
            block = self._reader.read(_PIECE_FRAMES)
            self._ended = block.shape[1] == 0
            given = np.ascontiguousarray(block.T)
            expect_memory(given.nbytes)
            made = self._stream.resample_chunk(given, last=self._ended)
            made = made.reshape(-1, self.info.channels)
            blocks.append(made.T)
            have += len(made)
        whole = np.concatenate(blocks, axis=1)
        if have < frames:  # half a frame less than the rounded length
            whole = np.pad(whole, ((0, 0), (0, frames - have)))
        self._left = whole[:, frames:]
        self._position += frames
        return np.ascontiguousarray(whole[:, :frames])


def at_sample_rate(reader: AudioReader, sample_rate: int | None) -> AudioReader:
    """The reader itself, or one of the same recording at another sample rate."""
    if sample_rate is None or sample_rate == reader.info.sample_rate:
        return reader
    return ResampledReader(reader, sample_rate)
