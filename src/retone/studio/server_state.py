"""State of a running server: sessions, job queue, scratch folder and worker threads."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from retone.studio.access import Access
from retone.studio.jobs import JobQueue
from retone.studio.limits import Limits
from retone.studio.scratch import ScratchFolder
from retone.studio.session import Sessions

POLL_S = 1.0
LOST_S = 3.0
"""A page that has been disconnected for this long has its jobs stopped."""


class ServerState:
    """State shared by all requests.

    Args:
        limits: the server's bounds.
        parent: folder for the scratch folder (default: the system's temporary folder).
        access: the server's tokens (default: none).

    Attributes:
        pool: threads for the work of single requests.
        warm_up: completes when all heavy modules are imported.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        parent: Path | None = None,
        access: Access | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.access = access or Access()
        self.scratch = ScratchFolder(parent, self.limits.disk_bytes)
        self.sessions = Sessions(self.scratch, self.limits)
        self.queue = JobQueue(self.limits)
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="retone-studio")
        self.warm_up = self.pool.submit(_warm_up)

    async def watch(self) -> None:
        """Stop the jobs of closed pages and end their sessions, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            now = time.monotonic()
            for session in self.sessions.all():
                if not self.access.valid(session.who):  # its token was revoked
                    self.queue.cancel(session.key)
                    session.ended = True
                    if not self.queue.busy(session.key):
                        self.sessions.end(session)
                    continue
                gone_s = 0.0 if session.listeners else now - session.left_at
                if gone_s > min(LOST_S, self.limits.grace_s):
                    if session.seen or gone_s > self.limits.grace_s:
                        self.queue.cancel(session.key)
                if gone_s > self.limits.grace_s and not self.queue.busy(session.key):
                    self.sessions.end(session)

    def close(self) -> None:
        """Stop all work and remove all files."""
        for session in self.sessions.all():
            session.ended = True
        self.queue.close()
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
