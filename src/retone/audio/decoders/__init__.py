"""Decoders of recordings, chosen by what a file holds."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from retone.audio.decoders import boxes, ffmpeg_file, riff
from retone.audio.decoders.sndfile import READ_ERRORS, open_sndfile
from retone.audio.decoders.source import Source, open_binary, watched
from retone.errors import AudioError

__all__ = ["Source", "open_source", "stated_seconds", "watched"]

_MP3_IN_WAV = 0x55
_SNDFILE = re.compile(
    rb"RIFF....WAVE|RIFX....WAVE|RF64....WAVE|FORM....AIF[FC]|riff\x2e\x91\xcf\x11|caff|fLaC|OggS|"
    rb"\.snd|dns\.",
    re.DOTALL,
)
"""Beginnings of files that libsndfile reads exactly."""
_FFMPEG = re.compile(
    rb"....(ftyp|moov|mdat|wide|free|skip|pnot)|\x1a\x45\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11|"
    rb"ID3|\xff[\xe2-\xff]|\x0b\x77|wvpk|MAC |TTA1|tBaK|DSD |FRM8|FLV|MPCK|MP\+|\x47|#!AMR|\.RMF|"
    rb"RIFF....AVI |BW64|\x7f\xfe\x80\x01|ajkg|\xf0\x7e|\x00\x00\x01\xba",
    re.DOTALL,
)
"""Beginnings of files that FFmpeg reads, and libsndfile not at all or not to their ends."""


def open_source(path: Path) -> Source:
    """Open a recording with the decoder for its content.

    Args:
        path: an existing, readable file that is not empty.

    Raises:
        AudioError: no decoder can read it.
    """
    with open_binary(path) as file:
        head = file.read(16)
        wave = riff.read_wave(file) if head[:4] == b"RIFF" else None
        after_id3 = _after_id3(file, head)
    if wave is not None and wave.tag == _MP3_IN_WAV:
        return _by_ffmpeg(path) or _by_sndfile(path) or _refuse(path, head)
    if _SNDFILE.match(head) or after_id3[:4] == b"fLaC":
        found = _by_sndfile(path)
        if found is None or found.container == "FLAC" and found.promised is None:
            found = _by_ffmpeg(path) or found  # FFmpeg reads a FLAC of unknown length to its end
        return found or _refuse(path, head)
    if _FFMPEG.match(head):
        found = _by_ffmpeg(path)
        if found is None and head[:2] != b"\xf0\x7e":  # libsndfile prints to stdout reading SDS
            found = _by_sndfile(path)
        return found or _refuse(path, head)
    return _by_sndfile(path) or _by_ffmpeg(path) or _refuse(path, head)


def stated_seconds(path: Path) -> float:
    """The length that a file's header states or suggests to FFmpeg, in seconds; 0 if none."""
    if not ffmpeg_file.available():
        return 0.0
    from retone.audio.decoders.ffmpeg_blocks import ERRORS

    try:
        with open_binary(path) as file, ffmpeg_file.opened(file) as (container, _):
            return max(0.0, (container.duration or 0) / 1_000_000)
    except ERRORS:
        return 0.0


def _after_id3(file, head: bytes) -> bytes:  # type: ignore[no-untyped-def]
    """What follows an ID3v2 tag at the beginning."""
    if head[:3] != b"ID3" or len(head) < 10:
        return head
    file.seek(10 + sum((b & 127) << (7 * (3 - i)) for i, b in enumerate(head[6:10])))
    return bytes(file.read(4))


def _by_sndfile(path: Path) -> Source | None:
    try:
        return open_sndfile(path)
    except READ_ERRORS as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise AudioError(f"{path} cannot be opened: too many open files.") from None
        return None


def _by_ffmpeg(path: Path) -> Source | None:
    if not ffmpeg_file.available():
        return None
    from retone.audio.decoders.ffmpeg import ERRORS, FfmpegSource

    try:
        return FfmpegSource(path)
    except ERRORS as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise AudioError(f"{path} cannot be opened: too many open files.") from None
        return None


def _refuse(path: Path, head: bytes) -> Source:
    """Raise the error that says best what is wrong."""
    kind = _kind(head)
    if kind and not ffmpeg_file.available():
        raise AudioError(
            f"{path} is {kind}, which needs the package av (FFmpeg's libraries). Install it: "
            "pip install av"
        )
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free") and not _has_index(path):
        raise AudioError(
            f"{path} is an MP4 without its index (moov), as an unfinished recording or copy leaves "
            "it; nothing in it can be read. Copy it again, or repair it with the program that "
            "recorded it."
        )
    if kind:
        raise AudioError(f"{path} is {kind}, but damaged so that it cannot be read. Copy it again.")
    raise AudioError(
        f"{path} is not a recording that can be read, or its header is damaged; expected "
        "a sound or video file such as WAV, FLAC, MP3, M4A or MP4. Export it again."
    )


def _kind(head: bytes) -> str | None:
    """A format in words, by a file's beginning."""
    for pattern, words in (
        (rb"....ftyp", "an MP4 or M4A file"),
        (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
        (rb"\x30\x26\xb2\x75", "a Windows Media file"),
        (rb"ID3|\xff[\xfa\xfb\xf2\xf3]", "an MP3 file"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "an AAC file"),
        (rb"wvpk", "a WavPack file"),
        (rb"MAC ", "a Monkey's Audio file"),
        (rb"\x0b\x77", "an AC-3 file"),
        (rb"DSD |FRM8", "a DSD file"),
    ):
        if re.match(pattern, head, re.DOTALL):
            return words
    return None


def _has_index(path: Path) -> bool:
    """Whether an MP4 has its index, complete."""
    with open_binary(path) as file:
        return boxes.index_of(file) is not None
