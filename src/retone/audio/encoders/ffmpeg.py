"""Writing by FFmpeg's libraries (PyAV): M4A, MP4, MOV, Matroska and WebM, with the picture copied.

FFmpeg writes through a file object that retone opened, and to no other file.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.error import FFmpegError

from retone.audio.decoders.ffmpeg_file import opened
from retone.audio.decoders.riff import LAYOUTS, same_speakers
from retone.audio.decoders.source import open_binary
from retone.audio.formats import describe
from retone.audio.metadata import Chapter, Metadata
from retone.errors import AudioError

_MUXERS = {"MP4": "mp4", "MOV": "mov", "Matroska": "matroska", "WebM": "webm"}
_PCM = {"PCM_16": "s16le", "PCM_24": "s24le", "PCM_32": "s32le", "FLOAT": "f32le"}
_LANGUAGE = re.compile("[a-z]{3}")  # of a track, as in ISO 639-2
_ATTACHED = 1024  # a picture that is metadata
_AHEAD_S = 1.0  # packets of the picture are written this far ahead of the sound, at most


def _coding(container: str, subtype: str) -> tuple[str, str]:
    """FFmpeg's names of the encoder and of its sample format."""
    if subtype == "AAC":
        return "aac", "fltp"
    if subtype == "OPUS":
        return "libopus", "flt"
    if subtype.startswith("ALAC"):
        return "alac", "s16p" if subtype == "ALAC_16" else "s32p"
    if container == "Matroska" and subtype in ("PCM_16", "PCM_24"):
        return "flac", "s16" if subtype == "PCM_16" else "s32"
    return f"pcm_{_PCM[subtype]}", {"PCM_16": "s16", "FLOAT": "flt"}.get(subtype, "s32")


def bit_rate(subtype: str, sample_rate: int, channels: int) -> int | None:
    """Bits a second of a lossy coding, well above transparency; None for the others."""
    if subtype == "AAC":
        return min(128_000, 3 * sample_rate) * channels
    if subtype == "OPUS":
        return min((96_000 if channels > 1 else 128_000) * channels, 510_000)
    return None


def pictures_of(path: Path) -> list[str]:
    """Kinds of the streams besides the sound that a copy keeps, such as ``video``."""
    with open_binary(path) as file, opened(file) as (container, _):
        return [s.type for s in _others(container)]


def _others(container: Any) -> list[Any]:
    return [
        s
        for s in container.streams
        if s.type in ("video", "subtitle") and not int(s.disposition) & _ATTACHED
    ]


class FfmpegEncoder:
    """A file that FFmpeg writes.

    Args:
        path: an existing, empty file.
        name: the output's name, for messages.
        container: ``MP4``, ``MOV``, ``Matroska`` or ``WebM``.
        subtype: coding of the sound, such as ``AAC`` or ``ALAC_24``.
        layout: names of the channels; None for the usual ones.
        metadata: chapters, and what only FFmpeg can write; MP4 tags are added later.
        video: recording whose picture and subtitles are copied, packet by packet; None for none.

    Attributes:
        notes: sentences without the file's name on what could not be copied.

    Raises:
        AudioError: the coding cannot hold such sound.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        container: str,
        subtype: str,
        sample_rate: int,
        channels: int,
        *,
        layout: tuple[str, ...] | None,
        metadata: Metadata,
        video: Path | None,
    ) -> None:
        import av

        av.logging.set_level(None)
        self.notes: list[str] = []
        self._stack = contextlib.ExitStack()
        self._rate, self._channels = sample_rate, channels
        if subtype == "AAC" and layout and same_speakers(layout, LAYOUTS.get(channels)):
            layout = LAYOUTS[channels]  # AAC names them so
        self._layout = _layout_name(layout, channels)
        self._position = 0
        self._waiting: Any = None
        try:
            file = self._stack.enter_context(path.open("w+b", buffering=1 << 20))
            muxer = _MUXERS[container]
            if container == "MP4" and video is None:
                muxer = "ipod"  # an M4A
            options = {"movflags": "use_metadata_tags"} if container == "MOV" else {}
            self._out: Any = av.open(file, "w", format=muxer, container_options=options)
            coding, self._format = _coding(container, subtype)
            self._others: Iterator[Any] = iter(())
            self._start = 0
            self._copies: dict[int, Any] = {}
            if video is not None:
                self._add_others(video)
            self._stream: Any = self._out.add_stream(coding, rate=sample_rate, layout=self._layout)
            codec: Any = self._stream.codec_context
            codec.format = self._format
            codec.thread_count = 1
            if rate := bit_rate(subtype, sample_rate, channels):
                codec.bit_rate = rate
            self._describe(container, metadata)
            self._out.start_encoding()
        except (FFmpegError, ValueError) as error:
            self._stack.close()
            plural = "" if channels == 1 else "s"
            raise AudioError(
                f"{name}: FFmpeg cannot write {describe(subtype)} with {channels} channel{plural} "
                f"at {sample_rate} Hz into this {container} file ({error}). Choose another "
                "format, such as .wav."
            ) from error
        except BaseException:
            self._stack.close()
            raise

    def _add_others(self, video: Path) -> None:
        """Copy the streams besides the sound."""
        file = self._stack.enter_context(open_binary(video))
        container, self._bounded = self._stack.enter_context(opened(file, pictures=True))
        sounds = [s for s in container.streams if s.type == "audio"]
        if sounds and sounds[0].start_time and sounds[0].time_base:
            self._start = max(
                0, round(float(sounds[0].start_time * sounds[0].time_base) * self._rate)
            )
        kept = []
        for stream in _others(container):
            try:
                copy = self._out.add_stream_from_template(stream, opaque=True)
            except (FFmpegError, ValueError):
                self.notes.append(f"a {stream.type} track cannot be copied into this container")
                continue
            copy.metadata.update(stream.metadata)
            self._copies[stream.index] = copy
            kept.append(stream)
        if kept:
            self._others = container.demux(kept)

    def _describe(self, container: str, metadata: Metadata) -> None:
        base = Fraction(1, 1000)
        places = metadata.chapters
        if places and places[0].start_s > 0 and container in ("MP4", "MOV"):
            # a chapter track begins at 0; readers drop this one, which has no name
            places = (Chapter(0.0, "", places[0].start_s), *places)
        chapters = []
        for i, place in enumerate(places):
            following = places[i + 1].start_s if i + 1 < len(places) else place.start_s + 1.0
            stop = place.stop_s if place.stop_s is not None else following
            chapters.append(
                {
                    "id": i + 1, "start": round(place.start_s * 1000), "end": round(stop * 1000),
                    "time_base": base, "metadata": {"title": place.title},
                }
            )  # fmt: skip
        if chapters:
            self._out.set_chapters(chapters)
        language = metadata.tags.get("language", ())
        if len(language) == 1 and _LANGUAGE.fullmatch(language[0]):
            self._stream.metadata["language"] = language[0]  # where players look for it
        if container != "MP4":
            for name, values in metadata.tags.items():
                key = name if container == "MOV" else name.upper()
                self._out.metadata[key] = "; ".join(values)
        if container == "Matroska":
            for i, picture in enumerate(metadata.pictures):
                ending = picture.mime.partition("/")[2] or "bin"
                name = "cover" if i == 0 else f"picture{i}"
                self._out.add_attachment(f"{name}.{ending}", picture.mime, picture.data)

    def write(self, data: np.ndarray) -> None:
        """Append [n, channels] floats, or integers left-justified in int32."""
        import av

        for first in range(0, len(data), 65536):
            block = data[first : first + 65536]
            if self._format.startswith("s16"):
                block = (block >> 16).astype(np.int16)
            elif self._format.startswith("flt"):
                block = block.astype(np.float32)
            # packed, which the encoder converts: PyAV's planes of eight channels run out of bounds
            shaped = np.ascontiguousarray(block).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(shaped, self._format.rstrip("p"), self._layout)
            frame.sample_rate = self._rate
            frame.time_base = Fraction(1, self._rate)
            frame.pts = self._start + self._position
            self._position += len(block)
            self._mux_others(self._position / self._rate + _AHEAD_S)
            self._out.mux(self._stream.encode(frame))

    def _mux_others(self, until_s: float) -> None:
        """Copy packets of the other streams up to a time."""
        if not self._copies:
            return
        self._bounded.wait_anew()  # the sound may have taken long
        while True:
            packet = self._waiting or next(self._others, None)
            self._waiting = None
            if packet is None:
                self._copies = {}
                return
            if packet.dts is None and not packet.size:
                continue  # the end of a stream
            when = packet.dts if packet.dts is not None else packet.pts
            if when is not None and float(when * packet.time_base) > until_s:
                self._waiting = packet
                return
            packet.stream = self._copies[packet.stream_index]
            self._out.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        try:
            self._out.mux(self._stream.encode(None))
            self._mux_others(float("inf"))
            self._out.close()
        finally:
            self._stack.close()

    def abort(self) -> None:
        """Give up the file."""
        self._stack.close()

    def written_frames(self) -> int | None:
        """None: a full disk raises an error while FFmpeg writes."""
        return None


def _layout_name(layout: tuple[str, ...] | None, channels: int) -> str:
    """FFmpeg's name of a layout."""
    names = layout or LAYOUTS.get(channels)
    if channels <= 2 or names is None:
        return {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    return "+".join(names)
