"""The studio's request handlers, by address.

No path from a request is ever opened: uploads and results have file names of the server's own.
Heavy modules are imported inside handlers, after the warm-up thread has loaded them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from retone import __version__
from retone.errors import RetoneError
from retone.exports import TARGETS, target_named
from retone.files.names import shell_word
from retone.progress import Progress
from retone.studio.handling import Handling, json_answer, public_error, small_number
from retone.studio.limits import Refused
from retone.studio.reading import Follower, described
from retone.studio.sending import Sound
from retone.studio.server_state import POLL_S
from retone.studio.session import Event, Recording, Session

LONGEST_WINDOW_S = 10.0
CLAIM_BYTES = 4 << 20
"""What an upload of unknown length claims ahead of what has arrived."""
LOOK_S = 0.5
"""How often it is looked whether the client of an upload still waits."""
MOST_EVENTS = 256


class Routes(Handling):
    """Handlers of one server."""

    def table(self) -> list[tuple[str, str, Callable[[Any], Any]]]:
        """Method, address and handler of every route."""
        return [
            ("POST", "/api/session", self.start),
            ("POST", "/api/resume/{key}", self.resume),
            ("GET", "/api/offers", self.offers),
            ("GET", "/api/events/{key}", self.events),
            ("POST", "/api/leave/{key}", self.leave),
            ("POST", "/api/upload/{key}/{role}", self.upload),
            ("POST", "/api/abandon/{key}/{turn}", self.abandon),
            ("POST", "/api/forget/{key}/{index}", self.forget),
            ("POST", "/api/manual/{key}", self.manual),
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

    async def start(self, request: Any) -> Any:
        """Open a session at once: nothing heavy is imported for it."""
        who, holder = (request.scope.get(f"retone.{k}", "") for k in ("who", "holder"))
        session = self.state.sessions.start(
            asyncio.get_running_loop(), who, holder, shared=self.state.access.several
        )
        return json_answer(self._about(session))

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

        return json_answer(self._about(session) | await self._run(look, session=session))

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
        return json_answer(await self._once("offers", look))

    async def core(self, request: Any) -> Any:
        """The part of the C core that the page runs itself; a checkout compiles it now."""
        from starlette.responses import Response

        def look() -> bytes:
            from retone import core

            try:
                return core.wasm()
            except (OSError, RuntimeError) as error:
                raise Refused(404, str(error).partition("\n")[0]) from error

        return Response(await self._once("core", look), media_type="application/wasm")

    async def events(self, request: Any) -> Any:
        """A stream of events; when it ends, the server knows that the page is gone."""
        from starlette.responses import StreamingResponse

        session = self._own(request)
        if len(session.listeners) >= self.state.limits.streams:
            raise Refused(429, "This page listens already. Close it elsewhere.")
        queue: asyncio.Queue[Event] = asyncio.Queue(maxsize=MOST_EVENTS)
        last = small_number(request.headers.get("last-event-id", ""))
        missed = [] if last is None else session.missed(last)
        session.listeners.append(queue)
        session.seen, session.leaving = True, False

        async def stream() -> AsyncIterator[str]:
            try:
                yield 'data: {"type": "hello"}\n\n'
                for event in missed:  # a page that reconnects names the last event it received
                    yield _event(event)
                while not (session.ended or session.leaving or self.state.ending):
                    try:
                        yield _event(await asyncio.wait_for(queue.get(), POLL_S))
                    except TimeoutError:
                        yield ": keep-alive\n\n"
            finally:
                session.left_at = time.monotonic()
                session.listeners.remove(queue)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def leave(self, request: Any) -> Any:
        """The page is being closed, or loaded again, which shows a moment later."""
        session = self._own(request)
        if len(session.listeners) < 2:  # else another tab has the same page
            self.state.queue.cancel(session.key)
            session.leaving, session.left_at = True, time.monotonic()
        return json_answer({})

    async def upload(self, request: Any) -> Any:
        """Receive a recording as the input or as a further reference."""
        session, role = await self._session(request), request.path_params["role"]

        from starlette.requests import ClientDisconnect

        from retone.studio.intake import take

        if role not in ("input", "reference"):
            raise Refused(404, "A recording is either the input or a reference.")
        if role == "reference":
            self._require_room(session)
        number = _turn(request.query_params.get("turn", ""))
        if role == "input":
            session.newest_input = max(session.newest_input, number)
        if len(session.receiving) >= self.state.limits.uploads:
            raise Refused(429, "Too many uploads of this page at once. Wait for one of them.")
        path = session.new_file(".upload")
        session.receiving.add(path)
        stop, follow = threading.Event(), Follower(session, role, number)
        try:
            work = self._receive(request, path, session)
            await asyncio.wait_for(work, self.state.limits.upload_s)
            name = request.query_params.get("name", "")
            reading = asyncio.get_running_loop().run_in_executor(
                self.state.readers, take, path, name, session, self.state.limits, stop, follow
            )
            recording = await _unless_gone(request, reading, stop, session)
            add = self._add_recording
            found = await self._run(add, session, role, recording, number, session=session)
            return json_answer(found)
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
            session.receiving.discard(path)
            follow.end()

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
            if number in session.abandoned or (role == "input" and number < session.newest_input):
                old = recording  # cancelled, or a newer choice came, while this one was read
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
            if old is not recording:
                session.taken.append(number)
        if old is not None:
            session.remove(old.path)
            session.remove(old.preview)
        if old is not None and old is recording:
            gone = number in session.abandoned
            why = "cancelled" if gone else "replaced by a newer choice"
            raise Refused(409, f"{recording.name} was {why}.")
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
        claimed = total = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                total += len(chunk)
                if session.ended:
                    raise Refused(410, "This page's session has ended.")
                if total > most:
                    raise too_large
                if total > claimed:
                    claimed = min(most, stated or most, total + CLAIM_BYTES)
                    session.claim(path, max(claimed, total))
                file.write(chunk)
        if total == 0:
            raise Refused(422, "The file is empty. Copy or export it again.")

    async def abandon(self, request: Any) -> Any:
        """Cancel the upload of that turn; ``late`` where its recording is already in use."""
        session, turn = self._own(request), _turn(request.path_params["turn"])
        with session.guard:
            late = turn in session.taken
            if turn and not late:
                session.abandoned.append(turn)
        return json_answer({"late": late})

    async def manual(self, request: Any) -> Any:
        """Neutral settings for the session's recording, for a page that has none."""
        session = await self._session(request)

        from retone.studio import work

        return json_answer(await self._run(work.manual, session, session=session))

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
        return json_answer({"spectra": await self._run(spectra_of, session, session=session)})

    async def sound(self, request: Any) -> Any:
        """A recording as the page plays it."""
        session, which = await self._session(request), request.path_params["which"]

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

        def look() -> Any:
            return found.samples() if first is None else found.part(first, min(frames or 0, most))

        samples = await self._run(look, session=session)
        head = {"start": first or 0, "frames": samples.shape[1], "channels": len(samples),
                "rate": found.sample_rate}  # fmt: skip
        return Sound(head, samples)

    async def job(self, request: Any) -> Any:
        """Queue a match, a preset, an enhancement or the saving of the result."""
        session, kind = await self._session(request), request.path_params["kind"]

        from retone.studio import work
        from retone.studio.state import read_state

        body = await self._body(request, session)
        recording, references = session.need_input(), tuple(session.references)
        if kind == "save":
            state = await self._run(read_state, session, body, session=session)

            def run(progress: Progress) -> dict[str, Any]:
                return work.write_result(session, recording, references, state, progress)
        elif kind in ("match", "preset", "enhance"):

            def run(progress: Progress) -> dict[str, Any]:
                return work.find(session, recording, references, kind, body, progress)
        else:
            raise Refused(404, "There is no such job.")

        def named(progress: Progress) -> dict[str, Any]:
            try:
                found = run(progress)
            except (RetoneError, FileNotFoundError) as error:
                if session.input is not recording:
                    raise _replaced(recording) from None
                if not isinstance(error, RetoneError):
                    raise
                raise Refused(422, public_error(error, session)) from None
            if session.input is not recording and kind != "save":
                raise _replaced(recording)
            return found

        job = self.state.queue.submit(
            session.key, kind, named, session.say,
            holder=session.holder if self.state.access.several else None,
        )  # fmt: skip
        return json_answer({"job": job.number})

    async def cancel(self, request: Any) -> Any:
        """Stop one job of the session."""
        session = await self._session(request)
        number = small_number(request.path_params["number"])
        if number is None:
            raise Refused(404, "There is no such job.")
        return json_answer({"cancelled": self.state.queue.cancel(session.key, number)})

    async def describe(self, request: Any) -> Any:
        """Curves and values of the page's settings."""
        session = await self._session(request)
        body = await self._body(request, session)

        from retone.studio.state import describe, read_state

        rate = session.need_input().sample_rate
        return json_answer(
            await self._run(lambda: describe(read_state(session, body), rate), session=session)
        )

    async def window(self, request: Any) -> Any:
        """The sound of the page's settings over a few seconds."""
        session = await self._session(request)
        body = await self._body(request, session)

        from retone.studio.preview import window
        from retone.studio.state import read_state

        source = session.need_input()
        start, stop = body.get("start_s", 0.0), body.get("stop_s", 0.0)
        if not all(isinstance(v, (int, float)) and 0 <= v < 1e6 for v in (start, stop)):
            raise Refused(400, "The request needs start_s and stop_s in seconds.")
        stop = min(stop, start + LONGEST_WINDOW_S)

        def render() -> tuple[dict[str, Any], Any]:
            end = time.monotonic() + self.state.limits.request_s
            return window(session, source, read_state(session, body), start, stop, end)

        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._turn(session))
            head, audio = await self._run(render, session=session, in_turn=True)
            # the turn ends when the answer is sent: what nobody takes is held at most so often
            return Sound(head, audio, stack.pop_all().aclose)

    async def render(self, request: Any) -> Any:
        """The sound of the page's settings over the whole recording."""
        session = await self._session(request)
        body = await self._body(request, session)

        from retone.studio.preview import whole
        from retone.studio.state import read_state

        source = session.need_input()
        with session.guard:
            session.newest_render += 1
            turn = session.newest_render

        path = session.new_file(".f32")

        def work() -> tuple[dict[str, Any], Any]:
            return whole(session, source, read_state(session, body), turn, path)

        async def end() -> None:
            session.remove(path)

        try:
            async with session.rendering:
                head, audio = await self._run(work, session=session)
        except BaseException:
            await end()
            raise
        return Sound(head, audio, end)

    async def settings(self, request: Any) -> Any:
        """Load a settings file into the page."""
        session = await self._session(request)

        from retone.studio import work

        most = self.state.limits.text_bytes
        text = (await self._text(request, most)).decode("utf-8", "replace")
        return json_answer(await self._run(work.load_settings, session, text, session=session))

    async def preset(self, request: Any) -> Any:
        """Make a preset of the session's references."""
        session = await self._session(request)
        body = await self._body(request, session)

        from retone.studio import work

        return json_answer(await self._run(work.own_preset, session, body, session=session))

    async def export(self, request: Any) -> Any:
        """The page's settings as a settings file or for another program."""
        session = await self._session(request)
        body = await self._body(request, session)

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
                return {
                    "name": f"{stem}.retone.json",
                    "text": settings.to_json(),
                    "notes": [],
                }
            target = target_named(name)
            done = target.write(plan_of(settings))
            file = stem + target.suffix
            return {
                "name": file, "text": done.text, "notes": list(done.notes),
                "usage": target.usage.format(file=shell_word(file)),
            }  # fmt: skip

        return json_answer(await self._run(export, session=session))

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


def _event(event: Event) -> str:
    """An event of the stream with its number, which a browser that comes back repeats."""
    return f"id: {event[0]}\ndata: {json.dumps(event[1])}\n\n"


def _turn(text: str) -> int:
    """The number that a page gives an upload; 0 if it gives none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def _replaced(recording: Any) -> Refused:
    return Refused(409, f"{recording.name} was replaced meanwhile.")


async def _unless_gone(
    request: Any, reading: Any, stop: threading.Event, session: Session
) -> Recording:
    """What a thread reads of an upload; stopped where the client does not wait for it."""
    while True:
        done, _ = await asyncio.wait([reading], timeout=LOOK_S)
        if await request.is_disconnected():
            stop.set()
        if done:
            break
    recording: Recording = reading.result()
    if stop.is_set():
        session.remove(recording.path)
        session.remove(recording.preview)
        raise Refused(499, "The upload was cancelled.")
    return recording
