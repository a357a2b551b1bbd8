"""The studio's HTTP server: the page's files, the routes and the checks around them.

Pages come from a table read at the start, so no path from a request is ever opened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from retone.errors import MissingExtraError, RetoneError
from retone.studio.access import Access
from retone.studio.guard import Guard
from retone.studio.handling import shown_error
from retone.studio.limits import Limits, Refused
from retone.studio.routes import Routes
from retone.studio.server_state import ServerState

TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


def pages() -> dict[str, tuple[bytes, str]]:
    """Every file of the page by its address: content and type."""
    folder = resources.files("retone.studio") / "static"
    found = {}
    for item in folder.iterdir():
        kind = TYPES.get(Path(item.name).suffix)
        if kind:
            address = "/" if item.name == "index.html" else f"/static/{item.name}"
            found[address] = (item.read_bytes(), f"{kind}; charset=utf-8")
    return found


class Studio:
    """A studio server.

    Args:
        token: secret that requests must carry; None to answer this machine only, or who has a token
            of ``access``.
        limits: the server's bounds.
        parent: folder for temporary files (default: the system's).
        access: the server's tokens, instead of ``token``.
        hosts: the names under which a server with a token is reached; empty for any.
        log: called with one line for every answer.

    Attributes:
        app: the ASGI application.
        state: sessions, jobs and files.

    Raises:
        MissingExtraError: starlette is not installed.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        limits: Limits | None = None,
        parent: Path | None = None,
        access: Access | None = None,
        hosts: Sequence[str] = (),
        log: Callable[[str], None] | None = None,
    ) -> None:
        try:
            from starlette.applications import Starlette
            from starlette.routing import Route
        except ImportError as error:
            raise MissingExtraError("retone studio", "starlette", "studio") from error
        access = access or Access(token)
        self.state = ServerState(limits, parent, access)
        self._pages = pages()
        routes = [
            *(Route(at, run, methods=[method]) for method, at, run in Routes(self.state).table()),
            *(Route(address, self._page, methods=["GET"]) for address in self._pages),
        ]
        inner = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={Refused: _refused, RetoneError: _unusable},
        )
        self.app = Guard(inner, access, hosts, log, self.state.limits.header_bytes)

    def close(self) -> None:
        """Stop all work and remove all files."""
        self.state.close()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        watch = asyncio.create_task(self.state.watch())
        try:
            yield
        finally:
            watch.cancel()
            self.close()

    async def _page(self, request: Any) -> Any:
        from starlette.responses import Response

        content, kind = self._pages[request.url.path]
        return Response(content, headers={"content-type": kind, "cache-control": "no-cache"})


async def _refused(request: Any, error: Exception) -> Any:
    from starlette.responses import JSONResponse

    assert isinstance(error, Refused)
    return JSONResponse({"error": shown_error(error)}, status_code=error.status)


async def _unusable(request: Any, error: Exception) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": shown_error(error)}, status_code=422)
