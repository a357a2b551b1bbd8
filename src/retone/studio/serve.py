"""Run the server: find a port, open the browser, clean up at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from retone.errors import MissingExtraError, SettingError
from retone.studio.access import SHORTEST_TOKEN, Access
from retone.studio.guard import is_loopback
from retone.studio.limits import Limits

if TYPE_CHECKING:
    import uvicorn

    from retone.studio.server import Studio

FIRST_PORT = 8765
TRIED_PORTS = 20
BACKLOG = 1024
"""Connections that wait to be taken; one too many is asked for again only a second later."""
LEAST_HANDLES = 64


def serve(
    *,
    host: str,
    port: int | None,
    token: str | None,
    browser: bool,
    limits: Limits,
    token_file: Path | None = None,
    names: Sequence[str] = (),
    log: bool = False,
) -> None:
    """Run the studio until SIGINT, SIGTERM or SIGHUP ends it, which is how a server ends.

    Args:
        host: address to listen on.
        port: port, 0 for any free one, None for the first free one from 8765 on.
        token: secret that requests must carry; required unless ``host`` is this machine only.
        browser: open the page in a browser.
        limits: the server's bounds.
        token_file: a file of tokens (``retone.studio.access``), instead of ``token`` or with it.
        names: the host names under which the server is reached; empty for any.
        log: write a line to standard error for every answer.

    Raises:
        SettingError: the host needs a token, the token is too short, or the port is taken.
        DataError: the file of tokens cannot be read.
        MissingExtraError: the server's packages are not installed.
    """
    if not is_loopback(host) and token is None and token_file is None:
        raise SettingError(
            f"host {host} lets other machines connect, so a token is required ({SHORTEST_TOKEN} or "
            "more letters and digits). The page then opens with http://HOST:PORT/?token=TOKEN."
        )
    access = Access(token, token_file)
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("retone studio", "uvicorn", "studio") from error
    from retone.studio.server import Studio

    limits = _with_handles(limits)
    listener = _listen(host, port)
    try:
        studio = Studio(access=access, limits=limits, hosts=names, log=_log if log else None)
        try:
            number = listener.getsockname()[1]
            shown = f"[{host}]" if ":" in host else "127.0.0.1" if is_loopback(host) else host
            address = f"http://{shown}:{number}/" + (f"?token={token}" if token else "")
            server = uvicorn.Server(config_of(studio))
            logging.getLogger("uvicorn.error").addFilter(_said_of_the_end)
            with _ended_by_signals(server, studio):
                print(f"retone studio: {address}  (Ctrl-C ends it)", flush=True)
                if browser:
                    threading.Timer(0.3, webbrowser.open, (address,)).start()
                server.run(sockets=[listener])
        finally:
            listener.close()  # first: removing files needs a handle
            studio.close()
    finally:
        listener.close()


@contextlib.contextmanager
def _ended_by_signals(server: uvicorn.Server, studio: Studio) -> Iterator[None]:
    """The signals that end programs ask the server to end; a second SIGINT does not wait.

    uvicorn's own handlers are not there before its loop runs, do not know SIGHUP, and raise the
    signal again after the end, so that a server that ended well looks like one that was killed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    def end(number: int, frame: FrameType | None) -> None:
        studio.state.ending = True
        server.handle_exit(number, frame)

    wanted = [s for n in ("SIGINT", "SIGTERM", "SIGHUP") if (s := getattr(signal, n, None))]
    before = {
        which: signal.signal(which, end)
        for which in wanted
        if signal.getsignal(which) != signal.SIG_IGN  # as for a program in the background
    }
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _said_of_the_end(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's log says more than that requests ended with the server."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, asyncio.CancelledError) or "graceful shutdown" in record.msg)


def config_of(studio: Studio) -> uvicorn.Config:
    """How uvicorn runs a studio: with the limits on connections, without a log of addresses."""
    import uvicorn

    from retone.studio.connections import bounded

    limits = studio.state.limits
    return uvicorn.Config(
        studio.app, log_level="error", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=2, http=bounded(limits), ws="none", proxy_headers=True,
        h11_max_incomplete_event_size=limits.header_bytes, backlog=BACKLOG,
    )  # fmt: skip


def _log(line: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), line, file=sys.stderr, flush=True)


def _with_handles(limits: Limits) -> Limits:
    """Allow this process as many open files as the limits need, or reduce the connections.

    Raises:
        SettingError: the system allows far too few.
    """
    try:
        import resource
    except ImportError:
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = 4 * limits.sessions + 64
    wanted = limits.connections + others
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft < LEAST_HANDLES:
        raise SettingError(
            f"this system allows retone {soft} open files, the studio needs {LEAST_HANDLES}. Allow "
            "more with 'ulimit -n'."
        )
    return replace(limits, connections=min(limits.connections, max(16, soft - others)))


def _listen(host: str, port: int | None) -> socket.socket:
    wanted = range(FIRST_PORT, FIRST_PORT + TRIED_PORTS) if port is None else [port]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reason = ""
    for number in wanted:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            reason = error.strerror or str(error)
            listener.close()
    raise SettingError(f"cannot listen on {host}, port {wanted[0]}: {reason}. Try another port.")
