"""A recording while it is read: the page sees and plays what is there of a long one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any

from retone.studio.limits import Refused
from retone.studio.session import Recording, Session

POLL_S = 0.5


class Follower:
    """Tells a page how far its upload was read, and ends the reading when nobody waits for it.

    Args:
        session: the page's session.
        role: ``"input"`` or ``"reference"``.
        number: of this choice; a newer one of the same page ends it.
    """

    def __init__(self, session: Session, role: str, number: int) -> None:
        self.session, self.role, self.number = session, role, number
        self.gone = threading.Event()

    def __call__(self, recording: Recording) -> None:
        """Report a recording of which a part was read; called in the reading thread.

        Raises:
            Refused: the page is gone or has chosen another recording.
        """
        session = self.session
        if self.gone.is_set() or session.ended:
            raise Refused(499, "The upload was cancelled.")
        if self.role != "input":
            return
        if self.number < session.newest_input:
            raise Refused(409, f"{recording.name} was replaced by a newer choice.")
        session.arriving = recording
        ready_s = recording.ready / recording.sample_rate
        told = {"type": "reading", "turn": self.number, "ready_s": ready_s}
        session.say(told | described(recording))

    async def watch(self, request: Any, reading: Awaitable[Recording]) -> Recording:
        """The recording, once it is read.

        Raises:
            Refused: the client has left meanwhile.
        """
        task = asyncio.ensure_future(reading)
        try:
            while not (await asyncio.wait({task}, timeout=POLL_S))[0]:
                if await request.is_disconnected():
                    self.gone.set()
            found = await task
        except BaseException:
            self.session.arriving = None
            raise
        if await request.is_disconnected():
            self.session.remove(found.path)
            self.session.remove(found.preview)
            raise Refused(499, "The upload was cancelled.")
        return found


def described(recording: Recording) -> dict[str, Any]:
    """A recording as the page shows it."""
    return {
        "name": recording.name,
        "about": recording.about,
        "rate": recording.sample_rate,
        "channels": min(recording.channels, 2),
        "frames": recording.frames,
        "long": recording.long,
        "seconds": recording.frames / recording.sample_rate,
        "levels": recording.levels,
        "wave": recording.wave,
    }
