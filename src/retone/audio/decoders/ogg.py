"""The links of chained Ogg files: radio recordings, and files that were joined.

Each link is a complete stream with headers of its own; decoders read the first one only.
"""

from __future__ import annotations

import struct
from typing import IO

from retone.audio.decoders.source import file_size

_HEADER = 27
_FIRST_PAGE = 2  # the flag of a stream's first page
_READ = 1 << 16


def links(file: IO[bytes]) -> list[tuple[int, int]]:
    """First byte and end of every link, in order; a plain file is one link.

    A link begins with the first pages of its streams, which stand together.
    """
    end = file_size(file)
    starts: list[int] = []
    at, in_headers = 0, False
    buffer, origin = b"", 0
    while at + _HEADER <= end:
        if not origin <= at <= origin + len(buffer) - _HEADER - 255:
            file.seek(at)
            buffer, origin = file.read(_READ), at
        page = buffer[at - origin : at - origin + _HEADER + 255]
        if page[:4] != b"OggS" or len(page) < _HEADER:
            found = buffer.find(b"OggS", at - origin + 1)
            at = origin + found if found >= 0 else max(at + 1, origin + len(buffer) - 3)
            continue
        count = page[26]
        first = bool(page[5] & _FIRST_PAGE)
        if first and not in_headers:
            starts.append(at)
        in_headers = first
        at += _HEADER + count + sum(page[_HEADER : _HEADER + count])
    return list(zip(starts, [*starts[1:], end], strict=True)) if starts else [(0, end)]


def ends_properly(file: IO[bytes], start: int, stop: int) -> bool:
    """Whether the last page of a link is marked as its stream's last."""
    file.seek(max(start, stop - 2 * 65307))
    tail = file.read(stop - file.tell())
    at = tail.rfind(b"OggS")
    while at >= 0:
        page = tail[at:]
        if len(page) >= _HEADER:
            (flags, count) = struct.unpack_from("B20xB", page, 5)
            size = _HEADER + count + sum(page[_HEADER : _HEADER + count])
            return len(page) >= size and bool(flags & 4)
        at = tail.rfind(b"OggS", 0, at)
    return False
