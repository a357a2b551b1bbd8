"""The chunks of WAV files: tags, cue points, broadcast and production data."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import IO

from retone.audio.decoders.riff import EXTENSIBLE, Wave, mask_of_layout, read_wave
from retone.audio.metadata.id3 import build_id3, parse_id3
from retone.audio.metadata.model import (
    MOST_BYTES,
    Chapter,
    Metadata,
    Raw,
    collected,
    holds_tags,
)

_FORMAT = {"fmt ", "data", "fact", "ds64", "PEAK", "JUNK", "junk", "FLLR", "PAD ", "pad "}
_INFO = {
    "INAM": "title", "IART": "artist", "IPRD": "album", "ICRD": "date", "ICMT": "comment",
    "IGNR": "genre", "ITRK": "tracknumber", "IPRT": "tracknumber", "ICOP": "copyright",
    "ISFT": "encoder", "ILNG": "language", "IMUS": "composer", "IENG": "engineer",
    "IKEY": "keywords", "ISBJ": "subject", "ITCH": "encodedby", "IWRI": "lyricist",
}  # fmt: skip
_LABELS = {
    name: label
    for label, name in _INFO.items()
    if label not in ("ISFT", "IPRT", "IWRI", "ITCH")
}  # fmt: skip
_BEFORE = {"bext", "iXML", "axml", "chna", "cart"}  # what readers look for before the samples
_UNUSED_LOUDNESS = struct.pack("<5h", *[0x7FFF] * 5)


def read_waves(file: IO[bytes]) -> Metadata:
    """Metadata of a WAV or RF64 file."""
    wave = read_wave(file)
    if wave is None:
        return Metadata()
    raw: list[Raw] = []
    first, total = True, 0
    for chunk in wave.chunks:
        name = chunk.name.decode("latin-1")
        first = first and name != "data"
        if name in _FORMAT or total + chunk.size > MOST_BYTES:
            continue
        file.seek(chunk.start)
        data = file.read(chunk.size)
        total += len(data)
        if len(data) == chunk.size:
            raw.append(Raw("riff", name, data, first))
    return described(tuple(raw), wave.sample_rate)


def described(raw: tuple[Raw, ...], sample_rate: int) -> Metadata:
    """Metadata that the chunks of a WAV hold, with the chunks themselves."""
    pairs: list[tuple[str, str]] = []
    other = Metadata()
    for item in raw:
        if item.name == "LIST" and item.data[:4] == b"INFO":
            for name, data in _pieces(item.data[4:]):
                label = name.decode("latin-1")
                pairs.append((_INFO.get(label, label.lower()), _decoded(data)))
        elif item.name.strip().lower() == "id3":
            other = parse_id3(item.data)
    tags = collected(pairs)
    tags.update(other.tags)
    chapters = other.chapters or _places(raw, sample_rate)
    return Metadata(tags, other.pictures, chapters, raw)


def _decoded(data: bytes) -> str:
    text = data.split(b"\0")[0]
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _pieces(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents of the chunks in a list."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at + 8 <= len(data) and len(found) < 100_000:
        (size,) = struct.unpack_from("<I", data, at + 4)
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def _places(raw: tuple[Raw, ...], sample_rate: int) -> tuple[Chapter, ...]:
    """Cue points with their labels."""
    points: dict[int, int] = {}
    labels: dict[int, str] = {}
    for item in raw:
        if item.name == "cue " and len(item.data) >= 4:
            (count,) = struct.unpack_from("<I", item.data)
            for i in range(min(count, (len(item.data) - 4) // 24)):
                number, _, _, _, _, at = struct.unpack_from("<II4sIII", item.data, 4 + 24 * i)
                points[number] = at
        elif item.name == "LIST" and item.data[:4] == b"adtl":
            for name, data in _pieces(item.data[4:]):
                if name == b"labl" and len(data) >= 4:
                    labels[struct.unpack_from("<I", data)[0]] = _decoded(data[4:])
    order = sorted(points, key=lambda n: points[n])
    return tuple(Chapter(points[n] / sample_rate, labels.get(n, "")) for n in order)


def at_rate(raw: tuple[Raw, ...], old_hz: int, new_hz: int) -> tuple[Raw, ...]:
    """Chunks whose positions in samples follow a change of the sample rate."""
    if old_hz == new_hz:
        return raw
    return tuple(
        replace(r, data=_moved(r, new_hz / old_hz, new_hz)) if r.family == "riff" else r
        for r in raw
    )


def _moved(raw: Raw, ratio: float, rate: int) -> bytes:
    data = bytearray(raw.data)
    if raw.name == "cue " and len(data) >= 4:
        (count,) = struct.unpack_from("<I", data)
        for i in range(min(count, (len(data) - 4) // 24)):
            for at in (4 + 24 * i + 4, 4 + 24 * i + 20):
                (old,) = struct.unpack_from("<I", data, at)
                struct.pack_into("<I", data, at, min(round(old * ratio), 0xFFFFFFFF))
    elif raw.name == "smpl" and len(data) >= 36:
        struct.pack_into("<I", data, 8, round(1e9 / rate))
        (count,) = struct.unpack_from("<I", data, 28)
        for i in range(min(count, (len(data) - 36) // 24)):
            for at in (36 + 24 * i + 8, 36 + 24 * i + 12):
                (old,) = struct.unpack_from("<I", data, at)
                struct.pack_into("<I", data, at, min(round(old * ratio), 0xFFFFFFFF))
    elif raw.name == "bext" and len(data) >= 346:
        (old,) = struct.unpack_from("<Q", data, 338)
        struct.pack_into("<Q", data, 338, min(round(old * ratio), 2**64 - 1))
    elif raw.name == "LIST" and data[:4] == b"adtl":
        at = 4
        while at + 8 <= len(data):
            (size,) = struct.unpack_from("<I", data, at + 4)
            if data[at : at + 4] == b"ltxt" and size >= 8:
                (old,) = struct.unpack_from("<I", data, at + 12)
                struct.pack_into("<I", data, at + 12, min(round(old * ratio), 0xFFFFFFFF))
            at += 8 + size + size % 2
    return bytes(data)


def without_loudness(raw: tuple[Raw, ...]) -> tuple[Raw, ...]:
    """Chunks without statements on a loudness that has changed since."""
    out = []
    for item in raw:
        data = item.data
        if item.name == "bext" and len(data) >= 422 and data[346:348] == b"\2\0":
            data = data[:412] + _UNUSED_LOUDNESS + data[422:]
        out.append(replace(item, data=data))
    return tuple(out)


def chunks_for(metadata: Metadata, sample_rate: int, duration_s: float) -> list[Raw]:
    """The chunks to write: those of a WAV as they were, or new ones for tags and places."""
    kept = [r for r in metadata.raw if r.family == "riff"]
    known = described(tuple(kept), sample_rate)
    same = known.tags == metadata.tags and known.pictures == metadata.pictures
    if not same:
        kept = [r for r in kept if not holds_tags(r)]
        kept += _tag_chunks(metadata, duration_s, places=bool(known.chapters))
    if not known.chapters and metadata.chapters:
        kept += _place_chunks(metadata.chapters, sample_rate)
    return [replace(r, first=r.first or r.name in _BEFORE) for r in kept]


def _tag_chunks(metadata: Metadata, duration_s: float, *, places: bool) -> list[Raw]:
    info = b""
    for name, values in metadata.tags.items():
        if name in _LABELS:
            text = "; ".join(values).encode("utf-8", "replace") + b"\0"
            info += _LABELS[name].encode() + struct.pack("<I", len(text)) + text
            info += bytes(len(text) % 2)
    out = [Raw("riff", "LIST", b"INFO" + info)] if info else []
    plain = all(n in _LABELS and len(v) == 1 for n, v in metadata.tags.items())
    frames = any(r.family == "id3" for r in metadata.raw)
    if not plain or metadata.pictures or frames:
        if tag := build_id3(replace(metadata, chapters=()), duration_s):
            out.append(Raw("riff", "id3 ", tag))
    return out


def _place_chunks(chapters: tuple[Chapter, ...], sample_rate: int) -> list[Raw]:
    cue, labels = struct.pack("<I", len(chapters)), b"adtl"
    for i, place in enumerate(chapters, start=1):
        at = min(round(place.start_s * sample_rate), 0xFFFFFFFF)
        cue += struct.pack("<II4sIII", i, at, b"data", 0, 0, at)
        text = struct.pack("<I", i) + place.title.encode("utf-8", "replace") + b"\0"
        labels += b"labl" + struct.pack("<I", len(text)) + text + bytes(len(text) % 2)
    return [Raw("riff", "cue ", cue), Raw("riff", "LIST", labels)]


def write_waves(
    path: Path, metadata: Metadata, layout: tuple[str, ...] | None, duration_s: float
) -> None:
    """Add chunks and the channel mask to a WAV or RF64 file that was just written."""
    with path.open("rb") as file:
        wave = read_wave(file)
    if wave is None:
        return
    chunks = chunks_for(metadata, wave.sample_rate, duration_s)
    if layout:
        _set_mask(path, wave, layout)
    own = [c for c in wave.chunks if c.name in (b"LIST", b"id3 ", b"ID3 ")]
    if not chunks and not own:
        return
    _rebuild(path, wave, chunks)


def _set_mask(path: Path, wave: Wave, layout: tuple[str, ...]) -> None:
    mask = mask_of_layout(layout)
    fmt = next(c for c in wave.chunks if c.name == b"fmt ")
    with path.open("r+b") as file:
        file.seek(fmt.start)
        if file.read(2) == struct.pack("<H", EXTENSIBLE) and fmt.size >= 24 and mask is not None:
            file.seek(fmt.start + 20)
            file.write(struct.pack("<I", mask))


def _rebuild(path: Path, wave: Wave, chunks: list[Raw]) -> None:
    """Write the file again with other chunks around its samples."""

    def packed(raw: Raw) -> bytes:
        return (
            raw.name.encode("latin-1")
            + struct.pack("<I", len(raw.data))
            + raw.data
            + bytes(len(raw.data) % 2)
        )

    before = b"".join(packed(r) for r in chunks if r.first)
    after = b"".join(packed(r) for r in chunks if not r.first)
    other = path.with_name(path.name + "t")
    try:
        with path.open("rb") as source, other.open("wb") as target:
            own = b""
            for chunk in wave.chunks:
                if chunk.name in (b"fmt ", b"fact"):
                    source.seek(chunk.start)
                    own += chunk.name + struct.pack("<I", chunk.size)
                    own += source.read(chunk.size) + bytes(chunk.size % 2)
            size = wave.data.size
            total = 4 + len(before) + len(own) + 8 + size + size % 2 + len(after)
            if wave.rf64 or total + 36 > 0xFFFFFFFF:
                frames = size // max(wave.block_bytes, 1)
                ds64 = b"ds64" + struct.pack("<IQQQI", 28, total + 36, size, frames, 0)
                target.write(b"RF64\xff\xff\xff\xffWAVE" + ds64 + before + own)
                target.write(b"data\xff\xff\xff\xff")
            else:
                target.write(b"RIFF" + struct.pack("<I", total) + b"WAVE" + before + own)
                target.write(b"data" + struct.pack("<I", size))
            source.seek(wave.data.start)
            _copy(source, target, size)
            target.write(bytes(size % 2) + after)
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


def _copy(source: IO[bytes], target: IO[bytes], count: int) -> None:
    while count:
        block = source.read(min(count, 1 << 20))
        if not block:
            return
        target.write(block)
        count -= len(block)
