"""State of a running server: sessions, job queue, scratch folder and worker threads."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from retone.studio.access import Access
from retone.studio.jobs import JobQueue
from retone.studio.limits import Limits
from retone.studio.scratch import ScratchFolder
from retone.studio.session import Session, Sessions

LOG = logging.getLogger("retone.studio")
POLL_S = 1.0
LOST_S = 10.0
"""A page that has been disconnected for this long has its jobs stopped; browsers come back in 3."""
THREADS = 16
"""The processor divides itself among them, so that short requests pass long ones."""
READERS = 2
"""Uploads that are read at once."""


class ServerState:
    """State shared by all requests.

    Args:
        limits: the server's bounds.
        parent: folder for the scratch folder (default: the system's temporary folder).
        access: the server's tokens (default: none).

    Attributes:
        pool: threads for the work of single requests.
        readers: threads that read uploads.
        turns: for each of several tokens, the requests that are worked on at once.
        warm_up: completes when all heavy modules are imported.
        ending: the server was asked to end; what waits for events need not wait longer.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        parent: Path | None = None,
        access: Access | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.ending = False
        self.access = access or Access()
        self.scratch = ScratchFolder(parent, self.limits.disk_bytes)
        self.sessions = Sessions(self.scratch, self.limits)
        self.queue = JobQueue(self.limits)
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="retone-studio")
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="retone-reader")
        self.turns: dict[str, asyncio.Semaphore] = {}
        self.warm_up = self.pool.submit(_warm_up)

    async def watch(self) -> None:
        """Stop the jobs of closed pages and end their sessions, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            for session in self.sessions.all():
                try:
                    self._look(session)
                except Exception:  # a bug: the other pages are still looked after
                    LOG.exception("a page could not be looked after")

    def _look(self, session: Session) -> None:
        if not self.access.valid(session.holder):  # its token was revoked
            self.queue.cancel(session.key)
            session.ended = True
            if not self.queue.busy(session.key):
                self.sessions.end(session)
            return
        gone_s = 0.0 if session.listeners else time.monotonic() - session.left_at
        if gone_s > min(LOST_S, self.limits.grace_s):
            if session.seen or gone_s > self.limits.grace_s:
                self.queue.cancel(session.key)
        if gone_s > self.limits.grace_s and not self.queue.busy(session.key):
            self.sessions.end(session)

    def turns_of(self, session: Session) -> asyncio.Semaphore | None:
        """The turns of a page's token; None where all have the same one, or none."""
        if not self.access.several:
            return None
        if session.holder not in self.turns:
            self.turns[session.holder] = asyncio.Semaphore(self.limits.working_each)
        return self.turns[session.holder]

    def close(self) -> None:
        """Stop all work and remove all files."""
        for session in self.sessions.all():
            session.ended = True
        self.queue.close()
        self.readers.shutdown(wait=True, cancel_futures=True)
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.scratch.close()


def _warm_up() -> None:
    """Import everything heavy in one thread while the user picks a file.

    Two threads that import parts of one package at once can see partly initialised modules.
    """
    import numpy as np
    import torch

    from retone.effects import MATCH_CHAIN
    from retone.estimators.choose import estimator_named
    from retone.exports import plan, verify  # noqa: F401
    from retone.process.stream import Renderer
    from retone.report import html  # noqa: F401
    from retone.studio import intake, preview, state, work  # noqa: F401

    setting = MATCH_CHAIN.params.sample(1, torch.Generator().manual_seed(0))
    rate = 8000
    Renderer(MATCH_CHAIN, setting, rate).process_with_curves(np.zeros((1, 4096), np.float32))
    estimator_named(None)
