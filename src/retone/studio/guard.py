"""Access control and security headers, as one wrapper around the whole server."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "retone_token"
WRONG_TOKEN_S = 0.5
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


class Guard:
    """Checks host, origin and token; adds the headers.

    Without a token, only requests to this machine's own names are answered, so no web site can
    reach the server through a host name of its own (DNS rebinding). With a token, the link
    ``/?token=...`` sets a cookie. Requests that change something must come from the page (Origin).
    """

    def __init__(self, app: App, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = await self._refusal(scope, headers)

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {k.lower() for k, _ in message["headers"]}
                extra = [(k, v) for k, v in HEADERS if k not in given]
                if b"cache-control" not in given:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        if refusal is None:
            await self.app(scope, receive, guarded)
            return
        status, more, text = refusal
        body = text.encode()
        kind = (b"content-type", b"text/plain; charset=utf-8")
        size = (b"content-length", str(len(body)).encode())
        start = {"type": "http.response.start", "status": status, "headers": [kind, size, *more]}
        await guarded(start)
        await guarded({"type": "http.response.body", "body": body})

    async def _refusal(
        self, scope: Scope, headers: dict[str, str]
    ) -> tuple[int, list[tuple[bytes, bytes]], str] | None:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self.token is None and not is_loopback(name):
            return 403, [], "This server answers requests from this machine only.\n"
        origin = headers.get("origin")
        changes = scope["method"] not in ("GET", "HEAD")
        if changes and origin is not None and urlsplit(origin).netloc != host:
            return 403, [], "Requests from other pages are refused.\n"
        if self.token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if given and scope["path"] == "/":
            if self._right(given):
                cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                more = [(b"location", b"/"), (b"set-cookie", cookie.encode("latin-1"))]
                return 303, more, ""
            await asyncio.sleep(WRONG_TOKEN_S)
            return 401, [], "The token is wrong.\n"
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._right(bearer) or self._right(_cookie(headers.get("cookie", ""))):
            return None
        return (
            401,
            [],
            "This server needs a token: open the link that it printed, with ?token=....\n",
        )

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self.token or "").encode())


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
