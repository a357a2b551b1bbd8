"""ID3v2 tags: versions 2.2 to 2.4 are read, 2.4 is written."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from retone.audio.metadata.model import (
    MOST_BYTES,
    Chapter,
    Metadata,
    Picture,
    Raw,
    collected,
    mime_of,
)

_FRAMES = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "albumartist", "TCOM": "composer",
    "TCON": "genre", "TDRC": "date", "TRCK": "tracknumber", "TPOS": "discnumber", "TSRC": "isrc",
    "TCOP": "copyright", "TLAN": "language", "TBPM": "bpm", "TPUB": "publisher",
    "TIT1": "grouping", "TIT3": "subtitle", "TEXT": "lyricist", "TPE3": "conductor",
    "TPE4": "remixer", "TKEY": "initialkey", "TMOO": "mood", "TSOT": "titlesort",
    "TSOP": "artistsort", "TSOA": "albumsort", "TSO2": "albumartistsort", "TSOC": "composersort",
    "TDOR": "originaldate", "TMED": "media", "TCMP": "compilation", "TSST": "discsubtitle",
    "TENC": "encodedby", "TDRL": "releasedate",
}  # fmt: skip
_OLD = {
    "TT2": "TIT2", "TP1": "TPE1", "TAL": "TALB", "TP2": "TPE2", "TCM": "TCOM", "TCO": "TCON",
    "TYE": "TDRC", "TYER": "TDRC", "TRK": "TRCK", "TPA": "TPOS", "TRC": "TSRC", "TCR": "TCOP",
    "TLA": "TLAN", "TBP": "TBPM", "TPB": "TPUB", "TT1": "TIT1", "TT3": "TIT3", "TXT": "TEXT",
    "TP3": "TPE3", "TP4": "TPE4", "TKE": "TKEY", "TCP": "TCMP", "COM": "COMM", "ULT": "USLT",
    "PIC": "APIC", "TXX": "TXXX", "UFI": "UFID", "TEN": "TENC", "TORY": "TDOR", "TSS": "TSSE",
}  # fmt: skip
_NAMES = {name: frame for frame, name in _FRAMES.items()}
_MUSICBRAINZ = "http://musicbrainz.org"
_PICARD = {
    "musicbrainz_releasetrackid": "MusicBrainz Release Track Id",
    "musicbrainz_artistid": "MusicBrainz Artist Id",
    "musicbrainz_albumid": "MusicBrainz Album Id",
    "musicbrainz_albumartistid": "MusicBrainz Album Artist Id",
    "musicbrainz_releasegroupid": "MusicBrainz Release Group Id",
    "musicbrainz_workid": "MusicBrainz Work Id",
    "acoustid_id": "Acoustid Id",
}
GENRES = (
    "Blues|Classic Rock|Country|Dance|Disco|Funk|Grunge|Hip-Hop|Jazz|Metal|New Age|Oldies|"
    "Other|Pop|R&B|Rap|Reggae|Rock|Techno|Industrial|Alternative|Ska|Death Metal|Pranks|"
    "Soundtrack|Euro-Techno|Ambient|Trip-Hop|Vocal|Jazz+Funk|Fusion|Trance|Classical|"
    "Instrumental|Acid|House|Game|Sound Clip|Gospel|Noise|AlternRock|Bass|Soul|Punk|Space|"
    "Meditative|Instrumental Pop|Instrumental Rock|Ethnic|Gothic|Darkwave|Techno-Industrial|"
    "Electronic|Pop-Folk|Eurodance|Dream|Southern Rock|Comedy|Cult|Gangsta|Top 40|"
    "Christian Rap|Pop/Funk|Jungle|Native American|Cabaret|New Wave|Psychadelic|Rave|"
    "Showtunes|Trailer|Lo-Fi|Tribal|Acid Punk|Acid Jazz|Polka|Retro|Musical|Rock & Roll|"
    "Hard Rock|Folk|Folk-Rock|National Folk|Swing|Fast Fusion|Bebob|Latin|Revival|Celtic|"
    "Bluegrass|Avantgarde|Gothic Rock|Progressive Rock|Psychedelic Rock|Symphonic Rock|"
    "Slow Rock|Big Band|Chorus|Easy Listening|Acoustic|Humour|Speech|Chanson|Opera|"
    "Chamber Music|Sonata|Symphony|Booty Bass|Primus|Porn Groove|Satire|Slow Jam|Club|Tango|"
    "Samba|Folklore"
).split("|")
"""Genres that ID3v1 and iTunes give by number."""


def _number(data: bytes) -> int:
    """A size of 7 bits a byte."""
    return sum((b & 127) << (7 * (len(data) - 1 - i)) for i, b in enumerate(data))


def _seven(value: int) -> bytes:
    return bytes(value >> shift & 127 for shift in (21, 14, 7, 0))


def _text(data: bytes, coding: int) -> str:
    name = ("latin-1", "utf-16", "utf-16-be", "utf-8")[coding & 3]
    return data.decode(name, "replace")


def _split(data: bytes, coding: int) -> tuple[bytes, bytes]:
    """What stands before and after the first terminator."""
    if coding in (1, 2):
        for i in range(0, len(data) - 1, 2):
            if data[i : i + 2] == b"\0\0":
                return data[:i], data[i + 2 :]
        return data, b""
    first, _, rest = data.partition(b"\0")
    return first, rest


def tag_size(head: bytes) -> int:
    """Bytes of the tag that begins with these ten bytes; 0 if there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + _number(head[6:10]) + (10 if head[5] & 16 else 0)


def _frames(data: bytes, version: int) -> Iterator[tuple[str, bytes]]:
    width = 3 if version == 2 else 4
    at, head = 0, 6 if version == 2 else 10
    while at + head <= len(data) and data[at]:
        name = data[at : at + width].decode("latin-1")
        if not re.fullmatch(r"[A-Z0-9]+ ?", name):
            return
        field = data[at + width : at + 2 * width]
        size = _number(field) if version == 4 else int.from_bytes(field, "big")
        flags = data[at + 9] if version > 2 else 0
        body = data[at + head : at + head + size]
        at += head + size
        if version == 4:
            if flags & 2:
                body = body.replace(b"\xff\0", b"\xff")
            if flags & 1:
                body = body[4:]
        if flags & 12 and version == 4 or flags & 0xC0 and version == 3:
            continue  # compressed or encrypted
        yield _OLD.get(name, name), body


def parse_id3(data: bytes) -> Metadata:
    """Metadata of an ID3v2 tag from its first byte; empty if it is damaged."""
    size = tag_size(data[:10])
    if not size or data[3] not in (2, 3, 4):
        return Metadata()
    version, flags = data[3], data[5]
    body = data[10 : 10 + _number(data[6:10])]
    if flags & 128 and version < 4:
        body = body.replace(b"\xff\0", b"\xff")
    if flags & 64 and version > 2 and len(body) >= 4:
        body = body[_number(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big") :]
    return _metadata(_frames(body, version))


def _metadata(frames: Iterator[tuple[str, bytes]]) -> Metadata:
    pairs: list[tuple[str, str]] = []
    pictures: list[Picture] = []
    chapters: list[Chapter] = []
    raw: list[Raw] = []
    for name, body in frames:
        try:
            if name == "TXXX":
                key, value = _split(body[1:], body[0])
                for text in _text(value, body[0]).split("\0"):
                    pairs.append((_text(key, body[0]), text))
            elif name in ("COMM", "USLT"):
                key, value = _split(body[4:], body[0])
                usual = "comment" if name == "COMM" else "lyrics"
                about = _text(key, body[0]).strip("\0\ufeff ")
                if name == "COMM" and about.lower().startswith("itun"):
                    usual = about
                pairs.append((usual, _text(value, body[0])))
            elif name == "UFID" and body.startswith(_MUSICBRAINZ.encode()):
                pairs.append(("musicbrainz_trackid", _split(body, 0)[1].decode("latin-1")))
            elif name == "APIC":
                pictures.append(_picture(body))
            elif name == "CHAP":
                chapters.append(_chapter(body))
            elif name == "TCON":
                pairs += [("genre", g) for g in _genres(_text(body[1:], body[0]))]
            elif name[0] == "T" and name in _FRAMES:
                texts = _text(body[1:], body[0]).strip("\0").split("\0")
                pairs += [(_FRAMES[name], t.lstrip("\ufeff")) for t in texts]
            elif name in ("TSSE", "TLEN", "TSIZ", "TFLT", "CTOC", "TDAT", "TIME", "TRDA", "TDTG"):
                continue
            elif len(name) == 4:
                raw.append(Raw("id3", name, body))
        except (IndexError, struct.error, ValueError):
            continue
    chapters.sort(key=lambda c: c.start_s)
    return Metadata(collected(pairs), tuple(pictures), tuple(chapters), tuple(raw))


def _genres(text: str) -> list[str]:
    found = []
    for part in text.strip("\0").split("\0"):
        numbers = re.findall(r"\((\d{1,3})\)", part)
        plain = re.sub(r"^(\(\d{1,3}\))+", "", part)
        if not numbers and part.isdigit():
            numbers, plain = [part], ""
        found += [plain] if plain else [GENRES[int(n)] for n in numbers if int(n) < len(GENRES)]
    return found


def _picture(body: bytes) -> Picture:
    coding = body[0]
    mime, rest = _split(body[1:], 0)
    if len(body) > 4 and body[1:4] in (b"JPG", b"PNG"):  # version 2.2
        mime, rest = {b"JPG": b"image/jpeg", b"PNG": b"image/png"}[body[1:4]], body[4:]
    text, data = _split(rest[1:], coding)
    kind = mime.decode("latin-1")
    kind = kind if "/" in kind else mime_of(data)
    return Picture(data, kind, rest[0], _text(text, coding).lstrip("\ufeff"))


def _chapter(body: bytes) -> Chapter:
    _, rest = _split(body, 0)
    start, stop = struct.unpack_from(">II", rest)
    title = ""
    for name, inside in _frames(rest[16:], 4):
        if name == "TIT2":
            title = _text(inside[1:], inside[0]).strip("\0\ufeff")
    return Chapter(start / 1000, title, stop / 1000)


def _frame(name: str, body: bytes) -> bytes:
    return name.encode("ascii") + _seven(len(body)) + b"\0\0" + body


def build_id3(metadata: Metadata, duration_s: float) -> bytes:
    """An ID3v2.4 tag; empty bytes if there is nothing to write."""
    out: list[bytes] = []
    tags = dict(metadata.tags)
    for number, total in (("tracknumber", "tracktotal"), ("discnumber", "disctotal")):
        if number in tags and total in tags:
            tags[number] = (f"{tags[number][0]}/{tags.pop(total)[0]}",)
    for name, values in tags.items():
        text = "\0".join(values).encode("utf-8", "replace")
        if name == "comment":
            out += [_frame("COMM", b"\3eng\0" + v.encode("utf-8", "replace")) for v in values]
        elif name == "lyrics":
            out += [_frame("USLT", b"\3eng\0" + v.encode("utf-8", "replace")) for v in values]
        elif name == "musicbrainz_trackid":
            out.append(_frame("UFID", _MUSICBRAINZ.encode() + b"\0" + text))
        elif name in _NAMES:
            out.append(_frame(_NAMES[name], b"\3" + text))
        else:
            key = _PICARD.get(name, name).encode("utf-8")
            out.append(_frame("TXXX", b"\3" + key + b"\0" + text))
    for picture in metadata.pictures:
        mime = (picture.mime or mime_of(picture.data)).encode("latin-1", "replace")
        about = picture.description.encode("utf-8", "replace")
        body = b"\3" + mime + b"\0" + bytes([picture.kind]) + about + b"\0" + picture.data
        out.append(_frame("APIC", body))
    places = metadata.chapters[:255]
    for i, place in enumerate(places):
        following = places[i + 1].start_s if i + 1 < len(places) else duration_s
        stop = place.stop_s if place.stop_s is not None else following
        times = struct.pack(">IIII", _ms(place.start_s), _ms(stop), 0xFFFFFFFF, 0xFFFFFFFF)
        title = _frame("TIT2", b"\3" + place.title.encode("utf-8", "replace"))
        out.append(_frame("CHAP", b"ch%d\0" % i + times + title))
    if places:
        names = b"".join(b"ch%d\0" % i for i in range(len(places)))
        out.append(_frame("CTOC", b"toc\0\3" + bytes([len(places)]) + names))
    out += [_frame(r.name, r.data) for r in metadata.raw if r.family == "id3"]
    if not out:
        return b""
    body = b"".join(out) + bytes(256)
    return b"ID3\4\0\0" + _seven(len(body)) + body


def _ms(seconds: float) -> int:
    return min(max(round(seconds * 1000), 0), 0xFFFFFFFE)


def read_id3(file: IO[bytes]) -> Metadata:
    """Metadata of the tag at the beginning of a file."""
    file.seek(0)
    head = file.read(10)
    size = tag_size(head)
    if not size or size > MOST_BYTES:
        return Metadata()
    return parse_id3(head + file.read(size - 10))


def write_mp3(path: Path, metadata: Metadata, duration_s: float) -> None:
    """Replace the tag of an MP3 that was just written."""
    with path.open("rb") as file:
        old = tag_size(file.read(10))
    new = build_id3(metadata, duration_s)
    other = path.with_name(path.name + "t")
    try:
        with path.open("rb") as source, other.open("wb") as target:
            target.write(new)
            source.seek(old)
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            target.seek(0, 2)
            size = target.tell()
        with other.open("r+b") as target:  # libsndfile adds an ID3v1 tag of 128 bytes
            target.seek(max(size - 128, 0))
            if size > 128 and target.read(3) == b"TAG":
                target.truncate(size - 128)
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)


def genre_numbered(number: int) -> str | None:
    """The genre with this number; None if there is none."""
    return GENRES[number] if 0 <= number < len(GENRES) else None
