"""Run the server: find a port, open the browser, clean up at the end."""

from __future__ import annotations

import socket
import threading
import webbrowser

from retone.errors import MissingExtraError, SettingError
from retone.studio.guard import is_loopback
from retone.studio.limits import Limits

FIRST_PORT = 8765
TRIED_PORTS = 20
SHORTEST_TOKEN = 16


def serve(*, host: str, port: int | None, token: str | None, browser: bool, limits: Limits) -> None:
    """Run the studio until it is interrupted.

    Args:
        host: address to listen on.
        port: port, 0 for any free one, None for the first free one from 8765 on.
        token: secret that requests must carry; required unless ``host`` is this machine only.
        browser: open the page in a browser.

    Raises:
        SettingError: the host needs a token, the token is too short, or the port is taken.
        MissingExtraError: the server's packages are not installed.
    """
    if not is_loopback(host) and token is None:
        raise SettingError(
            f"host {host} lets other machines connect, so a token is required ({SHORTEST_TOKEN} or "
            "more letters and digits). The page then opens with http://HOST:PORT/?token=TOKEN."
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isalnum()):
        raise SettingError(
            f"token: expected {SHORTEST_TOKEN} or more letters and digits, such as 'openssl rand "
            "-hex 16' prints."
        )
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("retone studio", "uvicorn", "studio") from error
    from retone.studio.server import Studio

    listener = _listen(host, port)
    number = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if is_loopback(host) else host
    address = f"http://{shown}:{number}/" + (f"?token={token}" if token else "")
    studio = Studio(token=token, limits=limits)
    config = uvicorn.Config(
        studio.app, log_level="error", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    print(f"retone studio: {address}  (Ctrl-C ends it)", flush=True)
    if browser:
        threading.Timer(0.3, webbrowser.open, (address,)).start()
    try:
        server.run(sockets=[listener])
    finally:
        studio.close()
        listener.close()


def _listen(host: str, port: int | None) -> socket.socket:
    wanted = range(FIRST_PORT, FIRST_PORT + TRIED_PORTS) if port is None else [port]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reason = ""
    for number in wanted:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(128)
            return listener
        except OSError as error:
            reason = error.strerror or str(error)
            listener.close()
    raise SettingError(f"cannot listen on {host}, port {wanted[0]}: {reason}. Try another port.")
