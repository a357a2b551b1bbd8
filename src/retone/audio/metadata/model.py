"""What a recording carries besides its samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

MOST_BYTES = 1 << 26
"""Largest piece of metadata that is read."""
FRONT_COVER = 3


@dataclass(frozen=True)
class Picture:
    """A picture, such as the front cover (``kind`` 3; numbers as in ID3 and FLAC)."""

    data: bytes
    mime: str
    kind: int = FRONT_COVER
    description: str = ""


@dataclass(frozen=True)
class Chapter:
    """A named place; ``stop_s`` is None where only the place is known."""

    start_s: float
    title: str
    stop_s: float | None = None


@dataclass(frozen=True)
class Raw:
    """A piece that is copied as it is, and only into the same family of containers.

    Attributes:
        family: ``riff``, ``aiff``, ``flac``, ``id3`` or ``mp4``.
        name: such as ``bext``.
        data: content without name and size.
        first: it stands before the samples.
    """

    family: str
    name: str
    data: bytes
    first: bool = False


@dataclass(frozen=True)
class Metadata:
    """Everything a recording carries besides its samples.

    ``tags`` have lower-case names as in Vorbis comments, each with one or more values.
    """

    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    raw: tuple[Raw, ...] = ()

    def texts(self) -> dict[str, str]:
        """Tags with one text each; several values are joined by semicolons."""
        return {name: "; ".join(values) for name, values in self.tags.items()}

    def without_loudness(self) -> Metadata:
        """Without what describes the loudness of a recording that was changed since."""
        kept = {n: v for n, v in self.tags.items() if not is_loudness(n)}
        return replace(self, tags=kept)

    def with_tags(self, tags: Mapping[str, str]) -> Metadata:
        """With other tags; pieces that hold the old ones are left out."""
        new = {clean_name(n): (t,) for n, t in tags.items() if t}
        raw = tuple(r for r in self.raw if not holds_tags(r))
        return replace(self, tags=new, raw=raw)


def is_loudness(name: str) -> bool:
    """Whether a tag describes the loudness, such as ReplayGain."""
    return name.startswith(("replaygain_", "r128_")) or name in ("itunnorm", "mp3gain_minmax")


def holds_tags(raw: Raw) -> bool:
    """Whether a raw piece repeats what ``tags`` and ``pictures`` hold."""
    return raw.family == "riff" and (
        raw.name.strip().lower() == "id3" or (raw.name == "LIST" and raw.data[:4] == b"INFO")
    )


def holds_places(raw: Raw) -> bool:
    """Whether a raw piece repeats what ``chapters`` hold."""
    return (raw.family, raw.name) in (("riff", "cue "), ("aiff", "MARK")) or (
        raw.family == "riff" and raw.name == "LIST" and raw.data[:4] == b"adtl"
    )


def clean_name(name: str) -> str:
    """A tag's name: lower case, the names that other formats use replaced by the usual ones."""
    name = "".join(c for c in name.strip().lower() if " " <= c <= "}" and c != "=")
    return _SAME.get(name, name)


_SAME = {
    "album artist": "albumartist", "album_artist": "albumartist", "ensemble": "albumartist",
    "track": "tracknumber", "trck": "tracknumber", "disc": "discnumber", "disk": "discnumber",
    "totaltracks": "tracktotal", "totaldiscs": "disctotal", "year": "date",
    "unsyncedlyrics": "lyrics", "description_": "description", "tbpm": "bpm", "tempo": "bpm",
    "musicbrainz track id": "musicbrainz_trackid",
    "musicbrainz release track id": "musicbrainz_releasetrackid",
    "musicbrainz artist id": "musicbrainz_artistid",
    "musicbrainz album id": "musicbrainz_albumid",
    "musicbrainz album artist id": "musicbrainz_albumartistid",
    "musicbrainz release group id": "musicbrainz_releasegroupid",
    "musicbrainz work id": "musicbrainz_workid",
    "acoustid id": "acoustid_id",
}  # fmt: skip
TECHNICAL = {
    "encoder", "encoded-by", "major_brand", "minor_version", "compatible_brands", "handler_name",
    "vendor_id", "creation_time", "tlen", "duration", "itunsmpb", "itunes_cddb_1",
    "waveformatextensible_channel_mask",
    "metadata_block_picture", "coverart", "coverartmime", "timecode", "encoder_options",
    "_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags", "bps",
    "number_of_frames", "number_of_bytes", "devicemanufacturer", "wm/encodingsettings",
    "com.android.version", "wmfsdkneeded", "wmfsdkversion", "isvbr", "devconformancetemplate",
    "aspectratiox", "aspectratioy", "deviceconformancetemplate",
}  # fmt: skip
"""Names of no interest to a person: they describe the file that was read."""


def collected(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Tags from names and values in a file's order; ``3/12`` becomes number and total."""
    found: dict[str, list[str]] = {}
    for name, text in pairs:
        name, text = clean_name(name), text.strip("\0 \t\r\n")
        if not name or not text or name in TECHNICAL:
            continue
        for number, total in (("tracknumber", "tracktotal"), ("discnumber", "disctotal")):
            if name == number and "/" in text:
                text, _, most = (p.strip() for p in text.partition("/"))
                if most and total not in found:
                    found[total] = [most]
        values = found.setdefault(name, [])
        if text and text not in values:
            values.append(text)
    return {name: tuple(values) for name, values in found.items() if values}


def mime_of(data: bytes) -> str:
    """The type of a picture by its first bytes."""
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:4] == b"\x89PNG":
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if data[:3] == b"GIF" else "image/bmp" if data[:2] == b"BM" else "image/"
