"""The format of an upload, from its first bytes; its name and stated type are ignored."""

from __future__ import annotations

HEAD = 16


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
    return None
