"""Why the daemon does not run, or would not start again: its configuration, its packages, its service."""

from __future__ import annotations

import json
import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker.look import ENGINES
from bai_wizard.pages.docker.networks import overlaps, own_networks
from bai_wizard.pages.docker.probe import DATA_ROOT, SNAP, engine_of, installed, places
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.docker_config import DAEMON_JSON
from bai_wizard.steps.service import Service
from bai_wizard.steps.sysctl import LiveSysctl

PAGE = "docker"
UNIT = "docker.service"
GIB = 2**30
# Room for one of Backend.AI's images, packed and unpacked at once.
LEAST_ROOM = 20 * GIB
SYNTAX = Subject("docker-daemon-json-syntax", PAGE, "daemon.json can be read")
FLAGS = Subject("docker-flag-conflict", PAGE, "No setting stands in the unit and in daemon.json")
RUNNING = Subject("docker-not-running", PAGE, "Docker runs")
IS_SNAP = Subject("docker-snap", PAGE, "Docker is no snap")
PACKAGES = Subject("docker-conflict-packages", PAGE, "Docker's packages come from one source")
FORWARD = Subject("docker-ip-forward", PAGE, "Packets of containers are forwarded")
OVERLAP = Subject("docker-bridge-overlap", PAGE, "Docker's networks leave the site's alone")
ROOM = Subject("disk-full", PAGE, "There is room for images")
# What a unit may give as a flag, by daemon.json's name for it.
KEYS = {
    "-H": "hosts", "--host": "hosts", "--data-root": "data-root", "-g": "data-root", "--debug": "debug",
    "-D": "debug", "--dns": "dns", "--log-driver": "log-driver", "--insecure-registry": "insecure-registries",
    "--registry-mirror": "registry-mirrors", "--storage-driver": "storage-driver", "-s": "storage-driver",
    "--bip": "bip", "--mtu": "mtu", "--live-restore": "live-restore",
}  # fmt: skip


def _is_here(machine: Machine) -> bool:
    return any(name in ENGINES for name, _ in installed(machine))


def syntax(machine: Machine, context: Context) -> Finding:
    """Place of the first fault, and keys that stand twice, of which the last one would win silently."""
    text = machine.text(DAEMON_JSON)
    if text is None:
        return SYNTAX.not_applicable(f"there is no {DAEMON_JSON}")
    twice: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        twice.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        shown = text.split("\n")[error.lineno - 1].strip()
        evidence = Evidence(f"line {error.lineno}", DAEMON_JSON, shown, error.msg)
    else:
        if isinstance(value, dict) and not twice:
            return SYNTAX.ok()
        found = f"{', '.join(twice)} twice" if twice else f"a {type(value).__name__}"
        evidence = Evidence("content", DAEMON_JSON, found, "one object, each key once")
    return SYNTAX.problem(
        "daemon.json cannot be read: Docker does not start with it",
        (evidence,),
        cause="An edit by hand, or two programs that each wrote a part.",
        guidance=f"Mend that line, check with dockerd --validate --config-file={DAEMON_JSON}, then"
        " systemctl reset-failed docker; systemctl start docker.",
        risk="Do not put a small file in its place: it may hold the data root, mirrors and runtimes.",
    )


def flags(machine: Machine, context: Context) -> Finding:
    """A key given twice keeps the daemon from starting, even with the same value."""
    try:
        config = json.loads(machine.text(DAEMON_JSON) or "{}")
    except json.JSONDecodeError:
        return FLAGS.cannot_tell(f"{DAEMON_JSON} cannot be parsed")
    if not isinstance(config, dict) or not config or not _is_here(machine):
        return FLAGS.not_applicable(f"{DAEMON_JSON} sets nothing")
    answer = machine.look(("systemctl", "show", UNIT, "--property=ExecStart", "--value"))
    words = {word.partition("=")[0] for word in re.split(r"[\s;]+", answer.out)}
    both = [(KEYS[word], word) for word in sorted(words) if word in KEYS and KEYS[word] in config]
    if not both:
        return FLAGS.ok()
    where = f"{UNIT} and {DAEMON_JSON}"
    return FLAGS.problem(
        "A setting stands in Docker's unit and in daemon.json: Docker does not start",
        [Evidence(key, where, f"{word} and {config[key]!r}", "in one of them") for key, word in both],
        cause="The packages start dockerd with flags of their own.",
        guidance=f"Take the key out of {DAEMON_JSON}, or write a drop-in for {UNIT} that starts dockerd without it.",
        risk="A TCP address without TLS gives root to the whole network.",
    )


def running(machine: Machine, context: Context) -> Finding:
    """The unit's own word, with the last error of its journal; and whether it comes back by itself."""
    unit = machine.unit(UNIT) if _is_here(machine) else None
    if unit is None:
        return RUNNING.not_applicable("Docker is not installed by packages")
    masked = unit.enabled.startswith("masked")
    if unit.active in ("active", "reloading", "activating"):
        if unit.enabled != "disabled" and not masked:
            return RUNNING.ok()
        return RUNNING.warning(
            "Docker runs, and will not after the next boot",
            (Evidence(UNIT, "systemctl is-enabled", unit.enabled, "enabled"),),
            cause="Somebody started it by hand after it was switched off. Its socket alone starts it at the first "
            "question only: containers that shall come back do not.",
            guidance="systemctl unmask docker, if nobody minds." if masked else "The remedy switches it on.",
            remedy=() if masked else (Service(id="docker.start", unit=UNIT),),
        )
    said = machine.look(("journalctl", "-u", UNIT, "-b", "-n", "50", "--no-pager", "-o", "cat")).out
    errors = [line for line in said.split("\n") if "level=fatal" in line or "failed to start daemon" in line]
    evidence = [Evidence(UNIT, "systemctl", f"{unit.active}, {unit.enabled}", "active")]
    evidence += [Evidence("last error", "journalctl -u docker", line[:300], "") for line in errors[-1:]]
    return RUNNING.problem(
        "Docker does not run",
        evidence,
        cause="Somebody masked it." if masked else "It was stopped, or it failed too often and systemd gave up.",
        guidance="systemctl unmask docker, if nobody minds." if masked else "The remedy starts it.",
        remedy=() if masked else (Service(id="docker.start", unit=UNIT),),
    )


def is_snap(machine: Machine, context: Context) -> Finding:
    """A snap sees neither /vfroot nor NVIDIA's libraries."""
    if not any(name.startswith("docker_") for name in machine.names(SNAP)):
        return IS_SNAP.ok()
    return IS_SNAP.problem(
        "Docker is installed as a snap",
        (Evidence("docker", SNAP, "a snap", "a package"),),
        cause="It was chosen in the installer of Ubuntu Server.",
        guidance="Save what matters from its images and volumes, snap remove docker, then apply the docker page.",
        risk="Stops its containers; their data stay below /var/snap/docker.",
    )


def packages(machine: Machine, context: Context) -> Finding:
    """Two engines, or the distribution's containerd beside Docker's own packages."""
    found = dict(installed(machine))
    mixed = [name for name in ENGINES if name in found]
    if "docker-ce" in found:
        mixed += [name for name in ("containerd", "runc", "docker-compose-v2") if name in found]
    if len(mixed) < 2:
        return PACKAGES.ok()
    return PACKAGES.problem(
        "Packages of two sources contain the same files",
        [Evidence(name, "dpkg", found[name], "packages of one source") for name in mixed],
        cause="An earlier install from another source.",
        guidance="Decide for one: [docker] source; remove_conflicts = true lets the page remove the others.",
        risk="Removing an engine stops all containers. Images and volumes stay.",
    )


def forward(machine: Machine, context: Context) -> Finding:
    """Hardening switches it off; Docker switches it on at its start only."""
    key = "net.ipv4.ip_forward"
    now = machine.sysctl(key)
    unit = machine.unit(UNIT) if _is_here(machine) else None
    if now is None or unit is None or unit.active != "active":
        return FORWARD.not_applicable("Docker does not run")
    if now.value == "1":
        return FORWARD.ok()
    return FORWARD.problem(
        "Containers cannot reach the network: forwarding is off",
        (Evidence(key, "/proc/sys", now.value, "1"),),
        cause="A file of hardening sets it to 0, at boot or whenever it is applied again.",
        guidance=f"grep -r ip_forward /etc/sysctl.conf /etc/sysctl.d names it. Set {key} = 1 under [tuning] sysctl.",
        remedy=(LiveSysctl(id="docker.ip-forward", key=key, value="1", least="1"),),
    )


def overlap(machine: Machine, context: Context) -> Finding:
    """Bridges of Docker against the routes of the node."""
    networks = machine.engine("/networks")
    if networks is None:
        return OVERLAP.not_applicable("Docker does not run")
    routes = own_networks(machine)
    if not isinstance(routes, Known):
        raise CannotTell(routes.reason if isinstance(routes, Unknown) else "the node's routes cannot be read")
    ranges = {
        str(part["Subnet"]): str(network.get("Name"))
        for network in networks
        for part in (network.get("IPAM") or {}).get("Config") or []
        if part.get("Subnet") and network.get("Driver") == "bridge"
    }
    met = overlaps(ranges, routes.value)
    if not met:
        return OVERLAP.ok()
    return OVERLAP.problem(
        "A network of Docker hides a part of the site's",
        [Evidence(f"network {ranges[one]}", "docker network ls", one, f"apart from {other}") for one, other in met],
        cause="Docker takes 172.17.0.0/16 and the following ones unless it is told otherwise.",
        guidance="Name free ranges under [docker] address_pools, apply the page, make the networks anew.",
        risk="Docker restarts, and networks of projects have to be made again.",
    )


def room(machine: Machine, context: Context) -> Finding:
    """Room where layers lie packed and unpacked; containerd's own store counts too."""
    if not _is_here(machine):
        return ROOM.not_applicable("Docker is not installed by packages")
    engine = engine_of(machine)
    data_root = engine.value.data_root if isinstance(engine, Known) and engine.value.data_root else DATA_ROOT
    rooms = [(path, machine.free_bytes(path)) for path in places(machine, engine, data_root)]
    full = [(path, free) for path, free in rooms if free < LEAST_ROOM]
    if not full:
        return ROOM.ok()
    return ROOM.warning(
        "There is little room for images",
        [Evidence(path, "statvfs", f"{free // GIB} GiB free", f"{LEAST_ROOM // GIB} GiB") for path, free in full],
        cause="Images are packed and unpacked at once; old ones and build caches stay until somebody removes them.",
        guidance="docker system df -v shows what takes the room; docker image prune removes images without a name."
        " A larger disk: [docker] data_root.",
        risk="Moving the data root stops all containers.",
    )


CHECKS = (
    SYNTAX.check(syntax, root_cause=True),
    FLAGS.check(flags, root_cause=True),
    RUNNING.check(running, root_cause=True),
    IS_SNAP.check(is_snap),
    PACKAGES.check(packages, needs=("apt-dpkg-interrupted",)),
    FORWARD.check(forward, needs=(RUNNING.id,)),
    OVERLAP.check(overlap, needs=(RUNNING.id,)),
    ROOM.check(room, needs=("node.disk-space",)),
)
