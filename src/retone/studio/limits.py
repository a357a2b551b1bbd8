"""Limits of one server: every upload, job and session is bounded."""

from __future__ import annotations

from dataclasses import dataclass

from retone.errors import RetoneError


@dataclass(frozen=True)
class Limits:
    """Bounds; the page shows those that concern the user.

    Args:
        upload_bytes: largest upload.
        upload_s: longest time for one upload.
        minutes: longest recording; longer ones are for the command line.
        channels: most channels of a recording.
        references: most reference recordings of a session.
        sessions: most pages open at once.
        jobs: most jobs of one session that wait or run.
        queued: most jobs of all sessions that wait or run.
        workers: number of jobs that run at once.
        disk_bytes: most disk space of all sessions together.
        grace_s: how long a session is kept after its page is gone (reload, short disconnection).
        text_bytes: largest JSON request.
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
    """A refused request: an HTTP status and a one-sentence reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
