"""The tags of MP4 and M4A files, as iTunes and its successors write them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from retone.audio.decoders.boxes import boxes, find, index_of
from retone.audio.metadata.id3 import genre_numbered
from retone.audio.metadata.model import Metadata, Picture, Raw, collected, mime_of

_ATOMS = {
    b"\xa9nam": "title", b"\xa9ART": "artist", b"\xa9alb": "album", b"aART": "albumartist",
    b"\xa9wrt": "composer", b"\xa9gen": "genre", b"\xa9day": "date", b"\xa9cmt": "comment",
    b"\xa9lyr": "lyrics", b"cprt": "copyright", b"\xa9grp": "grouping", b"desc": "description",
    b"sonm": "titlesort", b"soar": "artistsort", b"soal": "albumsort", b"soaa": "albumartistsort",
    b"soco": "composersort", b"\xa9too": "encoder", b"\xa9pub": "publisher",
}  # fmt: skip
_NAMES = {name: atom for atom, name in _ATOMS.items() if name != "encoder"}
_APPLE = "com.apple.iTunes"
_PICARD = {
    "musicbrainz_trackid": "MusicBrainz Track Id",
    "musicbrainz_releasetrackid": "MusicBrainz Release Track Id",
    "musicbrainz_artistid": "MusicBrainz Artist Id",
    "musicbrainz_albumid": "MusicBrainz Album Id",
    "musicbrainz_albumartistid": "MusicBrainz Album Artist Id",
    "musicbrainz_releasegroupid": "MusicBrainz Release Group Id",
    "musicbrainz_workid": "MusicBrainz Work Id",
    "acoustid_id": "Acoustid Id",
}
_PNG, _JPEG, _UTF8, _INTEGER = 14, 13, 1, 21


def read_mp4(file: IO[bytes]) -> Metadata:
    """Tags and pictures of an MP4; chapters are read by FFmpeg."""
    if (found := index_of(file)) is None:
        return Metadata()
    data = found[1]
    meta = find(data, b"udta", b"meta")
    items = meta and find(data, b"ilst", start=meta.start + 4, stop=meta.stop)
    if not items:
        return Metadata()
    pairs: list[tuple[str, str]] = []
    pictures: list[Picture] = []
    raw: list[Raw] = []
    for item in boxes(data, items.start, items.stop):
        name, texts = item.name, []
        free = ""
        values = []
        for part in boxes(data, item.start, item.stop):
            if part.name == b"name":
                free = data[part.start + 4 : part.stop].decode("utf-8", "replace")
            elif part.name == b"data":
                kind = int.from_bytes(data[part.start : part.start + 4], "big")
                values.append((kind, data[part.start + 8 : part.stop]))
        texts = [v.decode("utf-8", "replace") for k, v in values if k == _UTF8]
        if name == b"----":
            pairs += [(free, t) for t in texts]
        elif name in _ATOMS:
            pairs += [(_ATOMS[name], t) for t in texts]
        elif name == b"covr":
            pictures += [Picture(v, mime_of(v)) for _, v in values if v]
        elif name in (b"trkn", b"disk") and values and len(values[0][1]) >= 6:
            number, total = struct.unpack_from(">HH", values[0][1], 2)
            which = "track" if name == b"trkn" else "disc"
            pairs += [(f"{which}number", str(number))] * bool(number)
            pairs += [(f"{which}total", str(total))] * bool(total)
        elif name == b"tmpo" and values:
            pairs.append(("bpm", str(int.from_bytes(values[0][1], "big"))))
        elif name == b"cpil" and values:
            pairs.append(("compilation", str(int.from_bytes(values[0][1], "big"))))
        elif name == b"gnre" and values:
            genre = genre_numbered(int.from_bytes(values[0][1], "big") - 1)
            pairs += [("genre", genre)] if genre else []
        else:
            raw.append(Raw("mp4", name.decode("latin-1"), data[item.start : item.stop]))
    return Metadata(collected(pairs), tuple(pictures), (), tuple(raw))


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def _data(kind: int, value: bytes) -> bytes:
    return _box(b"data", struct.pack(">II", kind, 0), value)


def build_items(metadata: Metadata) -> bytes:
    """The list of tags and pictures (``ilst``)."""
    out: list[bytes] = []
    tags = dict(metadata.tags)
    for which, atom, tail in (("track", b"trkn", 2), ("disc", b"disk", 0)):
        number, total = tags.get(f"{which}number", ("0",)), tags.get(f"{which}total", ("0",))
        if _small(number[0]) and _small(total[0]) and (number, total) != (("0",), ("0",)):
            value = struct.pack(">HHH", 0, int(number[0]), int(total[0])) + bytes(tail)
            out.append(_box(atom, _data(0, value)))
            tags.pop(f"{which}number", None)
            tags.pop(f"{which}total", None)
    for name, atom, width in (("bpm", b"tmpo", 2), ("compilation", b"cpil", 1)):
        value_of = tags.get(name, ("",))[0]
        if value_of.isdigit() and int(value_of) < 256**width:
            out.append(_box(atom, _data(_INTEGER, int(value_of).to_bytes(width, "big"))))
            del tags[name]
    for name, values in tags.items():
        texts = [_data(_UTF8, v.encode("utf-8", "replace")) for v in values]
        if name in _NAMES:
            out.append(_box(_NAMES[name], *texts))
        else:
            label = _PICARD.get(name, name.upper() if name == "isrc" else name)
            mean = _box(b"mean", bytes(4), _APPLE.encode())
            out.append(_box(b"----", mean, _box(b"name", bytes(4), label.encode()), *texts))
    covers = [
        _data(_PNG if p.mime == "image/png" else _JPEG, p.data)
        for p in metadata.pictures
        if p.mime in ("image/png", "image/jpeg")
    ]
    if covers:
        out.append(_box(b"covr", *covers))
    out += [_box(r.name.encode("latin-1"), r.data) for r in metadata.raw if r.family == "mp4"]
    return _box(b"ilst", *out)


def _small(text: str) -> bool:
    return text.isdigit() and int(text) < 65536


def write_mp4(path: Path, metadata: Metadata) -> None:
    """Replace the tags of an MP4 that was just written, whose index stands at its end."""
    with path.open("r+b") as file:
        found = index_of(file)
        if found is None:
            return
        index, data = found
        file.seek(0, 2)
        if file.tell() != index.stop:
            return
        old = b""
        kept = []
        for box in boxes(data):
            if box.name == b"udta":
                old = b"".join(
                    data[b.begin : b.stop]
                    for b in boxes(data, box.start, box.stop)
                    if b.name != b"meta"
                )
            else:
                kept.append(data[box.begin : box.stop])
        handler = _box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
        meta = _box(b"meta", bytes(4), handler, build_items(metadata))
        body = b"".join((*kept, _box(b"udta", old, meta)))
        file.seek(index.begin)
        file.write(struct.pack(">I", 8 + len(body)) + b"moov" + body)
        file.truncate()
