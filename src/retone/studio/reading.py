"""A recording while it is read: the page sees and plays what is there of a long one."""

from __future__ import annotations

from typing import Any

from retone.studio.limits import Refused
from retone.studio.session import Recording, Session


class Follower:
    """Tells a page how far its upload was read, and ends the reading of an older choice.

    Args:
        session: the page's session.
        role: ``"input"`` or ``"reference"``.
        number: of this choice; a newer one of the same page ends it.
    """

    def __init__(self, session: Session, role: str, number: int) -> None:
        self.session, self.role, self.number = session, role, number
        self._recording: Recording | None = None

    def __call__(self, recording: Recording) -> None:
        """Report a recording of which a part was read; called in the reading thread.

        Raises:
            Refused: the page has chosen another recording.
        """
        session = self.session
        if self.role != "input":
            return
        if self.number < session.newest_input:
            raise Refused(409, f"{recording.name} was replaced by a newer choice.")
        session.arriving = self._recording = recording
        ready_s = recording.ready / recording.sample_rate
        told = {"type": "reading", "turn": self.number, "ready_s": ready_s}
        session.say(told | described(recording))

    def end(self) -> None:
        """The reading has ended, or the recording was added to the session."""
        if self._recording is not None and self.session.arriving is self._recording:
            self.session.arriving = None


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
