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
        full_length_hz: highest sample rate at which a recording may be ``minutes`` long; at a
            higher one it may be shorter in proportion.
        long_s: a recording longer than this is played in pieces and measured on passages.
        channels: most channels of a recording.
        references: most reference recordings of a session.
        sessions: most pages open at once.
        jobs: most jobs of one session that wait or run.
        queued: most jobs of all sessions that wait or run.
        workers: number of jobs that run at once.
        disk_bytes: most disk space of all sessions together.
        grace_s: how long a session is kept after its page is gone (reload, short disconnection).
        text_bytes: largest settings file.
        body_bytes: largest other JSON request.
        text_s: longest time for a JSON request to arrive.
        job_s: longest time that a job runs.
        uploads: uploads of one session at once.
        sessions_each, jobs_each: as ``sessions`` and ``queued``, for one token among several.
        working: requests of one session that are worked on at once.
        working_each: requests of one token among several that are worked on at once.
        request_s: longest time that a request is worked on.
        waiting: requests of one session that wait for that.
        streams: connections of one session for events.
        connections: most connections of all clients; the one idle longest makes room.
        header_s: longest time for a request's header.
        header_bytes: largest header of a request.
        write_s: longest time in which a client takes nothing of its answer.
    """

    upload_bytes: int = 1 << 30
    upload_s: float = 300.0
    minutes: float = 200.0
    full_length_hz: int = 96_000
    long_s: float = 600.0
    channels: int = 8
    references: int = 4
    sessions: int = 32
    jobs: int = 4
    queued: int = 64
    workers: int = 1
    disk_bytes: int = 16 << 30
    grace_s: float = 15.0
    text_bytes: int = 4 << 20
    body_bytes: int = 512 << 10
    text_s: float = 20.0
    job_s: float = 1800.0
    uploads: int = 3
    sessions_each: int = 12
    jobs_each: int = 12
    working: int = 2
    working_each: int = 6
    request_s: float = 20.0
    waiting: int = 16
    streams: int = 4
    connections: int = 200
    header_s: float = 10.0
    header_bytes: int = 16 << 10
    write_s: float = 60.0


class Refused(RetoneError):
    """A refused request: an HTTP status and a one-sentence reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
