"""What all request handlers share: their session, their body, a thread for their work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from retone.studio.limits import Refused
from retone.studio.session import Session

if TYPE_CHECKING:
    from retone.studio.server import Studio


class Handlers:
    """Handlers of one server; subclasses add the answers."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    async def _run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(
            self.studio.pool, partial(work, *args)
        )

    async def _session(self, request: Any) -> Session:
        """The request's session, once everything heavy is loaded."""
        await asyncio.shield(asyncio.wrap_future(self.studio.warm))
        return self.studio.sessions.get(request.path_params["key"])

    async def _text(self, request: Any) -> bytes:
        text = b""
        async for chunk in request.stream():
            text += chunk
            if len(text) > self.studio.limits.text_bytes:
                raise Refused(413, "The request is larger than any that the page sends.")
        return text

    async def _body(self, request: Any) -> dict[str, Any]:
        try:
            found = json.loads(await self._text(request) or b"{}")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Refused(400, "The request is not what a page sends.")
        return found


def as_json(data: Any) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(data)


def as_bytes(data: bytes) -> Any:
    from starlette.responses import Response

    return Response(data, media_type="application/octet-stream")
