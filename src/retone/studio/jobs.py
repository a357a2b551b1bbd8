"""Background jobs: queued, with progress, cancelled by the user or when the page closes."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from retone.errors import RetoneError, lacks_memory
from retone.progress import Phase, Progress
from retone.studio.limits import Limits, Refused

PROGRESS_EVERY_S = 0.1
LOG = logging.getLogger("retone.studio")
Publish = Callable[[dict[str, Any]], None]
Work = Callable[[Progress], dict[str, Any]]


class Cancelled(BaseException):
    """Raised in a job's progress call; a BaseException, so no ``except Exception`` stops it."""


@dataclass
class Job:
    """One job; ``state`` is queued, running, done, failed or cancelled."""

    number: int
    kind: str
    owner: str
    publish: Publish
    holder: str | None = None
    state: str = "queued"
    stop: threading.Event = field(default_factory=threading.Event)
    future: Future[None] | None = None

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")

    def notify(self, **more: Any) -> None:
        self.publish(
            {"type": "job", "job": self.number, "kind": self.kind, "state": self.state, **more}
        )


class JobQueue:
    """Runs jobs in order, a few at a time, and refuses more than the limits allow."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="retone-job")
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._guard = threading.Lock()

    def submit(
        self, owner: str, kind: str, work: Work, publish: Publish, *, holder: str | None = None
    ) -> Job:
        """Queue a job.

        Args:
            owner: key of the session, for limits and cancelling.
            kind: the job's kind, for the page.
            work: takes a progress callable, which raises once the job is cancelled; returns the
                result that the page gets.
            publish: called with every change of state, from another thread.
            holder: the person, where the limit of one person among several applies.

        Raises:
            Refused: the session or the server already has as many jobs as it may.
        """
        with self._guard:
            waiting = [j for j in self._jobs.values() if j.open]
            if sum(j.owner == owner for j in waiting) >= self.limits.jobs:
                raise Refused(429, "Too many jobs of this page wait. Wait for one or cancel it.")
            if len(waiting) >= self.limits.queued:
                raise Refused(503, "The server has too many jobs waiting. Try again in a minute.")
            own = sum(j.holder == holder for j in waiting)
            if holder is not None and own >= self.limits.jobs_each:
                raise Refused(429, "Too many of your jobs wait. Wait for one or cancel it.")
            job = Job(next(self._numbers), kind, owner, publish, holder)
            self._jobs[job.number] = job
            job.notify(before=len(waiting))
            job.future = self._pool.submit(self._run, job, work)
        return job

    def _run(self, job: Job, work: Work) -> None:
        if job.stop.is_set():
            self._end(job, "cancelled")
            return
        job.state = "running"
        job.notify(done=0.0, total=1.0)
        last = [time.monotonic()]
        end = last[0] + self.limits.job_s

        def progress(phase: Phase, done: float, total: float, /) -> None:
            if job.stop.is_set():
                raise Cancelled
            now = time.monotonic()
            if now > end:
                raise Refused(
                    503, f"This took longer than {self.limits.job_s / 60:.0f} minutes. Use a "
                    "shorter recording, or the command line.",
                )  # fmt: skip
            if now - last[0] >= PROGRESS_EVERY_S:
                last[0] = now
                job.notify(phase=phase.name, unit=phase.unit, done=done, total=total)

        try:
            result = work(progress)
            if job.stop.is_set():
                raise Cancelled
        except Cancelled:
            self._end(job, "cancelled")
        except RetoneError as error:
            self._end(job, "failed", message=str(error))
        except Exception as error:
            if lacks_memory(error):
                message = "The recording is too large for this machine."
            else:  # a bug: the page shows it, the server goes on
                LOG.exception("the job '%s' failed", job.kind)
                message = f"Something went wrong ({type(error).__name__})."
            self._end(job, "failed", message=message)
        else:
            self._end(job, "done", result=result)

    def _end(self, job: Job, state: str, **more: Any) -> None:
        job.state = state
        with self._guard:
            self._jobs.pop(job.number, None)
        job.notify(**more)

    def cancel(self, owner: str, number: int | None = None) -> int:
        """Stop one job of a session, or all of them; returns how many were open."""
        with self._guard:
            mine = [
                j for j in self._jobs.values()
                if j.owner == owner and j.open and number in (None, j.number)
            ]  # fmt: skip
        for job in mine:
            job.stop.set()
            if job.future is not None and job.future.cancel():
                self._end(job, "cancelled")
        return len(mine)

    def busy(self, owner: str) -> bool:
        """Whether a session has a job that waits or runs."""
        with self._guard:
            return any(j.owner == owner and j.open for j in self._jobs.values())

    @property
    def open_jobs(self) -> int:
        """Number of jobs that wait or run."""
        with self._guard:
            return sum(j.open for j in self._jobs.values())

    def close(self) -> None:
        """Stop everything; running jobs end at their next step."""
        with self._guard:
            for job in self._jobs.values():
                job.stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
