"""Limits on the pace and size of HTTP answers, and explanations of failed downloads."""

from __future__ import annotations

import http.client
import io
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.node.error_hints import Explanation, find_hint

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager


# Maximum length of a header line or chunk size line in bytes; the same as http.client's limit.
LONGEST_LINE = 1 << 16
# Status line, headers and redirect bodies.
LARGEST_HEAD = 1 << 20
# Window in seconds, and bytes per second within it: a server that sends less is stalled.
WINDOW = 60.0
MIN_RATE = 1024
# Redirects that are followed one after another.
REDIRECTS = 5


# The attribute of an exception that holds the URL of the server that caused it.
SERVER = "bai_wizard_server"


class TooMuch(StateUnknown):
    """A server sends more than the answer may contain."""


class TooSlow(TimeoutError):
    """A server sends below the minimum rate, or the time for the whole answer is up."""


class Pace(Struct):
    """Limits for one request at a time: `whole` is the total time in seconds; `begin` starts the clock."""

    whole: float
    window: float = WINDOW
    least: int = MIN_RATE
    most: int = LARGEST_HEAD
    _ends: float = 0.0
    _window_ends: float = 0.0
    _in_window: int = 0
    _read: int = 0

    def begin(self, limit: int = LARGEST_HEAD) -> None:
        """Start a request; `limit` bytes of its answer are accepted."""
        now = time.monotonic()
        self.most, self._read, self._in_window = limit, 0, 0
        self._ends, self._window_ends = now + self.whole, now + self.window

    def allow(self, more: int) -> None:
        """Accept `more` bytes in addition to those already read."""
        self.most = self._read + more

    def count(self, size: int) -> None:
        """Count received bytes. Raises TooMuch or TooSlow."""
        now = time.monotonic()
        self._read += size
        self._in_window += size
        if self._read > self.most:
            raise TooMuch(f"the server sends more than {self.most} bytes")
        if now > self._ends:
            raise TooSlow(f"the answer was not complete within {self.whole:g} s")
        if now > self._window_ends:
            if self._in_window < self.least * self.window:
                raise TooSlow(f"fewer than {self.least * self.window:g} bytes were received within {self.window:g} s")
            self._window_ends, self._in_window = now + self.window, 0


class _Raw(io.RawIOBase):
    """The socket as a stream that counts every read."""

    def __init__(self, inner: io.RawIOBase, pace: Pace) -> None:
        self._inner, self._pace = inner, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size: int | None = self._inner.readinto(buffer)
        self._pace.count(size or 0)
        return size

    def fileno(self) -> int:
        return self._inner.fileno()

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


class _Lines(io.BufferedReader):
    """A stream with bounded lines: urllib3 reads chunk sizes without a limit of its own."""

    def readline(self, size: int | None = -1, /) -> bytes:
        if size is not None and size >= 0:
            return super().readline(size)
        line = super().readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise TooMuch("the server sends an endless line")
        return line


def paced(manager: PoolManager, pace: Pace) -> None:
    """Apply the pace to every connection that this manager opens."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Response(http.client.HTTPResponse):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            # Nothing has been read yet, so the discarded buffer is empty.
            self.fp = _Lines(_Raw(self.fp.detach(), pace))

    class Plain(HTTPConnection):
        response_class = Response

    class Tls(HTTPSConnection):
        response_class = Response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain  # pyright: ignore[reportAssignmentType]

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls  # pyright: ignore[reportAssignmentType]

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


class Refused(Exception):
    """An answer that is not the requested file. `retry`: another attempt may succeed."""

    def __init__(self, text: str, *, retry: bool) -> None:
        super().__init__(text)
        self.retry = retry


def request(
    manager: PoolManager, method: str, url: str, headers: Mapping[str, str], **options: Any
) -> BaseHTTPResponse:
    """Send a request, follow its redirects, and return the answer, whose body is not read yet.

    The headers are sent to every server, so they must not contain credentials. An answer after REDIRECTS is returned
    even if it is another redirect. Raises Refused for a redirect that is not safe, and urllib3's exceptions, which
    `explain_transport_error` can attribute to the server that was redirected to.
    """
    from urllib3.exceptions import HTTPError

    followed = 0
    while True:
        try:
            response = manager.request(method, url, headers=headers, redirect=False, preload_content=False, **options)
        except HTTPError as error:
            vars(error)[SERVER] = url
            raise
        location = response.get_redirect_location()
        if not location or followed == REDIRECTS:
            return response
        # Not reused: the body of a redirect is never read.
        response.close()
        url = _redirected(url, location)
        followed += 1


def _redirected(url: str, location: str) -> str:
    """The URL that a server redirects to. Raises Refused for any but http and https, and for http after https."""
    try:
        target = urljoin(url, location)
        to = urlsplit(target)
    except ValueError as error:
        raise Refused("the server redirects to an invalid address", retry=False) from error
    if to.scheme not in ("http", "https"):
        raise Refused("the server redirects to an address that is neither http nor https", retry=False)
    if to.scheme == "http" and urlsplit(url).scheme.lower() == "https":
        host = str(to.hostname)[:200]
        raise Refused(f"the server redirects to {host} without TLS, which is not followed", retry=False)
    return target


def refuse_answer(status: int, location: str) -> None:
    """Raise Refused for every status other than 200, with its meaning for the operator."""
    if status == 200:
        return
    hint = find_hint("download", f"HTTP {status}", location=location[:200] or "no address")
    assert hint is not None, "an entry matches every status"
    raise Refused(hint.text, retry=hint.retry)


def explain_transport_error(error: Exception, url: str, proxy: str) -> Explanation:
    """Explain an error of urllib3 to the operator. `url` is the server, unless the error says which one it was."""
    url = vars(error).get(SERVER, url)
    cause = getattr(error, "original_error", None) or error
    message = type(error.__cause__).__name__ if isinstance(error.__cause__, TooSlow) else str(cause)
    kinds = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, Exception) and kind is not Exception]
    hint = find_hint(
        "download",
        f"{' '.join(kinds)}: {message}",
        host=urlsplit(url).hostname or url,
        proxy=_without_login(proxy),
        detail=_last(str(cause)),
        reason=str(error.__cause__),
    )
    assert hint is not None, "the last entry matches every error"
    return hint


def _last(text: str) -> str:
    """Return the useful part of urllib3's message: the error of the kernel or OpenSSL."""
    return re.sub(r"\[Errno \d+\] ", "", text.rsplit(": ", 1)[-1]).strip(" ()'\"")


def _without_login(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
