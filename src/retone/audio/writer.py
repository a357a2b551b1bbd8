"""Write recordings: sample formats, dither and tags, completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from retone.atomic import AtomicFile, write_error
from retone.audio import formats
from retone.audio.reader import AudioInfo
from retone.errors import AudioError, ShapeError

# A WAV header counts bytes in 32 bits; the margin is for tags and an effect's tail.
WAV_BYTES = 2**32 - 2**26
_CHUNK_FRAMES = 16384  # libsndfile's Vorbis coder puts a block on the stack
_WRITE_ERRORS = (OSError, RuntimeError, AssertionError)
# Well above transparency, because the input may be lossy already.
_QUALITY: dict[str, dict[str, Any]] = {
    "VORBIS": {"compression_level": 0.2},
    "OPUS": {"compression_level": 0.6},
    "MPEG_LAYER_III": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},
}


class AtomicWriter:
    """A streaming writer of one recording; use it as a context manager.

    After an exception no file is left behind and an existing target is untouched
    (:mod:`retone.atomic`).

    Args:
        path: the output; its extension decides the container.
        like: the input, whose sample rate, channels, sample format and tags are kept.
        sample_rate: in Hz; replaces the input's.
        channels: number of channels; replaces the input's.
        subtype: sample format, such as ``PCM_24``; replaces the input's.
        tags: replace the input's.
        force: replace an existing file.
        dither: add triangular dither when rounding to 16 bits or less; samples that need no
            rounding stay exact.
        seed: random seed of the dither.
        expected_frames: length if known (default: the input's); a WAV beyond 4 GB becomes RF64.

    Attributes:
        notes: sentences on properties that could not be preserved, complete after ``close``.
        subtype: the sample format written.

    Raises:
        OutputExistsError: the target exists and ``force`` is not set.
        AudioError: the target cannot be written or cannot hold such audio; the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        like: AudioInfo | None = None,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
        subtype: str | None = None,
        tags: dict[str, str] | None = None,
        force: bool = False,
        dither: bool = True,
        seed: int = 0,
        expected_frames: int | None = None,
    ) -> None:
        self.path = Path(path)
        rate = sample_rate or (like.sample_rate if like else None)
        count = channels or (like.channels if like else None)
        if rate is None or count is None:
            raise AudioError(
                f"{path}: the writer needs a sample rate and a number of channels. "
                "Pass them, or the input's properties as like=."
            )
        self.sample_rate, self.channels = int(rate), int(count)
        self.tags = dict(tags if tags is not None else like.tags if like else {})
        container = formats.container_of(self.path)
        wanted = subtype or (like.subtype if like else None)
        self.subtype, note = formats.choose_subtype(self.path, container, wanted)
        self.notes: list[str] = [note] if note else []
        formats.check_limits(self.path, container, self.subtype, self.sample_rate, self.channels)
        if expected_frames is None and like is not None:
            expected_frames = like.frames * self.sample_rate // like.sample_rate
        width = (formats.bit_depth(self.subtype) or 8) // 8
        if container == "WAV" and (expected_frames or 0) * self.channels * width > WAV_BYTES:
            container = "RF64"
            self.notes.append(f"{self.path.name} is over 4 GB; written as RF64, WAV's large form.")
        elif container == "WAV" and like is not None and like.format == "WAVEX":
            container = "WAVEX"
        self.container = container
        self._bits = formats.integer_bits(self.subtype)
        self._dither = dither and (self._bits or 32) <= 16
        self._seed = seed
        self._frames = self._clipped = 0
        self._file: sf.SoundFile | None = None
        self._unfinished = AtomicFile(self.path, force=force)
        try:
            self._file = sf.SoundFile(
                self._unfinished.path,
                "w",
                self.sample_rate,
                self.channels,
                self.subtype,
                format=container,
                **_QUALITY.get(self.subtype, {}),
            )
            for name in formats.TAGS:
                if self.tags.get(name):
                    with contextlib.suppress(RuntimeError):  # reported at the end
                        setattr(self._file, name, self.tags[name])
        except BaseException as error:
            self.abort()
            if isinstance(error, _WRITE_ERRORS):
                raise write_error(self.path, error) from None
            raise

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale are clipped: true for all but float files."""
        return self.subtype not in ("FLOAT", "DOUBLE")

    def __enter__(self) -> AtomicWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.close()
        else:
            self.abort()

    def write(self, block: np.ndarray) -> None:
        """Append a block, [channels, n], full scale is 1.

        Raises:
            ShapeError: the number of channels is wrong.
            AudioError: a sample is NaN or infinite, or the disk is full; nothing is left behind.
        """
        if self._file is None:
            raise AudioError(f"{self.path} is closed; nothing more can be written.")
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ShapeError(
                f"AtomicWriter.write: expected [{self.channels}, time], got {list(block.shape)}."
            )
        for first in range(0, block.shape[1], _CHUNK_FRAMES):
            self._write(block[:, first : first + _CHUNK_FRAMES])

    def _write(self, block: np.ndarray) -> None:
        assert self._file is not None
        if not np.isfinite(block).all():
            self.abort()
            raise AudioError(
                f"{self.path}: the audio to write is NaN or infinite at about "
                f"{self._frames / self.sample_rate:.2f} s; expected finite samples."
            )
        if self._bits is not None:
            from retone.audio.quantise import quantise

            data, clipped = quantise(
                block, self._bits, dither=self._dither, seed=self._seed, start=self._frames
            )
            self._clipped += clipped
        else:
            data = np.ascontiguousarray(block.T)
            if self.clips:
                self._clipped += int((np.abs(data) > 1.0).sum())
        try:
            self._file.write(data)
        except _WRITE_ERRORS as error:
            self.abort()
            raise write_error(self.path, error) from None
        self._frames += block.shape[1]

    def abort(self) -> None:
        """Discard what was written; the target is untouched."""
        if self._file is not None:
            with contextlib.suppress(*_WRITE_ERRORS):
                self._file.close()
            self._file = None
        self._unfinished.discard()

    def close(self) -> None:
        """Finish the file and give it its name; a second call does nothing."""
        if self._file is None:
            return
        try:
            self._file.close()
            self._file = None
            self._verify()
        except _WRITE_ERRORS as error:
            self.abort()
            raise write_error(self.path, error) from None
        except BaseException:
            self.abort()
            raise
        self._unfinished.commit()
        if self._clipped:
            self.notes.append(
                f"{self.path.name}: {self._clipped} samples were beyond full scale and were "
                "clipped; lower the gain or set a true-peak ceiling."
            )

    def _verify(self) -> None:
        """Read the header back: a full disk may show only here."""
        if self._frames == 0 and self.container in ("FLAC", "OGG", "MP3"):
            return  # such a file without samples cannot be opened again
        with sf.SoundFile(self._unfinished.path) as file:
            exact = self.subtype not in ("VORBIS", "OPUS", "MPEG_LAYER_III")
            if exact and file.frames != self._frames:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            lost = [
                name
                for name in formats.TAGS
                if self.tags.get(name) and getattr(file, name).strip("\0 ") != self.tags[name]
            ]
        if lost:
            self.notes.append(
                f"{self.path.name}: {self.container} files could not keep these tags: "
                f"{', '.join(lost)}."
            )
