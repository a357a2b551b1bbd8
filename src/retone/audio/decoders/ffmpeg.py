"""Decoding by FFmpeg's libraries (PyAV): M4A, MP4, Matroska, WMA, MP3 and what else they know."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from retone.audio.decoders import boxes
from retone.audio.decoders.ffmpeg_blocks import ERRORS, Blocks
from retone.audio.decoders.ffmpeg_file import opened
from retone.audio.decoders.source import WATCH, Source, open_binary
from retone.errors import AudioError

_CONTAINERS = {
    "mov": "MP4", "matroska": "Matroska", "mp3": "MP3", "asf": "ASF", "ogg": "OGG", "wav": "WAV",
    "aac": "ADTS", "wv": "WavPack", "ape": "APE", "mpegts": "MPEG-TS", "avi": "AVI", "flv": "FLV",
    "flac": "FLAC", "w64": "W64", "aiff": "AIFF", "caf": "CAF", "dsf": "DSF", "iff": "IFF",
}  # fmt: skip
_CODINGS = {
    "aac": "AAC", "aac_latm": "AAC", "mp3": "MPEG_LAYER_III", "mp3float": "MPEG_LAYER_III",
    "mp2": "MPEG_LAYER_II", "mp2float": "MPEG_LAYER_II", "mp1": "MPEG_LAYER_I",
    "mp1float": "MPEG_LAYER_I", "vorbis": "VORBIS", "opus": "OPUS", "libopus": "OPUS",
    "ac3": "AC3", "eac3": "EAC3", "wmav1": "WMA", "wmav2": "WMA", "wmapro": "WMA",
    "wmavoice": "WMA", "dca": "DTS",
}  # fmt: skip
_LOSSLESS = {
    "alac", "flac", "wavpack", "ape", "tta", "tak", "shorten", "wmalossless", "truehd", "mlp",
    "osq", "ralf", "mp4als", "bonk", "rka",
}  # fmt: skip
_TIMED = {"mov", "matroska", "wv", "ape", "tta", "tak", "dsf", "iff", "asf", "wav"}
_NUMBERED = re.compile(r"\d+ channels")
_DEFAULT = 1  # the disposition's bit
_HISTORY = 1 << 20  # samples kept for small steps back
_MOST_PADDING = 3 * 4096


@dataclass(frozen=True)
class _Scan:
    """What decoding a file once from its beginning to its end has shown."""

    frames: int
    rate: int
    channels: int
    layout: tuple[str, ...] | None
    used_bits: int
    integer: str | None
    damages: int
    first_damage_s: float
    silent_frames: int
    mixed: bool


_scans: OrderedDict[tuple[int, ...], _Scan] = OrderedDict()
_scans_lock = threading.Lock()


class FfmpegSource(Source):
    """The first audio stream of a file, decoded by FFmpeg.

    A file is decoded once when it is first opened, so that ``frames`` is what can really be read.
    Reading goes forwards; a step back decodes again from the beginning.

    Raises:
        AudioError: there is no sound in the file, it is encrypted, or nothing of it decodes.
        ERRORS: FFmpeg does not know the format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        try:
            self._begin()
            self._describe()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Open the file at its beginning."""
        self._stack.close()
        file = self._stack.enter_context(open_binary(self._path))
        self._key = _key_of(file)
        self._container, self._bounded = self._stack.enter_context(opened(file))
        self._stream = _stream_of(self._container, self._path)
        self._stream.codec_context.thread_count = 1
        self._decoder = Blocks(self._container, self._stream, self._bounded)
        self._position = 0
        self._left = np.zeros((0, 0), np.float32)
        self._history = np.zeros((0, 0), np.float32)

    def _describe(self) -> None:
        with _scans_lock:
            scan = _scans.get(self._key)
        if scan is None:
            scan = _scan(self._decoder)
            if not scan.frames:
                raise AudioError(
                    f"{self._path} has no sound that can be decoded; expected a recording. Copy or "
                    "export it again."
                )
            with _scans_lock:
                _scans[self._key] = scan
                while len(_scans) > 64:
                    _scans.popitem(last=False)
            self._begin()
        stream, codec = self._stream, self._stream.codec_context
        family = self._container.format.name.split(",")[0]
        self._decoder.fix(scan.rate, scan.channels)
        self.sample_rate, self.channels, self.layout = scan.rate, scan.channels, scan.layout
        self.container = _CONTAINERS.get(family, family.upper())
        self.subtype = _subtype(codec.name, scan, bytes(codec.extradata or b""))
        self.bit_rate = int(codec.bit_rate or self._container.bit_rate or 0) or None
        if self.subtype.startswith(("PCM", "ALAC", "FLOAT", "DOUBLE")):
            self.bit_rate = None
        promised = _promised(family, self._container, stream, scan.rate)
        self.frames = scan.frames
        with open_binary(self._path) as file:
            if family == "mov" and not scan.silent_frames:
                self.frames = _end(self._container, scan, file)
            elif family == "mp3":
                promised = mp3_promise(file)
                if promised is not None and 0 < scan.frames - promised < 2 * 1152:
                    self.frames = promised
        self.promised = promised
        spare = max(3 * 2048, scan.rate // 10) + (4 * scan.rate if family == "asf" else 0)
        self.cut = promised is not None and promised - self.frames > spare
        notes = []
        more = promised is not None and self.frames - promised > spare
        if more:
            assert promised is not None
            notes.append(
                f"holds {self.frames / scan.rate:.2f} s, though its header says "
                f"{promised / scan.rate:.2f} s; everything is read"
            )
        at_end = scan.first_damage_s * scan.rate > self.frames - 2 * 1152
        if scan.damages and at_end and not self.cut:
            notes.append("ends with data that is not sound, which is left out")
        elif scan.damages > 2 * more and not at_end:
            plural = "" if scan.damages == 1 else "s"
            notes.append(
                f"is damaged in {scan.damages} place{plural}, the first at "
                f"{scan.first_damage_s:.2f} s; "
                + (
                    f"{scan.silent_frames / scan.rate:.2f} s there are silent"
                    if scan.silent_frames
                    else "what cannot be decoded is left out"
                )
            )
        if scan.mixed:
            notes.append(
                "changes its sample rate or channels; it is read as it begins, the rest converted"
            )
        others = sum(s.type == "audio" for s in self._container.streams) - 1
        if others:
            which = "tracks, which are" if others > 1 else "track, which is"
            notes.append(f"has {others} more audio {which} left out; the first is used")
        self.notes = tuple(notes)

    def read(self, frames: int, dtype: str) -> np.ndarray:
        frames = min(frames, self.frames - self._position)
        blocks: list[np.ndarray] = []
        count = 0
        while count < frames:
            if not self._left.shape[1]:
                block = self._decoder.next_block()
                if block is None:
                    break
                self._left = block
            take = self._left[:, : frames - count]
            self._left = self._left[:, take.shape[1] :]
            blocks.append(take)
            count += take.shape[1]
        self._position += count
        if not blocks:
            return np.zeros((0, self.channels), dtype)
        self._remember(blocks)
        return np.ascontiguousarray(np.concatenate(blocks, axis=1).T.astype(dtype, copy=False))

    def _remember(self, blocks: list[np.ndarray]) -> None:
        """Keep the latest blocks, for steps back."""
        most = max(1, _HISTORY // self.channels)
        parts = [self._history, *blocks] if self._history.shape[1] else blocks
        while len(parts) > 1 and sum(p.shape[1] for p in parts[1:]) >= most:
            parts = parts[1:]
        self._history = np.concatenate(parts, axis=1)[:, -most:]

    def seek(self, frame: int) -> None:
        back = self._position - frame
        if 0 < back <= self._history.shape[1]:
            parts = [self._history[:, -back:], self._left]
            self._left = np.concatenate([p for p in parts if p.shape[1]], axis=1)
            self._history = self._history[:, :-back]
            self._position = frame
            return
        if back > 0:
            rate, channels = self.sample_rate, self.channels
            try:
                self._begin()
            except ERRORS as error:
                raise OSError("the file can no longer be decoded") from error
            self._decoder.fix(rate, channels)
        while self._position < frame:
            if not len(self.read(min(1 << 16, frame - self._position), "float32")):
                raise OSError("the file ends before this frame")

    def close(self) -> None:
        self._stack.close()


def _scan(stream: Blocks) -> _Scan:
    """Decode a stream to its end."""
    frames, watch = 0, WATCH.get()
    while (block := stream.next_block(count_bits=True)) is not None:
        frames += block.shape[1]
        if watch is not None:
            watch(frames, stream.rate, stream.channels, block)
    layout = stream.layout
    names: tuple[str, ...] | None = None
    if layout is not None and stream.channels > 2 and not _NUMBERED.fullmatch(layout.name):
        names = tuple(c.name for c in layout.channels)
    used = 0
    if stream.used and stream.integer in ("s16", "s32"):
        width = 16 if stream.integer == "s16" else 32
        used = width - (stream.used & -stream.used).bit_length() + 1
    return _Scan(
        frames, stream.rate, stream.channels, names, used, stream.integer, stream.damages,
        stream.first_damage_frame / max(stream.rate, 1), stream.silent_frames, stream.mixed,
    )  # fmt: skip


def _key_of(file: IO[bytes]) -> tuple[int, ...]:
    """What tells whether a file is still the one that was decoded."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _stream_of(container: Any, path: Path) -> Any:
    """The audio stream to read: the one marked as default, else the first that decodes."""
    audio = [s for s in container.streams if s.type == "audio"]
    if not audio:
        what = "a picture but no sound" if list(container.streams) else "no sound"
        raise AudioError(f"{path} holds {what}; expected a recording. Choose another file.")
    known = [s for s in audio if s.codec_context is not None and s.codec_context.codec.name]
    if not known:
        raise AudioError(
            f"{path}: the coding of its sound is not known to FFmpeg. Convert it to WAV with the "
            "program that made it."
        )
    default = [s for s in known if s.disposition & _DEFAULT]
    return (default or known)[0]


def _subtype(codec: str, scan: _Scan, header: bytes) -> str:
    """The sample format or coding in libsndfile's names."""
    if codec in _CODINGS:
        return _CODINGS[codec]
    if codec.startswith("pcm_alaw"):
        return "ALAW"
    if codec.startswith("pcm_mulaw"):
        return "ULAW"
    if codec in _LOSSLESS or codec.startswith("pcm_"):
        if scan.integer is None:
            return "DOUBLE" if codec.startswith("pcm_f64") else "FLOAT"
        width = {"u8": 8, "s16": 16}.get(scan.integer, 32)
        if stated := re.match(r"pcm_[su](16|24|32)", codec):
            return f"PCM_{stated[1]}"
        used = _stated_bits(codec, header) or scan.used_bits
        bits = next(b for b in (16, 24, 32) if b >= max(min(used, width), 1))
        bits = 8 if width == 8 else bits
        return f"ALAC_{bits}" if codec == "alac" else f"PCM_{bits}" if bits > 8 else "PCM_U8"
    if codec.startswith("dsd"):
        return "DSD"
    return codec.upper()


def _stated_bits(codec: str, header: bytes) -> int | None:
    """Bits of a sample as the coding's own header gives them."""
    if codec == "alac" and len(header) >= 18:
        return header[17]
    if codec == "flac" and len(header) >= 14:
        return ((header[12] & 1) << 4 | header[13] >> 4) + 1
    return None


def _promised(family: str, container: Any, stream: Any, rate: int) -> int | None:
    """Frames that a container's header promises."""
    if family not in _TIMED:
        return None
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * rate)
    if container.duration and all(s.type == "audio" for s in container.streams):
        return round(container.duration * rate / 1_000_000)
    return None


def _end(container: Any, scan: _Scan, file: IO[bytes]) -> int:
    """Frames of an MP4 without the encoder's padding at its end."""
    found = []
    if gapless := re.match(r"\s*\w+ \w+ \w+ (\w+)", container.metadata.get("iTunSMPB", "")):
        with contextlib.suppress(ValueError):
            found.append(int(gapless[1], 16))
    found.append(boxes.sound_frames(file, scan.rate) or 0)
    for end in found:
        if 0 < end and 0 <= scan.frames - end <= _MOST_PADDING:
            return end
    return scan.frames


def mp3_promise(file: IO[bytes]) -> int | None:
    """Frames that the Xing, Info or VBRI header of an MP3 promises; None without one.

    The encoder's delay and padding are taken off where the header states them.
    """
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum((b & 127) << (7 * (3 - i)) for i, b in enumerate(head[6:10]))
    file.seek(start)
    data = file.read(4096)
    sync = re.search(rb"\xff[\xe2-\xff]", data)
    if sync is None:
        return None
    first = data[sync.start() : sync.start() + 400].ljust(400, b"\0")
    version, layer = first[1] >> 3 & 3, first[1] >> 1 & 3
    per_frame = {1: 1152 if version == 3 else 576, 2: 1152, 3: 384}.get(layer, 1152)
    found = re.search(b"Xing|Info|VBRI", first[:200])
    if found is None:
        return None
    tag = first[found.start() :]
    if tag[:4] == b"VBRI":
        return int.from_bytes(tag[14:18], "big") * per_frame
    if not tag[7] & 1:
        return None
    frames = int.from_bytes(tag[8:12], "big") * per_frame
    at = 8 + 4 * bool(tag[7] & 1) + 4 * bool(tag[7] & 2) + 100 * bool(tag[7] & 4)
    at += 4 * bool(tag[7] & 8) + 21
    if tag[at - 21 : at - 17] in (b"LAME", b"Lavf", b"Lavc"):
        frames -= (tag[at] << 4 | tag[at + 1] >> 4) + ((tag[at + 1] & 15) << 8 | tag[at + 2])
    return frames
