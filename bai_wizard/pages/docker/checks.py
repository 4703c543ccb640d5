"""The checks of the Docker page: the daemon and the engine."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known, Unknown
from bai_wizard.core.parse import Malformed, json_object, whole
from bai_wizard.core.state import Unit
from bai_wizard.pages.check import Outcome, check, checks_in, not_applicable, ok, problem, unknown, warning
from bai_wizard.pages.docker import check_config, check_names, check_system
from bai_wizard.pages.docker.check_system import require_running
from bai_wizard.pages.docker.packages import GROUP, DockerUsers, incompatible
from bai_wizard.pages.docker.probe import (
    DATA_ROOT,
    ENGINES,
    SNAP,
    engine_of,
    has_engine,
    installed,
    local_images,
    names_or_none,
    overlaps,
    own_networks,
    paths,
    require_engine,
    require_info,
    subnets_of,
)
from bai_wizard.pages.node_state import is_ours, processes_of
from bai_wizard.steps.docker import DAEMON_JSON, engine_major
from bai_wizard.steps.docker_flags import flags, set_twice
from bai_wizard.steps.kernel import LiveSysctl
from bai_wizard.steps.services import Service

UNIT = "docker.service"
# Units that docker.service needs.
REQUIRED = ("docker.socket", "containerd.service")
RUNNING = ("active", "reloading", "activating")
# An engine that systemd restarted this often and that has run for less than this many seconds is in a restart loop.
MANY_RESTARTS = 3
STABLE_AFTER = 300
START_LIMIT = 120
GIB = 2**30
# Enough for one of Backend.AI's images, compressed and unpacked at the same time.
MIN_ROOM = 20 * GIB
NOT_INSTALLED = "Docker is not installed from packages"
NOT_RUNNING = "Docker is not running"


@check("docker.daemon-json-syntax", root_cause=True)
def syntax(machine: Machine, context: Context) -> Outcome:
    """daemon.json is one JSON object without duplicate keys, of which Docker would silently use the last."""
    text = machine.text(DAEMON_JSON)
    if text is None:
        return not_applicable(f"{DAEMON_JSON} does not exist")
    duplicates: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        duplicates.extend(sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1))
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()
        return problem(Evidence(f"line {error.lineno}", DAEMON_JSON, line[:200], error.msg))
    except (ValueError, RecursionError) as error:
        expected = "numbers and nesting that Docker can read"
        return problem(Evidence("content", DAEMON_JSON, type(error).__name__, expected))
    if isinstance(value, dict) and not duplicates:
        return ok()
    current = f"duplicate keys: {', '.join(duplicates)}" if duplicates else f"a {type(value).__name__}"
    return problem(Evidence("content", DAEMON_JSON, current, "one object without duplicate keys"))


@check("docker.flag-conflict", root_cause=True)
def flag_conflict(machine: Machine, context: Context) -> Outcome:
    """No setting is given twice: dockerd refuses that, even if both values are the same."""
    if not has_engine(machine):
        return not_applicable(NOT_INSTALLED)
    given = flags(machine)
    path = next((flag.value for flag in given if flag.key == "config-file"), DAEMON_JSON)
    try:
        config = json_object(machine.text_behind_links(path) or "{}")
    except Malformed:
        return unknown(f"{path} cannot be parsed")
    twice = set_twice(given, config)
    files = ", ".join(dict.fromkeys(flag.path for flag in twice))
    return problem(
        *(
            Evidence(each.key, f"{each.path} and {path}", f"{each.flag} and a key", "in one of them")
            for each in twice
        ),
        files=files,
        path=path,
        key=", ".join(dict.fromkeys(flag.key for flag in twice)),
    )


@check("docker.not-running", root_cause=True)
def running(machine: Machine, context: Context) -> Outcome:
    """The unit is active, enabled and not in a restart loop; otherwise, the last error in its journal is shown."""
    unit = machine.unit(UNIT) if has_engine(machine) else None
    if unit is None:
        return not_applicable(NOT_INSTALLED)
    state = _properties(machine) if unit.active in RUNNING else {}
    restarts, waits = _restarts(machine, unit, state), _waits(machine, unit, state)
    required = [(name, other) for name in REQUIRED if (other := machine.unit(name)) is not None]
    units = [name for name, other in ((UNIT, unit), *required) if other.enabled.startswith("masked")]
    if unit.active in RUNNING and not restarts and not waits:
        masked = [name for name in units if name == UNIT or name in state.get("Requires", "").split()]
        if unit.enabled != "disabled" and not masked:
            return ok()
        shown = [Evidence(name, "systemctl is-enabled", "masked", "enabled") for name in masked]
        evidence = shown or [Evidence(UNIT, "systemctl is-enabled", unit.enabled, "enabled")]
        remedy = () if masked else (Service(id="docker.start", unit=UNIT),)
        variant = "not-at-boot-masked" if masked else "not-at-boot"
        return warning(*evidence, variant=variant, remedy=remedy, **({"units": " ".join(masked)} if masked else {}))
    no_group = machine.group(GROUP) is None
    variant = "masked" if units else "no-group" if no_group else "loop" if restarts else "starting" if waits else ""
    counted = f", {restarts} restarts" if restarts else f", for {waits} s" if waits else ""
    return problem(
        Evidence(UNIT, "systemctl", f"{unit.active}, {unit.enabled}{counted}", "active"),
        *(Evidence(name, "systemctl", f"{other.active}, {other.enabled}", "active") for name, other in required),
        *((Evidence("group docker", "/etc/group", "missing", "present"),) if no_group else ()),
        *(Evidence("last error", "journalctl -u docker", line, "") for line in _last_error(machine)),
        variant=variant,
        remedy=() if variant else (Service(id="docker.start", unit=UNIT),),
        **({"units": " ".join(units)} if units else {}),
    )


def _properties(machine: Machine) -> dict[str, str]:
    """The properties of the engine's unit; empty if systemd does not answer, which another check reports."""
    names = "SubState,NRestarts,ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic,Requires"
    try:
        answer = machine.query(("systemctl", "show", UNIT, f"--property={names}"))
    except StateUnknown:
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in answer.out.splitlines())}


def _age(machine: Machine, timestamp: str) -> int:
    """Seconds since a monotonic timestamp of systemd."""
    uptime = (machine.kernel_text("/proc/uptime") or "0").partition(".")[0]
    return whole(uptime) - whole(timestamp or 0) // 10**6


def _restarts(machine: Machine, unit: Unit, state: Mapping[str, str]) -> int:
    """How often systemd has restarted an engine that does not stay up; 0 if it stays up."""
    count = whole(state.get("NRestarts") or 0)
    if state.get("SubState", "").startswith("auto-restart"):
        return max(count, 1)
    if unit.active == "activating":
        return count
    age = _age(machine, state.get("ActiveEnterTimestampMonotonic", ""))
    return count if count >= MANY_RESTARTS and age < STABLE_AFTER else 0


def _waits(machine: Machine, unit: Unit, state: Mapping[str, str]) -> int:
    """How many seconds the engine has been starting, if that is too long: the unit has no timeout of its own."""
    begun = state.get("InactiveExitTimestampMonotonic", "")
    age = _age(machine, begun) if unit.active == "activating" and begun else 0
    return age if age >= START_LIMIT else 0


# Fatal messages of dockerd, which do not always have a level; and those of systemd, if dockerd logs none.
_FATAL = re.compile(r"level=fatal|^failed to|failed to start|unable to configure|panic:|^Error|^invalid")
_FATAL_OF_SYSTEMD = re.compile(r"is masked|status=\d+/[A-Z]+")


def _last_error(machine: Machine) -> tuple[str, ...]:
    """The last line of Docker's journal with a reason, or else its last line."""
    lines = machine.query(("journalctl", "-u", UNIT, "-b", "-n", "50", "--no-pager", "-o", "cat")).out.splitlines()
    said = [line[:300] for line in lines if line.strip() and not line.startswith("-- ")]
    reasons = ([line for line in said if pattern.search(line)] for pattern in (_FATAL, _FATAL_OF_SYSTEMD))
    return tuple(next(filter(None, reasons), said)[-1:])


@check("docker.snap")
def is_snap(machine: Machine, context: Context) -> Outcome:
    """Docker is not a snap, which can access neither /vfroot nor NVIDIA's libraries."""
    is_there = any(name.startswith("docker_") for name in machine.names(SNAP))
    return problem(Evidence("docker", SNAP, "a snap", "a package")) if is_there else ok()


@check("docker.conflict-packages", needs=("node.dpkg-interrupted",))
def one_source(machine: Machine, context: Context) -> Outcome:
    """Neither two engines are installed, nor the distribution's containerd besides Docker's own packages."""
    versions = dict(installed(machine))
    mixed = [name for name in ENGINES if name in versions]
    if "docker-ce" in versions:
        mixed += [name for name in ("containerd", "runc", "docker-compose-v2") if name in versions]
    if len(mixed) < 2:
        return ok()
    return problem(*(Evidence(name, "dpkg", versions[name], "packages from one source") for name in mixed))


@check("docker.ip-forward", needs=("docker.not-running",))
def forward(machine: Machine, context: Context) -> Outcome:
    """IP forwarding is on. Hardening turns it off; Docker turns it on only when it starts."""
    key = "net.ipv4.ip_forward"
    current = machine.sysctl(key)
    if current is None or not has_engine(machine):
        return not_applicable(NOT_RUNNING)
    require_running(machine)
    if current.value == "1":
        return ok()
    remedy = (LiveSysctl(id="docker.ip-forward", key=key, value="1", least="1"),)
    return problem(Evidence(key, "/proc/sys", current.value, "1"), remedy=remedy)


@check("docker.bridge-overlap", needs=("docker.not-running",))
def overlap(machine: Machine, context: Context) -> Outcome:
    """Docker's bridge networks do not overlap the networks that this node has routes to."""
    networks = machine.engine("/networks")
    if networks is None:
        return not_applicable(NOT_RUNNING)
    routes = own_networks(machine)
    if not isinstance(routes, Known):
        raise StateUnknown(routes.reason if isinstance(routes, Unknown) else "the node's routes cannot be read")
    bridges = [network for network in networks if network.get("Driver") == "bridge"]
    ranges = {subnet: str(network.get("Name")) for network in bridges for subnet in subnets_of(network)}
    pairs = overlaps(ranges, routes.value)
    return problem(
        *(Evidence(f"network {ranges[own]}", "docker network ls", own, f"not {site}") for own, site in pairs)
    )


@check("docker.disk-full", needs=("node.disk-space",))
def room(machine: Machine, context: Context) -> Outcome:
    """The file systems that hold images have free space, that of containerd's own store included."""
    require_engine(machine)
    engine = engine_of(machine)
    data_root = engine.value.data_root if isinstance(engine, Known) and engine.value.data_root else DATA_ROOT
    rooms = [(path, machine.free_bytes(path)) for path in paths(machine, engine, data_root)]
    full = [(path, free) for path, free in rooms if free < MIN_ROOM]
    expected = f"{MIN_ROOM // GIB} GiB"
    return warning(*(Evidence(path, "statvfs", f"{free // GIB} GiB free", expected) for path, free in full))


PLUGIN = "docker-compose"
# Both packages of a pair contain the same file (docker-ce-packaging #1339).
PAIRS = (("docker-compose-v2", "docker-compose-plugin"), ("docker-buildx", "docker-buildx-plugin"))
# Files that set the environment of programs: of logins, of all shells, of services.
FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc")
HOMES = (".profile", ".bash_profile", ".bashrc")
SNIPPETS = ("/etc/profile.d", "/etc/environment.d", "/etc/default")
UNITS = "/etc/systemd/system"
PINNED = re.compile(r"^[^#\n]*\bDOCKER_API_VERSION=[\"']?(\d+\.\d+)", re.MULTILINE)
# The newest API version that docker-compose 1.x, written in Python, supports (docker/compose 1.29, const.py).
COMPOSE_1 = (1, 38)


@check("docker.compose-conflict")
def compose_twice(machine: Machine, context: Context) -> Outcome:
    both = [pair for pair in PAIRS if all(machine.package(name) is not None for name in pair)]
    evidence = (Evidence(f"package {theirs}", "dpkg", "installed", f"only {ours}") for theirs, ours in both)
    return problem(*evidence, packages=" ".join(theirs for theirs, _ in both))


@check("docker.engine-release", needs=("docker.not-running",))
def release(machine: Machine, context: Context) -> Outcome:
    limit = incompatible(context.backend_ai)
    if limit is None:
        known = "no incompatibility is known for this release"
        return not_applicable(known if context.backend_ai else "backend_ai in [node] is not set")
    version = str(require_info(machine, "/version").get("Version", ""))
    evidence = Evidence("engine", "docker version", version, f"below {limit.engine}")
    if engine_major(version) < limit.engine:
        return ok(evidence)
    images = local_images(machine)
    if not images:
        return not_applicable("every Backend.AI image on this node was pulled from a registry")
    return warning(
        evidence,
        Evidence("image that was not pulled", "docker images", images[0], "images of a registry"),
        version=version,
        release=context.backend_ai,
        limit=limit.engine,
        fixed_in=" or ".join(limit.fixed_in),
        what=limit.what,
        source=limit.source,
    )


@check("docker.image-store", needs=("docker.not-running",))
def image_store(machine: Machine, context: Context) -> Outcome:
    """Images are in Docker's own store, whose IDs agents compare with the registry's."""
    engine = engine_of(machine)
    if not isinstance(engine, Known) or engine.value.product != "docker":
        return not_applicable(NOT_RUNNING)
    if not engine.value.uses_containerd:
        return ok()
    evidence = Evidence("storage driver", "docker info", engine.value.driver, "overlay2")
    return warning(evidence, images=engine.value.images)


@check("docker.compose", cost="expensive")
def compose(machine: Machine, context: Context) -> Outcome:
    require_engine(machine)
    answer = machine.query(("docker", "compose", "version"), deadline=3.0)
    if answer.code == 0:
        return ok(Evidence("docker compose version", "command", answer.out.strip(), "a version"))
    return problem(Evidence("docker compose version", "command", answer.err.strip()[:200], "a version"))


@check("docker.compose-shadowed")
def shadowed(machine: Machine, context: Context) -> Outcome:
    above = (f"{context.home}/.docker", "/root/.docker", "/usr/local/lib/docker")
    directories = [f"{path}/cli-plugins" for path in above]
    copies = [f"{path}/{PLUGIN}" for path in directories if PLUGIN in names_or_none(machine, path)]
    evidence = (Evidence("plugin", path, "present", "only that of the package") for path in copies)
    return warning(*evidence, path=next(iter(copies), ""))


@check("docker.users")
def member(machine: Machine, context: Context) -> Outcome:
    require_engine(machine)
    account = context.account
    if machine.account(account) is None:
        return not_applicable(f"the account {account} does not exist yet")
    if machine.is_member(account, GROUP):
        return ok()
    evidence = Evidence("group docker", "/etc/group", f"without {account}", f"with {account}")
    return problem(evidence, account=account, remedy=(DockerUsers(id="docker.users", accounts=(account,)),))


@check("docker.group-stale")
def stale(machine: Machine, context: Context) -> Outcome:
    """The account's processes have the docker group, not only its entry in /etc/group."""
    account = context.account
    group = machine.group(GROUP)
    if group is None or machine.account(account) is None or not machine.is_member(account, GROUP):
        return not_applicable("the account is not in the docker group")
    evidence = []
    for pid, status in processes_of(machine, account):
        groups = status.get("Groups", "").split()
        # systemd's helper process for PAM has no groups at all.
        if groups and str(group.gid) not in groups and not is_ours(machine, pid):
            name = status.get("Name", "")
            evidence.append(Evidence(f"process {pid}", name, "without group docker", "with it"))
    return warning(*evidence[:5], account=account)


@check("docker.live-restore-swarm", needs=("docker.not-running",))
def swarm(machine: Machine, context: Context) -> Outcome:
    """live-restore and swarm mode are not both on: Docker would not start again."""
    info = require_info(machine)
    state = (info.get("Swarm") or {}).get("LocalNodeState", "inactive")
    if not info.get("LiveRestoreEnabled") or state in ("", "inactive"):
        return ok()
    return problem(Evidence("docker info", "engine", f"live-restore on, swarm {state}", "only one of them"))


@check("docker.stop-apparmor", needs=("docker.not-running",))
def apparmor(machine: Machine, context: Context) -> Outcome:
    """AppArmor has not denied stopping a container since boot."""
    require_info(machine)
    denied = _journal(machine, "cannot stop container.*permission denied|cannot kill container.*permission denied")
    evidence = (
        Evidence("journal of docker", "journalctl -u docker", line[:200], "no denials") for line in denied[-1:]
    )
    return problem(*evidence)


@check("docker.api-too-old", needs=("docker.not-running",))
def api(machine: Machine, context: Context) -> Outcome:
    """No file on this node pins an API version older than the oldest that Docker accepts.

    Docker logs refused clients in its journal only at debug level.
    """
    oldest = str(require_info(machine, "/version").get("MinAPIVersion", ""))
    evidence = [
        Evidence(what, path, used, f"{oldest} or newer")
        for what, path, used in _api_versions(machine, context)
        if _number(used) < _number(oldest)
    ]
    for line in _journal(machine, "client version .* is too old")[-1:]:
        match = re.search(r"client version \S+ is too old[^\"]*", line)
        message = match[0] if match else line
        evidence.append(Evidence("journal of docker", "journalctl -u docker", message, "no refusals"))
    if not evidence:
        return ok(Evidence("oldest API version", "docker version", oldest or "not reported", ""))
    return problem(*evidence)


def _api_versions(machine: Machine, context: Context) -> Iterator[tuple[str, str, str]]:
    """(what, where, version) of each client that is known to support at most that version."""
    for path in _environment_files(machine, context):
        try:
            text = (machine.text_behind_links if path.startswith("/etc/") else machine.text)(path) or ""
        except StateUnknown:
            continue
        for version in PINNED.findall(text)[-1:]:
            yield "DOCKER_API_VERSION", path, version
    compose = machine.package("docker-compose")
    if compose is not None and compose.version.startswith("1."):
        yield f"docker-compose {compose.version}", "dpkg", ".".join(map(str, COMPOSE_1))


def _environment_files(machine: Machine, context: Context) -> Iterator[str]:
    yield from FILES
    for home in ("/root", context.home):
        yield from (f"{home}/{name}" for name in HOMES)
    for directory in SNIPPETS:
        yield from (f"{directory}/{name}" for name in machine.names(directory))
    for unit in machine.names(UNITS):
        if unit.endswith(".service"):
            yield f"{UNITS}/{unit}"
        elif unit.endswith(".service.d"):
            yield from (f"{UNITS}/{unit}/{name}" for name in machine.names(f"{UNITS}/{unit}"))


def _number(version: str) -> tuple[int, ...]:
    return tuple(whole(part) for part in version.split(".") if part.isdecimal())


def _journal(machine: Machine, pattern: str) -> tuple[str, ...]:
    """The last lines of Docker's journal since boot that match a pattern; none if the journal cannot be read."""
    options = ("--no-pager", "--output=cat", "--boot", "--unit=docker.service", f"--grep={pattern}", "--lines=5")
    try:
        answer = machine.query(("journalctl", *options), deadline=4.0)
    except StateUnknown:
        return ()
    return tuple(line for line in answer.out.splitlines() if line.strip() and not line.startswith("-- "))


CHECKS = checks_in(sys.modules[__name__], check_config, check_names, check_system)
