"""Settings that the service passes to dockerd as flags: the same in daemon.json keeps Docker from starting."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from bai_wizard.core.view import NodeView
from bai_wizard.steps.unit_files import settings

UNIT = "docker.service"
# What units of Debian and of older Docker packages put behind dockerd; see `$DOCKER_OPTS` in their ExecStart.
VARIABLES = {"$DOCKER_OPTS": ("/etc/default/docker", "DOCKER_OPTS"), "$OPTIONS": ("/etc/sysconfig/docker", "OPTIONS")}
# Flag of dockerd → key of daemon.json (dockerd(8)); of those that the wizard may write.
KEYS = {
    "--data-root": "data-root",
    "-g": "data-root",
    "--graph": "data-root",
    "--log-driver": "log-driver",
    "--log-opt": "log-opts",
    "--registry-mirror": "registry-mirrors",
    "--insecure-registry": "insecure-registries",
    "--default-address-pool": "default-address-pools",
    "--feature": "features",
    "--add-runtime": "runtimes",
    "--max-download-attempts": "max-download-attempts",
}


@dataclass(frozen=True)
class Flag:
    """A flag in use: the key it stands for, as it is written, and where."""

    key: str
    flag: str
    path: str


def flags(view: NodeView) -> tuple[Flag, ...]:
    """The flags of dockerd in the unit as systemd puts it together: an empty ExecStart= forgets those before it."""
    found: list[Flag] = []
    for setting in settings(view, UNIT, "Service", "ExecStart"):
        found = [*found, *_in_command(view, setting.value, setting.path)] if setting.value else []
    return tuple(found)


def _in_command(view: NodeView, command: str, path: str) -> list[Flag]:
    found = []
    for word in _words(command):
        if word in VARIABLES:
            source, variable = VARIABLES[word]
            for line in (view.text(source) or "").splitlines():
                name, equals, value = line.partition("=")
                if equals and name.strip() == variable:
                    found += _in_command(view, value.strip().strip("\"'"), source)
            continue
        key = KEYS.get(word.partition("=")[0])
        if key:
            found.append(Flag(key, word.partition("=")[0], path))
    return found


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
