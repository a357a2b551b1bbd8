"""The studio's request handlers, by address.

No path from a request is ever opened: uploads and results have file names of the server's own.
Heavy modules are imported inside handlers, after the warm-up thread has loaded them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from retone import __version__
from retone.errors import DataError, RetoneError
from retone.exports import TARGETS, target_named
from retone.files.fields import parse, unicode_text
from retone.files.names import shell_word
from retone.progress import Progress
from retone.studio.limits import Refused
from retone.studio.reading import Follower, described
from retone.studio.server_state import POLL_S, ServerState
from retone.studio.session import Session

LONGEST_WINDOW_S = 30.0
CLAIM_BYTES = 4 << 20
"""What an upload of unknown length claims ahead of what has arrived."""
MOST_EVENTS = 256
MOST_ERROR = 1000


class Routes:
    """Handlers of one server."""

    def __init__(self, state: ServerState) -> None:
        self.state = state

    def table(self) -> list[tuple[str, str, Callable[[Any], Any]]]:
        """Method, address and handler of every route."""
        return [
            ("POST", "/api/session", self.start),
            ("POST", "/api/resume/{key}", self.resume),
            ("GET", "/api/offers", self.offers),
            ("GET", "/api/events/{key}", self.events),
            ("POST", "/api/leave/{key}", self.leave),
            ("POST", "/api/upload/{key}/{role}", self.upload),
            ("POST", "/api/forget/{key}/{index}", self.forget),
            ("GET", "/api/sound/{key}/{which}", self.sound),
            ("POST", "/api/job/{key}/{kind}", self.job),
            ("POST", "/api/cancel/{key}/{number}", self.cancel),
            ("POST", "/api/describe/{key}", self.describe),
            ("POST", "/api/window/{key}", self.window),
            ("POST", "/api/render/{key}", self.render),
            ("POST", "/api/settings/{key}", self.settings),
            ("POST", "/api/export/{key}/{target}", self.export),
            ("POST", "/api/preset/{key}", self.preset),
            ("GET", "/api/download/{key}/{name}", self.download),
            ("GET", "/static/core.wasm", self.core),
        ]

    async def _run(
        self, work: Callable[..., Any], *args: Any, session: Session | None = None
    ) -> Any:
        """Work in a thread; a session's requests take turns, and few of them wait."""
        loop = asyncio.get_running_loop()
        if session is None:
            return await loop.run_in_executor(self.state.pool, work, *args)
        if session.turns is None:
            session.turns = asyncio.Semaphore(self.state.limits.working)
        if session.waiting >= self.state.limits.waiting:
            raise Refused(429, "Too many requests of this page wait. Wait for one of them.")
        session.waiting += 1
        try:
            async with session.turns:
                if session.ended:
                    raise Refused(410, "This page's session has ended.")
                return await loop.run_in_executor(self.state.pool, work, *args)
        except Refused:
            raise
        except RetoneError as error:
            raise Refused(422, _public(error, session)) from None
        finally:
            session.waiting -= 1

    async def _warm(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self.state.warm_up))

    async def _session(self, request: Any) -> Session:
        """The request's session, once the warm-up is done."""
        await self._warm()
        return self.state.sessions.get(request.path_params["key"])

    async def _text(self, request: Any) -> bytes:
        from starlette.requests import ClientDisconnect

        limits, text = self.state.limits, bytearray()

        async def receive() -> None:
            async for chunk in request.stream():
                text.extend(chunk)
                if len(text) > limits.text_bytes:
                    raise Refused(413, "The request is larger than any the page sends.")

        try:
            await asyncio.wait_for(receive(), limits.text_s)
        except TimeoutError:
            raise Refused(408, "The request took too long. Try again.") from None
        except ClientDisconnect:
            raise Refused(499, "The request was interrupted.") from None
        return bytes(text)

    async def _body(self, request: Any) -> dict[str, Any]:
        try:
            found = parse((await self._text(request) or b"{}").decode("utf-8"), "request")
        except (DataError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise Refused(400, "The request is not in the form the page sends.")
        return found

    async def start(self, request: Any) -> Any:
        """Open a session at once: nothing heavy is imported for it."""
        who = request.scope.get("retone.who", "")
        session = self.state.sessions.start(asyncio.get_running_loop(), who)
        return _json(self._about(session))

    def _about(self, session: Session) -> dict[str, Any]:
        limits = self.state.limits
        return {
            "session": session.key,
            "version": __version__,
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "minutes": limits.minutes,
                "references": limits.references,
            },
        }

    async def resume(self, request: Any) -> Any:
        """Go on with a session after the page was loaded again: what it holds."""
        session = await self._session(request)
        session.leaving = False

        def look() -> dict[str, Any]:
            from retone.studio.state import spectra_of

            with session.guard:
                own, others = session.input, list(session.references)
            return {
                "input": None if own is None else described(own),
                "references": [described(r) for r in others],
                "effects": list(session.effects),
                "spectra": spectra_of(session),
            }

        return _json(self._about(session) | await self._run(look, session=session))

    async def offers(self, request: Any) -> Any:
        """Features of this version; requested once the page is shown."""

        def look() -> dict[str, Any]:
            from retone.studio import work

            return {
                "presets": work.presets(),
                "enhance": work.can_enhance(),
                "estimators": list(work.NAMES),
                "matching": work.strengths(),
                "targets": [  # the page downloads one file, not a folder
                    {"name": n, "title": target_named(n).title}
                    for n in TARGETS
                    if not target_named(n).inside
                ],
            }

        await self._warm()
        return _json(await self._run(look))

    async def core(self, request: Any) -> Any:
        """The part of the C core that the page runs itself; a checkout compiles it now."""
        from starlette.responses import Response

        def look() -> bytes:
            from retone import core

            try:
                return core.wasm()
            except (OSError, RuntimeError) as error:
                raise Refused(404, str(error).partition("\n")[0]) from error

        return Response(await self._run(look), media_type="application/wasm")

    async def events(self, request: Any) -> Any:
        """A stream of events; when it ends, the server knows that the page is gone."""
        from starlette.responses import StreamingResponse

        session = self.state.sessions.get(request.path_params["key"])
        if len(session.listeners) >= self.state.limits.streams:
            raise Refused(429, "This page listens already. Close it elsewhere.")
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=MOST_EVENTS)
        session.listeners.append(queue)
        session.seen, session.leaving = True, False

        async def stream() -> AsyncIterator[str]:
            try:
                yield 'data: {"type": "hello"}\n\n'
                while not session.ended and not session.leaving:
                    try:
                        event = await asyncio.wait_for(queue.get(), POLL_S)
                        yield f"data: {json.dumps(event)}\n\n"
                    except TimeoutError:
                        yield ": keep-alive\n\n"
            finally:
                session.left_at = time.monotonic()
                session.listeners.remove(queue)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def leave(self, request: Any) -> Any:
        """The page is being closed, or loaded again, which shows a moment later."""
        session = self.state.sessions.get(request.path_params["key"])
        self.state.queue.cancel(session.key)
        session.leaving, session.left_at = True, time.monotonic()
        return _json({})

    async def upload(self, request: Any) -> Any:
        """Receive a recording as the input or as a further reference."""
        session, role = await self._session(request), request.path_params["role"]

        from starlette.requests import ClientDisconnect

        from retone.studio.intake import take

        if role not in ("input", "reference"):
            raise Refused(404, "A recording is either the input or a reference.")
        if role == "reference":
            self._require_room(session)
        turn = request.query_params.get("turn", "")
        number = int(turn) if turn.isdecimal() and len(turn) < 16 else 0
        if role == "input":
            session.newest_input = max(session.newest_input, number)
        path = session.new_file(".upload")
        try:
            work = self._receive(request, path, session)
            await asyncio.wait_for(work, self.state.limits.upload_s)
            name = request.query_params.get("name", "")
            limits = self.state.limits
            follow = Follower(session, role, number)
            read = self._run(take, path, name, session, limits, follow, session=session)
            recording = await follow.watch(request, read)
        except TimeoutError:
            raise Refused(408, "The upload took too long. Try again.") from None
        except ClientDisconnect:
            raise Refused(499, "The upload was interrupted.") from None
        except OSError as error:
            if session.ended:
                raise Refused(410, "This page's session has ended.") from None
            what = error.strerror or "disk"
            raise Refused(507, f"The server cannot store the upload ({what}).") from None
        finally:
            session.remove(path)
        try:
            add = self._add_recording
            return _json(await self._run(add, session, role, recording, number, session=session))
        finally:
            session.arriving = None if session.arriving is recording else session.arriving

    def _require_room(self, session: Session) -> None:
        most = self.state.limits.references
        if len(session.references) >= most:
            raise Refused(409, f"A page takes up to {most} references. Remove one first.")

    def _add_recording(
        self, session: Session, role: str, recording: Any, number: int = 0
    ) -> dict[str, Any]:
        from retone.studio import work
        from retone.studio.state import spectra_of

        old = None
        with session.guard:
            if role == "input" and number < session.newest_input:
                old = recording  # a newer choice came while this one was read
            elif role == "input":
                old, session.input = session.input, recording
            else:
                try:
                    self._require_room(session)
                except Refused:
                    session.remove(recording.path)
                    session.remove(recording.preview)
                    raise
                session.references.append(recording)
        if old is not None:
            session.remove(old.path)
            session.remove(old.preview)
        if old is not None and old is recording:
            raise Refused(409, f"{recording.name} was replaced by a newer choice.")
        found = described(recording) | {"index": len(session.references) - 1}
        if role == "input":
            found |= {"manual": work.manual(session)}
        found["spectra"] = spectra_of(session)
        return found

    async def _receive(self, request: Any, path: Path, session: Session) -> None:
        """Write the body to disk, counting bytes; the stated length is checked first."""
        most = self.state.limits.upload_bytes
        text = request.headers.get("content-length", "")
        stated = int(text) if text.isdecimal() and len(text) < 19 else 0
        size = f" ({stated / 2**20:.0f} MB)" if stated > most else ""
        too_large = Refused(
            413,
            f"The file{size} is larger than the limit of {most / 2**20:.0f} MB. Save it as FLAC or "
            "M4A, which are smaller, or use 'retone match' on the command line, which has none.",
        )
        if stated > most:
            raise too_large
        claimed = stated
        session.claim(path, claimed)
        total = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                total += len(chunk)
                if total > most:
                    raise too_large
                if total > claimed:
                    claimed = min(most, total + CLAIM_BYTES)
                    session.claim(path, claimed)
                file.write(chunk)
        if total == 0:
            raise Refused(422, "The file is empty. Copy or export it again.")

    async def forget(self, request: Any) -> Any:
        """Remove one reference."""
        session = await self._session(request)
        index = small_number(request.path_params["index"])

        from retone.studio.state import spectra_of

        with session.guard:
            if index is None or index >= len(session.references):
                raise Refused(404, "There is no such reference.")
            gone = session.references.pop(index)
        session.remove(gone.path)
        session.remove(gone.preview)
        return _json({"spectra": await self._run(spectra_of, session, session=session)})

    async def sound(self, request: Any) -> Any:
        """A recording as the page plays it."""
        session, which = await self._session(request), request.path_params["which"]

        from retone.studio.preview import packed

        found = session.arriving if which == "arriving" else None
        if which == "input" or (which == "arriving" and found is None):
            found = session.need_input()
        if found is None:
            index = small_number(which)
            if index is None or index >= len(session.references):
                raise Refused(404, "There is no such recording.")
            found = session.references[index]
        first, frames = (small_number(request.query_params.get(n, "")) for n in ("first", "frames"))
        most = round(LONGEST_WINDOW_S * found.sample_rate)
        if first is None and found.long:
            raise Refused(413, "The recording is played in pieces. Reload the page.")

        def look() -> bytes:
            if first is None:
                samples = found.samples()
            else:
                samples = found.part(first, min(frames or 0, most))
            head = {"start": first or 0, "frames": samples.shape[1], "channels": len(samples),
                    "rate": found.sample_rate}  # fmt: skip
            return packed(head, samples)

        return _bytes(await self._run(look, session=session))

    async def job(self, request: Any) -> Any:
        """Queue a match, a preset, an enhancement or the saving of the result."""
        session, kind = await self._session(request), request.path_params["kind"]

        from retone.studio import work
        from retone.studio.state import read_state

        body = await self._body(request)
        session.need_input()
        if kind == "save":
            state = await self._run(read_state, session, body, session=session)

            def run(progress: Progress) -> dict[str, Any]:
                return work.write_result(session, state, progress)
        elif kind in ("match", "preset", "enhance"):

            def run(progress: Progress) -> dict[str, Any]:
                return work.find(session, kind, body, progress)
        else:
            raise Refused(404, "There is no such job.")

        def named(progress: Progress) -> dict[str, Any]:
            try:
                return run(progress)
            except RetoneError as error:
                raise Refused(422, _public(error, session)) from None

        job = self.state.queue.submit(session.key, kind, named, session.say)
        return _json({"job": job.number})

    async def cancel(self, request: Any) -> Any:
        """Stop one job of the session."""
        session = await self._session(request)
        number = small_number(request.path_params["number"])
        if number is None:
            raise Refused(404, "There is no such job.")
        return _json({"cancelled": self.state.queue.cancel(session.key, number)})

    async def describe(self, request: Any) -> Any:
        """Curves and values of the page's settings."""
        session, body = await self._session(request), await self._body(request)

        from retone.studio.state import describe, read_state

        rate = session.need_input().sample_rate
        return _json(
            await self._run(lambda: describe(read_state(session, body), rate), session=session)
        )

    async def window(self, request: Any) -> Any:
        """The sound of the page's settings over a few seconds."""
        session, body = await self._session(request), await self._body(request)

        from retone.studio.preview import window
        from retone.studio.state import read_state

        source = session.need_input()
        start, stop = body.get("start_s", 0.0), body.get("stop_s", 0.0)
        if not all(isinstance(v, (int, float)) and 0 <= v < 1e6 for v in (start, stop)):
            raise Refused(400, "The request needs start_s and stop_s in seconds.")
        stop = min(stop, start + LONGEST_WINDOW_S)

        def render() -> bytes:
            return window(source, read_state(session, body), start, stop)

        return _bytes(await self._run(render, session=session))

    async def render(self, request: Any) -> Any:
        """The sound of the page's settings over the whole recording."""
        session, body = await self._session(request), await self._body(request)

        from retone.studio.preview import whole
        from retone.studio.state import read_state

        source = session.need_input()
        with session.guard:
            session.newest_render += 1
            turn = session.newest_render

        def work() -> bytes:
            with session.rendering:
                return whole(session, source, read_state(session, body), turn)

        return _bytes(await self._run(work, session=session))

    async def settings(self, request: Any) -> Any:
        """Load a settings file into the page."""
        session = await self._session(request)

        from retone.studio import work

        text = (await self._text(request)).decode("utf-8", "replace")
        return _json(await self._run(work.load_settings, session, text, session=session))

    async def preset(self, request: Any) -> Any:
        """Make a preset of the session's references."""
        session, body = await self._session(request), await self._body(request)

        from retone.studio import work

        return _json(await self._run(work.own_preset, session, body, session=session))

    async def export(self, request: Any) -> Any:
        """The page's settings as a settings file or for another program."""
        session, body = await self._session(request), await self._body(request)

        from retone.exports.plan import plan_of
        from retone.studio import work
        from retone.studio.state import read_state

        name = request.path_params["target"]
        gain = body.get("gain_db", 0.0)
        gain = float(gain) if isinstance(gain, (int, float)) and abs(gain) < 100 else 0.0

        def export() -> dict[str, Any]:
            settings = work.settings_file(session, read_state(session, body), gain)
            stem = Path(session.need_input().name).stem
            if name == "settings":
                return {"name": f"{stem}.retone.json", "text": settings.to_json(), "notes": []}
            target = target_named(name)
            done = target.write(plan_of(settings))
            file = stem + target.suffix
            return {
                "name": file, "text": done.text, "notes": list(done.notes),
                "usage": target.usage.format(file=shell_word(file)),
            }  # fmt: skip

        return _json(await self._run(export, session=session))

    async def download(self, request: Any) -> Any:
        """A file that a job made."""
        session = await self._session(request)

        from starlette.responses import FileResponse

        found = session.downloads.get(request.path_params["name"])
        if found is None:
            raise Refused(404, "That download has expired. Save the result again.")
        path, name, kind = found
        disposition = f"attachment; filename*=UTF-8''{quote(name)}"
        return FileResponse(path, media_type=kind, headers={"content-disposition": disposition})


def small_number(text: str) -> int | None:
    """A whole number of a few digits; None if it is anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def shown_error(error: Exception) -> str:
    """An error's sentence for the page, shortened."""
    text = unicode_text(str(error))
    return text if len(text) <= MOST_ERROR else f"{text[:MOST_ERROR]} ..."


def _public(error: Exception, session: Session) -> str:
    """An error's sentence with the names that the user gave the files."""
    from retone.studio.work import public

    return public(str(error), session)


def _json(data: Any) -> Any:
    from starlette.responses import Response

    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("ascii"), media_type="application/json")


def _bytes(data: bytes) -> Any:
    from starlette.responses import Response

    return Response(data, media_type="application/octet-stream")
