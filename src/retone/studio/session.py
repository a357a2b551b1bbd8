"""One session is one open page: its recordings, its effects, its connections."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retone.studio.limits import Limits, Refused
from retone.studio.scratch import DiskShare, ScratchFolder

if TYPE_CHECKING:
    from retone.presets import Preset
    from retone.process.result import Decision


KEPT = 64
"""Decisions that a page can go back to."""
KEPT_BYTES = 24 << 20
Event = tuple[int, dict[str, Any]]
"""An event with its number in the session."""


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
    listeners: list[asyncio.Queue[Event]] = field(default_factory=list)
    left_at: float = field(default_factory=time.monotonic)
    seen: bool = False
    holder: str = ""
    receiving: set[Path] = field(default_factory=set)
    ends: deque[tuple[int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=16))
    newest_render: int = 0
    ended: bool = False
    who: str = ""
    share: DiskShare | None = None
    turns: asyncio.Semaphore | None = None
    waiting: int = 0
    leaving: bool = False
    newest_input: int = 0
    taken: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    abandoned: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    guard: threading.Lock = field(default_factory=threading.Lock)
    rendering: asyncio.Lock = field(default_factory=asyncio.Lock)
    _count: int = 0
    _events: int = 0
    _sizes: dict[int, int] = field(default_factory=dict)

    def say(self, event: dict[str, Any]) -> None:
        """Tell every open connection of this page; may be called from any thread.

        The ends of jobs are kept, for a connection that comes back.
        """
        with self.guard:
            self._events += 1
            numbered = self._events, event
            if event.get("state") in ("done", "failed", "cancelled"):
                self.ends.append(numbered)
        if self.loop is None or self.loop.is_closed():
            return
        for queue in list(self.listeners):
            self.loop.call_soon_threadsafe(_put, queue, numbered)

    def missed(self, after: int) -> list[Event]:
        """The ends of jobs after the event of that number."""
        with self.guard:
            return [e for e in self.ends if e[0] > after]

    def new_file(self, suffix: str) -> Path:
        """A new path in this session's folder, with a random name."""
        return self.folder / f"file-{secrets.token_hex(6)}{suffix}"

    def claim(self, path: Path, size: int) -> None:
        """Claim space for a file of this session.

        Raises:
            Refused: the server has not that much left, or the session has ended.
        """
        if self.ended:
            raise Refused(410, "This page's session has ended.")
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

    def remember(self, decision: Decision, *, keep: int = KEPT) -> int:
        """Store a decision and return its number for the page.

        Those used longest ago are dropped, so that ``keep`` and ``KEPT_BYTES`` are not exceeded.
        """
        decision = replace(decision, references=())
        size = bytes_of(decision.effect)
        with self.guard:
            self._count += 1
            self.effects[self._count] = decision
            self._sizes[self._count] = size
            while len(self.effects) > 1 and (
                len(self.effects) > keep or sum(self._sizes.values()) > KEPT_BYTES
            ):
                oldest = next(iter(self.effects))
                del self.effects[oldest], self._sizes[oldest]
            return self._count

    def decision(self, number: object) -> Decision:
        """The decision of that number.

        Raises:
            Refused: it was forgotten, or never was.
        """
        with self.guard:
            found = None
            if isinstance(number, int) and (found := self.effects.pop(number, None)) is not None:
                self.effects[number] = found  # now the one used last
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


def bytes_of(effect: Any) -> int:
    """About the memory of what an effect holds besides its parameters, such as a filter's taps."""
    found, waiting = 0, [effect]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (tuple, list)):
            if item and isinstance(item[0], (int, float)):
                found += 40 * len(item)
            else:
                waiting += item
        elif is_dataclass(item) and not isinstance(item, type):
            waiting += [getattr(item, f.name) for f in fields(item)]
    return found


def _put(queue: asyncio.Queue[Event], event: Event) -> None:
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

    def start(
        self, loop: asyncio.AbstractEventLoop | None, who: str = "", holder: str = "",
        *, shared: bool = False,
    ) -> Session:  # fmt: skip
        """A new session with a key nobody can guess.

        Args:
            loop: where its connections are served.
            who: name of the token that opened it.
            holder: digest of that token.
            shared: others have tokens of their own, so nobody may take all pages.

        Raises:
            Refused: there are as many as the server, or the person, may have.
        """
        with self._guard:
            if len(self._all) >= self.limits.sessions:
                raise Refused(503, "The server has as many open pages as it takes. Close one.")
            own = sum(s.holder == holder for s in self._all.values())
            if shared and own >= self.limits.sessions_each:
                raise Refused(503, f"You have {own} open pages, as many as one may. Close one.")
            key = secrets.token_urlsafe(18)
            folder = self.place.folder / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            session = Session(key, folder, loop, who=who, holder=holder, share=self.place.share)
            self._all[key] = session
        return session

    def get(self, key: str, holder: str = "") -> Session:
        """The session of that key, for who opened it.

        Raises:
            Refused: there is none.
        """
        with self._guard:
            found = self._all.get(key)
        if found is None or found.holder != holder:
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
        self.place.share.forget(session.folder, session.receiving)
