"""The comment packet of Ogg files: read it, and put another in its place."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from retone.audio.metadata.model import MOST_BYTES, Metadata
from retone.audio.metadata.vorbis import build_comments, parse_comments

_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))
_KINDS = ((b"\x01vorbis", b"\x03vorbis", 3), (b"OpusHead", b"OpusTags", 2))


def _checksum(page: bytes) -> int:
    """Ogg's CRC: zlib's with its bits the other way round, and without its inversions."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def _pages(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Header (with its table of sizes) and content of every page."""
    while True:
        head = file.read(27)
        if len(head) < 27 or head[:4] != b"OggS":
            return
        table = file.read(head[26])
        yield head + table, file.read(sum(table))


def _headers(file: IO[bytes]) -> tuple[list[bytes], list[bytes], bytes]:
    """The first header page, the header packets, and what marks a comment packet.

    The file is left at the first page of sound.
    """
    file.seek(0)
    packets: list[bytes] = []
    page_heads: list[bytes] = []
    part = b""
    wanted, mark = 1, b""
    total = 0
    for head, body in _pages(file):
        page_heads.append(head)
        at = 0
        for size in head[27:]:
            part += body[at : at + size]
            at += size
            if size < 255:
                packets.append(part)
                part = b""
        total += len(body)
        if not mark:
            for first, second, count in _KINDS:
                if packets and packets[0].startswith(first):
                    wanted, mark = count, second
        if len(packets) >= wanted or total > MOST_BYTES or not mark:
            break
    return page_heads, packets, mark


def read_ogg(file: IO[bytes]) -> Metadata:
    """Metadata of the first link of an Ogg Vorbis, Opus or FLAC file."""
    _, packets, mark = _headers(file)
    if not mark or len(packets) < 2 or not packets[1].startswith(mark):
        return Metadata()
    try:
        return parse_comments(packets[1][len(mark) :])[0]
    except struct.error:
        return Metadata()


def write_ogg(path: Path, metadata: Metadata) -> None:
    """Replace the comments of an Ogg Vorbis or Opus file that was just written."""
    other = path.with_name(path.name + "t")
    try:
        with path.open("rb") as source, other.open("wb") as target:
            heads, packets, mark = _headers(source)
            if not mark or len(packets) < 2:
                return
            rest = list(packets)
            rest[1] = mark + build_comments(metadata, pictures=True)
            if mark[1:] == b"vorbis":
                rest[1] += b"\x01"
            serial = heads[0][14:18]
            target.write(_page(0, serial, 2, 0, [packets[0]], None))
            number = 1
            for page in _laid_out(rest[1:]):
                target.write(_page(number, serial, page[0], page[2], [], page[1]))
                number += 1
            for head, body in _pages(source):
                new = bytearray(head)
                new[18:22] = struct.pack("<I", number)
                new[22:26] = bytes(4)
                new[22:26] = struct.pack("<I", _checksum(bytes(new) + body))
                target.write(bytes(new) + body)
                number += 1
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


def _laid_out(packets: list[bytes]) -> Iterator[tuple[int, tuple[bytes, bytes], int]]:
    """Pages for packets: flags, (table of sizes, content), granule position."""
    table, content = bytearray(), bytearray()
    flags = 0
    for packet in packets:
        left = packet
        while True:
            if len(table) == 255:
                complete = table[-1] < 255
                yield flags, (bytes(table), bytes(content)), 0 if min(table) < 255 else -1
                table, content = bytearray(), bytearray()
                flags = 0 if complete else 1
            piece = left[:255]
            table.append(len(piece))
            content += piece
            left = left[255:]
            if len(piece) < 255:
                break
    if table:
        yield flags, (bytes(table), bytes(content)), 0


def _page(
    number: int,
    serial: bytes,
    flags: int,
    granule: int,
    packets: list[bytes],
    made: tuple[bytes, bytes] | None,
) -> bytes:
    """One page with its checksum."""
    table, content = made or (bytes([len(packets[0])]), packets[0])
    head = b"OggS" + bytes([0, flags]) + struct.pack("<q", granule) + serial
    head += struct.pack("<I", number)
    rest = bytes([len(table)]) + table + content
    return head + struct.pack("<I", _checksum(head + bytes(4) + rest)) + rest
