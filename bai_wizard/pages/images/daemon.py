"""What daemon.json, as it is or as it will be, says of images."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.core.errors import CannotTell, NotYetKnown
from bai_wizard.core.view import NodeView

DAEMON_JSON = "/etc/docker/daemon.json"
DATA_ROOT = "/var/lib/docker"


def config(view: NodeView) -> dict[str, Any]:
    """The object in daemon.json; empty where there is none or nobody can read it."""
    try:
        found = json.loads(view.text(DAEMON_JSON) or "{}")
    except (CannotTell, NotYetKnown, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def data_root_of(view: NodeView) -> str:
    """Where Docker keeps its data by its configuration."""
    found = config(view)
    return str(found.get("data-root") or found.get("graph") or DATA_ROOT)


def insecure_of(view: NodeView) -> tuple[str, ...]:
    """Registries that Docker reaches without TLS."""
    found = config(view).get("insecure-registries")
    return tuple(str(one) for one in found) if isinstance(found, list) else ()
