"""What recordings carry besides their samples: read it, write it, and name what was lost."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from retone.audio.decoders import ffmpeg_file
from retone.audio.decoders.source import open_binary
from retone.audio.metadata import id3, iff, mp4, ogg_pages, vorbis, waves
from retone.audio.metadata.model import (
    Chapter,
    Metadata,
    Picture,
    Raw,
    holds_places,
    holds_tags,
)

__all__ = ["Chapter", "Metadata", "Picture", "Raw", "lost", "read_metadata", "write_metadata"]

_ERRORS = (OSError, ValueError, RuntimeError, struct.error, IndexError, KeyError, MemoryError)


def read_metadata(path: Path, container: str) -> tuple[Metadata, tuple[str, ...] | None]:
    """Metadata and channel layout of a recording; empty where the file says nothing.

    Args:
        path: the recording.
        container: its container, as the decoder names it.
    """
    try:
        with open_binary(path) as file:
            head = file.read(12)
            if head[:4] == b"fLaC" or (head[:3] == b"ID3" and container == "FLAC"):
                found, layout = vorbis.read_flac(file)
                if any(r.family == "riff" for r in found.raw):
                    found = _with_places(found, path)
                return found, layout
            if head[:4] == b"OggS":
                return ogg_pages.read_ogg(file), None
            if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
                return waves.read_waves(file), None
            if head[:4] == b"FORM":
                return iff.read_aiff(file), None
            if head[:4] == b"caff":
                return iff.read_caf(file)
            if container == "MP3" or head[:3] == b"ID3":
                return id3.read_id3(file), None
        if container in ("W64", "AU") or not ffmpeg_file.available():
            return Metadata(), None
        return _by_ffmpeg(path, container), None
    except _ERRORS:
        return Metadata(), None


def _with_places(found: Metadata, path: Path) -> Metadata:
    """FLAC metadata with the cue points of the WAV that the file was made from."""
    with open_binary(path) as file:
        head = file.read(64)
    rate = int.from_bytes(head[18:21], "big") >> 4
    known = waves.described(found.raw, rate or 1)
    return replace(found, chapters=found.chapters or known.chapters)


def _by_ffmpeg(path: Path, container: str) -> Metadata:
    from retone.audio.decoders.ffmpeg_blocks import ERRORS
    from retone.audio.metadata.other import read_other

    try:
        with open_binary(path) as file:
            found = read_other(file)
        if container == "MP4":
            with open_binary(path) as file:
                own = mp4.read_mp4(file)
            if own.tags or own.pictures:
                found = replace(own, chapters=found.chapters)
        return found
    except ERRORS:
        return Metadata()


def write_metadata(
    path: Path,
    container: str,
    metadata: Metadata,
    layout: tuple[str, ...] | None,
    sample_rate: int,
    duration_s: float,
) -> None:
    """Put metadata into a recording that was just written, as far as its container holds it.

    Raises:
        OSError: the file cannot be written.
    """
    if container in ("WAV", "WAVEX", "RF64"):
        waves.write_waves(path, metadata, layout, duration_s)
    elif container == "FLAC":
        vorbis.write_flac(path, metadata, layout)
    elif container == "OGG":
        ogg_pages.write_ogg(path, metadata)
    elif container == "MP3":
        id3.write_mp3(path, metadata, duration_s)
    elif container == "AIFF":
        iff.write_aiff(path, metadata, sample_rate, duration_s)
    elif container == "CAF":
        iff.write_caf(path, metadata, layout)
    elif container == "MP4":
        mp4.write_mp4(path, metadata)


def lost(wanted: Metadata, kept: Metadata) -> list[str]:
    """Names of what a written file does not hold: tags, pictures, chapters, chunks."""
    tags = [n for n, values in wanted.tags.items() if _joined(kept.tags.get(n)) != _joined(values)]
    names = [f"the tag{'s' if len(tags) > 1 else ''} {', '.join(tags)}"] if tags else []
    pictures = len(wanted.pictures) - len(kept.pictures)
    if pictures > 0:
        names.append("the picture" if len(wanted.pictures) == 1 else f"{pictures} pictures")
    if len(wanted.chapters) > len(kept.chapters):
        names.append(f"{len(wanted.chapters)} chapters or cue points")
    held = {(r.family, r.name) for r in kept.raw}
    chunks: list[str] = []
    for raw in wanted.raw:
        there = (raw.family, raw.name) in held or holds_tags(raw)
        if not there and not (holds_places(raw) and kept.chapters) and raw.name not in chunks:
            chunks.append(raw.name)
    if chunks:
        names.append(f"the chunk{'s' if len(chunks) > 1 else ''} {', '.join(chunks)}")
    return names


def _joined(values: tuple[str, ...] | None) -> str:
    """Several values of a tag as one text; how they are separated does not matter."""
    return ";".join(p.strip() for v in values or () for p in v.split(";"))
