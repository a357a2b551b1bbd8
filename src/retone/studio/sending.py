"""Answers with sound, sent in pieces: a client that does not read costs one piece of memory."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np

from retone.studio.guard import Receive, Scope, Send

PIECE = 1 << 16
"""Samples that are sent at once."""


class Sound:
    """An ASGI answer: the length of a JSON text, the text padded to whole samples, and float32
    samples by channel.

    Args:
        head: what the page needs to know of the sound.
        audio: [C, T]; may lie on the disk.
        end: called when it was sent, or the client is gone.
    """

    def __init__(
        self,
        head: Mapping[str, Any],
        audio: np.ndarray,
        end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.head, self.audio, self.end = head, audio, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await self._send(send, gone)
        finally:
            gone.cancel()
            if self.end is not None:
                await self.end()

    async def _send(self, send: Send, gone: asyncio.Future[None]) -> None:
        start = packed_head(self.head)
        channels, frames = self.audio.shape
        size = str(len(start) + 4 * channels * frames).encode()
        kind = (b"content-type", b"application/octet-stream")
        headers = [kind, (b"content-length", size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": start, "more_body": True})
        for row in self.audio:
            for at in range(0, frames, PIECE):
                if gone.done():
                    return
                piece = np.ascontiguousarray(row[at : at + PIECE], "<f4").tobytes()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def packed_head(head: Mapping[str, Any]) -> bytes:
    """Length of a JSON text, and the text padded to whole samples."""
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + 4) % 4)
    return struct.pack("<I", len(text)) + text
