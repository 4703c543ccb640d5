"""The container engine of this node: what others of the wizard ask it, each with a deadline."""

from __future__ import annotations

from typing import Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Image
from bai_wizard.machine.engine_socket import EngineDown, EngineSocket, NoEngine, message_of

# Docker Hub's name in references that leave it out, and the tag that is meant where none is written.
HUB = "docker.io"
LATEST = "latest"
# Oldest API that the engine packages of the supported systems speak is 1.41 (Debian 12); the SDK negotiates.
SDK_TIMEOUT = 60


def ask(path: str, deadline: float) -> Any:
    """The answer to `GET path`; None for 404 and where there is no engine. Raises CannotTell."""
    try:
        status, body = EngineSocket(deadline=deadline).get(path)
    except NoEngine:
        return None
    if status == 404:
        return None
    if status >= 400:
        raise CannotTell(f"Docker answered {status} to {path}: {message_of(body)}")
    return body


def image_state(reference: str) -> Image | None:
    """An image by reference; None where the engine has none, or where there is no engine. Raises CannotTell."""
    try:
        found = EngineSocket().image(reference)
    except NoEngine:
        return None
    if found is None:
        return None
    return Image(str(found.get("Id", "")), int(found.get("Size") or 0))


def running_containers() -> tuple[str, ...]:
    """Names of the containers that run now; none where there is no engine or it is down. Raises CannotTell."""
    try:
        found = EngineSocket().containers()
    except (NoEngine, EngineDown):
        return ()
    names = [str((container.get("Names") or [container.get("Id", "")[:12]])[0]) for container in found]
    return tuple(sorted(name.removeprefix("/") for name in names))


def open_sdk(timeout: int = SDK_TIMEOUT) -> Any:
    """The SDK's low-level client, the version of the API agreed with the engine. Raises CannotTell."""
    import docker
    from docker.errors import DockerException

    try:
        return docker.APIClient(base_url="unix:///var/run/docker.sock", version="auto", timeout=timeout)
    except DockerException as error:
        raise CannotTell(f"Docker does not answer: {error}") from error


def engine_errors() -> tuple[type[Exception], ...]:
    """What the SDK raises: refusals, and a daemon that is not there or breaks off in the middle of its answer.

    The stream of an answer is read past requests, so that what breaks it comes from urllib3.
    """
    from docker.errors import APIError, StreamParseError
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    return APIError, StreamParseError, RequestException, HTTPError, CannotTell


def words(error: Exception) -> str:
    """What the engine said, or that it said nothing, of one of `engine_errors`."""
    explanation = getattr(error, "explanation", None)
    if explanation or isinstance(error, CannotTell):
        return str(explanation or error)
    return f"Docker does not answer: {error}"


def full_reference(reference: str) -> str:
    """A reference with registry and tag written out: `alpine` → `docker.io/library/alpine:latest`."""
    name, at, digest = reference.partition("@")
    registry, _, path = name.partition("/")
    if not path or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, path = HUB, name if "/" in name else f"library/{name}"
    if not at and ":" not in path:
        path = f"{path}:{LATEST}"
    return f"{registry}/{path}{at}{digest}"


def registry_of(reference: str) -> str:
    """The registry's host of a reference."""
    return full_reference(reference).partition("/")[0]


def split_tag(reference: str) -> tuple[str, str]:
    """Name and tag as the engine's API takes them apart; `latest` where none is written. A digest goes before."""
    name, at, digest = reference.partition("@")
    head, _, tail = name.rpartition(":")
    bare, tag = (head, tail) if head and "/" not in tail else (name, LATEST)
    return bare, digest if at else tag
