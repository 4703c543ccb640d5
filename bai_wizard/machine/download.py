"""Fetches one file so that a cut line costs nothing: resumed where it stopped, its hash taken while it streams.

What is there under the final name is always whole and has the right sha256. Until then it is `NAME.part`, with the
server's mark of the version it belongs to in `NAME.part.mark`; a later attempt goes on from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.machine.download_causes import Refused, cause_of, refuse_answer
from bai_wizard.machine.failures import changing
from bai_wizard.machine.part import CHUNK, Part

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

# Seconds without a single byte after which a connection counts as stalled.
STALL = 20.0
CONNECT = 10.0
# Attempts in a row that bring no new byte before giving up; one that brings some starts the count again.
ATTEMPTS = 4
# Seconds between two progress events, and before another attempt.
PROGRESS = 0.5
PAUSE = 0.5
# What Debian and Ubuntu keep their trusted certificates in; a Python from elsewhere would look in its own place.
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Source:
    """What to fetch: where from, through which proxy (empty: none), and the hash it must have."""

    url: str
    sha256: str
    proxy: str = ""
    stall: float = STALL


def fetch(source: Source, path: str, log: Log = silent, trusted: str = TRUSTED) -> None:
    """Puts the file at `path`. Raises StepFailed with the cause; at most the resumable part is left behind."""
    with changing(path):
        part = Part(path)
        try:
            resumed = part.size > 0
            _bring(source, part, log, trusted)
            if resumed and part.hash.hexdigest() != source.sha256:
                log("what was kept of an earlier attempt belongs to another file; starting again", level="warning")
                part.begin_again()
                _bring(source, part, log, trusted)
            part.finish(source.sha256, source.url)
        finally:
            part.close()


def size_of(url: str, proxy: str = "", trusted: str = TRUSTED) -> int:
    """Bytes of the file behind an address, without fetching it. Raises CannotTell with the reason."""
    if url.startswith("file://"):
        try:
            return os.stat(unquote(url.removeprefix("file://"))).st_size
        except FileNotFoundError as error:
            raise CannotTell("the mirror does not hold this file") from error
        except OSError as error:
            raise CannotTell(f"the mirror cannot be read: {(error.strerror or str(error)).lower()}") from error
    manager = _manager(Source(url, "", proxy), trusted)
    try:
        response = manager.request("HEAD", url, headers={"Accept-Encoding": "identity"}, redirect=5)
        refuse_answer(response.status, response.headers.get("Location", ""))
    except Refused as refusal:
        raise CannotTell(str(refusal)) from refusal
    except _transport_errors() as error:
        raise CannotTell(cause_of(error, url, proxy)) from error
    finally:
        manager.clear()
    length = response.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise CannotTell("the server tells no size")
    return int(length)


def _bring(source: Source, part: Part, log: Log, trusted: str) -> None:
    if source.url.startswith("file://"):
        _copy(unquote(source.url.removeprefix("file://")), part, log)
    else:
        _fetch_over_network(source, part, log, trusted)


def _copy(origin: str, part: Part, log: Log) -> None:
    """From a directory of this node; always from the beginning, for reading is cheap."""
    part.begin_again()
    try:
        with open(origin, "rb") as file:
            total = os.fstat(file.fileno()).st_size
            while data := file.read(CHUNK):
                part.write(data)
    except FileNotFoundError as error:
        raise StepFailed(f"{origin}: the mirror does not hold this file") from error
    except IsADirectoryError as error:
        raise StepFailed(f"{origin} is a directory, not a file") from error
    log(f"copied {os.path.basename(origin)}", done=part.size, total=total)


def _fetch_over_network(source: Source, part: Part, log: Log, trusted: str) -> None:
    manager = _manager(source, trusted)
    fruitless = 0
    try:
        while True:
            before = part.size
            try:
                _attempt(source, part, manager, log)
                return
            except Refused as refusal:
                if not refusal.may_pass:
                    raise StepFailed(f"{source.url}: {refusal}") from refusal
                cause = str(refusal)
            except _transport_errors() as error:
                cause = cause_of(error, source.url, source.proxy)
                if not cause.may_pass:
                    raise StepFailed(f"{source.url}: {cause}") from error
            fruitless = 0 if part.size > before else fruitless + 1
            if fruitless >= ATTEMPTS:
                kept = f"; {part.size} bytes are kept for the next attempt" if part.size else ""
                raise StepFailed(f"{source.url}: {cause}{kept}")
            log(f"{cause}; going on at byte {part.size}", level="warning")
            time.sleep(PAUSE * (1 << fruitless))
    finally:
        manager.clear()


def _transport_errors() -> tuple[type[Exception], ...]:
    from urllib3.exceptions import HTTPError

    return (HTTPError,)


def _manager(source: Source, trusted: str) -> PoolManager:
    import urllib3

    options: dict[str, Any] = {
        "retries": False,
        "timeout": urllib3.Timeout(connect=CONNECT, read=source.stall),
        "cert_reqs": "CERT_REQUIRED",
    }
    if os.path.isfile(trusted):
        options["ca_certs"] = trusted
    if not source.proxy:
        return urllib3.PoolManager(**options)
    login = urllib3.util.parse_url(source.proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(source.proxy, proxy_headers=headers, **options)


def _attempt(source: Source, part: Part, manager: PoolManager, log: Log) -> None:
    """One request for what is missing. Raises Refused, or what urllib3 raises when the line is cut."""
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.mark():
            headers["If-Range"] = part.mark()
    response = manager.request("GET", source.url, headers=headers, preload_content=False, redirect=5)
    try:
        total = _place(response, part)
        last = 0.0
        for data in _checked(response, part):
            part.write(data)
            if time.monotonic() - last > PROGRESS:
                last = time.monotonic()
                log(os.path.basename(part.path), done=part.size, total=total or part.size)
        if total and part.size != total:
            raise Refused(
                f"{part.size} bytes came where the server had announced {total}", may_pass=part.size < total
            )
        log(os.path.basename(part.path), done=part.size, total=part.size)
    finally:
        # Not put back: what is left on this connection belongs to nobody.
        response.close()


def _place(response: BaseHTTPResponse, part: Part) -> int:
    """Puts the part where the answer goes on; returns the size of the whole file, 0 where it is not told."""
    if response.status == 206:
        first, _, total = _content_range(response.headers.get("Content-Range", ""))
        if first != part.size:
            part.begin_again()
            raise Refused(f"the server went on at byte {first}; starting again", may_pass=True)
        return total
    if response.status == 416:
        total = _content_range(response.headers.get("Content-Range", ""))[2]
        if total != part.size:
            part.begin_again()
            raise Refused("the server has another file than the one begun; starting again", may_pass=True)
        return total
    refuse_answer(response.status, response.headers.get("Location", ""))
    if part.size:
        part.begin_again()
    mark = response.headers.get("ETag", "")
    part.set_mark(mark if mark and not mark.startswith("W/") else response.headers.get("Last-Modified", ""))
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _checked(response: BaseHTTPResponse, part: Part) -> Iterator[bytes]:
    """The body. Its first bytes tell a page («login», «not found») that was sent in the place of an archive."""
    if response.status == 416:
        return
    # Whatever has come, not whole chunks: a cut line must not cost what was already here.
    while data := response.read1(CHUNK):
        if part.size == 0 and part.path.endswith(".gz") and not data.startswith(b"\x1f\x8b"):
            sort = response.headers.get("Content-Type", "of no declared type").partition(";")[0]
            raise Refused(
                f"the server answered 200 with something that is no archive ({sort}): a login page, an error page, "
                "or the wrong address. Open the address in a browser on this network",
                may_pass=False,
            )
        yield data


def _content_range(text: str) -> tuple[int, int, int]:
    """`bytes 5-9/10` as (5, 9, 10) and `bytes */10` as (-1, -1, 10); what is not told is -1, 0 for the total."""
    span, _, total = text.removeprefix("bytes").strip().partition("/")
    first, _, last = span.partition("-")
    number = int(total) if total.isdecimal() else 0
    if first.isdecimal() and last.isdecimal():
        return int(first), int(last), number
    return -1, -1, number
