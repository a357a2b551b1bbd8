"""Metadata of formats that only FFmpeg reads, and the chapters of MP4."""

from __future__ import annotations

from typing import IO, Any

from retone.audio.decoders.ffmpeg_file import opened
from retone.audio.metadata.model import MOST_BYTES, Chapter, Metadata, Picture, collected, mime_of

_ATTACHED = 1024  # the disposition's bit


def read_other(file: IO[bytes]) -> Metadata:
    """Tags, pictures and chapters as FFmpeg finds them."""
    with opened(file) as (container, _):
        streams = list(container.streams)
        sounds = [s for s in streams if s.type == "audio"]
        pairs = list(container.metadata.items())
        if sounds:
            pairs += [p for p in sounds[0].metadata.items() if p[0].lower() != "language"]
            language = sounds[0].metadata.get("language", "und")
            pairs += [("language", language)] if language != "und" else []
        split = [(n, part) for n, text in pairs for part in _values(n, text)]
        return Metadata(collected(split), _pictures(container, streams), chapters_of(container))


def _values(name: str, text: str) -> list[str]:
    """Several artists come in one text, with semicolons between them."""
    several = name.lower() in ("artist", "artists", "genre", "composer", "album_artist")
    return [p.strip() for p in text.split(";")] if several else [text]


def chapters_of(container: Any) -> tuple[Chapter, ...]:
    """The chapters of an open file."""
    found = []
    for chapter in container.chapters():
        base = float(chapter["time_base"])
        title = chapter.get("metadata", {}).get("title", "")
        found.append(Chapter(chapter["start"] * base, title, chapter["end"] * base))
    if len(found) > 1 and found[0].start_s == 0 and not found[0].title:
        found = found[1:]  # an MP4's chapters begin at 0 even where the first named one does not
    return tuple(found)


def _pictures(container: Any, streams: list[Any]) -> tuple[Picture, ...]:
    attached = {s.index for s in streams if s.type == "video" and int(s.disposition) & _ATTACHED}
    found: dict[int, Picture] = {}
    for stream in streams:
        if stream.type == "attachment" and (stream.mimetype or "").startswith("image/"):
            found[stream.index] = Picture(bytes(stream.data), stream.mimetype or "")
    if attached:
        count = 0
        for packet in container.demux([s for s in streams if s.index in attached]):
            count += 1
            if packet.size and packet.size <= MOST_BYTES and packet.stream_index not in found:
                data = bytes(packet)
                found[packet.stream_index] = Picture(data, mime_of(data))
            if attached <= set(found) or count > 1000:
                break
    return tuple(found[i] for i in sorted(found))
