"""The boxes of MP4 and QuickTime files, as far as retone needs them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from retone.audio.decoders.source import file_size

_MOST_BOXES = 10_000
MOST_INDEX_BYTES = 1 << 26


@dataclass(frozen=True)
class Box:
    """A box: its name, where it begins, where its content begins, and where it ends."""

    name: bytes
    begin: int
    start: int
    stop: int


def top_boxes(file: IO[bytes]) -> Iterator[Box]:
    """The outermost boxes of a file; the last may reach beyond its end."""
    end = file_size(file)
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > end:  # a false size may be beyond what a file can seek to
            return
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1 and len(head) == 16:
            size, start = int.from_bytes(head[8:], "big"), at + 16
        if size == 0:
            size = end - at
        if size < start - at:
            return
        yield Box(head[4:8], at, start, at + size)
        at += size


def boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Box]:
    """The boxes inside a box that is in memory."""
    stop = len(data) if stop is None else min(stop, len(data))
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > stop:
            return
        size, name, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1 and at + 16 <= stop:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:
            size = stop - at
        if size < head or at + size > stop:
            return
        yield Box(name, at, at + head, at + size)
        at += size


def find(data: bytes, *names: bytes, start: int = 0, stop: int | None = None) -> Box | None:
    """The first box at a path of names."""
    for box in boxes(data, start, stop):
        if box.name == names[0]:
            if len(names) == 1:
                return box
            if found := find(data, *names[1:], start=box.start, stop=box.stop):
                return found
    return None


def index_of(file: IO[bytes]) -> tuple[Box, bytes] | None:
    """The index (``moov``) of a file and its content; None if there is none, or not all of it."""
    end = file_size(file)
    for box in top_boxes(file):
        if box.name == b"moov":
            if box.stop > end or box.stop - box.start > MOST_INDEX_BYTES:
                return None
            file.seek(box.start)
            return box, file.read(box.stop - box.start)
    return None


def sound_frames(file: IO[bytes], sample_rate: int) -> int | None:
    """Frames of the first sound track without the encoder's delay and padding.

    The track's own header counts in samples, more exactly than its edit list, which counts in
    the film's coarser steps; None where the two disagree or nothing says.
    """
    if (found := index_of(file)) is None:
        return None
    data = found[1]
    film = find(data, b"mvhd")
    for track in boxes(data):
        if track.name != b"trak":
            continue
        inside = {"start": track.start, "stop": track.stop}
        kind = find(data, b"mdia", b"hdlr", **inside)
        times = find(data, b"mdia", b"mdhd", **inside)
        edits = find(data, b"edts", b"elst", **inside)
        if kind is None or times is None or data[kind.start + 8 : kind.start + 12] != b"soun":
            continue
        try:
            return _frames(data, film, times, edits, sample_rate)
        except struct.error:
            return None
    return None


def _times(data: bytes, box: Box) -> tuple[int, int]:
    """Steps per second and length of a header with times."""
    if data[box.start] == 1:
        scale, length = struct.unpack_from(">IQ", data, box.start + 20)
    else:
        scale, length = struct.unpack_from(">II", data, box.start + 12)
    return int(scale), int(length)


def _frames(
    data: bytes, film: Box | None, times: Box, edits: Box | None, sample_rate: int
) -> int | None:
    scale, length = _times(data, times)
    if not scale or not length:
        return None
    if edits is None or film is None:
        return round(length * sample_rate / scale)
    film_scale = _times(data, film)[0]
    wide, (count,) = data[edits.start] == 1, struct.unpack_from(">I", data, edits.start + 4)
    entries = []
    for i in range(min(count, 4)):
        entries.append(
            struct.unpack_from(">Qq", data, edits.start + 8 + 20 * i)
            if wide
            else struct.unpack_from(">Ii", data, edits.start + 8 + 12 * i)
        )
    entries = [e for e in entries if e[1] >= 0]  # -1 is a pause before the track begins
    if len(entries) != 1 or not film_scale:
        return None
    shown, first = entries[0]
    rest = (length - first) * sample_rate / scale
    edit = shown * sample_rate / film_scale
    step = sample_rate / film_scale
    return round(rest if abs(rest - edit) <= step + 1 else edit) if edit else round(rest)
