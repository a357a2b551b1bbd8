"""What every decoder of a recording offers, and the parts of a file seen as files."""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import IO

import numpy as np

Watch = Callable[[int, int, int, np.ndarray], None]
"""Called while a file is decoded, with the frames so far, the rate in Hz, the channels, and the
block [C, n] that was decoded last."""
WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Call ``watch`` where opening a file means decoding all of it, which its header need not
    tell; what it raises ends the decoding."""
    token = WATCH.set(watch)
    try:
        yield
    finally:
        WATCH.reset(token)


class Source(ABC):
    """A recording open for decoding, from the first frame to the last.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        frames: frames that can be read.
        promised: frames that the file's header promises; None if it promises none.
        cut: the file ends before its header says.
        container: such as ``WAV`` or ``MP4``.
        subtype: sample format or coding, such as ``PCM_24`` or ``AAC``.
        layout: names of the channels, such as ``("FL", "FR", "LFE")``; None if unknown.
        bit_rate: of the coding in bit/s; None if it has none of its own.
        notes: sentences without the file's name on what is unusual.
    """

    sample_rate: int
    channels: int
    frames: int
    promised: int | None
    cut: bool = False
    container: str
    subtype: str
    layout: tuple[str, ...] | None = None
    bit_rate: int | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def read(self, frames: int, dtype: str) -> np.ndarray:
        """The next frames, [n, channels] of ``dtype``; fewer only at the end or at damage."""

    @abstractmethod
    def seek(self, frame: int) -> None:
        """Go to a frame before the end."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; a second call does nothing."""


class Window(io.RawIOBase):
    """A part of a file as a file of its own, read only, with some bytes replaced.

    Args:
        file: the file, open for reading; closed with the window.
        start, stop: the part's first byte and the byte after its last.
        patches: position inside the window -> bytes to show there instead.
    """

    def __init__(
        self, file: IO[bytes], start: int, stop: int, patches: Mapping[int, bytes] | None = None
    ) -> None:
        super().__init__()
        self._file, self._start, self._size = file, start, max(0, stop - start)
        self._patches = dict(patches or {})
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = (0, self._position, self._size)[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(buffer).cast("B")
        here = self._position
        wanted = max(0, min(len(view), self._size - here))
        self._file.seek(self._start + here)
        got = self._file.readinto(view[:wanted])  # type: ignore[attr-defined]
        for at, data in self._patches.items():
            first, last = max(at, here), min(at + len(data), here + got)
            if first < last:
                view[first - here : last - here] = data[first - at : last - at]
        self._position += got
        return int(got)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading by descriptor, so that its name has no influence."""
    return path.open("rb", buffering=0)


def file_size(file: IO[bytes]) -> int:
    """Length of an open file in bytes."""
    return os.fstat(file.fileno()).st_size
