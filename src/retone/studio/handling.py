"""What the studio's request handlers share: turns, threads, bodies and answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from retone.errors import DataError, RetoneError
from retone.files.fields import parse, unicode_text
from retone.studio.limits import Refused
from retone.studio.server_state import ServerState
from retone.studio.session import Session

QUICK_BYTES = 16 << 10
"""A JSON request of this size is read at once, a larger one in turn."""
MOST_ERROR = 1000


class Handling:
    """Requests of one server: who may work when, and on what."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._shared: dict[str, asyncio.Future[Any]] = {}

    @contextlib.asynccontextmanager
    async def _turn(self, session: Session) -> AsyncIterator[None]:
        """A session's requests take turns, as do those of one person; few of them wait."""
        limits = self.state.limits
        if session.turns is None:
            session.turns = asyncio.Semaphore(limits.working)
        if session.waiting >= limits.waiting:
            raise Refused(429, "Too many requests of this page wait. Wait for one of them.")
        session.waiting += 1
        try:
            async with session.turns, self.state.turns_of(session) or contextlib.nullcontext():
                if session.ended:
                    raise Refused(410, "This page's session has ended.")
                yield
        finally:
            session.waiting -= 1

    async def _run(
        self, work: Callable[..., Any], *args: Any, session: Session, in_turn: bool = False
    ) -> Any:
        """Work in a thread, in turn; ``in_turn`` where the request has its turn already."""
        if not in_turn:
            async with self._turn(session):
                return await self._run(work, *args, session=session, in_turn=True)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.state.pool, work, *args)
        except Refused:
            raise
        except FileNotFoundError:  # removed while it was read
            raise Refused(409, "The recording was replaced meanwhile. Try again.") from None
        except RetoneError as error:
            raise Refused(422, public_error(error, session)) from None

    async def _warm(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self.state.warm_up))

    async def _session(self, request: Any) -> Session:
        """The request's session, once the warm-up is done."""
        await self._warm()
        return self._own(request)

    def _own(self, request: Any) -> Session:
        holder = request.scope.get("retone.holder", "")
        return self.state.sessions.get(request.path_params["key"], holder)

    async def _text(self, request: Any, most_bytes: int) -> bytes:
        from starlette.requests import ClientDisconnect

        limits, text = self.state.limits, bytearray()

        async def receive() -> None:
            async for chunk in request.stream():
                text.extend(chunk)
                if len(text) > most_bytes:
                    raise Refused(413, "The request is larger than any the page sends.")

        try:
            await asyncio.wait_for(receive(), limits.text_s)
        except TimeoutError:
            raise Refused(408, "The request took too long. Try again.") from None
        except ClientDisconnect:
            raise Refused(499, "The request was interrupted.") from None
        return bytes(text)

    async def _body(self, request: Any, session: Session) -> dict[str, Any]:
        text = await self._text(request, self.state.limits.body_bytes)

        def read() -> dict[str, Any]:
            try:
                found = parse((text or b"{}").decode("utf-8"), "request")
            except (DataError, UnicodeDecodeError):
                found = None
            if not isinstance(found, dict):
                raise Refused(400, "The request is not in the form the page sends.")
            return found

        if len(text) <= QUICK_BYTES:
            return read()
        got: dict[str, Any] = await self._run(read, session=session)
        return got

    async def _once(self, name: str, look: Callable[[], Any]) -> Any:
        """What is the same for all pages, made once for all requests that wait for it."""
        if name not in self._shared:
            loop = asyncio.get_running_loop()
            self._shared[name] = loop.run_in_executor(self.state.pool, look)
            self._shared[name].add_done_callback(lambda _: self._shared.pop(name, None))
        return await asyncio.shield(self._shared[name])


def small_number(text: str) -> int | None:
    """A whole number of a few digits; None if it is anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def shown_error(error: Exception) -> str:
    """An error's sentence for the page, shortened."""
    text = unicode_text(str(error))
    return text if len(text) <= MOST_ERROR else f"{text[:MOST_ERROR]} ..."


def public_error(error: Exception, session: Session) -> str:
    """An error's sentence with the names that the user gave the files."""
    from retone.studio.work import public

    return public(str(error), session)


def json_answer(data: Any) -> Any:
    from starlette.responses import Response

    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("ascii"), media_type="application/json")
