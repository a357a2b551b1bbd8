"""The chunks of RIFF and RF64 files, and the true length of their samples.

A recorder that lost power leaves a WAV whose data chunk has size 0; a program that writes to a
pipe cannot go back and leaves 0xFFFFFFFF. In both the samples go to the end of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from retone.audio.decoders.source import file_size

UNKNOWN_SIZES = {0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFEFFF}
"""Sizes that programs write to a pipe for want of a better one."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_FAMILY = {b"RIFF", b"RIFX", b"RF64", b"BW64"}
_MOST_CHUNKS = 4096

SPEAKERS = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC",
    "TFL", "TFC", "TFR", "TBL", "TBC", "TBR",
)  # fmt: skip
"""Names of the bits of a WAVEX channel mask, from the lowest."""


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file: its name, where its content begins, and its size in bytes."""

    name: bytes
    start: int
    size: int


@dataclass(frozen=True)
class Wave:
    """What the chunks of a WAV say.

    Attributes:
        chunks: all chunks in the file's order; those after broken samples are left out.
        tag: the format tag, that of the extension resolved.
        block_bytes: bytes of a frame of all channels, or of a block of compressed data.
        mask: the channel mask; 0 if there is none.
        data: the chunk of samples, with its true size.
        promised_bytes: the size that the header gives; None if it gives none.
        size_at: where the header holds the size of the samples, 32 bits.
        rf64: the size is held in 64 bits.
        endian: ``<`` or ``>``.
    """

    chunks: tuple[Chunk, ...]
    tag: int
    channels: int
    sample_rate: int
    block_bytes: int
    bits: int
    mask: int
    data: Chunk
    promised_bytes: int | None
    size_at: int
    rf64: bool
    endian: str

    @property
    def repaired(self) -> bool:
        """The header's size is not the true one."""
        return self.promised_bytes != self.data.size


def walk(file: IO[bytes], start: int, stop: int, endian: str = "<") -> Iterator[Chunk]:
    """The chunks between two bytes of a file; the last may reach beyond ``stop``."""
    at, count = start, 0
    while at + 8 <= stop and count < _MOST_CHUNKS:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        name, (size,) = head[:4], struct.unpack(endian + "I", head[4:])
        yield Chunk(name, at + 8, size)
        at += 8 + size + size % 2
        count += 1


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= c < 127 for c in name)


def read_wave(file: IO[bytes]) -> Wave | None:
    """The structure of a WAV, RF64 or BW64 file; None for any other or a hopeless one."""
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] not in _FAMILY or head[8:] != b"WAVE":
        return None
    endian = ">" if head[:4] == b"RIFX" else "<"
    rf64 = head[:4] in (b"RF64", b"BW64")
    end = file_size(file)
    fmt = b""
    wide: int | None = None
    chunks: list[Chunk] = []
    for chunk in walk(file, 12, end, endian):
        if chunk.name == b"data":
            size = wide if rf64 and wide is not None and chunk.size == 0xFFFFFFFF else chunk.size
            data, promised = _data(file, chunk, size, end, endian)
            if len(fmt) < 14:
                return None
            rest = data.start + data.size + data.size % 2
            after = [c for c in walk(file, rest, end, endian) if c.start + c.size <= end + 1]
            chunks += [data, *(c for c in after if _is_name(c.name))]
            return _wave(chunks, fmt, data, promised, chunk, rf64, endian)
        file.seek(chunk.start)
        if chunk.name == b"fmt ":
            fmt = file.read(min(chunk.size, 64))
        elif chunk.name == b"ds64" and rf64:
            sizes = file.read(min(chunk.size, 28))
            wide = struct.unpack("<Q", sizes[8:16])[0] if len(sizes) >= 16 else None
        chunks.append(chunk)
    return None


def _data(
    file: IO[bytes], chunk: Chunk, size: int, end: int, endian: str
) -> tuple[Chunk, int | None]:
    """The chunk of samples with its true size, and the promised size."""
    rest = max(0, end - chunk.start)
    if size in UNKNOWN_SIZES and size > rest:
        return Chunk(b"data", chunk.start, rest), None
    if size == 0 and rest and not _chunks_fill(file, chunk.start, end, endian):
        return Chunk(b"data", chunk.start, rest), None
    if rest > 2**32 and size < 2**32 and not _chunks_fill(file, chunk.start + size, end, endian):
        return Chunk(b"data", chunk.start, rest), None  # the size went round
    return Chunk(b"data", chunk.start, min(size, rest)), size


def _chunks_fill(file: IO[bytes], start: int, end: int, endian: str) -> bool:
    """Whether proper chunks fill the file from ``start`` to its end."""
    at = start + start % 2
    for chunk in walk(file, at, end, endian):
        if not _is_name(chunk.name) or chunk.start + chunk.size > end:
            return False
        at = chunk.start + chunk.size
    return end - at < 8


def _wave(
    chunks: list[Chunk],
    fmt: bytes,
    data: Chunk,
    promised: int | None,
    chunk: Chunk,
    rf64: bool,
    endian: str,
) -> Wave:
    tag, channels, rate, _, block = struct.unpack(endian + "HHIIH", fmt[:14])
    bits = struct.unpack(endian + "H", fmt[14:16])[0] if len(fmt) >= 16 else 0
    mask = 0
    if tag == EXTENSIBLE and len(fmt) >= 26:
        mask, tag = struct.unpack(endian + "IH", fmt[20:26])
    if data.size and block and tag in (PCM, FLOAT):
        data = Chunk(data.name, data.start, data.size // block * block)
        if promised is not None and 0 <= promised - data.size < block:
            promised = data.size
    return Wave(
        tuple(data if c.name == b"data" else c for c in chunks), tag, channels, rate, block, bits,
        mask, data, promised, chunk.start - 4, rf64, endian,
    )  # fmt: skip


LAYOUTS: dict[int, tuple[str, ...]] = {
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""The usual channels for a number of them, in the order of WAV and FLAC files."""
VORBIS_ORDER: dict[int, tuple[int, ...]] = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
"""For each channel of an Ogg Vorbis or Opus file, its place in :data:`LAYOUTS`."""


def same_speakers(a: tuple[str, ...] | None, b: tuple[str, ...] | None) -> bool:
    """Whether two layouts name the same channels; in 5.0 and 5.1, back and side are one."""
    if a is None or b is None or len(a) not in (5, 6):
        return a == b
    return [n.replace("SL", "BL").replace("SR", "BR") for n in a] == [
        n.replace("SL", "BL").replace("SR", "BR") for n in b
    ]


def layout_of_mask(mask: int, channels: int) -> tuple[str, ...] | None:
    """Names of the channels of a WAVEX mask; None if it does not name them all."""
    names = tuple(name for i, name in enumerate(SPEAKERS) if mask >> i & 1)
    return names if len(names) == channels else None


def mask_of_layout(layout: tuple[str, ...]) -> int | None:
    """The WAVEX mask of a layout; None if a channel has no bit or the order is another."""
    try:
        bits = [SPEAKERS.index(name) for name in layout]
    except ValueError:
        return None
    return sum(1 << b for b in bits) if bits == sorted(set(bits)) else None
