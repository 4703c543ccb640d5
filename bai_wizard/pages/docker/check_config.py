"""Checks of Docker's configuration and networks."""

from __future__ import annotations

import json
import re
from typing import Any

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known, read_fact, value_or
from bai_wizard.core.parse import whole
from bai_wizard.core.paths import can_hold_images
from bai_wizard.pages.check import NotApplicable, Outcome, check, not_applicable, ok, problem, warning
from bai_wizard.pages.docker.check_system import require_running
from bai_wizard.pages.docker.plan import DROP_INS, drop_ins
from bai_wizard.pages.docker.probe import (
    DATA_ROOT,
    ROUTES,
    daemon_settings,
    installed,
    is_of_engine,
    mount_above,
    require_engine,
    require_info,
    require_list,
    subnets_of,
)
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.steps.docker import (
    DAEMON_JSON,
    VALIDATES_SINCE,
    Default,
    DockerConfig,
    DockerService,
    engine_major,
)
from bai_wizard.steps.docker_flags import flags
from bai_wizard.steps.files import Directory
from bai_wizard.steps.json_merge import NotJson, parse


def _config(machine: Machine) -> dict[str, Any]:
    """The object in daemon.json. Raises NotApplicable if the file does not exist or does not hold an object."""
    text = machine.text(DAEMON_JSON)
    if text is None:
        raise NotApplicable(f"{DAEMON_JSON} does not exist")
    try:
        return parse(text, DAEMON_JSON)
    except NotJson as error:
        raise NotApplicable(str(error)) from error


@check("docker.daemon-json-unknown-key", needs=("docker.daemon-json-syntax",), needs_root=True, cost="expensive")
def unknown_key(machine: Machine, context: Context) -> Outcome:
    require_engine(machine)
    _config(machine)
    versions = [version for name, version in installed(machine) if name in ("docker-ce", "docker.io")]
    if max(map(engine_major, versions)) < VALIDATES_SINCE:
        return not_applicable("this version of Docker cannot validate the file")
    answer = machine.query(("dockerd", "--validate", "--config-file", DAEMON_JSON), deadline=4.0)
    if answer.code == 0:
        return ok()
    lines = answer.err.strip().splitlines()
    message = lines[-1][:300] if lines else "refused"
    return problem(Evidence("dockerd --validate", DAEMON_JSON, message, "configuration OK"))


@check("docker.restart-pending", needs=("docker.not-running",))
def restart_pending(machine: Machine, context: Context) -> Outcome:
    """No file is newer than the daemon: no restart was lost, or postponed because of running containers."""
    require_engine(machine)
    unit = require_running(machine)
    paths = [DAEMON_JSON, *(f"{DROP_INS}/{name}" for name in machine.names(DROP_INS) if name.endswith(".conf"))]
    newer = [path for path in paths if machine.newer(path, unit.since)]
    return problem(
        *(Evidence("file", path, "newer than the running daemon", "older") for path in newer),
        remedy=(DockerService(id="docker.restart", reads=tuple(newer), enabled=None, active=None),),
    )


@check("docker.proxy", needs=("docker.not-running",))
def proxy(machine: Machine, context: Context) -> Outcome:
    if not (context.proxy_http or context.proxy_https):
        return not_applicable("no proxy is configured")
    info = require_info(machine)
    expected = {"HttpProxy": context.proxy_http, "HttpsProxy": context.proxy_https}
    missing = [name for name, value in expected.items() if value and not info.get(name)]
    steps = drop_ins(DockerSettings(), context)
    return problem(
        *(Evidence(name, "docker info", "empty", "the configured proxy") for name in missing),
        remedy=(
            Directory(id="docker.drop-ins", path=DROP_INS),
            *steps,
            DockerService(id="docker.restart", reads=tuple(step.path for step in steps), enabled=None, active=None),
        ),
    )


@check("docker.storage-backing", needs=("docker.not-running",))
def backing(machine: Machine, context: Context) -> Outcome:
    """Docker's data is not on a network file system, and not on xfs without d_type."""
    info = require_info(machine)
    root = str(info.get("DockerRootDir") or DATA_ROOT)
    status = {str(row[0]): str(row[1]) for row in info.get("DriverStatus") or [] if len(row) == 2}
    point = mount_above(machine, root)
    mount = machine.mount(point.value) if isinstance(point, Known) else None
    if mount is not None and not can_hold_images(mount.fstype):
        evidence = Evidence("file system", root, mount.fstype, "local ext4 or xfs")
        return problem(evidence, variant="wrong-type", fstype=mount.fstype)
    if status.get("Supports d_type") == "false":
        return problem(Evidence("Supports d_type", root, "false", "true"), variant="no-d-type")
    chosen = "storage-driver" in _daemon_json(machine) or any(each.key == "storage-driver" for each in flags(machine))
    if info.get("Driver") == "vfs" and not chosen:
        return warning(Evidence("storage driver", "docker info", "vfs", "overlay2"), variant="vfs", root=root)
    return ok()


@check("docker.insecure-registries", needs=("docker.daemon-json-syntax",))
def insecure(machine: Machine, context: Context) -> Outcome:
    listed = _config(machine).get("insecure-registries") or []
    return warning(*(Evidence("insecure registry", DAEMON_JSON, str(each), "none") for each in listed))


@check("docker.log-rotation", needs=("docker.not-running",))
def logs(machine: Machine, context: Context) -> Outcome:
    """The logging driver limits the size of logs; json-file without a limit fills the disk."""
    info = require_info(machine)
    if info.get("LoggingDriver") != "json-file":
        return ok(Evidence("logging driver", "docker info", str(info.get("LoggingDriver")), "one that rotates"))
    try:
        options = _config(machine).get("log-opts") or {}
    except NotApplicable:
        options = {}
    if "max-size" in options or any(flag.key == "log-opts" for flag in flags(machine)):
        return ok()
    desired = {"log-driver": "json-file", "log-opts": {"max-file": "5", "max-size": "100m"}}
    default = Default(("log-opts",), json.dumps(desired, sort_keys=True))
    return warning(
        Evidence("log-opts", DAEMON_JSON, "no max-size", "max-size"),
        remedy=(
            DockerConfig(id="docker.config", wanted="{}", defaults=(default,)),
            DockerService(id="docker.restart", reads=(DAEMON_JSON,), enabled=None, active=None),
        ),
    )


@check("docker.cgroup-v1", needs=("docker.not-running",))
def cgroups(machine: Machine, context: Context) -> Outcome:
    if machine.in_container():
        return not_applicable("a container uses the cgroups of its host")
    info = require_info(machine)
    if str(info.get("CgroupVersion", "2")) != "1":
        return ok()
    command_line = value_or(read_fact(lambda: machine.kernel_text("/proc/cmdline")), "")
    is_requested = "systemd.unified_cgroup_hierarchy=0" in command_line
    evidence = Evidence("CgroupVersion", "docker info", "1", "2")
    return warning(evidence, variant="kernel-parameter" if is_requested else "")


NEEDS = ("docker.not-running",)
# Docker's default ranges hold 31 networks (moby, daemon/libnetwork/ipamapi); from this number on, a warning is shown.
NEARLY_FULL = 28
# What Docker reports for a port that is published on all addresses.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


@check("docker.address-pool", needs=NEEDS)
def pools(machine: Machine, context: Context) -> Outcome:
    if "default-address-pools" in _daemon_json(machine):
        return not_applicable("default-address-pools is set in daemon.json")
    subnets = [subnet for network in require_list(machine, "/networks") for subnet in subnets_of(network)]
    count = len([subnet for subnet in subnets if ":" not in subnet])
    evidence = Evidence("networks", "docker network ls", str(count), f"fewer than {NEARLY_FULL}")
    return ok(evidence) if count < NEARLY_FULL else warning(evidence)


@check("docker.iptables-chain", needs=NEEDS, needs_root=True)
def chains(machine: Machine, context: Context) -> Outcome:
    """Docker's chains exist: the firewall was not flushed while Docker was running."""
    require_info(machine)
    if _daemon_json(machine).get("iptables") is False:
        return not_applicable('"iptables" is false in daemon.json')
    missing = []
    for table, chain in (("nat", "DOCKER"), ("filter", "DOCKER-USER")):
        answer = machine.query(("iptables", "--wait", "2", "-t", table, "-S", chain))
        if answer.code != 0 and re.search(r"does not exist|No chain", answer.err):
            missing.append((table, chain))
        elif answer.code != 0:
            raise StateUnknown(f"iptables -t {table} -S {chain}: {answer.err.strip()[:200]}")
    return problem(
        *(Evidence(f"chain {chain}", f"iptables -t {table}", "missing", "present") for table, chain in missing)
    )


@check("docker.ufw-bypass", needs=NEEDS)
def ufw(machine: Machine, context: Context) -> Outcome:
    """With ufw on, no container publishes a port on all addresses: ufw does not filter forwarded packets."""
    text = machine.text("/etc/ufw/ufw.conf") or ""
    if not re.search(r"^ENABLED=yes", text, re.MULTILINE):
        return not_applicable("ufw is off")
    ports = [port for each in require_list(machine, "/containers/json") for port in each.get("Ports") or []]
    published = sorted(
        {
            f"{port['PublicPort']}/{port.get('Type', 'tcp')}"
            for port in ports
            if port.get("PublicPort") and port.get("IP") in EVERYWHERE
        }
    )
    if not published:
        return ok()
    return warning(
        Evidence("published on all addresses", "docker ps", ", ".join(published), "on one address of this node")
    )


@check("docker.mtu-mismatch", needs=NEEDS)
def mtu(machine: Machine, context: Context) -> Outcome:
    """The MTU of docker0 is at most that of the default route's interface."""
    require_info(machine)
    device = _default_device(machine.kernel_text(ROUTES) or "")
    outer = machine.kernel_text(f"/sys/class/net/{device}/mtu") if device else None
    inner = machine.kernel_text("/sys/class/net/docker0/mtu")
    if not outer or not inner:
        return not_applicable("this node has no default route, or no docker0")
    if whole(inner) <= whole(outer):
        return ok()
    evidence = Evidence("MTU of docker0", "/sys/class/net", inner, f"at most {outer}, the MTU of {device}")
    return problem(evidence, device=device, mtu=outer)


def _daemon_json(machine: Machine) -> dict[str, Any]:
    return daemon_settings(machine.text(DAEMON_JSON) or "")


def _default_device(text: str) -> str:
    """The interface of the default route in /proc/net/route."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and not is_of_engine(fields[0]):
            return fields[0]
    return ""
