"""How much one server takes: every upload, job and session is bounded."""

from __future__ import annotations

from dataclasses import dataclass

from retone.errors import RetoneError


@dataclass(frozen=True)
class Limits:
    """Bounds; the page shows those a person may meet.

    Args:
        upload_bytes: size of one upload.
        upload_s: time one upload may take.
        minutes: length of one recording; longer ones are for the command line.
        channels: most channels of a recording.
        references: reference recordings of a session.
        sessions: open pages at once.
        jobs: jobs of one session that wait or run.
        queued: jobs of all sessions that wait or run.
        workers: jobs that run at once.
        disk_bytes: what all sessions may hold on disk.
        grace_s: how long a session outlives its page (a reload, a short loss of the connection).
        text_bytes: size of a JSON request.
    """

    upload_bytes: int = 256 << 20
    upload_s: float = 120.0
    minutes: float = 10.0
    channels: int = 8
    references: int = 4
    sessions: int = 32
    jobs: int = 4
    queued: int = 64
    workers: int = 1
    disk_bytes: int = 8 << 30
    grace_s: float = 15.0
    text_bytes: int = 4 << 20


class Refused(RetoneError):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
