"""What the node says of Backend.AI's services: their configuration, the ids of containers, the ids they run with."""

from __future__ import annotations

import tomllib
from typing import Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.view import NodeView
from bai_wizard.steps.unit_files import settings, unit_file

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


def service_ids(view: NodeView, unit: str) -> tuple[int, int] | None:
    """The ids that a service runs with; None where the node has none of that name, or nobody can tell."""
    if unit_file(view, unit) is None:
        return None
    user, group = (_last(view, unit, name) for name in ("User", "Group"))
    account = view.account(user or "root")
    uid = int(user) if user.isdecimal() else account.uid if account else None if user else 0
    of_group = view.group(group) if group else None
    by_user = account.gid if account else None if user else 0
    gid = int(group) if group.isdecimal() else of_group.gid if of_group else None if group else by_user
    return None if uid is None or gid is None else (uid, gid)


def _last(view: NodeView, unit: str, name: str) -> str:
    given = settings(view, unit, "Service", name)
    return given[-1].value if given else ""


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
