"""Decoding by libsndfile: WAV and its family, FLAC, AIFF, CAF, Ogg and more, exactly."""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from retone.audio.decoders import ogg, riff
from retone.audio.decoders.source import Source, Window, file_size, open_binary
from retone.errors import AudioError

READ_ERRORS = (sf.LibsndfileError, RuntimeError, OSError)
_COUNT_FRAMES = 1024  # small, so that little is lost where a file is cut short
_SIZED = {"data", "SSND", "riff", "Riff size", "RIFF"}
_MOST_LINKS = 4096
_UNKNOWN_FRAMES = 1 << 62  # a FLAC that was written to a pipe


def _open(
    path: Path, part: tuple[int, int] | None, patches: Mapping[int, bytes], raw: dict[str, Any]
) -> sf.SoundFile:
    """Open a file, or a part of it; ``raw`` describes samples without a header."""
    try:
        if part is None and not patches:
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
            return sf.SoundFile(os.open(path, flags), closefd=True)
        file = open_binary(path)
        start, stop = part or (0, file_size(file))
        return _Windowed(Window(file, start, stop, patches), raw)
    except READ_ERRORS as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise AudioError(f"{path} cannot be opened: too many open files.") from None
        raise


_RAW = {
    (riff.PCM, 8): "PCM_U8", (riff.PCM, 16): "PCM_16", (riff.PCM, 24): "PCM_24",
    (riff.PCM, 32): "PCM_32", (riff.FLOAT, 32): "FLOAT", (riff.FLOAT, 64): "DOUBLE",
    (6, 8): "ALAW", (7, 8): "ULAW",
}  # fmt: skip


def _headerless(wave: riff.Wave) -> dict[str, Any]:
    """How libsndfile is to read a WAV's samples alone; empty if it needs the header."""
    subtype = _RAW.get((wave.tag, wave.bits))
    if subtype is None or wave.block_bytes * 8 != wave.channels * wave.bits:
        return {}
    return {
        "samplerate": wave.sample_rate,
        "channels": wave.channels,
        "format": "RAW",
        "subtype": subtype,
        "endian": "LITTLE" if wave.endian == "<" else "BIG",
    }


class _Windowed(sf.SoundFile):
    """A sound file in a window, which it closes."""

    def __init__(self, window: Window, raw: dict[str, Any]) -> None:
        self._window = window
        try:
            super().__init__(window, **raw)
        except BaseException:
            window.close()
            raise

    def close(self) -> None:
        super().close()
        self._window.close()


class SndfileSource(Source):
    """A file, or a part of one, read by libsndfile.

    Args:
        path: the file.
        part: first byte and end of the part to read; None for all.

    Raises:
        LibsndfileError, RuntimeError, OSError: libsndfile cannot read it.
        AudioError: too many files are open.
    """

    def __init__(self, path: Path, part: tuple[int, int] | None = None) -> None:
        self._path, self._part = path, part
        self._patches: dict[int, bytes] = {}
        self._raw: dict[str, Any] = {}
        wave = None
        if part is None:
            with open_binary(path) as file:
                wave = riff.read_wave(file)
        if wave is not None:
            self.layout = riff.layout_of_mask(wave.mask, wave.channels)
            if wave.rf64 or wave.promised_bytes is None:  # libsndfile stumbles over both
                self._raw = _headerless(wave)
            if self._raw:
                self._part = (wave.data.start, wave.data.start + wave.data.size)
            elif wave.promised_bytes is None:
                size = min(wave.data.size, 0xFFFFFFFF).to_bytes(4, "little")
                self._patches = {wave.size_at: size if wave.endian == "<" else size[::-1]}
        self._file = self._reopen()
        file = self._file
        self.sample_rate, self.channels = int(file.samplerate), int(file.channels)
        self.container, self.subtype = file.format, file.subtype
        if self._raw and wave is not None:
            self.container = "RF64" if wave.rf64 else "WAVEX" if wave.mask else "WAV"
        self._order: list[int] | None = None
        if self.container == "OGG" and self.subtype in ("VORBIS", "OPUS"):
            self.layout = riff.LAYOUTS.get(self.channels)
            if order := riff.VORBIS_ORDER.get(self.channels):
                self._order = [order.index(i) for i in range(self.channels)]
        self.frames = self.promised = int(file.frames)
        if self.frames >= _UNKNOWN_FRAMES:
            self.frames, self.promised = self._count(), None
        elif self.container in ("FLAC", "MP3") and self.frames and not self._last_frame_reads():
            self.frames = self._count()
        if wave is None:
            self.cut = self.frames != self.promised is not None or _cut_short(file.extra_info)
        else:
            self.cut = bool(wave.promised_bytes and wave.promised_bytes > wave.data.size)
            if self.cut and wave.block_bytes and wave.tag in (riff.PCM, riff.FLOAT):
                assert wave.promised_bytes is not None
                self.promised = wave.promised_bytes // wave.block_bytes

    def _reopen(self) -> sf.SoundFile:
        return _open(self._path, self._part, self._patches, self._raw)

    def _last_frame_reads(self) -> bool:
        try:
            with self._reopen() as file:
                file.seek(self.frames - 1)
                return len(file.read(1, dtype="float32")) == 1
        except (*READ_ERRORS, ValueError):
            return False

    def _count(self) -> int:
        total = 0
        with self._reopen() as file, contextlib.suppress(*READ_ERRORS, ValueError):
            buffer = np.empty((_COUNT_FRAMES, file.channels), np.float32)
            while got := len(file.read(out=buffer)):
                total += got
        return total

    def read(self, frames: int, dtype: str) -> np.ndarray:
        block = np.asarray(self._file.read(frames, dtype=dtype, always_2d=True))
        return block if self._order is None else block[:, self._order]

    def seek(self, frame: int) -> None:
        self._file.seek(frame)

    def close(self) -> None:
        self._file.close()


class ChainedSource(Source):
    """The links of a chained Ogg file, read as one recording.

    Args:
        path: the file.
        parts: first byte, end and number of frames of each link.
        first: the first link, open.
        cut: the last link is not complete.
        notes: what is unusual.
    """

    def __init__(
        self,
        path: Path,
        parts: list[tuple[int, int, int]],
        first: SndfileSource,
        *,
        cut: bool,
        notes: tuple[str, ...],
    ) -> None:
        self._path, self._parts = path, parts
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.container, self.subtype, self.layout = first.container, first.subtype, first.layout
        self._ends = [int(n) for n in np.cumsum([frames for _, _, frames in parts])]
        self.frames = self._ends[-1]
        self.promised = None
        self.cut, self.notes = cut, notes
        self._open, self._which, self._position = first, 0, 0

    def _go(self, which: int) -> None:
        if which != self._which:
            self._open.close()
            self._open = SndfileSource(self._path, self._parts[which][:2])
            self._which = which

    def read(self, frames: int, dtype: str) -> np.ndarray:
        blocks = []
        while frames > 0 and self._position < self.frames:
            which = bisect.bisect_right(self._ends, self._position)
            self._go(which)
            count = min(frames, self._ends[which] - self._position)
            block = self._open.read(count, dtype)
            blocks.append(block)
            self._position += len(block)
            frames -= len(block)
            if len(block) < count:
                break
        return np.concatenate(blocks) if blocks else np.zeros((0, self.channels), dtype)

    def seek(self, frame: int) -> None:
        which = bisect.bisect_right(self._ends, frame)
        self._go(which)
        self._open.seek(frame - (self._ends[which] - self._parts[which][2]))
        self._position = frame

    def close(self) -> None:
        self._open.close()


def open_sndfile(path: Path) -> Source:
    """The source of a file that libsndfile reads; a chained Ogg file as a whole."""
    with open_binary(path) as file:
        if file.read(4) != b"OggS":
            return SndfileSource(path)
        spans = ogg.links(file)
        whole = ogg.ends_properly(file, *spans[-1])
    if len(spans) == 1:
        source = SndfileSource(path)
        source.cut = not whole
        source.promised = None
        return source
    first: SndfileSource | None = None
    parts: list[tuple[int, int, int]] = []
    for span in spans[:_MOST_LINKS]:
        try:
            link = SndfileSource(path, span)
        except READ_ERRORS:
            continue
        known = first or link
        if link.frames > 0 and (link.sample_rate, link.channels, link.container) == (
            known.sample_rate, known.channels, known.container
        ):  # fmt: skip
            parts.append((*span, link.frames))
            if first is None:
                first = link
                continue
        link.close()
    if first is None:
        return SndfileSource(path)
    note = f"consists of {len(spans)} joined recordings, read as one"
    if lost := len(spans) - len(parts):
        note = (
            f"consists of {len(spans)} joined recordings, of which {lost} with another sample "
            "rate or other channels, or damaged, cannot be read with the first"
        )
    return ChainedSource(path, parts, first, cut=not whole, notes=(note,))


def _cut_short(log: str) -> bool:
    """True if libsndfile's log says that the header promises more than the file holds."""
    lines = log.splitlines()
    return any("should be" in line and line.split(":")[0].strip() in _SIZED for line in lines)
