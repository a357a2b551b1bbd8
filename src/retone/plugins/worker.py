"""The process that a plug-in runs in: ``python -m retone.plugins.worker SOURCE``.

Requests arrive on standard input, responses leave on the original standard output; both are a
JSON header and raw float32 samples. Anything the plug-in prints is discarded. The process ends
when its input closes.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray
MOST_HEADER = 4 << 20
"""Largest header of an answer, in bytes: the description of 10,000 parameters."""


def send(pipe: BinaryIO, header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(header).encode()
    pipe.write(struct.pack("<IQ", len(text), len(payload)) + text + payload)
    pipe.flush()


def receive(pipe: BinaryIO, most_bytes: int | None = None) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Args:
        pipe: where it comes from.
        most_bytes: largest payload; None for any. A plug-in can write to its process's pipe, so
            what comes from there is not trusted.

    Raises:
        EOFError: the other side is gone.
        ValueError: it is no message, or larger than ``most_bytes``.
    """
    text, size = struct.unpack("<IQ", _exactly(pipe, 12))
    if most_bytes is not None and (text > MOST_HEADER or size > most_bytes):
        raise ValueError(f"a message of {text} and {size} bytes")
    try:
        header = json.loads(_exactly(pipe, text))
    except RecursionError:
        raise ValueError("a header that is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    return header, _exactly(pipe, size)


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    parts = []
    while count:
        part = pipe.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def answer(source: Any, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Serve one request: its response header and payload."""
    if request["do"] == "describe":
        return source.describe(), b""
    audio = np.frombuffer(payload, "<f4").reshape(request["shape"]).copy()
    out = source.render(audio, request["sample_rate"], request["settings"], request["reset"])
    if isinstance(out, tuple):
        raise ValueError(
            f"it returned {len(out)} values; expected the audio alone, at its original rate"
        )
    out = np.asarray(out)
    if out.dtype.kind not in "fiu":
        raise ValueError(f"it returned {out.dtype} values; expected float audio")
    out = np.ascontiguousarray(out, dtype="<f4")
    return {"shape": list(out.shape)}, out.tobytes()


def main(argv: list[str]) -> int:
    """Serve until the input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    requests = sys.stdin.buffer
    try:
        from retone.plugins.sources import open_source

        source = open_source(argv[0])
    except Exception as e:
        send(replies, {"error": str(e) or type(e).__name__, "fatal": True})
        return 1
    send(replies, {"ready": True})
    while True:
        try:
            request, payload = receive(requests)
        except (EOFError, KeyboardInterrupt):
            replies.flush()
            os._exit(0)  # some plug-ins crash while they shut down
        try:
            header, out = answer(source, request, payload)
        except Exception as e:
            header, out = {"error": str(e) or type(e).__name__}, b""
        send(replies, header, out)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
