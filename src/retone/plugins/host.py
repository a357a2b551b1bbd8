"""Start, watch and restart the process that runs a plug-in."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import PluginError, PluginNotAllowedError, one_line
from retone.plugins.worker import receive, send

Array = np.ndarray
START_LIMIT_S = 60.0
MOST_WORDS = 400
"""Most characters of a plug-in's own error message that are shown."""
LIMIT_PER_AUDIO_S = 5.0
"""Extra time per call, in seconds for each second of audio, on top of the call's limit."""
MOST_GROWN, SPARE_BYTES = 64, 1 << 20
"""Largest answer: so many times the audio that went in, and bytes more. It is refused in the end,
but a plug-in that changes the length gets an error that says so."""
TRIES = 2
MOST_FAILURES = 20
"""Consecutive failures after which ``on_failure="skip"`` raises too."""

_ALLOWED: dict[str, str] = {}
_HOSTS: dict[tuple[int, str], Host] = {}


def allow(source: str) -> str:
    """Permit running a source; without this, settings and weights that name one do not run it.

    Returns:
        The source with an absolute path.
    """
    path, colon, function = source.rpartition(":")
    is_function = bool(colon) and path.endswith(".py")
    file = Path(path if is_function else source)
    if not file.exists():
        raise PluginError(
            f"there is no plug-in at {file}. Expected PATH.vst3, or FILE.py:FUNCTION for a Python "
            "function."
        )
    whole = f"{file.resolve()}:{function}" if is_function else str(file.resolve())
    _ALLOWED[_tail(whole)] = whole
    return whole


def allowed(source: str) -> str | None:
    """The permitted source with the same path or, failing that, the same file name."""
    return _ALLOWED.get(_tail(source))


def _tail(source: str) -> str:
    return source.replace("\\", "/").rpartition("/")[2]


def host_of(source: str) -> Host:
    """The host of a plug-in in this process.

    Raises:
        PluginNotAllowedError: the user has not allowed the plug-in to run.
    """
    place = allowed(source)
    if place is None:
        raise PluginNotAllowedError(
            f"the settings drive the plug-in {source}, which is third-party code and runs only if "
            "allowed. Name its path on this machine to allow it."
        )
    key = (os.getpid(), place)
    if key not in _HOSTS:
        _HOSTS[key] = Host(place)
    return _HOSTS[key]


class Child:
    """A process that runs a plug-in. ``calls`` counts its renders."""

    def __init__(self, source: str) -> None:
        here = Path(__file__).resolve().parents[2]
        paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.source, self.calls, self._late = source, 0, False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "retone.plugins.worker", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C goes to this process only
        )
        header, _ = self._watched(START_LIMIT_S, lambda: receive(self.process.stdout, 0))  # type: ignore[arg-type]
        if "error" in header:
            self.close()
            raise PluginError(_words(header["error"]))

    def ask(
        self, request: Mapping[str, Any], payload: bytes, limit_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer, of which nothing is sure.

        Raises:
            Lost: the process died, or did not answer in time and was killed.
        """

        most_bytes = MOST_GROWN * len(payload) + SPARE_BYTES

        def exchange() -> tuple[dict[str, Any], bytes]:
            assert self.process.stdin is not None and self.process.stdout is not None
            send(self.process.stdin, request, payload)  # type: ignore[arg-type]
            return receive(self.process.stdout, most_bytes)  # type: ignore[arg-type]

        self.calls += 1
        return self._watched(limit_s, exchange)

    def _watched(self, limit_s: float, work: Any) -> tuple[dict[str, Any], bytes]:
        def end() -> None:
            self._late = True
            self.process.kill()

        timer = threading.Timer(limit_s, end)
        timer.daemon = True
        timer.start()
        try:
            return work()  # type: ignore[no-any-return]
        except (EOFError, OSError, ValueError) as error:
            self.process.kill()
            code = self.close()
            if self._late:
                raise Lost(f"did not answer within {limit_s:.0f} s") from None
            if isinstance(error, ValueError):
                raise Lost("sent what is no answer") from None
            raise Lost(_ending(code)) from None
        finally:
            timer.cancel()

    def close(self) -> int:
        """End the process; returns its exit code."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            code = self.process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
        return code


class Lost(Exception):
    """A plug-in's process ended or hung; the message says which."""


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-code).name})"
    return f"ended by itself (exit code {code})"


class Host:
    """Runs a source in a separate process, which is started on demand and restarted after a crash.

    A call that crashes or hangs is retried once in a new process; if that fails too, it raises
    ``PluginError``. An error that the plug-in itself reports is not retried.
    """

    def __init__(self, source: str) -> None:
        self.source, self.name = source, _tail(source)
        self.restarts = 0
        self.failures_in_a_row = 0
        self._problems: list[str] = []
        self._child: Child | None = None
        self._description: dict[str, Any] | None = None
        atexit.register(self.close)

    def describe(self) -> dict[str, Any]:
        """Name, parameters and switches, as ``sources.Processor.describe`` gives them."""
        if self._description is None:
            found = self._retried({"do": "describe"}, b"", START_LIMIT_S)[0]
            if not _is_description(found):
                raise PluginError(f"the plug-in {self.name} describes its parameters wrongly.")
            self._description = found
        return self._description

    def render(
        self,
        audio: Array,
        sample_rate: float,
        settings: Mapping[str, float],
        limit_s: float,
        *,
        child: Child | None = None,
        reset: bool = True,
    ) -> Array:
        """Process audio [C, T] float32.

        Args:
            child: a process to use instead of the host's own; then a failure is not retried.
            reset: clear the plug-in's state first.

        Raises:
            PluginError: the plug-in failed, or its output cannot be used.
            Lost: ``child`` is gone.
        """
        if audio.shape[1] == 0:
            return audio.copy()
        request = {
            "do": "render",
            "shape": list(audio.shape),
            "sample_rate": float(sample_rate),
            "settings": dict(settings),
            "reset": reset,
        }
        limit_s += LIMIT_PER_AUDIO_S * audio.shape[1] / sample_rate
        payload = np.ascontiguousarray(audio, "<f4").tobytes()
        if child is None:
            header, data = self._retried(request, payload, limit_s)
        else:
            header, data = child.ask(request, payload, limit_s)
        return self._checked(header, data, audio.shape)

    def take_child(self) -> Child:
        """Hand the host's process to a stream; the host starts another when it needs one."""
        child, self._child = self._child or Child(self.source), None
        return child

    @property
    def child(self) -> Child | None:
        """The process of the last call, None if there is none now."""
        return self._child

    def note(self, text: str) -> None:
        """Record a failure that was worked around.

        Raises:
            PluginError: there were too many consecutive failures.
        """
        self._problems.append(text)
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= MOST_FAILURES:
            raise PluginError(f"{text} That was the {MOST_FAILURES}th time in a row.")

    def take_problems(self) -> list[str]:
        """The failures recorded since the last call."""
        found, self._problems = self._problems, []
        return found

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _retried(
        self, request: Mapping[str, Any], payload: bytes, limit_s: float
    ) -> tuple[dict[str, Any], bytes]:
        for attempt in range(1, TRIES + 1):
            try:
                if self._child is None:
                    self._child = Child(self.source)
                header, data = self._child.ask(request, payload, limit_s)
            except Lost as e:
                self._child = None
                self.restarts += 1
                if attempt == TRIES:
                    raise PluginError(
                        f"the plug-in {self.name} {e}, and again after a restart{_with(request)}."
                    ) from None
                self._problems.append(f"the plug-in {self.name} {e}; it was restarted.")
            else:
                if "error" in header:
                    raise PluginError(f"the plug-in {self.name} failed: {_words(header['error'])}.")
                return header, data
        raise AssertionError

    def _checked(self, header: dict[str, Any], data: bytes, shape: tuple[int, ...]) -> Array:
        if "error" in header:
            raise PluginError(f"the plug-in {self.name} failed: {_words(header['error'])}.")
        sizes = header.get("shape")
        if not (isinstance(sizes, list) and all(type(n) is int and n >= 0 for n in sizes)):
            raise PluginError(f"the plug-in {self.name} failed: it returned no audio.")
        got = tuple(sizes)
        if got == shape and len(data) != 4 * shape[0] * shape[1]:
            raise PluginError(f"the plug-in {self.name} failed: it returned part of the audio.")
        if got != shape:
            what = "length" if got[:-1] == shape[:-1] else "shape"
            raise PluginError(
                f"the plug-in {self.name} changed the audio's {what}: [channels, samples] went "
                f"in as {list(shape)} and came out as {list(got)}. Effects that change length or "
                "sample rate cannot be driven."
            )
        out = np.frombuffer(data, "<f4").reshape(shape).copy()
        if not np.isfinite(out).all():
            self.close()  # NaN may persist in its state
            raise PluginError(
                f"the plug-in {self.name} returned {np.sum(~np.isfinite(out))} samples that are "
                "NaN or infinite."
            )
        self.failures_in_a_row = 0
        return out


def _is_description(found: Mapping[str, Any]) -> bool:
    """Whether an answer has the form that ``Processor.describe`` gives."""
    rows, switches = found.get("parameters"), found.get("switches")
    if not (isinstance(found.get("name"), str) and isinstance(rows, list)):
        return False
    numbers: list[Any] = list(switches.values()) if isinstance(switches, dict) else [None]
    for row in rows:
        if not (isinstance(row, dict) and isinstance(row.get("name"), str)):
            return False
        if not isinstance(row.get("unit"), str):
            return False
        numbers += [row.get(key) for key in ("low", "high", "default")]
    return all(type(n) in (int, float) and abs(n) < 1e300 for n in numbers)


def _words(text: object) -> str:
    """A plug-in's message on one line, shortened."""
    found = " ".join(one_line(str(text)).split()) or "no reason given"
    return found if len(found) <= MOST_WORDS else f"{found[:MOST_WORDS]} ..."


def _with(request: Mapping[str, Any]) -> str:
    settings = request.get("settings")
    if not settings:
        return ""
    shown = ", ".join(f"{n} {v:.4g}" for n, v in list(settings.items())[:6])
    return f" (settings: {shown}{', ...' if len(settings) > 6 else ''})"
