"""The engine's socket: answers of every kind, each within its deadline, and no daemon woken up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bai_wizard.core.errors import CannotTell
from bai_wizard.machine import engine_socket
from bai_wizard.machine.docker_engine import full_reference, registry_of, split_tag
from bai_wizard.machine.engine_socket import EngineDown, EngineSocket, NoEngine, refuse_to_wake


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
                for piece in pieces:
                    time.sleep(pause)
                    try:
                        connection.sendall(piece)
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
        assert EngineSocket(str(tmp_path / "s")).containers() == [{"Names": ["/a"]}]
    assert asked[0].startswith(b"GET /containers/json HTTP/1.0\r\n")


def test_image_and_no_image(tmp_path: Path) -> None:
    with answering(tmp_path / "s", OK, b'{"Id": "sha256:1"}') as asked:
        assert EngineSocket(str(tmp_path / "s")).image("r:5000/a/b:1") == {"Id": "sha256:1"}
    assert asked[0].startswith(b"GET /images/r:5000/a/b:1/json ")
    with answering(tmp_path / "t", b'HTTP/1.0 404 Not Found\r\n\r\n{"message": "no"}'):
        assert EngineSocket(str(tmp_path / "t")).image("a:1") is None


@pytest.mark.parametrize(
    "pieces, said",
    [
        ((b"HTTP/1.0 500 x\r\n\r\n", b'{"message": "broken"}'), "broken"),
        ((b"SSH-2.0-OpenSSH\r\n",), "speaks no HTTP"),
        ((OK, b"<html>"), "no JSON"),
        ((OK, b'{"a": 1'), "no JSON"),
        ((b"",), "speaks no HTTP"),
    ],
)
def test_what_is_no_answer(tmp_path: Path, pieces: tuple[bytes, ...], said: str) -> None:
    with answering(tmp_path / "s", *pieces), pytest.raises(CannotTell) as error:
        EngineSocket(str(tmp_path / "s")).containers()
    assert said in str(error.value)


@pytest.mark.parametrize("pieces", [(b"",), (OK, *([b" "] * 100))])
def test_a_slow_engine_costs_the_deadline_and_no_more(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    begun = time.monotonic()
    with answering(tmp_path / "s", *pieces, pause=0.2 if len(pieces) > 1 else 30), pytest.raises(CannotTell) as error:
        EngineSocket(str(tmp_path / "s"), deadline=0.5).containers()
    assert "within 0.5 s" in str(error.value)
    assert time.monotonic() - begun < 3


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NoEngine):
        EngineSocket(str(tmp_path / "none")).containers()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A node with these things of Docker's, and no others."""

    def lay(*, socket: bool, daemon: bool, unit: bool, pid: str = "") -> None:
        for name, there in (("sock", socket), ("dockerd", daemon), ("docker.socket", unit)):
            if there:
                (tmp_path / name).touch()
        if pid:
            (tmp_path / "pid").write_text(pid)
        monkeypatch.setattr(engine_socket, "SOCKET", str(tmp_path / "sock"))
        monkeypatch.setattr(engine_socket, "PID_FILE", str(tmp_path / "pid"))
        monkeypatch.setattr(engine_socket, "DAEMONS", (str(tmp_path / "dockerd"),))
        monkeypatch.setattr(engine_socket, "ACTIVATORS", (str(tmp_path / "docker.socket"),))

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
    places: Callable[..., None], socket: bool, daemon: bool, unit: bool, pid: str, expected: type[Exception] | None
) -> None:
    places(socket=socket, daemon=daemon, unit=unit, pid=pid)
    if expected is None:
        refuse_to_wake(engine_socket.SOCKET)
        return
    with pytest.raises(expected):
        refuse_to_wake(engine_socket.SOCKET)


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
