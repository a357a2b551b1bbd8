"""Write recordings: sample formats, dither and tags, completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import formats
from retone.audio.clip import is_sound, not_sound
from retone.audio.decoders.riff import LAYOUTS, same_speakers
from retone.audio.encoders.sndfile import SndfileEncoder
from retone.audio.metadata import Metadata, lost, read_metadata, waves, write_metadata
from retone.audio.reader import AudioInfo
from retone.errors import AudioError, ShapeError
from retone.files.atomic import AtomicFile, write_error

# A WAV header counts bytes in 32 bits; the margin is for tags and an effect's tail.
WAV_BYTES = 2**32 - 2**26
_CHUNK_FRAMES = 16384  # libsndfile's Vorbis coder puts a block on the stack
_WRITE_ERRORS = (OSError, RuntimeError, AssertionError)


class AtomicWriter:
    """A streaming writer of one recording; use it as a context manager.

    After an exception no file is left behind and an existing target is untouched
    (:mod:`retone.files.atomic`).

    Args:
        path: the output; its extension decides the container.
        like: the input, whose sample rate, channels, sample format and tags are kept.
        sample_rate: in Hz; replaces the input's.
        channels: number of channels; replaces the input's.
        subtype: sample format, such as ``PCM_24``; replaces the input's.
        tags: replace the input's.
        output: format, bit depth and sample rate that the user wants; replaces ``subtype``.
        unchanged: the samples are the input's, so statements on their loudness stay true.
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
        output: formats.OutputFormat | None = None,
        unchanged: bool = False,
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
        output = output or formats.OutputFormat()
        container = output.container(self.path)
        wanted = output.subtype(container, subtype or (like.subtype if like else None))
        name = self.path.with_suffix(".opus") if output.name == "opus" else self.path
        self.subtype, note = formats.choose_subtype(name, container, wanted)
        if (
            container == "Matroska"
            and self.subtype == "OPUS"
            and self.sample_rate not in formats.OPUS_RATES
        ):
            self.subtype, note = "PCM_24", None  # AAC has no exact length there
        self.notes: list[str] = [note.replace(name.name, self.path.name)] if note else []
        formats.check_limits(self.path, container, self.subtype, self.sample_rate, self.channels)
        if expected_frames is None and like is not None:
            expected_frames = like.frames * self.sample_rate // like.sample_rate
        width = (formats.bit_depth(self.subtype) or 8) // 8
        self.layout = like.layout if like and like.channels == self.channels else None
        self._needed_bytes = (expected_frames or 0) * self.channels * width
        if container == "WAV" and self._needed_bytes > WAV_BYTES:
            container = "RF64"
            self.notes.append(f"{self.path.name} is over 4 GB; written as RF64, WAV's large form.")
        elif container == "WAV" and like is not None:
            extended = like.format == "WAVEX" or (self.layout and self.channels > 2)
            container = "WAVEX" if extended else "WAV"
        self.container = container
        self._bits = formats.integer_bits(self.subtype)
        self._dither = dither and (self._bits or 32) <= 16
        self._seed = seed
        self._frames = self._clipped = 0
        self.metadata = self._metadata(like, tags, unchanged)
        self._encoder: Any = None
        self._unfinished = AtomicFile(self.path, force=force)
        try:
            self._encoder = self._opened(like)
        except BaseException as error:
            self._failed(error)
            raise

    @property
    def tags(self) -> dict[str, str]:
        """The tags to write."""
        return self.metadata.texts()

    def _metadata(
        self, like: AudioInfo | None, tags: dict[str, str] | None, unchanged: bool
    ) -> Metadata:
        """What the output is to carry besides its samples."""
        found = like.metadata if like else Metadata()
        if tags is not None:
            found = found.with_tags(tags)
        if like is not None:
            raw = waves.at_rate(found.raw, like.sample_rate, self.sample_rate)
            found = replace(found, raw=raw)
        if unchanged:
            return found
        raw = waves.without_loudness(found.raw)
        return replace(found.without_loudness(), raw=raw)

    def _opened(self, like: AudioInfo | None) -> Any:
        path = self._unfinished.path
        if self.container not in formats.BY_FFMPEG:
            return SndfileEncoder(
                path, self.container, self.subtype, self.sample_rate, self.channels
            )
        from retone.audio.decoders.ffmpeg_file import available

        if not available():
            raise AudioError(
                f"{self.path}: {self.container} files need the package av (FFmpeg's libraries). "
                "Install it: pip install av"
            )
        from retone.audio.encoders.ffmpeg import FfmpegEncoder, pictures_of

        video = None
        if like is not None and like.format in ("MP4", "Matroska", "AVI", "MPEG-TS", "FLV"):
            others = pictures_of(like.path)
            if "video" in others and self.path.suffix.lower() in formats.VIDEO:
                video = like.path
            elif others:
                self.notes.append(f"{self.path.name} holds the sound alone, without the picture.")
        encoder = FfmpegEncoder(
            path, str(self.path), self.container, self.subtype, self.sample_rate, self.channels,
            layout=self.layout, metadata=self.metadata, video=video,
        )  # fmt: skip
        self.notes += [f"{self.path.name}: {note}." for note in encoder.notes]
        return encoder

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
        if self._encoder is None:
            raise AudioError(f"{self.path} is closed; nothing more can be written.")
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ShapeError(
                f"AtomicWriter.write: expected [{self.channels}, time], got {list(block.shape)}."
            )
        for first in range(0, block.shape[1], _CHUNK_FRAMES):
            self._write(block[:, first : first + _CHUNK_FRAMES])

    def _write(self, block: np.ndarray) -> None:
        if not is_sound(block):
            self.abort()
            raise AudioError(
                f"{self.path}: the audio to write is {not_sound(block)} at about "
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
            self._encoder.write(data)
        except BaseException as error:
            self._failed(error)
            raise
        self._frames += block.shape[1]

    def _failed(self, error: BaseException) -> None:
        """Discard what was written; for what a disk refuses, raise the error that says why."""
        why = self._unfinished.reason(error) if isinstance(error, _WRITE_ERRORS) else None
        self.abort()
        if why is not None:
            raise write_error(self.path, why, self._needed_bytes) from None

    @property
    def written(self) -> Path:
        """Where the file is now: under its name, or still hidden (see ``together``)."""
        return self._unfinished.where

    def abort(self) -> None:
        """Discard what was written; the target is untouched."""
        if self._encoder is not None:
            with contextlib.suppress(*_WRITE_ERRORS, ValueError):
                getattr(self._encoder, "abort", self._encoder.close)()
            self._encoder = None
        self._unfinished.discard()

    def close(self) -> None:
        """Finish the file and give it its name; a second call does nothing."""
        if self._encoder is None:
            return
        try:
            encoder, self._encoder = self._encoder, None
            encoder.close()
            self._verify(encoder)
        except BaseException as error:
            self._failed(error)
            raise
        self._unfinished.commit()
        if self._clipped:
            self.notes.append(
                f"{self.path.name}: {self._clipped} samples were beyond full scale and were "
                "clipped; lower the gain or set a true-peak ceiling."
            )

    def _keeps_layout(self) -> bool:
        """Whether the container says what each channel is."""
        if self.container in ("AIFF", "W64", "WAV", "MP3"):
            return False
        usual = same_speakers(self.layout, LAYOUTS.get(self.channels))
        return self.container != "OGG" or usual

    def _verify(self, encoder: Any) -> None:
        """Read the header back, where a full disk may show only now; add what else is carried."""
        if self._frames == 0 and self.container in ("FLAC", "OGG", "MP3"):
            return  # such a file without samples cannot be opened again
        frames = encoder.written_frames()
        if frames is not None and frames != self._frames:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path = self._unfinished.path
        duration_s = self._frames / self.sample_rate
        wanted = self.metadata
        if not (wanted.tags or wanted.pictures or wanted.chapters or wanted.raw or self.layout):
            if self.container != "MP4":
                return
        write_metadata(path, self.container, wanted, self.layout, self.sample_rate, duration_s)
        container = {"MOV": "MP4", "WebM": "Matroska"}.get(self.container, self.container)
        kept, _ = read_metadata(path, container)
        names = lost(wanted, kept)
        if self.layout and not self._keeps_layout():
            names.append(f"the channel layout ({' '.join(self.layout)})")
        if names:
            self.notes.append(
                f"{self.path.name}: {self.container} files could not keep {'; '.join(names)}."
            )
