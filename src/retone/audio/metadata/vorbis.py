"""Vorbis comments, and the metadata blocks of FLAC."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import struct
from pathlib import Path
from typing import IO

from retone.audio.decoders.riff import LAYOUTS, layout_of_mask, mask_of_layout
from retone.audio.metadata.model import (
    MOST_BYTES,
    Chapter,
    Metadata,
    Picture,
    Raw,
    collected,
    mime_of,
)

_MASK = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK"
_STREAMINFO, _PADDING, _APPLICATION, _SEEKTABLE, _COMMENT, _CUESHEET, _PICTURE = range(7)


def parse_comments(data: bytes) -> tuple[Metadata, int]:
    """Metadata of a comment block, and the channel mask that it gives (0 for none).

    Raises:
        struct.error: the block is damaged.
    """
    pairs: list[tuple[str, str]] = []
    (skip,) = struct.unpack_from("<I", data)
    (count,) = struct.unpack_from("<I", data, 4 + skip)
    at = 8 + skip
    for _ in range(min(count, 100_000)):
        (size,) = struct.unpack_from("<I", data, at)
        name, equals, text = data[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
        at += 4 + size
        if equals:
            pairs.append((name, text))
    pictures, mask = [], 0
    times: dict[str, float] = {}
    titles: dict[str, str] = {}
    plain = []
    for name, text in pairs:
        upper = name.upper()
        if upper == "METADATA_BLOCK_PICTURE":
            try:
                pictures.append(parse_picture(base64.b64decode(text)))
            except (binascii.Error, struct.error, ValueError):
                pass
        elif upper == _MASK:
            mask = int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|\d{1,9}", text) else 0
        elif place := re.fullmatch(r"CHAPTER(\d{3})", upper):
            if clock := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text):
                times[place[1]] = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        elif place := re.fullmatch(r"CHAPTER(\d{3})NAME", upper):
            titles[place[1]] = text
        else:
            plain.append((name, text))
    chapters = tuple(Chapter(times[k], titles.get(k, "")) for k in sorted(times))
    return Metadata(collected(plain), tuple(pictures), chapters), mask


def build_comments(
    metadata: Metadata, layout: tuple[str, ...] | None = None, *, pictures: bool = False
) -> bytes:
    """A comment block; pictures go into it in Ogg files."""
    lines = [f"{n.upper()}={v}" for n, values in metadata.tags.items() for v in values]
    for i, chapter in enumerate(metadata.chapters[:999], start=1):
        minutes, seconds = divmod(chapter.start_s, 60)
        clock = f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{seconds:06.3f}"
        lines += [f"CHAPTER{i:03d}={clock}", f"CHAPTER{i:03d}NAME={chapter.title}"]
    if layout and len(layout) > 2:
        mask = mask_of_layout(layout)
        if mask is not None:
            lines.append(f"{_MASK}=0x{mask:04x}")
    if pictures:
        for picture in metadata.pictures:
            block = base64.b64encode(build_picture(picture)).decode()
            lines.append(f"METADATA_BLOCK_PICTURE={block}")
    out = [struct.pack("<I", 6), b"retone", struct.pack("<I", len(lines))]
    for line in lines:
        text = line.encode("utf-8", "replace")
        out += [struct.pack("<I", len(text)), text]
    return b"".join(out)


def parse_picture(data: bytes) -> Picture:
    """A FLAC picture block."""
    (kind,) = struct.unpack_from(">I", data)
    (size,) = struct.unpack_from(">I", data, 4)
    mime = data[8 : 8 + size].decode("ascii", "replace")
    at = 8 + size
    (size,) = struct.unpack_from(">I", data, at)
    text = data[at + 4 : at + 4 + size].decode("utf-8", "replace")
    at += 4 + size + 16
    (size,) = struct.unpack_from(">I", data, at)
    return Picture(data[at + 4 : at + 4 + size], mime, kind, text)


def build_picture(picture: Picture) -> bytes:
    """A FLAC picture block; sizes in pixels are given as unknown."""
    mime = (picture.mime or mime_of(picture.data)).encode("ascii", "replace")
    text = picture.description.encode("utf-8", "replace")
    return b"".join(
        (
            struct.pack(">II", picture.kind, len(mime)), mime,
            struct.pack(">I", len(text)), text, bytes(16),
            struct.pack(">I", len(picture.data)), picture.data,
        )
    )  # fmt: skip


def _blocks(file: IO[bytes]) -> tuple[list[tuple[int, bytes]], int]:
    """The metadata blocks of a FLAC, and where its sound begins."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3":
        start = 10 + sum((b & 127) << (7 * (3 - i)) for i, b in enumerate(head[6:10]))
    file.seek(start)
    if file.read(4) != b"fLaC":
        return [], 0
    found = []
    total = 0
    while len(head := file.read(4)) == 4:
        size = int.from_bytes(head[1:], "big")
        total += size
        if total > MOST_BYTES:
            break
        found.append((head[0] & 127, file.read(size)))
        if head[0] & 128:
            break
    return found, file.tell()


def read_flac(file: IO[bytes]) -> tuple[Metadata, tuple[str, ...] | None]:
    """Metadata and channel layout of a FLAC file."""
    found, _ = _blocks(file)
    metadata, mask, channels = Metadata(), 0, 0
    pictures: list[Picture] = []
    raw: list[Raw] = []
    first = True
    for kind, data in found:
        try:
            if kind == _STREAMINFO:
                channels = (data[12] >> 1 & 7) + 1
            elif kind == _COMMENT:
                metadata, mask = parse_comments(data)
            elif kind == _PICTURE:
                pictures.append(parse_picture(data))
            elif kind == _CUESHEET:
                raw.append(Raw("flac", "CUESHEET", data))
            elif kind == _APPLICATION and data[:4] == b"riff" and len(data) >= 12:
                name = data[4:8].decode("latin-1")
                first = first and name != "data"
                if name not in ("RIFF", "RF64", "fmt ", "data", "ds64", "fact"):
                    size = int.from_bytes(data[8:12], "little")
                    raw.append(Raw("riff", name, data[12 : 12 + size], first))
            elif kind == _APPLICATION:
                raw.append(Raw("flac", "APPLICATION", data))
        except (struct.error, IndexError):
            continue
    layout = layout_of_mask(mask, channels) if mask else LAYOUTS.get(channels)
    return (
        Metadata(
            metadata.tags, (*metadata.pictures, *pictures), metadata.chapters, tuple(raw)
        ),
        layout,
    )  # fmt: skip


def write_flac(path: Path, metadata: Metadata, layout: tuple[str, ...] | None) -> None:
    """Replace the metadata of a FLAC file that was just written."""
    with path.open("rb") as file:
        found, start = _blocks(file)
    kept = [(k, d) for k, d in found if k in (_STREAMINFO, _SEEKTABLE)]
    kept.append((_COMMENT, build_comments(metadata, layout)))
    kept += [(_PICTURE, build_picture(p)) for p in metadata.pictures]
    for raw in metadata.raw:
        if raw.family == "flac":
            kept.append((_CUESHEET if raw.name == "CUESHEET" else _APPLICATION, raw.data))
    kept += [(_APPLICATION, b"riff" + d) for d in _foreign(metadata, found)]
    kept.append((_PADDING, bytes(4096)))
    kept = [(k, d) for k, d in kept if len(d) < 1 << 24]  # a block's size has 24 bits
    other = path.with_name(path.name + "t")
    try:
        with path.open("rb") as source, other.open("wb") as target:
            target.write(b"fLaC")
            for i, (kind, data) in enumerate(kept):
                last = 128 if i == len(kept) - 1 else 0
                target.write(bytes([kind | last]) + len(data).to_bytes(3, "big") + data)
            source.seek(start)
            shutil.copyfileobj(source, target, 1 << 20)
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


def _foreign(metadata: Metadata, found: list[tuple[int, bytes]]) -> list[bytes]:
    """The chunks of a WAV as the tool flac keeps them, with the headers that it needs."""
    chunks = [r for r in metadata.raw if r.family == "riff"]
    if not chunks:
        return []
    info = next(d for k, d in found if k == _STREAMINFO)
    rate = int.from_bytes(info[10:13], "big") >> 4
    channels = (info[12] >> 1 & 7) + 1
    bits = ((info[12] & 1) << 4 | info[13] >> 4) + 1
    frames = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    width = (bits + 7) // 8
    size = frames * channels * width
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * width, channels * width, bits)

    def chunk(name: str, data: bytes) -> bytes:
        body = name.encode("latin-1") + struct.pack("<I", len(data)) + data
        return body + bytes(len(data) % 2)

    before = [chunk(r.name, r.data) for r in chunks if r.first]
    after = [chunk(r.name, r.data) for r in chunks if not r.first]
    inside = [*before, chunk("fmt ", fmt)]
    total = 4 + sum(map(len, (*inside, *after))) + 8 + size + size % 2
    return [
        b"RIFF" + struct.pack("<I", total & 0xFFFFFFFF) + b"WAVE",
        *inside,
        b"data" + struct.pack("<I", size & 0xFFFFFFFF),
        *after,
    ]
