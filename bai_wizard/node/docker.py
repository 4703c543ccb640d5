"""The container engine: what it reports, image references, and explanations of its errors."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

from bai_wizard.core.consent import Affected
from bai_wizard.core.errors import StateUnknown, TimedOut
from bai_wizard.core.parse import count
from bai_wizard.core.state import Image
from bai_wizard.node.deadline import with_deadline
from bai_wizard.node.error_hints import Explanation, find_hint

SOCKET = "/var/run/docker.sock"
PID_FILE = "/var/run/docker.pid"
# Units that start the daemon on the first connection: a read must not do that.
ACTIVATORS = (
    "/etc/systemd/system/docker.socket",
    "/usr/lib/systemd/system/docker.socket",
    "/lib/systemd/system/docker.socket",
)
DAEMONS = ("/usr/bin/dockerd", "/usr/local/bin/dockerd", "/usr/sbin/dockerd", "/snap/bin/docker")
DEADLINE = 3.0
LARGEST_ANSWER = 64 << 20
NONE = "no container engine is installed on this node"
DOWN = "Docker is installed but not running"


class NoEngine(StateUnknown):
    """This node has no container engine, and therefore no images."""


class EngineSilent(StateUnknown):
    """The engine did not answer: it is stopped, restarting or hanging."""


class EngineHangs(EngineSilent, TimedOut):
    """The engine accepted the request but did not answer in time."""


class EngineDown(EngineSilent):
    """An engine is installed but its daemon is not running, so no containers are running either."""


def query_engine(path: str, deadline: float = DEADLINE, *, socket: str = SOCKET) -> Any:
    """Return the engine's JSON answer to `GET path` on any API version; None if the object does not exist.

    Raises NoEngine, and StateUnknown without an answer. Never starts a stopped engine.
    """
    refuse_to_wake(socket)
    import docker.transport  # noqa: F401 - before the clock starts
    from urllib3.exceptions import HTTPError

    try:
        status, content = with_deadline(deadline, "Docker", lambda: _get(path, deadline, socket))
    except StateUnknown as error:
        raise EngineHangs(f"Docker did not respond within {deadline:g} s") from error
    except (OSError, HTTPError) as error:  # those of requests are OSErrors
        raise _explained(error, deadline) from error
    if len(content) > LARGEST_ANSWER:
        raise StateUnknown("Docker's answer is too long")
    try:
        body = json.loads(content) if content.strip() else None
    except (ValueError, RecursionError) as error:
        raise StateUnknown(f"Docker's answer is not valid JSON: {error}") from error
    if status == 404:
        return None
    if status >= 400:
        message = body.get("message", body) if isinstance(body, dict) else body
        raise StateUnknown(f"Docker answered {status} to {path}: {str(message)[:300]}")
    return body


def _get(path: str, deadline: float, socket: str) -> tuple[int, bytes]:
    """Return status and body over the SDK's transport; docs/adr/0007 says why not through its client."""
    from docker.transport import UnixHTTPAdapter
    from requests import Request

    limit = time.monotonic() + deadline
    # Compressed, a small answer could fill the memory.
    request = Request("GET", f"http+docker://localhost{path}", headers={"Accept-Encoding": "identity"}).prepare()
    adapter = UnixHTTPAdapter(f"http+unix://{socket}")
    with closing(adapter), closing(adapter.send(request, stream=True, timeout=deadline)) as response:
        content = bytearray()
        while len(content) <= LARGEST_ANSWER and (chunk := response.raw.read1(1 << 16, decode_content=False)):
            content += chunk
            if time.monotonic() > limit:
                raise TimeoutError
        return response.status_code, bytes(content)


def _explained(error: BaseException, deadline: float) -> StateUnknown:
    """Return the reason for a request that failed: the socket's own error, below those of requests and urllib3."""
    from http.client import HTTPException, IncompleteRead

    from requests.exceptions import Timeout
    from urllib3.exceptions import TimeoutError as LateAnswer

    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, IncompleteRead):
            return EngineSilent("Docker broke off its answer")
        if isinstance(reason, HTTPException):
            return StateUnknown("the process that listens on the Docker socket does not speak HTTP")
        if isinstance(reason, FileNotFoundError):
            return NoEngine(NONE)
        if isinstance(reason, ConnectionRefusedError):
            # A stale socket of a daemon that was removed or died.
            return EngineDown(DOWN) if is_installed() else NoEngine(NONE)
        if isinstance(reason, PermissionError):
            return StateUnknown("the Docker socket: needs root, or membership in the docker group")
        if isinstance(reason, TimeoutError | Timeout | LateAnswer):
            return EngineHangs(f"Docker did not respond within {deadline:g} s")
        if isinstance(reason, OSError) and reason.strerror:
            return EngineSilent(f"Docker does not respond: {reason.strerror.lower()}")
        reason = reason.__context__
    return EngineSilent(f"Docker does not respond: {error}")


def refuse_to_wake(path: str = SOCKET) -> None:
    """Raise if connecting would start a stopped daemon: NoEngine without an engine, EngineDown if it is stopped."""
    if path != SOCKET or os.path.islink(SOCKET) or _is_alive(PID_FILE):
        return
    if not is_installed():
        if not os.path.exists(SOCKET):
            raise NoEngine(NONE)
        return
    if not os.path.exists(SOCKET) or any(os.path.exists(unit) for unit in ACTIVATORS):
        raise EngineDown(DOWN)


def is_installed() -> bool:
    """Whether a daemon's executable exists on this node."""
    return any(os.path.exists(daemon) for daemon in DAEMONS)


def _is_alive(pid_file: str) -> bool:
    try:
        with open(pid_file, encoding="ascii") as file:
            return os.path.exists(f"/proc/{int(file.read())}")
    except (OSError, ValueError):
        return False


# The host name of Docker Hub in references that omit it, and the default tag.
HUB = "docker.io"
LATEST = "latest"


def image_state(reference: str) -> Image | None:
    """Return an image by reference; None if the engine lacks it or does not exist. Raises StateUnknown."""
    try:
        result = query_engine(f"/images/{quote(reference, safe='/:@')}/json")
    except NoEngine:
        return None
    if result is None:
        return None
    if not isinstance(result, dict):
        raise StateUnknown(f"image {reference}: Docker's answer does not describe it")
    listed = result.get("RepoDigests")
    digests = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    return Image(str(result.get("Id", "")), count(result.get("Size")), moved_from(reference, digests))


def moved_from(reference: str, digests: Sequence[str]) -> str:
    """Return the repository that an image with this name really comes from; empty if the name may be right.

    For each pull, the engine records the repository. An image from a mirror or a file may have been named on purpose;
    one from another repository of the same registry was not.
    """
    own = _repository(reference)
    known = [_repository(digest) for digest in digests]
    if not known or own in known:
        return ""
    host = own.partition("/")[0]
    return next((other for other in known if other.partition("/")[0] == host), "")


def _repository(reference: str) -> str:
    """Return `registry/name` without tag and digest, as the engine expands short names."""
    name, _ = split_tag(reference.partition("@")[0])
    host = registry_of(reference)
    bare = name.removeprefix(f"{host}/").removeprefix("library/")
    return f"{host}/{bare}"


def running_containers() -> tuple[Affected, ...]:
    """Return the running containers; empty if the engine is missing or down. Raises StateUnknown."""
    try:
        result = query_engine("/containers/json")
    except (NoEngine, EngineDown):
        return ()
    if not isinstance(result, list):
        raise StateUnknown("the running containers: Docker's answer is not a list")
    try:
        running = [(str(container["Id"]), container.get("Names")) for container in result]
    except (KeyError, TypeError, AttributeError) as error:
        raise StateUnknown("the running containers: Docker's answer contains one without an ID") from error
    named = [
        Affected(f"container:{id}", str(names[0]).removeprefix("/") if names else id[:12]) for id, names in running
    ]
    return tuple(sorted(named, key=lambda container: container.name))


def open_sdk(timeout: int = 60) -> Any:
    """Return the SDK's low-level client. It negotiates the API version, which is 1.41 in Debian 12.

    Raises StateUnknown.
    """
    import docker
    from docker.errors import DockerException

    try:
        return docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=timeout)
    except DockerException as error:
        raise EngineSilent(f"Docker does not respond: {error}") from error


def engine_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that the SDK raises: refusals, and a daemon that is missing or breaks off its answer.

    A streamed answer is read from urllib3 directly, so interruptions raise urllib3's exceptions.
    """
    from docker.errors import APIError, StreamParseError
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    return APIError, StreamParseError, RequestException, HTTPError, StateUnknown


class Silence(str):
    """The wizard's own message about an engine that did not answer."""


def engine_message(error: Exception) -> str:
    """Return the engine's message for one of `engine_errors`, or `Silence` if it sent none."""
    explanation = getattr(error, "explanation", None)
    if explanation:
        return str(explanation)
    if isinstance(error, StateUnknown):
        return Silence(error) if isinstance(error, EngineSilent) else str(error)
    return Silence(f"Docker does not respond: {error}")


def full_reference(reference: str) -> str:
    """Return a reference with registry and tag: `alpine` → `docker.io/library/alpine:latest`."""
    name, at, digest = reference.partition("@")
    registry, _, path = name.partition("/")
    if not path or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, path = HUB, name if "/" in name else f"library/{name}"
    if not at and ":" not in path:
        path = f"{path}:{LATEST}"
    return f"{registry}/{path}{at}{digest}"


def registry_of(reference: str) -> str:
    """Return the registry host of a reference."""
    return full_reference(reference).partition("/")[0]


def split_tag(reference: str) -> tuple[str, str]:
    """Return name and tag as the engine's API expects them; `latest` by default. A digest takes precedence."""
    name, at, digest = reference.partition("@")
    head, _, tail = name.rpartition(":")
    bare, tag = (head, tail) if head and "/" not in tail else (name, LATEST)
    return bare, digest if at else tag


def explain_registry_error(output: str) -> Explanation:
    """Return the cause of a failed pull or lookup according to its message."""
    hint = find_hint("registry", f"EngineSilent: {output}" if isinstance(output, Silence) else output)
    assert hint is not None, "the last entry matches every message"
    return hint


def with_explanation(subject: str, output: str) -> str:
    """Return a sentence: the subject, the cause, what to do, and the original message."""
    return f"{subject}: {explain_registry_error(output).text} ({' '.join(output.split())[:300]})"
