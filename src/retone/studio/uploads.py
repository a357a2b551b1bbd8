"""Recordings on their way in: received, read, listed, played back, taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from retone.studio.handlers import Handlers, as_bytes, as_json
from retone.studio.limits import Refused
from retone.studio.session import Session


class Uploads(Handlers):
    """Answers about recordings."""

    async def upload(self, request: Any) -> Any:
        session, role = await self._session(request), request.path_params["role"]

        from starlette.requests import ClientDisconnect

        from retone.studio.intake import take

        if role not in ("input", "reference"):
            raise Refused(404, "There is no such place for a recording.")
        if role == "reference":
            self._one_more(session)
        path = session.new_file(".upload")
        try:
            await asyncio.wait_for(self._receive(request, path), self.studio.limits.upload_s)
            name = request.query_params.get("name", "")
            recording = await self._run(take, path, name, session, self.studio.limits)
        except TimeoutError:
            raise Refused(408, "The upload took too long. Try again.") from None
        except ClientDisconnect:
            raise Refused(499, "The upload broke off.") from None
        except OSError as error:
            if session.ended:
                raise Refused(410, "This page's session has ended.") from None
            what = error.strerror or "disk"
            raise Refused(507, f"The server cannot keep the upload ({what}).") from None
        finally:
            path.unlink(missing_ok=True)
        return as_json(await self._run(self._place_recording, session, role, recording))

    def _one_more(self, session: Session) -> None:
        most = self.studio.limits.references
        if len(session.references) >= most:
            raise Refused(409, f"{most} references are as many as it takes. Remove one first.")

    def _place_recording(self, session: Session, role: str, recording: Any) -> dict[str, Any]:
        from retone.studio import work
        from retone.studio.state import spectra_of

        old = None
        with session.guard:
            if role == "input":
                old, session.input = session.input, recording
            else:
                try:
                    self._one_more(session)
                except Refused:
                    recording.path.unlink()
                    recording.preview.unlink()
                    raise
                session.references.append(recording)
        if old is not None:
            old.path.unlink(missing_ok=True)
            old.preview.unlink(missing_ok=True)
        found = {
            "name": recording.name,
            "about": recording.about,
            "rate": recording.sample_rate,
            "seconds": recording.frames / recording.sample_rate,
            "levels": recording.levels,
            "wave": recording.wave,
            "index": len(session.references) - 1,
        }
        if role == "input":
            found |= {"manual": work.manual(session)}
        found["spectra"] = spectra_of(session)
        return found

    async def _receive(self, request: Any, path: Path) -> None:
        """Bytes to disk, counted; what a header promises is checked first."""
        most = self.studio.limits.upload_bytes
        text = request.headers.get("content-length", "")
        promised = int(text) if text.isdecimal() and len(text) < 19 else 0
        too_large = Refused(413, f"The file is larger than {most / 2**20:.0f} MB, the most here.")
        if promised > most:
            raise too_large
        self.studio.sessions.room(promised)
        total = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                total += len(chunk)
                if total > most:
                    raise too_large
                file.write(chunk)
        if not promised:
            self.studio.sessions.room(0)
        if total == 0:
            raise Refused(422, "The file is empty. Copy or export it again.")

    async def forget(self, request: Any) -> Any:
        """Take one reference back."""
        session, index = await self._session(request), request.path_params["index"]

        from retone.studio.state import spectra_of

        with session.guard:
            if index >= len(session.references):
                raise Refused(404, "There is no such reference.")
            gone = session.references.pop(index)
        gone.path.unlink(missing_ok=True)
        gone.preview.unlink(missing_ok=True)
        return as_json({"spectra": await self._run(spectra_of, session)})

    async def sound(self, request: Any) -> Any:
        """A recording as the page plays it."""
        session, which = await self._session(request), request.path_params["which"]

        from retone.studio.preview import packed

        found = session.need_input() if which == "input" else None
        if found is None:
            if not which.isdecimal() or int(which) >= len(session.references):
                raise Refused(404, "There is no such recording.")
            found = session.references[int(which)]
        head = {"start": 0, "frames": found.frames, "channels": min(found.channels, 2),
                "rate": found.sample_rate}  # fmt: skip
        return as_bytes(await self._run(lambda: packed(head, found.samples())))
