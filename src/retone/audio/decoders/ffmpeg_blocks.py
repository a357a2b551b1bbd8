"""One stream of a file as blocks of samples, whatever FFmpeg's decoders return."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from av.error import FFmpegError

from retone.audio.decoders.ffmpeg_file import Bounded

ERRORS = (
    *(FFmpegError, OSError, ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError),
)
"""What FFmpeg and its binding raise on a damaged file."""
_MOST_PLANES = 8  # from this number on, PyAV reads pointers beyond FFmpeg's array
_MOST_PACKETS = 200_000  # without a frame
_SCALES = {"u8": 2.0**-7, "s16": 2.0**-15, "s32": 2.0**-31, "s64": 2.0**-63}


class Blocks:
    """The blocks of one stream, [C, n], float32 or float64."""

    def __init__(self, container: Any, stream: Any, bounded: Bounded) -> None:
        self._stream, self._bounded = stream, bounded
        self._packets = container.demux(stream)
        self._rate = self._channels = 0
        self._resampler: Any = None
        self._packer: Any = None
        self._waiting: list[Any] = []
        self.layout: Any = None
        self.integer: str | None = None
        self.damages, self.first_damage_frame, self.silent_frames = 0, 0, 0
        self.mixed = False
        self.used = 0
        self.done = 0
        self._ended = False

    def fix(self, rate: int, channels: int) -> None:
        """Give every block this rate and number of channels."""
        self._rate, self._channels = rate, channels

    @property
    def rate(self) -> int:
        return self._rate

    @property
    def channels(self) -> int:
        return self._channels

    def next_block(self, *, count_bits: bool = False) -> np.ndarray | None:
        """The next block; None at the end."""
        frame = self._next_frame()
        if frame is None:
            return None
        if isinstance(frame, np.ndarray):
            return frame
        if not self._rate:
            self._rate, self._channels = frame.sample_rate, frame.layout.nb_channels
        if self.layout is None:
            self.layout = frame.layout
        if (frame.sample_rate, frame.layout.nb_channels) != (self._rate, self._channels):
            return self._converted(frame)
        block = self._samples(frame, count_bits)
        self.done += block.shape[1]
        return block

    def _samples(self, frame: Any, count_bits: bool = False) -> np.ndarray:
        if frame.format.is_planar and frame.layout.nb_channels >= _MOST_PLANES:
            frame = self._packed(frame)
        name = frame.format.name
        kind = name.rstrip("p")
        data = frame.to_ndarray()
        if not name.endswith("p") or kind == name and data.shape[0] == 1 < self._channels:
            data = data.reshape(-1, frame.layout.nb_channels).T
        if kind in ("flt", "dbl"):
            return np.array(data)
        if count_bits and data.size:
            self.used |= int(np.bitwise_or.reduce(data, axis=None))
        self.integer = kind
        if kind == "u8":
            return ((data.astype(np.float32) - 128.0) * np.float32(_SCALES[kind])).astype(
                np.float32
            )
        wide = kind in ("s32", "s64")
        return data.astype(np.float64 if wide else np.float32) * (
            _SCALES[kind] if wide else np.float32(_SCALES[kind])
        )

    def _packed(self, frame: Any) -> Any:
        """The same samples in one plane."""
        import av

        if self._packer is None:
            self._packer = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
        frame.pts = None
        (packed,) = self._packer.resample(frame)
        return packed

    def _converted(self, frame: Any) -> np.ndarray:
        """A frame of another rate or number of channels, as the first ones were."""
        import av

        self.mixed = True
        if self._resampler is None:
            self._resampler = av.AudioResampler("flt", self.layout, self._rate)
        frame.pts = None
        try:
            out = [
                f.to_ndarray().reshape(-1, self._channels).T
                for f in self._resampler.resample(frame)
            ]
        except ERRORS:
            self._resampler = None
            out = []
        block = np.concatenate(out, axis=1) if out else np.zeros((self._channels, 0), np.float32)
        self.done += block.shape[1]
        return block if block.shape[1] else np.zeros((self._channels, 1), np.float32)[:, :0]

    def _next_frame(self) -> Any:
        empty = 0
        self._bounded.wait_anew()
        while not self._waiting:
            if self._ended:
                return None
            try:
                packet = next(self._packets)
            except StopIteration:
                self._ended = True
                continue
            except ERRORS:  # a torn end
                self._ended = True
                continue
            empty += 1
            if empty > _MOST_PACKETS or time.monotonic() > self._bounded.deadline:
                self._ended = True
                return None
            self._decode(packet)
        return self._waiting.pop(0)

    def _decode(self, packet: Any) -> None:
        try:
            frames = packet.decode()
        except ERRORS:
            if packet.size:
                self._damaged(packet)
            else:
                self._ended = True
            return
        self._waiting += [f for f in frames if f.samples > 0]

    def _damaged(self, packet: Any) -> None:
        """Note a packet that cannot be decoded; in a timed container silence takes its place."""
        if not self.damages:
            self.first_damage_frame = self.done
        self.damages += 1
        if not self._rate or not packet.duration or packet.pts is None:
            return
        if self._stream.container.format.name.split(",")[0] not in ("mov", "matroska"):
            return
        count = round(float(packet.duration * packet.time_base) * self._rate)
        if 0 < count <= self._rate:
            self.silent_frames += count
            self.done += count
            self._waiting.append(np.zeros((self._channels, count), np.float32))
