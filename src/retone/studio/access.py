"""Who may use a server that other machines reach: tokens, and cookies that stand for them.

A token is a secret for one person or one group. Tokens may be in a file, one a line, with a name in
front (``anna: 7f3a...``); the file is read again when it changes. Taking a line out ends what that
token opened: its cookies, and its pages within seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from retone.errors import RetoneError, SettingError
from retone.files.fields import read_text

LOG = logging.getLogger("retone.studio")
SHORTEST_TOKEN = 16
MOST_BYTES = 1 << 16
MOST_COOKIES = 32
"""Most cookies of one token: browsers in which it is open."""
BROKEN_S = 30.0
"""How long pages stay open while the file of tokens cannot be read."""
COOKIE_S = 7 * 24 * 3600.0
LOOK_S = 2.0


def check_token(token: str, where: str = "token") -> None:
    """Refuse a token that is short, or that no link or header can carry.

    Raises:
        SettingError: it is.
    """
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isalnum()):
        raise SettingError(
            f"{where}: expected {SHORTEST_TOKEN} or more letters and digits (a-z, 0-9), such as "
            "'openssl rand -hex 16' prints."
        )


@dataclass(frozen=True)
class Holder:
    """Who has a token: a name for the log, and a digest of the token itself.

    Cookies and pages belong to the digest, so another token under the same name opens none of them.
    """

    name: str
    key: str


@dataclass
class _Cookie:
    who: Holder
    until: float


class Access:
    """The tokens of a server.

    Args:
        token: a single token, or None.
        file: a file of tokens, or None.

    Attributes:
        open: there is no token at all: whoever reaches the server may use it.

    Raises:
        SettingError: a token is too short, or the file holds none.
        DataError: the file cannot be read.
    """

    def __init__(self, token: str | None = None, file: Path | None = None) -> None:
        self._file, self._stamp, self._looked = file, (0, 0), 0.0
        self._tokens: dict[str, str] = {}
        self._own = {} if token is None else {"token": token}
        self._cookies: dict[str, _Cookie] = {}
        self._guard = threading.Lock()
        self._broken_since: float | None = None
        for name, value in self._own.items():
            check_token(value, name)
        if file is not None:
            self._tokens = read_tokens(file)
            self._stamp = _stamp(file)
        self._held = {digest(t) for t in (*self._own.values(), *self._tokens.values())}
        self.open = token is None and file is None

    @property
    def several(self) -> bool:
        """Whether people have tokens of their own."""
        return len(self._all()) > 1

    def owner(self, given: str) -> Holder | None:
        """Whose token was given; None if it is none of them."""
        found = None
        for name, token in self._all().items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
                found = Holder(name, digest(token))
        return found

    def valid(self, key: str) -> bool:
        """Whether the token with that digest is still there.

        While the file cannot be read, nobody new gets in; what is open stays so for ``BROKEN_S``.
        """
        self._all()
        if self.open:
            return True
        since = self._broken_since
        return key in self._held and (since is None or time.monotonic() - since < BROKEN_S)

    def cookie_for(self, who: Holder) -> str:
        """A new secret that stands for a token, for a browser to keep; it may replace an older
        one of the same token."""
        made = secrets.token_urlsafe(24)
        with self._guard:
            own = [text for text, c in self._cookies.items() if c.who.key == who.key]
            for text in own[: max(0, len(own) - MOST_COOKIES + 1)]:
                del self._cookies[text]
            self._cookies[made] = _Cookie(who, time.monotonic() + COOKIE_S)
        return made

    def cookie_owner(self, given: str) -> Holder | None:
        """Whose token a cookie stands for; None if it has expired or was revoked."""
        with self._guard:
            found = self._cookies.get(given)
            if found is not None and found.until < time.monotonic():
                del self._cookies[given]
                found = None
        return found.who if found is not None and self.valid(found.who.key) else None

    def _all(self) -> dict[str, str]:
        now = time.monotonic()
        if self._file is not None and now - self._looked > LOOK_S:
            self._looked = now
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._stamp = stamp
                self._read_again(self._file)
        return {**self._own, **self._tokens}

    def _read_again(self, file: Path) -> None:
        try:
            self._tokens = read_tokens(file)
        except RetoneError as error:  # half written, a typing error, or gone
            self._tokens = {}
            self._broken_since = self._broken_since or time.monotonic()
            LOG.warning("nobody new gets in, and open pages end in %.0f s: %s", BROKEN_S, error)
            return
        self._broken_since = None
        self._held = {digest(t) for t in (*self._own.values(), *self._tokens.values())}
        with self._guard:
            gone = [text for text, c in self._cookies.items() if c.who.key not in self._held]
            for text in gone:
                del self._cookies[text]


def digest(token: str) -> str:
    """What stands for a token in memory and, in part, in the log."""
    return hashlib.sha256(token.encode()).hexdigest()


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_tokens(file: Path) -> dict[str, str]:
    """The tokens of a file by their names; lines that begin with ``#`` are comments.

    Raises:
        SettingError: a token is too short, a name appears twice, or there is none.
        DataError: the file cannot be read.
    """
    found: dict[str, str] = {}
    text = read_text(file, "a file of tokens, one a line", most_bytes=MOST_BYTES)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, token = line.rpartition(":")
        name = name.strip() if colon else f"token {digest(token.strip())[:6]}"
        check_token(token.strip(), f"{file}, line {number}")
        if name in found:
            raise SettingError(f"{file}, line {number}: the name '{name}' appears twice.")
        found[name] = token.strip()
    if not found:
        raise SettingError(f"{file} holds no token; expected one a line, as in 'anna: 7f3a...'.")
    return found
