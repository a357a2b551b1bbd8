"""Access control and security headers, as one wrapper around the whole server."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from retone.errors import one_line
from retone.studio.access import Access

LOG = logging.getLogger("retone.studio")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "retone_token"
WRONG_TOKEN_S = 0.5
MOST_WAITING = 8
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
)


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"https?://(.+)")
MOST_COOKIE = 4096


class Guard:
    """Checks host, origin and token; adds the headers; writes the access log.

    Without a token, only requests to this machine's own names are answered, so no web site can
    reach the server through a host name of its own (DNS rebinding). With a token, the link
    ``/?token=...`` sets a cookie that stands for it. Requests that change something must come from
    the page (Origin). What is done here takes time in proportion to the header, which is bounded.

    Args:
        app: what answers.
        access: the server's tokens.
        hosts: the names under which the server is reached, with a token; empty for any name.
        log: called with one line for every answer; it holds no token, cookie or session key.
        header_bytes: largest header of a request.
    """

    def __init__(
        self,
        app: App,
        access: Access,
        hosts: Sequence[str] = (),
        log: Callable[[str], None] | None = None,
        header_bytes: int = 16 << 10,
    ) -> None:
        self.app, self.access, self.log = app, access, log
        self.header_bytes = header_bytes
        self._waiting = 0
        self.hosts = tuple(h.lower().strip("[]") for h in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), [0]

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                given = {k.lower() for k, _ in message["headers"]}
                extra = [(k, v) for k, v in HEADERS if k not in given]
                if b"cache-control" not in given:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._answer(scope, receive, guarded)
        except Exception:  # a bug: the client gets an answer, the server goes on
            LOG.exception("%s %s failed", scope["method"], shown_path(scope["path"]))
            if not status[0]:
                await _say(guarded, 500, [], "Something went wrong on the server.\n")
        finally:
            if self.log is not None:
                client = shown_address((scope.get("client") or ("",))[0])
                took_ms = 1000 * (time.monotonic() - began)
                who = scope.get("retone.who") or "-"
                path = shown_path(scope["path"])
                self.log(f"{client} {who} {scope['method']} {path} {status[0]} {took_ms:.0f} ms")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = len(scope["raw_path"]) + len(scope["query_string"])
        if size + sum(len(k) + len(v) for k, v in scope["headers"]) > self.header_bytes:
            await _say(send, 431, [], "The request's header is too large.\n")
            return
        if not scope["query_string"].isascii():  # a browser writes all else as %XX
            await _say(send, 400, [], "The request's address is not an address.\n")
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = await self._refusal(scope, headers)
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await _say(send, *refusal)

    async def _refusal(
        self, scope: Scope, headers: dict[str, str]
    ) -> tuple[int, list[tuple[bytes, bytes]], str] | None:
        host = headers.get("host", "")
        name = host_name(host)
        if self.access.open:
            if name is None or not is_loopback(name):
                return 403, [], "This server answers requests from this machine only.\n"
        elif name is None or (self.hosts and name not in self.hosts):
            return 403, [], "This server is not reached under that name.\n"
        origin = headers.get("origin")
        changes = scope["method"] not in ("GET", "HEAD")
        if changes and origin is not None:
            match = _ORIGIN.fullmatch(origin)
            if match is None or match[1] != host:
                return 403, [], "Requests from other pages are refused.\n"
        if headers.get("sec-fetch-site") == "cross-site" and scope["path"].startswith("/api/"):
            return 403, [], "Requests from other pages are refused.\n"
        if self.access.open:
            scope["retone.known"] = True
            return None
        return await self._token_refusal(scope, headers)

    async def _wait(self) -> None:
        """Let who tries tokens wait; but not so many at once that they fill the connections."""
        if self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(WRONG_TOKEN_S)
            finally:
                self._waiting -= 1

    async def _token_refusal(
        self, scope: Scope, headers: dict[str, str]
    ) -> tuple[int, list[tuple[bytes, bytes]], str] | None:
        query = scope["query_string"].decode("latin-1")
        try:
            given = parse_qs(query, max_num_fields=64).get("token", [""])[0]
        except ValueError:
            return 400, [], "The request's address is not one that the page sends.\n"
        if given and scope["path"] == "/":
            who = self.access.owner(given)
            if who is None:
                await self._wait()
                return 401, [], "The token is wrong.\n"
            # whoever claims it to be https, a proxy or not, gets a cookie for https alone
            claimed = "https" in headers.get("x-forwarded-proto", "")
            secure = "; Secure" if claimed or scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={self.access.cookie_for(who)}; HttpOnly; SameSite=Strict; Path=/"
            more = [(b"location", b"/"), (b"set-cookie", (cookie + secure).encode("latin-1"))]
            return 303, more, ""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        cookie_value = cookie_of(headers.get("cookie", ""))
        who = self.access.owner(bearer) if bearer else None
        who = who or (self.access.cookie_owner(cookie_value) if cookie_value else None)
        if who is not None:
            scope["retone.who"], scope["retone.holder"] = who.name, who.key
            scope["retone.known"] = True
            return None
        if bearer or cookie_value:
            await self._wait()
        return (
            401,
            [],
            "This server needs a token: open the link that it printed, with ?token=....\n",
        )


async def _say(send: Send, status: int, more: list[tuple[bytes, bytes]], text: str) -> None:
    body = text.encode()
    kind = (b"content-type", b"text/plain; charset=utf-8")
    size = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [kind, size, *more]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case and without brackets; None if it is not one."""
    found = _HOST.fullmatch(host)
    return found[1].lower().strip("[]") if found else None


def cookie_of(header: str) -> str:
    """The value of this server's cookie; empty if there is none.

    Read by hand, in one pass: ``http.cookies`` takes quadratic time for some headers.
    """
    if len(header) > MOST_COOKIE:
        return ""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""


def shown_address(text: str) -> str:
    """A client's address for the log; a proxy passes on what the client claims."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return "-"


def shown_path(path: str) -> str:
    """A request's path for the log: without the session's key, on one line, shortened."""
    parts = path.split("/")
    if parts[1:2] == ["api"] and len(parts) > 3:
        parts[3] = "*"
    return one_line("/".join(parts)).replace(" ", "_")[:120]
