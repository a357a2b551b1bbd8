"""Read recordings in full or in blocks, with a clear message for each kind of bad input."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio.clip import LOUDEST, is_sound, not_sound
from retone.audio.decoders import Source, open_source
from retone.audio.formats import bit_depth, describe, extension_warning
from retone.audio.metadata import Metadata, read_metadata
from retone.errors import AudioError

MIN_RATE, MAX_RATE = 8000, 384000
MAX_CHANNELS = 64
BLOCK_FRAMES = 65536
_WIDE = {"PCM_32", "DOUBLE", "ALAC_32"}  # more than the 24 bits of a float32's mantissa
_FLOATS = {"FLOAT", "DOUBLE"}
_READ_ERRORS = (RuntimeError, OSError, ValueError)  # libsndfile's and FFmpeg's derive from these


@dataclass(frozen=True)
class AudioInfo:
    """Properties of a recording.

    ``frames`` is the readable length; if the file's header promises another, ``warnings`` says
    so. ``layout`` names the channels, such as ``("FL", "FR", "LFE")``, where the file does;
    ``bit_rate`` is that of a lossy coding, in bit/s;
    ``metadata`` holds all tags, pictures, chapters and chunks.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    tags: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    layout: tuple[str, ...] | None = None
    bit_rate: int | None = None
    metadata: Metadata = field(default_factory=Metadata, repr=False)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate

    @property
    def bit_depth(self) -> int | None:
        """Bits of a sample; None for lossy codings."""
        return bit_depth(self.subtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 for samples that a float32 cannot hold, else float32."""
        return np.dtype(np.float64 if self.subtype in _WIDE else np.float32)

    def __str__(self) -> str:
        plural = "" if self.channels == 1 else "s"
        return (
            f"{self.path.name}: {self.format} {describe(self.subtype)}, {self.sample_rate} Hz, "
            f"{self.channels} channel{plural}, {self.duration_s:.2f} s"
        )


def _check_path(path: Path) -> None:
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder; expected a recording. Name a file inside it.")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path} is not a regular file; expected a recording. Save it first.")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise AudioError(f"{path} does not exist; expected a recording. Check the name.") from None
    except PermissionError:
        raise AudioError(
            f"{path} cannot be opened: permission denied. Check the file's permissions."
        ) from None
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {error.strerror or error}.") from None
    if status.st_size == 0:
        raise AudioError(
            f"{path} is empty (0 bytes); expected a recording. Copy or export it again."
        )


def info(path: str | Path) -> AudioInfo:
    """Read a file's properties and check that it can be used.

    Args:
        path: the recording. Its content decides the format, not its name.

    Raises:
        AudioError: the file is missing, unreadable, empty, not a recording, without samples,
            or outside 1-64 channels and 8-384 kHz.
    """
    source, found = _opened(Path(path))
    source.close()
    return found


def _opened(path: Path) -> tuple[Source, AudioInfo]:
    """A recording open for decoding, and its properties."""
    _check_path(path)
    source = open_source(path)
    try:
        return source, _info(path, source)
    except BaseException:
        source.close()
        raise


def _info(path: Path, source: Source) -> AudioInfo:
    rate, channels, frames = source.sample_rate, source.channels, source.frames
    if channels > MAX_CHANNELS:
        raise AudioError(
            f"{path} has {channels} channels; expected at most {MAX_CHANNELS}. Split it first."
        )
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{path} has a sample rate of {rate} Hz; expected {MIN_RATE} to {MAX_RATE} Hz. "
            "Resample it first."
        )
    if frames <= 0:
        raise AudioError(f"{path} has a header but no samples. Record or export it again.")
    warnings = []
    if source.cut:
        length = f"{frames / rate:.2f} s"
        if source.promised is not None and source.promised > frames:
            length += f" of {source.promised / rate:.2f} s"
        warnings.append(f"{path.name} is cut short; the readable part is used ({length}).")
    warnings += [f"{path.name} {note}." for note in source.notes]
    if warning := extension_warning(path, source.container):
        warnings.append(warning)
    metadata, layout = read_metadata(path, source.container)
    return AudioInfo(
        path,
        rate,
        channels,
        frames,
        source.container,
        source.subtype,
        metadata.texts(),
        tuple(warnings),
        source.layout or layout if channels > 2 else None,
        source.bit_rate,
        metadata,
    )


class AudioReader:
    """A recording open for reading in blocks, in constant memory; a context manager.

    Args:
        path: the recording.
        keep_samples: a recording of at most this many samples, all channels together, is
            decoded once and cached for further reads.

    Raises:
        AudioError: as :func:`info`, and while reading: damaged data, NaN or infinite samples.
    """

    def __init__(self, path: str | Path, keep_samples: int = 0) -> None:
        self._source, self.info = _opened(Path(path))
        self._keep = self.info.frames * self.info.channels <= keep_samples
        self._whole: np.ndarray | None = None
        self.warnings: list[str] = list(self.info.warnings)
        self._position = 0

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()
        self._whole = None

    @property
    def position(self) -> int:
        """The frame that the next read starts at."""
        return self._position

    def seek(self, frame: int) -> None:
        """Go to a frame, 0 to ``info.frames``."""
        if not 0 <= frame <= self.info.frames:
            raise AudioError(
                f"{self.info.path}: cannot go to frame {frame}; expected 0 to {self.info.frames}."
            )
        if frame == self._position:
            return
        if self._keep:
            self._position = frame
            return
        try:
            if frame < self.info.frames:  # some decoders refuse to seek to the very end
                self._source.seek(frame)
        except _READ_ERRORS:
            raise self._damaged(frame) from None
        self._position = frame

    def read(self, frames: int) -> np.ndarray:
        """The next block, [channels, n]; n is less than ``frames`` only at the end.

        Returns:
            float32, or float64 where the file's samples need it.
        """
        frames = min(frames, self.info.frames - self._position)
        if frames <= 0:
            return np.zeros((self.info.channels, 0), self.info.dtype)
        if self._keep:
            if self._whole is None:
                start, self._position = self._position, 0
                self._whole = self._decode(self.info.frames)
                self._position = start
            self._position += frames
            return np.ascontiguousarray(self._whole[:, self._position - frames : self._position])
        block = self._decode(frames)
        self._position += frames
        return block

    def _decode(self, frames: int) -> np.ndarray:
        """The next frames of the file, which starts at ``position``."""
        try:
            block = self._source.read(frames, self.info.dtype.name)
        except _READ_ERRORS:
            raise self._damaged(self._position) from None
        if len(block) < frames:
            raise self._damaged(self._position + len(block))
        if self.info.subtype in _FLOATS and not is_sound(block):
            self._refuse_non_finite(block)
        return np.ascontiguousarray(block.T)

    def blocks(self, frames: int = BLOCK_FRAMES) -> Iterator[np.ndarray]:
        """Blocks [channels, n] from here to the end."""
        while self._position < self.info.frames:
            yield self.read(frames)

    def _damaged(self, frame: int) -> AudioError:
        return AudioError(
            f"{self.info.path} is damaged at about {frame / self.info.sample_rate:.2f} s of "
            f"{self.info.duration_s:.2f} s and cannot be read on. Copy or export it again."
        )

    def _refuse_non_finite(self, block: np.ndarray) -> None:
        bad = ~(np.abs(block) <= LOUDEST)
        at = (self._position + int(bad.any(axis=1).argmax())) / self.info.sample_rate
        count = int(bad.sum())
        while len(rest := self._source.read(BLOCK_FRAMES, "float32")):
            count += int((~(np.abs(rest) <= LOUDEST)).sum())
        plural = "" if count == 1 else "s"
        kind = f"{not_sound(block)} sample{plural}"
        if np.isfinite(block).all():
            kind = f"sample{plural} {not_sound(block)}"
        raise AudioError(
            f"{self.info.path} holds {count} {kind}, the first at {at:.3f} s; expected finite "
            "numbers, full scale is 1. Export it again from the program that made it."
        )


def open_reader(path: str | Path, keep_samples: int = 0) -> AudioReader:
    """Open a recording for reading in blocks; see :class:`AudioReader`."""
    return AudioReader(path, keep_samples)
