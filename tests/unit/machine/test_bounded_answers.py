"""Server responses are bounded in size, rate and time by every reader."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.page import Context, Unknown
from bai_wizard.node import download, registry
from bai_wizard.node.download import PartialDownload, Source, fetch, size_of
from bai_wizard.node.http import REDIRECTS
from bai_wizard.node.registry import Access, Registry
from bai_wizard.pages.accelerators.nvidia import probe
from tests.sampling import sampled
from tests.waiting import PATIENCE, ends

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MEGABYTE = b"x" * (1 << 20)
# No test of this file takes as long as this on a slow machine, and none of the bounds is as large.


@contextmanager
def serving(answer: Callable[[], Iterable[bytes]]) -> Iterator[tuple[str, list[int]]]:
    """A server that sends the pieces of `answer()` for each request. Yields address and the bytes sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    sent: list[int] = []
    over = threading.Event()

    def one(line: socket.socket) -> None:
        with line:
            try:
                request = b""
                while not request.endswith(b"\r\n\r\n"):  # unread bytes would reset the connection at its end
                    piece = line.recv(1 << 16)
                    if not piece:
                        return
                    request += piece
                index = len(sent)
                sent.append(0)
                for chunk in answer():
                    if over.is_set():
                        return
                    line.sendall(chunk)
                    sent[index] += len(chunk)
            except OSError:
                return  # the client has had enough

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(line,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def drip(chunk: bytes = b"x", pause: float = 0.02) -> Iterator[bytes]:
    """A little again and again, without an end."""
    while True:
        yield chunk
        time.sleep(pause)


def source(url: str, **bounds: float) -> Source:
    values = {"largest": 4 << 20, "whole": 2 * PATIENCE, "window": 0.1, "least": 1024, **bounds}
    return Source(
        f"{url}/a.bin", sha256(b"").hexdigest(), "", 5.0,
        int(values["largest"]), values["whole"], values["window"], int(values["least"]),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "HEAD", 0.3)
    monkeypatch.setattr(registry, "LONGEST_ANSWER", 0.3)
    monkeypatch.setattr(probe, "KEY_DEADLINE", 0.3)
    with ends("what reads an answer"):
        yield


def announced(size: str, body: Iterable[bytes]) -> Iterator[bytes]:
    return itertools.chain([OK + b"Content-Length: " + size.encode() + b"\r\n\r\n"], body)


def chunks() -> Iterator[bytes]:
    return itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"100000\r\n" + MEGABYTE + b"\r\n")
    )


# By name: an answer that must be refused at once, whatever is bounded in it.
ENDLESS: dict[str, Callable[[], Iterable[bytes]]] = {
    "body without a length": lambda: itertools.chain([OK + b"\r\n"], itertools.repeat(MEGABYTE)),
    "chunks": chunks,
    "announced": lambda: announced("5000000000", itertools.repeat(MEGABYTE)),
    "size of a chunk": lambda: itertools.chain([CHUNKED], itertools.repeat(MEGABYTE)),
    "extension of a chunk": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n1;"], itertools.repeat(MEGABYTE)
    ),
    "body of a redirect": lambda: itertools.chain(
        [b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"], itertools.repeat(MEGABYTE)
    ),
    "interim answers": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}  # fmt: skip
SLOW: dict[str, Callable[[], Iterable[bytes]]] = {
    "body": lambda: itertools.chain([OK + b"\r\n"], drip()),
    "announced body": lambda: announced("1000000", drip()),
    "status line": drip,
    "headers": lambda: itertools.chain([OK], drip(b"A: b\r\n", 0.05)),
    "one header": lambda: itertools.chain([OK + b"A: "], drip()),
    "size of a chunk": lambda: itertools.chain([OK + b"Transfer-Encoding: chunked\r\n\r\n"], drip(b"0")),
    "chunks": lambda: itertools.chain([OK + b"Transfer-Encoding: chunked\r\n\r\n"], drip(b"1\r\nx\r\n")),
    "trailers": lambda: itertools.chain([OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], drip(b"A: b\r\n")),
    "body of a redirect": lambda: itertools.chain([b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"], drip()),
    "interim answers": lambda: drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_download_that_does_not_end_is_refused_and_not_kept(tmp_path: Path, name: str) -> None:
    with serving(ENDLESS[name]) as (url, sent), pytest.raises(StepFailed):
        fetch(source(url), str(tmp_path / "a.bin"))
    assert list(tmp_path.iterdir()) == []
    assert sum(sent) < 64 << 20


def test_a_file_that_is_announced_too_large_is_refused_before_its_body(tmp_path: Path) -> None:
    with (
        serving(lambda: announced("5000000", [])) as (url, sent),
        pytest.raises(StepFailed, match="larger than the limit of 4 MiB"),
    ):
        fetch(source(url), str(tmp_path / "a.bin"))
    assert len(sent) == 1


def test_a_mirror_on_this_node_has_the_same_bound(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(5 << 20)
    (tmp_path / "to").mkdir()
    wanted = Source(f"file://{large}", sha256(b"").hexdigest(), largest=4 << 20)
    with pytest.raises(StepFailed, match="larger than the limit of 4 MiB"):
        fetch(wanted, str(tmp_path / "to/a.bin"))
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize("name", sampled("slow downloads", list(SLOW), 5))
def test_a_download_that_drips_is_given_up(tmp_path: Path, name: str) -> None:
    with serving(SLOW[name]) as (url, sent), pytest.raises(StepFailed):
        fetch(source(url), str(tmp_path / "a.bin"))
    assert 1 <= len(sent) <= max(download.ATTEMPTS, 1 + REDIRECTS)


def test_all_attempts_together_have_a_deadline(tmp_path: Path) -> None:
    def a_little() -> Iterator[bytes]:
        # More than an attempt has to bring, so that each one starts the count again.
        yield OK + b"Content-Length: 100000000\r\n\r\n"
        for _ in range(4):
            yield b"x" * (64 << 10)
            time.sleep(0.05)

    with serving(a_little) as (url, _), pytest.raises(StepFailed, match=r"not complete after 1 s"):
        fetch(source(url, largest=1 << 30, whole=1.0), str(tmp_path / "a.bin"))


def test_a_fast_server_is_not_taken_for_a_slow_one(tmp_path: Path) -> None:
    body = MEGABYTE * 3
    with serving(lambda: announced(str(len(body)), [body])) as (url, _):
        fetch(Source(f"{url}/a.bin", sha256(body).hexdigest(), window=2.0), str(tmp_path / "a.bin"))
    assert (tmp_path / "a.bin").read_bytes() == body


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e9", "", "x", "\xb2", "0x10"])
def test_a_size_that_is_not_a_number_is_unknown(length: str) -> None:
    head = OK + b"Content-Length: " + length.encode("latin-1") + b"\r\n\r\n"
    with serving(lambda: [head]) as (url, _), pytest.raises(StateUnknown):
        size_of(f"{url}/a")


@pytest.mark.parametrize("name", ["status line", "headers", "one header", "body of a redirect", "interim answers"])
def test_a_size_that_drips_is_unknown(name: str) -> None:
    if ("body" in name and "redirect" not in name) or "chunk" in name or name == "trailers":
        pytest.skip("an answer to HEAD has no body")
    with serving(SLOW[name]) as (url, _), pytest.raises(StateUnknown):
        size_of(f"{url}/a")


PARSED = [
    (reader, name)
    for reader in ("registry", "login", "key")
    for name in (*ENDLESS, *(f"slow {name}" for name in SLOW))
]


@pytest.mark.parametrize(("reader", "name"), sampled("parsed answers", PARSED, 8))
def test_answers_that_are_parsed_are_bounded(reader: str, name: str) -> None:
    answer = SLOW[name.removeprefix("slow ")] if name.startswith("slow ") else ENDLESS[name]
    login = itertools.count()

    def challenge() -> Iterable[bytes]:
        if reader == "login" and next(login) == 0:
            realm = f'Bearer realm="{url}/token",service="s"'.encode()
            return [
                b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: "
                + realm
                + b"\r\nConnection: close\r\n\r\n"
            ]
        return answer()

    with serving(challenge) as (url, sent):
        if reader == "key":
            # What is not the pinned key is refused later; here it is only cut.
            result = probe.fetch_key(f"{url}/k", Context())
            assert isinstance(result, Unknown) or len(result.value) <= probe.LARGEST_KEY  # type: ignore[union-attr]
        else:
            host = url.removeprefix("http://")
            plain = Registry(host, Access(insecure=(host,)))
            plain._plain = True
            with pytest.raises(StateUnknown):
                plain.offer(f"{host}/a:1", "linux/amd64")
        assert sum(sent) < 128 << 20


BODIES = (
    b"[" * 200_000, b'{"a":' * 100_000, b"[]", b"null", b"17", b'{"manifests": 1}', b'{"manifests": [1]}',
    b'{"manifests": [{"platform": []}]}', b'{"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]}',
    b'{"layers": 1, "config": 1}', b'{"layers": [1], "config": {"digest": "x"}}', b'{"layers": [{}], "config": [1]}',
    b'{"layers": [{"size": "x"}], "config": {"digest": "x"}}', b'{"layers": [{"size": 1e400}], "config": {}}',
    b'{"layers": [{"size": -5}], "config": {"digest": "x"}}', b'{"layers": [{"size": ' + b"9" * 5000 + b"}]}",
    b'{"layers": [{"size": ' + b"9" * 400 + b'}], "config": {"digest": "x"}}', b"\xff\xfe", b"",
    b'{"layers": [{"size": 1}], "config": {"digest": "x"}, "mediaType": []}',
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_registry_that_answers_anything(body: bytes) -> None:
    with serving(lambda: announced(str(len(body)), [body])) as (url, _):
        host = url.removeprefix("http://")
        plain = Registry(host, Access(insecure=(host,)))
        plain._plain = True
        try:
            offer = plain.offer(f"{host}/a:1", "linux/amd64")
        except StateUnknown:
            return
        assert 0 <= offer.size < 1 << 60


def test_a_body_is_not_unpacked() -> None:
    packed = gzip.compress(b" " * (4 << 20), 9)
    head = OK + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with serving(lambda: [head, packed]) as (url, _):
        host = url.removeprefix("http://")
        plain = Registry(host, Access(insecure=(host,)))
        plain._plain = True
        answer = plain._get("/v2/", {})
    assert answer.body == packed


@pytest.mark.parametrize("mark", ["x" * 70_000, "a\r\nb", "a\x00", "\xff", "é"])
def test_a_mark_that_no_header_can_hold_is_not_kept(tmp_path: Path, mark: str) -> None:
    part = PartialDownload(str(tmp_path / "a"))
    part.set_validator(mark)
    assert part.validator() == ""
    part.set_validator('"one"')
    assert part.validator() == '"one"'
    (tmp_path / "a.part.mark").write_text("[" * 100_000)
    assert part.validator() == ""
    part.close()
