"""The engine's socket: responses of every kind within their deadline, and no daemon is activated."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.node import docker
from bai_wizard.node.docker import (
    EngineDown,
    NoEngine,
    full_reference,
    query_engine,
    refuse_to_wake,
    registry_of,
    split_tag,
)
from tests.waiting import PATIENCE, ends


@contextmanager
def answering(path: Path, *pieces: bytes, pause: float = 0.0) -> Iterator[list[bytes]]:
    """A server that says the same to everybody; what it was asked."""
    asked: list[bytes] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096))
                for chunk in pieces:
                    time.sleep(pause)
                    try:
                        connection.sendall(chunk)
                    except OSError:
                        break

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield asked
    finally:
        server.close()


OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


def test_answer_in_pieces(tmp_path: Path) -> None:
    with answering(tmp_path / "s", OK, b'[{"Names": ["/a"', b"]}]") as asked:
        assert query_engine("/containers/json", socket=str(tmp_path / "s")) == [{"Names": ["/a"]}]
    assert asked[0].startswith(b"GET /containers/json HTTP/1.1\r\n")


def test_image_and_no_image(tmp_path: Path) -> None:
    with answering(tmp_path / "s", OK, b'{"Id": "sha256:1"}') as asked:
        assert query_engine("/images/r:5000/a/b:1/json", socket=str(tmp_path / "s")) == {"Id": "sha256:1"}
    assert asked[0].startswith(b"GET /images/r:5000/a/b:1/json ")
    with answering(tmp_path / "t", b'HTTP/1.0 404 Not Found\r\n\r\n{"message": "no"}'):
        assert query_engine("/images/a:1/json", socket=str(tmp_path / "t")) is None


@pytest.mark.parametrize(
    "chunks, output",
    [
        ((b"HTTP/1.0 500 x\r\n\r\n", b'{"message": "broken"}'), "broken"),
        ((b"SSH-2.0-OpenSSH\r\n",), "does not speak HTTP"),
        ((OK, b"<html>"), "not valid JSON"),
        ((OK, b'{"a": 1'), "not valid JSON"),
        ((b"",), "does not speak HTTP"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"[1"), "broke off its answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(b"[]")), "not valid JSON"),
        ((b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", b"moved"), "not valid JSON"),
    ],
)
def test_invalid_responses(tmp_path: Path, chunks: tuple[bytes, ...], output: str) -> None:
    with answering(tmp_path / "s", *chunks), pytest.raises(StateUnknown) as error:
        query_engine("/containers/json", socket=str(tmp_path / "s"))
    assert output in str(error.value)


def test_an_answer_in_chunks(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(tmp_path / "s", head, b"3\r\n[1,\r\n", b"2\r\n2]\r\n0\r\n\r\n"):
        assert query_engine("/x", socket=str(tmp_path / "s")) == [1, 2]


def test_an_endless_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "LARGEST_ANSWER", 1 << 20)
    with answering(tmp_path / "s", OK, *([b" " * (1 << 18)] * 40)), pytest.raises(StateUnknown) as error:
        query_engine("/x", socket=str(tmp_path / "s"))
    assert str(error.value) == "Docker's answer is too long"


def test_no_variable_of_the_caller_leads_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login planted password planted\n")
    for name in ("DOCKER_HOST", "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"HttpHeaders": {"X-Planted": "1"}, "proxies": []}')
    with answering(tmp_path / "s", OK, b"[]") as asked:
        assert query_engine("/x", socket=str(tmp_path / "s")) == []
    assert b"Authorization" not in asked[0]
    assert b"Planted" not in asked[0]


@pytest.mark.parametrize(
    "chunks", [(b"",), (OK, *([b" "] * 3000)), (b"HTTP/1.1 200 OK\r\n", *([b"A: b\r\n"] * 3000))]
)
def test_a_slow_engine_costs_the_deadline_and_no_more(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    with (
        ends("an answer in many pieces"),
        answering(tmp_path / "s", *chunks, pause=0.2 if len(chunks) > 1 else 2 * PATIENCE),
        pytest.raises(StateUnknown) as error,
    ):
        query_engine("/containers/json", 0.5, socket=str(tmp_path / "s"))
    assert "within 0.5 s" in str(error.value)


def test_no_one_listens(tmp_path: Path) -> None:
    with pytest.raises(NoEngine):
        query_engine("/containers/json", socket=str(tmp_path / "none"))


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A node with these things of Docker's, and no others."""

    def lay(*, socket: bool, daemon: bool, unit: bool, pid: str = "") -> None:
        for name, there in (("sock", socket), ("dockerd", daemon), ("docker.socket", unit)):
            if there:
                (tmp_path / name).touch()
        if pid:
            (tmp_path / "pid").write_text(pid)
        monkeypatch.setattr(docker, "SOCKET", str(tmp_path / "sock"))
        monkeypatch.setattr(docker, "PID_FILE", str(tmp_path / "pid"))
        monkeypatch.setattr(docker, "DAEMONS", (str(tmp_path / "dockerd"),))
        monkeypatch.setattr(docker, "ACTIVATORS", (str(tmp_path / "docker.socket"),))

    return lay


@pytest.mark.parametrize(
    "socket, daemon, unit, pid, expected",
    [
        (False, False, False, "", NoEngine),
        (True, True, True, "", EngineDown),
        (True, True, True, "999999999", EngineDown),
        (True, True, True, "1", None),
        (False, True, False, "", EngineDown),
        (True, True, False, "", None),
        (True, False, False, "", None),
    ],
)
def test_a_stopped_daemon_is_not_woken_up(
    paths: Callable[..., None], socket: bool, daemon: bool, unit: bool, pid: str, expected: type[Exception] | None
) -> None:
    paths(socket=socket, daemon=daemon, unit=unit, pid=pid)
    if expected is None:
        refuse_to_wake(docker.SOCKET)
        return
    with pytest.raises(expected):
        refuse_to_wake(docker.SOCKET)


@pytest.mark.parametrize(
    "reference, full, registry, split",
    [
        ("alpine", "docker.io/library/alpine:latest", "docker.io", ("alpine", "latest")),
        ("a/b:1", "docker.io/a/b:1", "docker.io", ("a/b", "1")),
        ("cr.corp/s/python:3.9", "cr.corp/s/python:3.9", "cr.corp", ("cr.corp/s/python", "3.9")),
        ("r:5000/x", "r:5000/x:latest", "r:5000", ("r:5000/x", "latest")),
        ("localhost/x:2", "localhost/x:2", "localhost", ("localhost/x", "2")),
        ("h.corp/x@sha256:ab", "h.corp/x@sha256:ab", "h.corp", ("h.corp/x", "sha256:ab")),
    ],
)  # fmt: skip
def test_references(reference: str, full: str, registry: str, split: tuple[str, str]) -> None:
    assert full_reference(reference) == full
    assert registry_of(reference) == registry
    assert split_tag(reference) == split
