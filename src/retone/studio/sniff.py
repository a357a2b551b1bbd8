"""The format of an upload, from its first bytes; its name and stated type are ignored."""

from __future__ import annotations

HEAD = 16
_OTHERS = (
    (b"ftyp", 4, ".mp4"), (b"moov", 4, ".mp4"), (b"mdat", 4, ".mp4"), (b"wide", 4, ".mp4"),
    (b"free", 4, ".mp4"), (b"\x1a\x45\xdf\xa3", 0, ".mkv"), (b"\x30\x26\xb2\x75", 0, ".wma"),
    (b"\xff\xf1", 0, ".aac"), (b"\xff\xf9", 0, ".aac"), (b"\x0b\x77", 0, ".ac3"),
    (b"wvpk", 0, ".wv"), (b"MAC ", 0, ".ape"), (b"TTA1", 0, ".tta"), (b"DSD ", 0, ".dsf"),
    (b"FRM8", 0, ".dff"), (b"FLV", 0, ".flv"), (b"#!AMR", 0, ".amr"), (b".snd", 0, ".au"),
    (b"AVI ", 8, ".avi"),
)  # fmt: skip
"""How other files begin, from which byte, and their suffix."""


def sniff(head: bytes) -> str | None:
    """File suffix of the audio format that starts with ``head``; None if it is none."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return ".wav"
    if head[:4] == b"fLaC":
        return ".flac"
    if head[:4] == b"OggS":
        return ".ogg"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return ".aiff"
    if head[:4] == b"caff":
        return ".caf"
    if head[:4] == b"riff" and head[4:8] == b"\x2e\x91\xcf\x11":
        return ".w64"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return ".mp3"
    return next((suffix for start, at, suffix in _OTHERS if head[at:].startswith(start)), None)
