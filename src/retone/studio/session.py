"""One session is one open page: its recordings, its effects, its connections."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retone.studio.limits import Limits, Refused
from retone.studio.scratch import DiskShare, ScratchFolder

if TYPE_CHECKING:
    from retone.presets import Preset
    from retone.process.result import Decision


@dataclass
class Recording:
    """An upload: ``preview`` holds float32 [frames, channels], at most stereo.

    ``ready`` frames of it were read so far. Of a ``long`` one the page gets pieces.
    """

    name: str
    path: Path
    preview: Path
    sample_rate: int
    channels: int
    frames: int
    about: str
    levels: Mapping[str, Any]
    spectrum: Any
    wave: Any
    ready: int = 0
    long: bool = False

    def samples(self) -> np.ndarray:
        """The preview as [C, T], read from disk as it is used."""
        shape = (self.frames, min(self.channels, 2))
        return np.memmap(self.preview, np.float32, "r", shape=shape).T

    def part(self, first: int, frames: int) -> np.ndarray:
        """Some frames of the preview as [C, n], fewer where not as many were read."""
        width = min(self.channels, 2)
        count = max(0, min(frames, self.ready - first)) * width
        found = np.fromfile(self.preview, np.float32, count, offset=4 * width * first)
        return found.reshape(-1, width).T


@dataclass
class Session:
    """State behind one page. ``guard`` protects it; renders take turns on ``rendering``."""

    key: str
    folder: Path
    loop: asyncio.AbstractEventLoop | None = None
    input: Recording | None = None
    arriving: Recording | None = None
    references: list[Recording] = field(default_factory=list)
    effects: dict[int, Decision] = field(default_factory=dict)
    presets: dict[str, Preset] = field(default_factory=dict)
    downloads: dict[str, tuple[Path, str, str]] = field(default_factory=dict)
    listeners: list[asyncio.Queue[dict[str, Any]]] = field(default_factory=list)
    left_at: float = field(default_factory=time.monotonic)
    seen: bool = False
    newest_render: int = 0
    ended: bool = False
    who: str = ""
    share: DiskShare | None = None
    turns: asyncio.Semaphore | None = None
    waiting: int = 0
    leaving: bool = False
    newest_input: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)
    rendering: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0

    def say(self, event: dict[str, Any]) -> None:
        """Tell every open connection of this page; may be called from any thread."""
        if self.loop is None or self.loop.is_closed():
            return
        for queue in list(self.listeners):
            self.loop.call_soon_threadsafe(_put, queue, event)

    def new_file(self, suffix: str) -> Path:
        """A new path in this session's folder, with a random name."""
        return self.folder / f"file-{secrets.token_hex(6)}{suffix}"

    def claim(self, path: Path, size: int) -> None:
        """Claim space for a file of this session.

        Raises:
            Refused: the server has not that much left.
        """
        if self.share is not None:
            self.share.claim(path, size)

    def settle(self, path: Path) -> None:
        """A file of this session is complete, or gone."""
        if self.share is not None:
            self.share.settle(path)

    def remove(self, path: Path) -> None:
        """Remove a file of this session and what it claimed."""
        path.unlink(missing_ok=True)
        self.settle(path)

    def remember(self, decision: Decision, *, keep: int = 24) -> int:
        """Store a decision and return its number for the page; the oldest are dropped."""
        with self.guard:
            self._count += 1
            self.effects[self._count] = decision
            while len(self.effects) > keep:
                del self.effects[min(self.effects)]
            return self._count

    def decision(self, number: object) -> Decision:
        """The decision of that number.

        Raises:
            Refused: it was forgotten, or never was.
        """
        with self.guard:
            found = self.effects.get(number) if isinstance(number, int) else None
        if found is None:
            raise Refused(409, "These settings are no longer known here. Match again or load them.")
        return found

    def need_input(self) -> Recording:
        """The recording to change.

        Raises:
            Refused: there is none yet.
        """
        if self.input is None:
            raise Refused(409, "Choose a recording first.")
        return self.input


def _put(queue: asyncio.Queue[dict[str, Any]], event: dict[str, Any]) -> None:
    """Add an event; where a page does not read them, the oldest is lost."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)


class Sessions:
    """All open pages of a server."""

    def __init__(self, place: ScratchFolder, limits: Limits) -> None:
        self.place, self.limits = place, limits
        self._all: dict[str, Session] = {}
        self._guard = threading.Lock()

    def start(self, loop: asyncio.AbstractEventLoop | None, who: str = "") -> Session:
        """A new session with a key nobody can guess; ``who`` names the token that opened it.

        Raises:
            Refused: there are as many as the server takes.
        """
        with self._guard:
            if len(self._all) >= self.limits.sessions:
                raise Refused(503, "The server has as many open pages as it takes. Close one.")
            key = secrets.token_urlsafe(18)
            folder = self.place.folder / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            session = Session(key, folder, loop, who=who, share=self.place.share)
            self._all[key] = session
        return session

    def get(self, key: str) -> Session:
        """The session of that key.

        Raises:
            Refused: there is none.
        """
        with self._guard:
            found = self._all.get(key)
        if found is None:
            raise Refused(410, "This page's session has ended. Reload the page to start again.")
        return found

    def all(self) -> list[Session]:
        """Every session."""
        with self._guard:
            return list(self._all.values())

    def end(self, session: Session) -> None:
        """End a session and remove its files."""
        with self._guard:
            self._all.pop(session.key, None)
        session.ended = True
        shutil.rmtree(session.folder, ignore_errors=True)
        self.place.share.forget(session.folder)
