"""The chunks of AIFF files, and the strings of CAF files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from retone.audio.decoders.riff import layout_of_mask, mask_of_layout, walk
from retone.audio.decoders.source import file_size
from retone.audio.metadata.id3 import build_id3, parse_id3
from retone.audio.metadata.model import MOST_BYTES, Chapter, Metadata, Raw, collected

_TEXTS = {"NAME": "title", "AUTH": "artist", "(c) ": "copyright", "ANNO": "comment"}
_FORMAT = {"COMM", "SSND", "FVER", "PEAK", "ID3 ", *_TEXTS}
_CAF = {
    "title": "title", "artist": "artist", "album": "album", "year": "date", "comments": "comment",
    "genre": "genre", "track number": "tracknumber", "copyright": "copyright",
    "composer": "composer", "lyricist": "lyricist", "tempo": "bpm", "encoding application":
    "encoder", "key signature": "initialkey", "recorded date": "date",
}  # fmt: skip
_CAF_NAMES = {name: key for key, name in _CAF.items() if key != "recorded date"}
_BITMAP = 0x10000
_CAF_LAYOUTS = {
    121: ("FL", "FR", "FC", "LFE", "BL", "BR"), 117: ("FL", "FR", "FC", "BL", "BR"),
    113: ("FL", "FR", "FC"), 108: ("FL", "FR", "BL", "BR"), 133: ("FL", "FR", "LFE"),
    115: ("FL", "FR", "FC", "BC"),
}  # fmt: skip


def read_aiff(file: IO[bytes]) -> Metadata:
    """Metadata of an AIFF or AIFC file."""
    pairs: list[tuple[str, str]] = []
    raw: list[Raw] = []
    tag = Metadata()
    rate, marks, first = 0.0, b"", True
    for chunk in walk(file, 12, file_size(file), ">"):
        name = chunk.name.decode("latin-1")
        first = first and name != "SSND"
        if name == "SSND" or chunk.size > MOST_BYTES:
            continue
        file.seek(chunk.start)
        data = file.read(chunk.size)
        if len(data) < chunk.size:
            break
        if name == "COMM" and len(data) >= 18:
            rate = _extended(data[8:18])
        elif name == "ID3 ":
            tag = parse_id3(data)
        elif name in _TEXTS:
            pairs.append((_TEXTS[name], data.decode("utf-8", "replace")))
        if name not in _FORMAT:
            raw.append(Raw("aiff", name, data, first))
        if name == "MARK":
            marks = data
    tags = collected(pairs)
    tags.update(tag.tags)
    chapters = tag.chapters or (_marks(marks, rate) if rate else ())
    return Metadata(tags, tag.pictures, chapters, tuple(raw))


def _extended(data: bytes) -> float:
    """An 80-bit float, as AIFF writes sample rates."""
    exponent, mantissa = struct.unpack(">HQ", data)
    power = (exponent & 0x7FFF) - 16383 - 63
    return mantissa * 2.0**power if -200 < power < 200 else 0.0


def _marks(data: bytes, rate: float) -> tuple[Chapter, ...]:
    found: list[Chapter] = []
    at = 2
    while at + 7 <= len(data):
        (place,) = struct.unpack_from(">I", data, at + 2)
        size = data[at + 6]
        found.append(Chapter(place / rate, data[at + 7 : at + 7 + size].decode("utf-8", "replace")))
        at += 7 + size + (size + 1) % 2
    return tuple(sorted(found, key=lambda c: c.start_s))


def write_aiff(path: Path, metadata: Metadata, sample_rate: int, duration_s: float) -> None:
    """Add chunks to an AIFF file that was just written; its own texts are replaced."""
    out = [(r.name, r.data) for r in metadata.raw if r.family == "aiff"]
    if metadata.chapters and not any(name == "MARK" for name, _ in out):
        marks = struct.pack(">H", len(metadata.chapters))
        for i, place in enumerate(metadata.chapters, start=1):
            text = place.title.encode("utf-8", "replace")[:254]
            text = bytes([len(text)]) + text
            marks += struct.pack(">HI", i, round(place.start_s * sample_rate)) + text
            marks += bytes(len(text) % 2)
        out.append(("MARK", marks))
    for label, tag_name in _TEXTS.items():
        if tag_name in metadata.tags:
            joined = "; ".join(metadata.tags[tag_name])
            out.append((label, joined.encode("utf-8", "replace")))
    plain = Metadata(metadata.tags, metadata.pictures, (), metadata.raw)
    if tag := build_id3(plain, duration_s):
        out.append(("ID3 ", tag))
    with path.open("r+b") as file:
        end = file_size(file)
        for chunk in list(walk(file, 12, end, ">")):
            if chunk.name.decode("latin-1") in _TEXTS:
                file.seek(chunk.start - 8)
                file.write(b"    ")  # an empty place, which readers skip
        file.seek(0, 2)
        file.write(bytes(end % 2))
        for name, data in out:
            file.write(name.encode("latin-1") + struct.pack(">I", len(data)) + data)
            file.write(bytes(len(data) % 2))
        size = file.tell()
        file.seek(4)
        file.write(struct.pack(">I", min(size - 8, 0xFFFFFFFF)))


def _caf_chunks(file: IO[bytes]) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    at, end = 8, file_size(file)
    while at + 12 <= end and len(found) < 4096:
        file.seek(at)
        name, size = struct.unpack(">4sq", file.read(12))
        found.append((name.decode("latin-1"), at + 12, end - at - 12 if size < 0 else size))
        if size < 0:
            break
        at += 12 + size
    return found


def read_caf(file: IO[bytes]) -> tuple[Metadata, tuple[str, ...] | None]:
    """Tags and channel layout of a CAF file."""
    tags: dict[str, tuple[str, ...]] = {}
    layout = None
    for name, start, size in _caf_chunks(file):
        if name not in ("info", "chan") or size > MOST_BYTES:
            continue
        file.seek(start)
        data = file.read(size)
        if name == "info":
            texts = data[4:].split(b"\0")
            keys = [t.decode("utf-8", "replace") for t in texts[0::2]]
            values = [t.decode("utf-8", "replace") for t in texts[1::2]]
            tags = collected(
                (_CAF.get(k.lower(), k), v) for k, v in zip(keys, values, strict=False)
            )
        elif len(data) >= 12:
            tag, bitmap = struct.unpack_from(">II", data)
            if tag == _BITMAP:
                layout = layout_of_mask(bitmap, bin(bitmap).count("1"))
            else:
                layout = _CAF_LAYOUTS.get(tag >> 16)
    return Metadata(tags), layout


def write_caf(path: Path, metadata: Metadata, layout: tuple[str, ...] | None) -> None:
    """Add strings and the channel layout to a CAF file that was just written."""
    new = b""
    if metadata.tags:
        pairs = [(_CAF_NAMES.get(n, n), "; ".join(v)) for n, v in metadata.tags.items()]
        texts = b"".join(f"{k}\0{v}\0".encode("utf-8", "replace") for k, v in pairs)
        body = struct.pack(">I", len(pairs)) + texts
        new += struct.pack(">4sq", b"info", len(body)) + body
    mask = mask_of_layout(layout) if layout else None
    if mask is not None:
        new += struct.pack(">4sqIII", b"chan", 12, _BITMAP, mask, 0)
    if not new:
        return
    with path.open("r+b") as file:
        replaced = {"info"} | ({"chan"} if mask is not None else set())
        for name, start, _ in _caf_chunks(file):
            if name in replaced:
                file.seek(start - 12)
                file.write(b"free")
        file.seek(0, 2)
        file.write(new)
