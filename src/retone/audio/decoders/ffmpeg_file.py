"""How files reach FFmpeg's libraries (PyAV): as bytes without a name, with every other way closed.

A playlist or a reference inside a hostile file opens no other file and no connection: the protocols
are closed, formats that exist to name other files are not on the list, and each request to open
something is refused. Only audio decoders may run, unless a picture is to be copied.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import IO, Any

from retone.audio.decoders.source import file_size

FORMATS = (
    "aac,ac3,adts,aiff,amr,amrnb,amrwb,ape,asf,ast,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,iff,"
    "loas,latm,mlp,truehd,mov,matroska,webm,mp2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,oga,ogg,oma,qcp,"
    "rm,shn,sox,spx,tak,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma,adx,qoa,lc3,osq,bonk,rka,aea"
)
"""FFmpeg's demuxers that read one file and no other."""

STALL_S = 15.0
"""Processing time without a single frame, after which a file counts as damaged."""


def available() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class Bounded:
    """A file as FFmpeg sees it: bytes without a name, read only, with limits on the reading.

    Attributes:
        deadline: time (``time.monotonic``) after which reading fails.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = 64 * file_size(file) + (256 << 20)
        self.deadline = 0.0
        self.wait_anew()

    def wait_anew(self) -> None:
        """Something came: the time without a frame begins again."""
        self.deadline = time.monotonic() + STALL_S

    def read(self, count: int) -> bytes:
        data = self._file.read(count) or b""
        self._left -= len(data) or 4096
        if self._left < 0 or time.monotonic() > self.deadline:
            raise OSError("the file cannot be decoded in reasonable time")
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _refuse_other_files(url: str, flags: int, options: Any) -> Any:
    raise PermissionError("a recording may not open other files")


@contextlib.contextmanager
def opened(file: IO[bytes], *, pictures: bool = False) -> Iterator[tuple[Any, Bounded]]:
    """FFmpeg's view of an open file (an ``InputContainer``), and what feeds it.

    Args:
        file: open for reading.
        pictures: also let FFmpeg look at the first pictures, whose size it must know to copy them.

    Raises:
        FFmpegError, OSError, ValueError: FFmpeg does not know the format.
    """
    import av

    av.logging.set_level(None)
    bounded = Bounded(file)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": FORMATS,
        "max_streams": "64",
    }
    if not pictures:
        options["codec_whitelist"] = _audio_decoders()
    container = av.open(
        bounded,
        "r",
        container_options=options,
        metadata_errors="replace",
        io_open=_refuse_other_files,
    )
    try:
        yield container, bounded
    finally:
        container.close()


_decoders: str | None = None


def _audio_decoders() -> str:
    """Names of FFmpeg's audio decoders, comma separated: no picture is ever decoded."""
    global _decoders
    if _decoders is None:
        import av

        names = []
        for name in sorted(av.codecs_available):
            with contextlib.suppress(Exception):
                if av.Codec(name, "r").type == "audio":
                    names.append(name)
        _decoders = ",".join(names)
    return _decoders
