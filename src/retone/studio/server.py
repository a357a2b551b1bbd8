"""The studio's HTTP server: routes, and the tasks that watch over sessions.

No path from a request is ever opened: pages come from a table read at the start, uploads and
results lie under names of our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

from retone import __version__
from retone.errors import MissingExtraError, RetoneError
from retone.export import TARGETS, target_named
from retone.studio.answers import Answers
from retone.studio.guard import Guard
from retone.studio.handlers import as_json
from retone.studio.jobs import Queue
from retone.studio.limits import Limits, Refused
from retone.studio.place import Place
from retone.studio.session import Sessions
from retone.studio.uploads import Uploads

BEAT_S = 1.0
LOST_S = 3.0
"""A page whose connection has been gone so long gets its jobs stopped."""
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
    """Everything a server holds; ``app`` is the ASGI application."""

    def __init__(
        self, *, token: str | None = None, limits: Limits | None = None, parent: Path | None = None
    ) -> None:
        try:
            from starlette.applications import Starlette
            from starlette.routing import Route
        except ImportError as error:
            raise MissingExtraError("retone studio", "starlette", "studio") from error
        self.limits = limits or Limits()
        self.place = Place(parent)
        self.sessions = Sessions(self.place, self.limits)
        self.queue = Queue(self.limits)
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="retone-studio")
        self.warm = self.pool.submit(_warm_up)
        self._pages = pages()
        uploads, answers = Uploads(self), Answers(self)
        post, get = ["POST"], ["GET"]
        routes = [
            Route("/api/session", self.start, methods=post),
            Route("/api/offers", self.offers, methods=get),
            Route("/api/events/{key}", self.events, methods=get),
            Route("/api/leave/{key}", self.leave, methods=post),
            Route("/api/upload/{key}/{role}", uploads.upload, methods=post),
            Route("/api/forget/{key}/{index:int}", uploads.forget, methods=post),
            Route("/api/sound/{key}/{which}", uploads.sound, methods=get),
            Route("/api/job/{key}/{kind}", answers.job, methods=post),
            Route("/api/cancel/{key}/{number:int}", answers.cancel, methods=post),
            Route("/api/describe/{key}", answers.describe, methods=post),
            Route("/api/window/{key}", answers.window, methods=post),
            Route("/api/render/{key}", answers.render, methods=post),
            Route("/api/settings/{key}", answers.settings, methods=post),
            Route("/api/export/{key}/{target}", answers.export, methods=post),
            Route("/api/download/{key}/{name}", answers.download, methods=get),
            *(Route(address, self.page, methods=get) for address in self._pages),
        ]
        inner = Starlette(
            routes=routes,
            lifespan=self._life,
            exception_handlers={Refused: _refused, RetoneError: _unusable},
        )
        self.app = Guard(inner, token)

    @contextlib.asynccontextmanager
    async def _life(self, _: Any) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            self.close()

    def close(self) -> None:
        """Stop all work and remove all files."""
        for session in self.sessions.all():
            session.ended = True
        self.queue.close()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.place.close()

    async def _watch(self) -> None:
        """End what pages left behind."""
        while True:
            await asyncio.sleep(BEAT_S)
            now = time.monotonic()
            for session in self.sessions.all():
                gone_s = 0.0 if session.listeners else now - session.left_at
                if gone_s > min(LOST_S, self.limits.grace_s):
                    if session.seen or gone_s > self.limits.grace_s:
                        self.queue.cancel(session.key)
                if gone_s > self.limits.grace_s and not self.queue.busy(session.key):
                    self.sessions.end(session)

    async def page(self, request: Any) -> Any:
        from starlette.responses import Response

        content, kind = self._pages[request.url.path]
        return Response(content, headers={"content-type": kind, "cache-control": "no-cache"})

    async def start(self, request: Any) -> Any:
        """A session, at once: nothing heavy is imported for it."""
        session = self.sessions.start(asyncio.get_running_loop())
        limits = self.limits
        return as_json(
            {
                "session": session.key,
                "version": __version__,
                "limits": {
                    "upload_bytes": limits.upload_bytes,
                    "minutes": limits.minutes,
                    "references": limits.references,
                },
            }
        )

    async def offers(self, request: Any) -> Any:
        """What this version can do; the page asks once it stands."""

        def look() -> dict[str, Any]:
            from retone.studio import work

            return {
                "presets": work.presets(),
                "enhance": work.can_enhance(),
                "estimators": list(work.NAMES),
                "targets": [{"name": n, "title": target_named(n).title} for n in TARGETS],
            }

        await asyncio.shield(asyncio.wrap_future(self.warm))
        return as_json(await asyncio.get_running_loop().run_in_executor(self.pool, look))

    async def events(self, request: Any) -> Any:
        """A stream of what happens; its end is how the server knows that the page is gone."""
        from starlette.responses import StreamingResponse

        session = self.sessions.get(request.path_params["key"])
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=0)
        session.listeners.append(queue)
        session.seen = True

        async def stream() -> AsyncIterator[str]:
            try:
                yield 'data: {"type": "hello"}\n\n'
                while not session.ended:
                    try:
                        event = await asyncio.wait_for(queue.get(), BEAT_S)
                        yield f"data: {json.dumps(event)}\n\n"
                    except TimeoutError:
                        yield ": still here\n\n"
            finally:
                session.left_at = time.monotonic()
                session.listeners.remove(queue)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def leave(self, request: Any) -> Any:
        """The page says goodbye."""
        session = self.sessions.get(request.path_params["key"])
        self.queue.cancel(session.key)
        session.ended = True
        session.left_at = time.monotonic() - self.limits.grace_s - 1
        return as_json({})


async def _refused(request: Any, error: Exception) -> Any:
    from starlette.responses import JSONResponse

    assert isinstance(error, Refused)
    return JSONResponse({"error": str(error)}, status_code=error.status)


async def _unusable(request: Any, error: Exception) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": str(error)}, status_code=422)


def _warm_up() -> None:
    """Load everything heavy in one thread, while a person still looks for a file.

    Two threads that import parts of one package at once may meet half-made modules.
    """
    import numpy as np
    import torch

    from retone.effects import MATCH_CHAIN
    from retone.estimators.choose import estimator_named
    from retone.export import plan, verify  # noqa: F401
    from retone.process.stream import Renderer
    from retone.report import html  # noqa: F401
    from retone.studio import intake, preview, state, work  # noqa: F401

    setting = MATCH_CHAIN.params.sample(1, torch.Generator().manual_seed(0))
    rate = 8000
    Renderer(MATCH_CHAIN, setting, rate).process_with_curves(np.zeros((1, 4096), np.float32))
    estimator_named(None)
