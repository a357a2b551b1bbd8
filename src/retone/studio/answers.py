"""Answers about settings: jobs, curves, sound, exports, downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from retone.export import target_named
from retone.studio.handlers import Handlers, as_bytes, as_json
from retone.studio.limits import Refused


class Answers(Handlers):
    """Answers about settings and their sound."""

    async def job(self, request: Any) -> Any:
        session, kind = await self._session(request), request.path_params["kind"]

        from retone.studio import work
        from retone.studio.state import read_state

        body = await self._body(request)
        session.need_input()
        if kind == "save":
            state = await self._run(read_state, session, body)
            job = self.studio.queue.submit(
                session.key, kind, lambda p: work.write_result(session, state, p), session.say
            )
        elif kind in ("match", "preset", "enhance"):
            job = self.studio.queue.submit(
                session.key, kind, lambda p: work.find(session, kind, body, p), session.say
            )
        else:
            raise Refused(404, "There is no such work.")
        return as_json({"job": job.number})

    async def cancel(self, request: Any) -> Any:
        session = await self._session(request)
        return as_json(
            {"cancelled": self.studio.queue.cancel(session.key, request.path_params["number"])}
        )

    async def describe(self, request: Any) -> Any:
        session, body = await self._session(request), await self._body(request)

        from retone.studio.state import describe, read_state

        rate = session.need_input().sample_rate
        return as_json(await self._run(lambda: describe(read_state(session, body), rate)))

    async def window(self, request: Any) -> Any:
        session, body = await self._session(request), await self._body(request)

        from retone.studio.preview import window
        from retone.studio.state import read_state

        source = session.need_input()
        start, stop = body.get("start_s", 0.0), body.get("stop_s", 0.0)
        if not all(isinstance(v, (int, float)) and 0 <= v < 1e6 for v in (start, stop)):
            raise Refused(400, "The request names no stretch of time.")
        stop = min(stop, start + 30.0)
        return as_bytes(
            await self._run(lambda: window(source, read_state(session, body), start, stop))
        )

    async def render(self, request: Any) -> Any:
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

        return as_bytes(await self._run(work))

    async def settings(self, request: Any) -> Any:
        session = await self._session(request)

        from retone.studio import work

        text = (await self._text(request)).decode("utf-8", "replace")
        return as_json(await self._run(work.load_settings, session, text))

    async def export(self, request: Any) -> Any:
        session, body = await self._session(request), await self._body(request)

        from retone.export.plan import plan_of
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
                "usage": target.usage.format(file=file),
            }  # fmt: skip

        return as_json(await self._run(export))

    async def download(self, request: Any) -> Any:
        session = await self._session(request)

        from starlette.responses import FileResponse

        found = session.downloads.get(request.path_params["name"])
        if found is None:
            raise Refused(404, "That download is no longer here. Make it again.")
        path, name, kind = found
        disposition = f"attachment; filename*=UTF-8''{quote(name)}"
        return FileResponse(path, media_type=kind, headers={"content-disposition": disposition})
