"""Audio in memory, read in blocks as if it were a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retone.audio.reader import AudioInfo, AudioReader


class ArrayReader(AudioReader):
    """An array with the interface of :class:`AudioReader`.

    Args:
        samples: [C, T] float32 or float64, full scale is 1; may be memory-mapped. Never modified.
        sample_rate: in Hz.
        name: name in messages.
    """

    def __init__(self, samples: np.ndarray, sample_rate: int, name: str) -> None:
        channels, frames = samples.shape
        coding = "DOUBLE" if samples.dtype == np.float64 else "FLOAT"
        self.info = AudioInfo(Path(name), sample_rate, channels, frames, "array", coding)
        self.warnings: list[str] = []
        self._keep = True
        self._whole = samples
        self._position = 0

    def close(self) -> None:
        """Do nothing; there is no file to close."""

    def read(self, frames: int) -> np.ndarray:
        """The next block [C, n], a copy; n is less than ``frames`` only at the end."""
        start = self._position
        self._position = min(self.info.frames, start + max(frames, 0))
        return np.array(self._whole[:, start : self._position])  # type: ignore[index]


def samples_of(reader: AudioReader) -> np.ndarray | None:
    """The array [C, T] that a reader reads; None if it reads a file."""
    return reader._whole if isinstance(reader, ArrayReader) else None
