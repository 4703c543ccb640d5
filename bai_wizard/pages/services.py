"""The ids of containers, as an existing configuration of the agent or the storage proxy has them."""

from __future__ import annotations

import tomllib
from typing import Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.view import NodeView

# Where the services look for their configuration, as the manual lays them out (facts: backend.ai, configuration).
PLACES = (
    "{home}/{service}/{service}.toml",
    "{home}/.config/backend.ai/{service}.toml",
    "/etc/backend.ai/{service}.toml",
)


def configuration(view: NodeView, context: Context, service: str) -> Fact[tuple[str, dict[str, Any]]]:
    """Path and content of a service's configuration; Absent where none is there."""
    for pattern in PLACES:
        path = pattern.format(home=context.home, service=service)
        try:
            text = view.text(path)
            if text is not None:
                return Known((path, tomllib.loads(text)))
        except (CannotTell, tomllib.TOMLDecodeError) as error:
            return Unknown(f"{path}: {error}")
    return Absent()


def container_ids(view: NodeView, context: Context) -> Fact[tuple[int, int]]:
    """`kernel-uid` and `kernel-gid` of agent.toml. Absent where there is no file; -1 means the agent's own user."""
    found = configuration(view, context, "agent")
    if not isinstance(found, Known):
        return found
    table = found.value[1].get("container", {})
    try:
        return Known((int(table.get("kernel-uid", -1)), int(table.get("kernel-gid", -1))))
    except (TypeError, ValueError) as error:
        return Unknown(f"{found.value[0]}: {error}")
