"""What runs in the containers that an interruption would affect: Backend.AI sessions with their owners, and others.

The labels are those of Backend.AI's agent (LabelName in ai/backend/common/docker.py, and the container that
ai/backend/agent/docker/agent.py creates). The manager sets the variables (sokovan/scheduler/launcher/launcher.py);
the agent's CUDA plug-in sets the GPUs. All read in the wheels of 26.4.16 on 2026-11-29.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from bai_wizard.core.consent import Affected, Disruptions, Interrupt, UserSession
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine

SESSION, OWNER, PROJECT = "ai.backend.session-id", "ai.backend.owner-user-id", "ai.backend.owner-project-id"
SESSION_NAME, OWNER_MAIL = "BACKENDAI_SESSION_NAME", "BACKENDAI_USER_EMAIL"
VISIBLE_GPUS = "NVIDIA_VISIBLE_DEVICES"
CONTAINER = "container:"
# A node runs tens of containers. Beyond this, the rest is listed by name only.
MOST = 200


def with_details(
    machine: Machine, disruptions: Disruptions, *, strict: bool = False
) -> dict[Interrupt, tuple[Affected, ...]]:
    """The same objects with what their containers tell; a container that cannot be inspected only has a name.

    `strict`: every container has to be inspected. Raises StateUnknown for one that cannot be.
    """
    known: dict[str, Mapping[str, Any]] = {}
    ids = dict.fromkeys(item.id for affected in disruptions.values() for item in affected)
    for name in [name for name in ids if name.startswith(CONTAINER)][: None if strict else MOST]:
        try:
            body = machine.engine(f"/containers/{name.removeprefix(CONTAINER)}/json")
        except StateUnknown:
            if strict:
                raise
            break
        if isinstance(body, dict):
            known[name] = body
        elif strict:
            raise StateUnknown(f"{name} cannot be inspected")
    return {
        what: tuple(_detailed(item, known[item.id]) if item.id in known else item for item in affected)
        for what, affected in disruptions.items()
    }


def _detailed(item: Affected, body: Mapping[str, Any]) -> Affected:
    config, host = _table(body.get("Config")), _table(body.get("HostConfig"))
    labels, variables = _table(config.get("Labels")), _variables(config.get("Env"))
    session = None
    if identifier := labels.get(SESSION):
        owner = variables.get(OWNER_MAIL) or str(labels.get(OWNER) or "")
        session = UserSession(str(identifier), variables.get(SESSION_NAME, ""), owner, str(labels.get(PROJECT) or ""))
    started = _seconds(_table(body.get("State")).get("StartedAt"))
    image = str(config.get("Image") or "")
    return replace(item, session=session, gpus=_gpus(host, variables), since=started, image=image)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _variables(value: Any) -> dict[str, str]:
    """The variables of a container that are used here; the others may be secrets."""
    wanted = (SESSION_NAME, OWNER_MAIL, VISIBLE_GPUS)
    pairs = (text.partition("=") for text in _list(value) if isinstance(text, str))
    return {name: text for name, _, text in pairs if name in wanted}


def _gpus(host: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[str, ...]:
    """Numbers or UUIDs of the GPUs that the container may use, or `all`."""
    requests = [_table(request) for request in _list(host.get("DeviceRequests"))]
    gpus = [str(gpu) for request in requests for gpu in _list(request.get("DeviceIDs"))]
    if any(request.get("Count") == -1 for request in requests):
        gpus.append("all")
    if host.get("Runtime") == "nvidia":
        gpus += [gpu for gpu in variables.get(VISIBLE_GPUS, "").split(",") if gpu not in ("", "void", "none")]
    return tuple(dict.fromkeys(gpus))


def _seconds(text: Any) -> float:
    """Seconds since 1970 of a time of Docker's, such as 2026-11-29T01:02:03.123456789Z; 0 if it is missing."""
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0.0
