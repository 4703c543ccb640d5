"""Download a file with resume, size limit and hash check."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from msgspec import Struct, field

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.node.error_hints import changing
from bai_wizard.node.http import (
    MIN_RATE,
    WINDOW,
    Pace,
    Refused,
    TooMuch,
    explain_transport_error,
    paced,
    refuse_answer,
    request,
)
from bai_wizard.node.regular import open_regular, sync_directory

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager


CHUNK = 1 << 18
# Maximum length of a stored validator; it is sent back to the server.
LONGEST_VALIDATOR = 200


def _printable_validator(mark: object) -> str:
    """Return the validator, or an empty string unless it is short and printable enough for a header."""
    fits = isinstance(mark, str) and len(mark) <= LONGEST_VALIDATOR and mark.isascii() and mark.isprintable()
    return str(mark) if fits else ""


class PartialDownload:
    """The file being downloaded, with the hash of its content so far."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = f"{path}.part"
        self._validator = f"{path}.part.mark"
        self._descriptor = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self.hash = sha256()
        self.size = 0
        while data := os.read(self._descriptor, CHUNK):
            self.hash.update(data)
            self.size += len(data)

    def validator(self) -> str:
        """Return the server's validator for the version that the part belongs to; empty without one."""
        try:
            with open(self._validator, encoding="utf-8") as file:
                return _printable_validator(json.loads(file.read(LONGEST_VALIDATOR + 3)))
        except (FileNotFoundError, ValueError, RecursionError):
            return ""

    def set_validator(self, mark: str) -> None:
        """Store the validator for a later process."""
        with open(self._validator, "w", encoding="utf-8") as file:
            json.dump(_printable_validator(mark), file)

    def begin_again(self) -> None:
        """Discard the content."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.hash, self.size = sha256(), 0

    def write(self, data: bytes) -> None:
        """Append data. Raises OSError (no space left …); only data on disk is counted."""
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except OSError as error:
                error.filename = self.path
                raise
            self.hash.update(view[:written])
            self.size += written
            view = view[written:]

    def finish(self, wanted: str, url: str) -> None:
        """Give the file its final name once its hash is right; otherwise discard it."""
        result = self.hash.hexdigest()
        if result != wanted:
            size = self.size
            drop_part(self.path)
            raise StepFailed(
                f"{url}: the SHA-256 of the {size} bytes received is {result[:16]}…, expected {wanted[:16]}…: the "
                "file was altered or damaged in transit, or the mirror has another file. Nothing was kept"
            )
        # Regardless of the umask: the account that unpacks it has to read it, and it contains nothing secret.
        os.fchmod(self._descriptor, 0o644)
        os.fsync(self._descriptor)
        os.rename(self.name, self.path)
        drop_part(self.path)
        sync_directory(os.path.dirname(self.path))

    def close(self) -> None:
        """Close the file; an empty part is removed."""
        os.close(self._descriptor)
        if self.size == 0 and os.path.lexists(self.name):
            drop_part(self.path)


def drop_download(path: str) -> None:
    """Remove a downloaded file and its partial download."""
    for name in (path, f"{path}.part", f"{path}.part.mark"):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue


def drop_part(path: str) -> None:
    """Remove the resumable part of `path` and its validator."""
    for name in (f"{path}.part", f"{path}.part.mark"):
        if os.path.lexists(name):
            os.unlink(name)


# Download one file so that an interruption costs nothing: resumable, and hashed while streaming.
#
# A file with the final name is always complete and has the right SHA-256. Until then it is `NAME.part`, with the
# server's validator for the version in `NAME.part.mark`; a later attempt continues from there.

# Seconds without any data after which a connection counts as stalled.
STALL = 20.0
CONNECT = 10.0
# Consecutive attempts with almost no data before giving up; an attempt with more data resets the count.
ATTEMPTS = 4
# Maximum size of a downloaded file in bytes; a Python build is a tenth of that.
LARGEST = 1 << 30
# An attempt that receives fewer bytes received almost nothing.
FRUIT = 64 << 10
# Time limit in seconds for all attempts together, and for a query of the size.
WHOLE = 4 * 3600.0
HEAD = 10.0
# Seconds between two progress events, and before another attempt.
PROGRESS = 0.5
PAUSE = 0.5
# Debian's and Ubuntu's trusted certificates; a Python from elsewhere would look in a different location.
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


class Source(Struct, frozen=True):
    """What to download: the URL, the proxy (empty: none), and the expected hash."""

    url: str
    sha256: str
    proxy: str = ""
    stall: float = STALL
    # The maximum number of bytes accepted; the time limit for the whole download in seconds; the minimum rate (bytes
    # per second) within a window.
    largest: int = field(default_factory=lambda: LARGEST)
    whole: float = WHOLE
    window: float = field(default_factory=lambda: WINDOW)
    least: int = MIN_RATE


def fetch(source: Source, path: str, log: Log = silent, trusted: str = TRUSTED) -> None:
    """Download the file to `path`. Raises StepFailed with the cause; leaves at most the resumable part."""
    with changing(path):
        part = PartialDownload(path)
        try:
            if part.size > source.largest:
                part.begin_again()
            resumed = part.size > 0
            _bring(source, part, log, trusted)
            if resumed and part.hash.hexdigest() != source.sha256:
                log("the data kept from an earlier attempt belongs to another file; starting over", level="warning")
                part.begin_again()
                _bring(source, part, log, trusted)
            part.finish(source.sha256, source.url)
        finally:
            part.close()


def size_of(url: str, proxy: str = "", trusted: str = TRUSTED) -> int:
    """Return the size in bytes of the file at a URL, without downloading it. Raises StateUnknown with the reason."""
    if url.startswith("file://"):
        try:
            return os.stat(unquote(url.removeprefix("file://"))).st_size
        except FileNotFoundError as error:
            raise StateUnknown("the mirror does not have this file") from error
        except OSError as error:
            raise StateUnknown(f"the mirror cannot be read: {(error.strerror or str(error)).lower()}") from error
    pace = Pace(HEAD)
    manager = _manager(Source(url, "", proxy), trusted, pace)
    try:
        pace.begin()
        response = request(manager, "HEAD", url, {"Accept-Encoding": "identity"})
        response.close()
        refuse_answer(response.status, response.headers.get("Location", ""))
    except Refused as refusal:
        raise StateUnknown(str(refusal)) from refusal
    except _transport_errors() as error:
        raise StateUnknown(explain_transport_error(error, url, proxy).text) from error
    finally:
        manager.clear()
    length = _number(response.headers.get("Content-Length", ""))
    if not length:
        raise StateUnknown("the server does not report a size")
    return length


def _bring(source: Source, part: PartialDownload, log: Log, trusted: str) -> None:
    if source.url.startswith("file://"):
        _copy(unquote(source.url.removeprefix("file://")), source.largest, part, log)
    else:
        _fetch_over_network(source, part, log, trusted)


def _copy(origin: str, largest: int, part: PartialDownload, log: Log) -> None:
    """Copy from a directory on this node; always from the beginning, because reading is cheap."""
    part.begin_again()
    try:
        with os.fdopen(open_regular(origin, follow=True), "rb") as file:
            total = os.fstat(file.fileno()).st_size
            while data := file.read(CHUNK):
                _refuse_large(part.size + len(data), largest, part, origin)
                part.write(data)
    except FileNotFoundError as error:
        raise StepFailed(f"{origin}: the mirror does not have this file") from error
    except OSError as error:
        if error.filename != origin or error.errno != errno.EINVAL:
            raise
        raise StepFailed(f"{origin}: {error.strerror}") from error
    log(f"copied {os.path.basename(origin)}", done=part.size, total=total)


def _fetch_over_network(source: Source, part: PartialDownload, log: Log, trusted: str) -> None:
    pace = Pace(source.whole, source.window, source.least)
    manager = _manager(source, trusted, pace)
    fruitless = 0
    ends = time.monotonic() + source.whole
    try:
        while True:
            before = part.size
            pace.whole = ends - time.monotonic()
            try:
                _attempt(source, part, manager, pace, log)
                return
            except TooMuch as error:
                drop_part(part.path)
                raise StepFailed(f"{source.url}: {error}. Nothing was kept") from error
            except Refused as refusal:
                if not refusal.retry:
                    raise StepFailed(f"{source.url}: {refusal}") from refusal
                cause = str(refusal)
            except _transport_errors() as error:
                explanation = explain_transport_error(error, source.url, source.proxy)
                cause = explanation.text
                if not explanation.retry:
                    raise StepFailed(f"{source.url}: {cause}") from error
            fruitless = 0 if part.size >= before + FRUIT else fruitless + 1
            is_over = time.monotonic() + PAUSE * (1 << fruitless) >= ends
            if fruitless >= ATTEMPTS and part.size > before:
                cause = f"{cause}; fewer than {FRUIT >> 10} KiB were received in each of {ATTEMPTS} attempts"
            if is_over:
                cause = f"not complete after {source.whole:g} s ({cause})"
            if is_over or fruitless >= ATTEMPTS:
                kept = f"; {part.size} bytes are kept for the next attempt" if part.size else ""
                raise StepFailed(f"{source.url}: {cause}{kept}")
            log(f"{cause}; resuming at byte {part.size}", level="warning")
            time.sleep(PAUSE * (1 << fruitless))
    finally:
        manager.clear()


def _transport_errors() -> tuple[type[Exception], ...]:
    from urllib3.exceptions import HTTPError

    return (HTTPError,)


def _manager(source: Source, trusted: str, pace: Pace) -> PoolManager:
    import urllib3
    from urllib3.util import parse_url

    options: dict[str, Any] = {
        "retries": False,
        "timeout": urllib3.Timeout(connect=CONNECT, read=source.stall),
        "cert_reqs": "CERT_REQUIRED",
    }
    if os.path.isfile(trusted):
        options["ca_certs"] = trusted
    if source.proxy:
        login = parse_url(source.proxy).auth
        headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
        manager: PoolManager = urllib3.ProxyManager(source.proxy, proxy_headers=headers, **options)
    else:
        manager = urllib3.PoolManager(**options)
    paced(manager, pace)
    return manager


def _attempt(source: Source, part: PartialDownload, manager: PoolManager, pace: Pace, log: Log) -> None:
    """Send one request for the missing part. Raises Refused, TooMuch, or urllib3's exception if interrupted."""
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.validator():
            headers["If-Range"] = part.validator()
    pace.begin()
    response = request(manager, "GET", source.url, headers)
    try:
        total = _place(response, part)
        _refuse_large(total, source.largest, part)
        # Chunked encoding adds sizes that are not part of the file.
        pace.allow(2 * (source.largest - part.size) + (1 << 20))
        last = 0.0
        for data in _checked(response, part):
            _refuse_large(part.size + len(data), source.largest, part)
            part.write(data)
            if time.monotonic() - last > PROGRESS:
                last = time.monotonic()
                log(os.path.basename(part.path), done=part.size, total=total or part.size)
        if total and part.size != total:
            raise Refused(
                f"{part.size} bytes were received, but the server had announced {total}", retry=part.size < total
            )
        log(os.path.basename(part.path), done=part.size, total=part.size)
    finally:
        # Not reused: the rest of the data on this connection would be misread.
        response.close()


def _place(response: BaseHTTPResponse, part: PartialDownload) -> int:
    """Position the part where the answer continues; return the size of the whole file, 0 if unknown."""
    if response.status == 206:
        first, _, total = _content_range(response.headers.get("Content-Range", ""))
        if first != part.size:
            part.begin_again()
            raise Refused(f"the server resumed at byte {first}; starting over", retry=True)
        return total
    if response.status == 416:
        total = _content_range(response.headers.get("Content-Range", ""))[2]
        if total != part.size:
            part.begin_again()
            raise Refused("the file on the server has changed; starting over", retry=True)
        return total
    refuse_answer(response.status, response.headers.get("Location", ""))
    if part.size:
        part.begin_again()
    mark = response.headers.get("ETag", "")
    part.set_validator(mark if mark and not mark.startswith("W/") else response.headers.get("Last-Modified", ""))
    return _number(response.headers.get("Content-Length", ""))


def _refuse_large(size: int, largest: int, part: PartialDownload, origin: str = "") -> None:
    """Raise TooMuch for a file of more than `largest` bytes; StepFailed if it is a file on this node."""
    if size <= largest:
        return
    text = f"it is larger than the limit of {largest >> 20} MiB"
    if not origin:
        raise TooMuch(text)
    drop_part(part.path)
    raise StepFailed(f"{origin}: {text}. Nothing was kept")


def _checked(response: BaseHTTPResponse, part: PartialDownload) -> Iterator[bytes]:
    """Yield the body. Detects a page (login, not found) that was sent instead of an archive."""
    if response.status == 416:
        return
    # Read whatever has arrived, not whole chunks: an interruption must not lose data that was received.
    while data := response.read1(CHUNK):
        if part.size == 0 and part.path.endswith(".gz") and not data.startswith(b"\x1f\x8b"):
            kind = response.headers.get("Content-Type", "no content type").partition(";")[0][:80]
            raise Refused(
                f"the server answered 200, but not with an archive ({kind}): a login page, an error page, "
                "or the wrong address. Open the address in a browser on this network",
                retry=False,
            )
        yield data


def _content_range(text: str) -> tuple[int, int, int]:
    """Parse `bytes 5-9/10` as (5, 9, 10) and `bytes */10` as (-1, -1, 10); an unknown total is 0."""
    span, _, total = text.removeprefix("bytes").strip().partition("/")
    first, _, last = span.partition("-")
    if first.isdecimal() and last.isdecimal():
        return _number(first), _number(last), _number(total)
    return -1, -1, _number(total)


def _number(text: str) -> int:
    """Parse a byte count in a header; 0 if invalid."""
    return int(text) if text.isdecimal() and len(text) <= 18 else 0
