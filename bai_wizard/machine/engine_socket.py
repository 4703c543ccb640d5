"""A few reads of the Docker Engine over its socket, without the SDK (146 ms of imports) and without waking it up."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any
from urllib.parse import quote

from bai_wizard.core.errors import CannotTell

SOCKET = "/var/run/docker.sock"
PID_FILE = "/var/run/docker.pid"
# Where a unit lies that starts the daemon as soon as somebody connects: looking must not do that.
ACTIVATORS = (
    "/etc/systemd/system/docker.socket",
    "/usr/lib/systemd/system/docker.socket",
    "/lib/systemd/system/docker.socket",
)
DAEMONS = ("/usr/bin/dockerd", "/usr/local/bin/dockerd", "/usr/sbin/dockerd", "/snap/bin/docker")
DEADLINE = 3.0
LARGEST_ANSWER = 64 << 20
NONE = "no container engine is installed on this node"
DOWN = "Docker is installed but does not run"


class NoEngine(CannotTell):
    """There is no container engine on this node: nothing to ask, and so nothing that could hold an image."""


class EngineDown(CannotTell):
    """An engine is installed and its daemon does not run: no container runs either."""


class EngineSocket:
    """GET requests over the engine's socket, each with a deadline in seconds."""

    def __init__(self, path: str = SOCKET, *, deadline: float = DEADLINE) -> None:
        self._path = path
        self._deadline = deadline

    def get(self, path: str) -> tuple[int, Any]:
        """Status and decoded JSON of an answer. Raises NoEngine, or CannotTell where none comes."""
        refuse_to_wake(self._path)
        limit = time.monotonic() + self._deadline
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._deadline)
                connection.connect(self._path)
                # HTTP/1.0: the answer comes in one piece and ends with the connection.
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
                answer = _everything(connection, limit)
        except FileNotFoundError as error:
            raise NoEngine(NONE) from error
        except ConnectionRefusedError as error:
            # What a daemon left behind that was removed, or that died.
            raise (EngineDown(DOWN) if is_installed() else NoEngine(NONE)) from error
        except PermissionError as error:
            raise CannotTell("the Docker socket: needs root, or the group docker") from error
        except TimeoutError as error:
            raise CannotTell(f"Docker gave no answer within {self._deadline:g} s") from error
        except OSError as error:
            raise CannotTell(f"Docker does not answer: {(error.strerror or str(error)).lower()}") from error
        return _parse(answer)

    def image(self, reference: str) -> dict[str, Any] | None:
        """What `docker image inspect` shows; None where there is no such image."""
        status, body = self.get(f"/images/{quote(reference, safe='/:@')}/json")
        if status == 404:
            return None
        return _expect(status, body, f"image {reference}")

    def containers(self) -> list[dict[str, Any]]:
        """The running containers."""
        status, body = self.get("/containers/json")
        if status != 200 or not isinstance(body, list):
            raise CannotTell(f"the running containers: Docker answered {status}: {message_of(body)}")
        return body


def refuse_to_wake(path: str = SOCKET) -> None:
    """Raises where connecting would start a stopped daemon: NoEngine without one, EngineDown for one that is down."""
    if path != SOCKET or os.path.islink(SOCKET) or _is_alive(PID_FILE):
        return
    if not is_installed():
        if not os.path.exists(SOCKET):
            raise NoEngine(NONE)
        return
    if not os.path.exists(SOCKET) or any(os.path.exists(unit) for unit in ACTIVATORS):
        raise EngineDown(DOWN)


def is_installed() -> bool:
    """True when a daemon's program is on this node."""
    return any(os.path.exists(daemon) for daemon in DAEMONS)


def _is_alive(pid_file: str) -> bool:
    try:
        with open(pid_file, encoding="ascii") as file:
            return os.path.exists(f"/proc/{int(file.read())}")
    except (OSError, ValueError):
        return False


def _everything(connection: socket.socket, limit: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        connection.settimeout(max(limit - time.monotonic(), 0.001))
        piece = connection.recv(1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise CannotTell("Docker's answer does not end")


def _parse(answer: bytes) -> tuple[int, Any]:
    head, blank, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not blank or len(words) < 2 or not words[1].isdigit():
        raise CannotTell("what listens on the Docker socket speaks no HTTP")
    try:
        return int(words[1]), json.loads(body) if body.strip() else None
    except ValueError as error:
        raise CannotTell(f"Docker's answer is no JSON: {error}") from error


def _expect(status: int, body: Any, what: str) -> dict[str, Any]:
    if status != 200 or not isinstance(body, dict):
        raise CannotTell(f"{what}: Docker answered {status}: {message_of(body)}")
    return body


def message_of(body: Any) -> str:
    """What the engine says of a refusal."""
    return str(body.get("message", body) if isinstance(body, dict) else body)[:300]
