"""Which of the places that grow share a disk with the system."""

from __future__ import annotations

import json

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.services import configuration
from bai_wizard.pages.subject import Subject

GIB = 2**30
# A root disk below this that also holds Docker's images, or what sessions write, fills within weeks.
SMALL_ROOT = 64 * GIB
DISKS = Subject("node.disk-layout", "node", "Images, sessions and system have room beside each other", owner="site")


def disks(machine: Machine, context: Context) -> Finding:
    """Docker's data and the sessions' scratch directories, wherever they were put, against the root disk."""
    if machine.in_container():
        return DISKS.not_applicable("a container has its host's disks")
    growing = {"Docker's images": _data_root(machine), "what sessions write": _scratch_root(machine, context)}
    places = dict.fromkeys(_there(machine, path) for path in ("/", "/var", "/vfroot", *growing.values()) if path)
    answer = machine.look(("df", "--block-size=1", "--output=target,size,avail", *places))
    evidence, mounts = [], {}
    for path, line in zip(places, answer.out.strip().split("\n")[1:], strict=False):
        words = line.split()
        if len(words) == 3 and words[1].isdecimal():
            mounts[path] = (words[0], int(words[1]))
            room = f"on {words[0]}, {int(words[1]) // GIB} GiB, {int(words[2]) // GIB} GiB free"
            evidence.append(Evidence(path, "df", room, ""))
    narrow = [what for what, path in growing.items() if path and _is_narrow(mounts.get(_there(machine, path)))]
    if not narrow:
        return DISKS.ok(*evidence)
    return DISKS.warning(
        f"{' and '.join(narrow)} share a small disk with the system".capitalize(),
        evidence,
        cause="They have no file system of their own.",
        guidance="Give them a disk: mount it, and name it as [docker] data_root, or as scratch-root in agent.toml.",
        risk="A full root disk stops everything on the node.",
    )


def _is_narrow(mount: tuple[str, int] | None) -> bool:
    return mount is not None and mount[0] == "/" and mount[1] < SMALL_ROOT


def _there(machine: Machine, path: str) -> str:
    """The directory, or the nearest one above it that is there already."""
    while path != "/" and machine.entry(path) is None:
        path = path.rpartition("/")[0] or "/"
    return path


def _data_root(machine: Machine) -> str:
    try:
        found = json.loads(machine.text("/etc/docker/daemon.json") or "{}").get("data-root")
    except (ValueError, AttributeError):
        found = None
    return found if isinstance(found, str) and found.startswith("/") else "/var/lib/docker"


def _scratch_root(machine: Machine, context: Context) -> str:
    """Where the agent lets sessions write; empty where nothing says so."""
    agent = configuration(machine, context, "agent")
    found = agent.value[1].get("container", {}).get("scratch-root") if isinstance(agent, Known) else None
    return found if isinstance(found, str) and found.startswith("/") else ""


CHECKS = (DISKS.check(disks),)
