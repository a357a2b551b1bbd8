"""Bounds on connections, before a request and its token are known.

uvicorn waits for a request for as long as a client likes, and takes as many clients as there are
file handles. Here a connection has a time for its header and for taking its answer, and where there
are too many, the one that has been idle longest makes room.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from retone.studio.limits import Limits

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol
else:
    H11Protocol = object


def bounded(limits: Limits) -> type[H11Protocol]:
    """A uvicorn protocol that keeps the limits on connections."""
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol

    return type("Bounded", (_Bounded, Protocol), {"limits": limits})


_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 45\r\n"
    b"connection: close\r\n\r\nThe server has too many clients. Wait a bit.\n"
)


class _Bounded(H11Protocol):
    limits: Limits
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _since = 0.0

    @property
    def idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def known(self) -> bool:
        """The last request came from somebody who may use the server."""
        return bool(self.scope and self.scope.get("retone.known"))

    def connection_made(self, transport: Any) -> None:
        has_room = self._make_room()
        super().connection_made(transport)
        if not has_room:
            transport.write(_FULL)
            transport.close()
            return
        self._since = time.monotonic()
        self._expect_header()

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest, or else the oldest of a stranger.

        Returns:
            False if all are of people who may use the server, and at work.
        """
        if len(self.connections) < self.limits.connections:
            return True
        others = [c for c in self.connections if isinstance(c, _Bounded)]
        closable = [c for c in others if c.idle or not c.known]
        oldest = min(closable, key=lambda c: (not c.idle, c._since), default=None)
        if oldest is None:
            return False
        oldest.transport.abort()
        self.connections.discard(oldest)
        return True

    def _expect_header(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.header_s, self._late)

    def _late(self) -> None:
        self._timer = None
        if self.idle and not self.transport.is_closing():
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        if self.idle:
            self._expect_header()
        super().data_received(data)
        if not self.idle:
            self._stop_timer()

    def on_response_complete(self) -> None:
        self._since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it is made."""
        super().pause_writing()
        if self._writing is None:
            self._watch_writing()

    def _watch_writing(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._writing = self.loop.call_later(self.limits.write_s, self._written, left)

    def _written(self, before: int) -> None:
        """Go on as long as something is taken; abort where nothing was."""
        if self.transport.get_write_buffer_size() < before:
            self._watch_writing()
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().connection_lost(exc)
