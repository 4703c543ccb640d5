"""What the doctor looks at in Docker's configuration: daemon.json, flags, proxy, storage, logs."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker.configuration import DROP_INS, drop_ins
from bai_wizard.pages.docker.look import NotApplicable, check, require_engine, require_info
from bai_wizard.pages.docker.probe import mount_above
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.docker_config import DAEMON_JSON, VALIDATES, Default, DockerConfig, engine_major
from bai_wizard.steps.docker_flags import flags
from bai_wizard.steps.docker_service import DockerService
from bai_wizard.steps.json_merge import NotJson, parse

PAGE = "docker"
UNKNOWN = Subject("docker-daemon-json-unknown-key", PAGE, "Docker knows every setting in daemon.json")
RESTART = Subject("docker.restart-pending", PAGE, "Docker runs with its files as they are")
PROXY = Subject("docker-proxy", PAGE, "Docker uses the proxy of the answers")
BACKING = Subject("docker-storage-backing", PAGE, "The file system under Docker's data suits it")
INSECURE = Subject("docker.insecure-registries", PAGE, "Every registry is used with TLS")
LOGS = Subject("docker.log-rotation", PAGE, "The logs of containers are rotated")
CGROUPS = Subject("docker-cgroup-v1", PAGE, "Docker uses control groups of version 2", owner="site")
# File systems that overlay2 does not work on, or only badly (docs.docker.com, «Select a storage driver»).
UNSUITABLE = ("nfs", "nfs4", "cifs", "smb3", "vfat", "exfat", "fuse.sshfs", "ceph", "lustre", "9p")


def _config(machine: Machine) -> dict[str, Any]:
    """The object in daemon.json. Raises NotApplicable where there is none, or it is no object."""
    text = machine.text(DAEMON_JSON)
    if text is None:
        raise NotApplicable(f"there is no {DAEMON_JSON}")
    try:
        return parse(text, DAEMON_JSON)
    except NotJson as error:
        raise NotApplicable(str(error)) from error


def unknown(machine: Machine, context: Context) -> Finding:
    """What dockerd itself says of the file."""
    packages = require_engine(machine)
    _config(machine)
    if max(engine_major(version) for name, version in packages if name in ("docker-ce", "docker.io")) < VALIDATES:
        raise NotApplicable("this engine cannot check the file")
    found = machine.look(("dockerd", "--validate", "--config-file", DAEMON_JSON), deadline=4.0)
    if found.code == 0:
        return UNKNOWN.ok()
    said = found.err.strip().splitlines()
    return UNKNOWN.problem(
        "Docker does not accept daemon.json",
        (Evidence("dockerd --validate", DAEMON_JSON, said[-1][:300] if said else "refused", "configuration OK"),),
        cause="A key is misspelt, or this version of Docker does not have it any more.",
        guidance="Correct the key that is named; Docker does not start at its next restart otherwise.",
    )


def restart_pending(machine: Machine, context: Context) -> Finding:
    """Files that are newer than the running daemon: a restart that was lost, or put off for running containers."""
    require_engine(machine)
    unit = machine.unit("docker.service")
    if unit is None or unit.active != "active":
        raise NotApplicable("Docker does not run")
    paths = [DAEMON_JSON, *(f"{DROP_INS}/{name}" for name in machine.names(DROP_INS) if name.endswith(".conf"))]
    newer = [path for path in paths if machine.newer(path, unit.since)]
    if not newer:
        return RESTART.ok()
    return RESTART.problem(
        "Docker runs with an older configuration than its files hold",
        tuple(Evidence("file", path, "newer than the running daemon", "older") for path in newer),
        cause="The file was changed and Docker was not restarted since.",
        guidance="Restart Docker when its containers may stop: systemctl daemon-reload; systemctl restart docker.",
        risk="Running containers stop unless live-restore is on.",
        remedy=(DockerService(id="docker.restart", reads=tuple(newer), enabled=None, active=None),),
    )


def proxy(machine: Machine, context: Context) -> Finding:
    """Whether the daemon itself knows the proxy."""
    if not (context.proxy_http or context.proxy_https):
        raise NotApplicable("the answers name no proxy")
    info = require_info(machine)
    wanted = {"HttpProxy": context.proxy_http, "HttpsProxy": context.proxy_https}
    missing = [name for name, value in wanted.items() if value and not info.get(name)]
    if not missing:
        return PROXY.ok()
    steps = drop_ins(DockerSettings(), context)
    return PROXY.problem(
        "Docker does not use the proxy",
        tuple(Evidence(name, "docker info", "empty", "the proxy of the answers") for name in missing),
        cause="The daemon does not see the proxy of a shell or of apt; it has a setting of its own.",
        guidance="A drop-in for docker.service, then a restart.",
        risk="The restart stops containers unless live-restore is on.",
        remedy=(
            Directory(id="docker.drop-ins", path=DROP_INS),
            *steps,
            DockerService(id="docker.restart", reads=tuple(step.path for step in steps), enabled=None, active=None),
        ),
    )


def backing(machine: Machine, context: Context) -> Finding:
    """Network file systems, and xfs without d_type."""
    info = require_info(machine)
    root = str(info.get("DockerRootDir") or "/var/lib/docker")
    status = {str(row[0]): str(row[1]) for row in info.get("DriverStatus") or [] if len(row) == 2}
    found = mount_above(machine, root)
    mount = machine.mount(found.value) if isinstance(found, Known) else None
    if mount is not None and mount.fstype in UNSUITABLE:
        return BACKING.problem(
            f"Docker's data lie on {mount.fstype}",
            (Evidence("file system", root, mount.fstype, "ext4 or xfs of this node"),),
            cause="Layers need a local file system.",
            guidance="Put data-root on a local ext4 or xfs (docker.data_root) and pull the images again.",
            risk="Moving the data directory means that Docker stands still meanwhile.",
        )
    if status.get("Supports d_type") == "false":
        return BACKING.problem(
            "The xfs under Docker's data was made without d_type",
            (Evidence("Supports d_type", root, "false", "true"),),
            cause="It was formatted with ftype=0.",
            guidance="Format a file system with ftype=1 (the default today) and move data-root there.",
            risk="Formatting destroys what is on it.",
        )
    return BACKING.ok()


def insecure(machine: Machine, context: Context) -> Finding:
    """Stays for as long as there is one."""
    listed = _config(machine).get("insecure-registries") or []
    if not listed:
        return INSECURE.ok()
    return INSECURE.warning(
        "Registries are used without TLS, or without checking it",
        tuple(Evidence("insecure registry", DAEMON_JSON, str(one), "none") for one in listed),
        cause="docker.insecure_registries, or an edit by hand: whoever is on the way can exchange an image.",
        guidance="Give the registry a certificate and name its authority in docker.registry_ca; or accept it by"
        " doctor.ignore with a reason.",
    )


def logs(machine: Machine, context: Context) -> Finding:
    """json-file without a limit fills the disk."""
    info = require_info(machine)
    if info.get("LoggingDriver") != "json-file":
        return LOGS.ok(Evidence("logging driver", "docker info", str(info.get("LoggingDriver")), "one that rotates"))
    try:
        options = _config(machine).get("log-opts") or {}
    except NotApplicable:
        options = {}
    if "max-size" in options or any(flag.key == "log-opts" for flag in flags(machine)):
        return LOGS.ok()
    wanted = {"log-driver": "json-file", "log-opts": {"max-file": "5", "max-size": "100m"}}
    return LOGS.warning(
        "Logs of containers grow without a limit",
        (Evidence("log-opts", DAEMON_JSON, "no max-size", "max-size"),),
        cause="json-file keeps everything unless it is told a size.",
        guidance="Set max-size and max-file; new containers follow it after a restart of Docker.",
        risk="The restart stops containers unless live-restore is on.",
        remedy=(
            DockerConfig(
                id="docker.config",
                wanted="{}",
                defaults=(Default(("log-opts",), json.dumps(wanted, sort_keys=True)),),
            ),
            DockerService(id="docker.restart", reads=(DAEMON_JSON,), enabled=None, active=None),
        ),
    )


def cgroups(machine: Machine, context: Context) -> Finding:
    """Version 1 goes away."""
    if machine.in_container():
        raise NotApplicable("a container has its host's control groups")
    info = require_info(machine)
    if str(info.get("CgroupVersion", "2")) != "1":
        return CGROUPS.ok()
    try:
        line = machine.kernel_text("/proc/cmdline") or ""
    except CannotTell:
        line = ""
    told = "systemd.unified_cgroup_hierarchy=0" in line
    return CGROUPS.warning(
        "Docker uses control groups of version 1",
        (Evidence("CgroupVersion", "docker info", "1", "2"),),
        cause="A kernel parameter asks for it (systemd.unified_cgroup_hierarchy=0)."
        if told
        else "The system is set so.",
        guidance="Take the parameter out of GRUB_CMDLINE_LINUX, update-grub, reboot. Backend.AI expects version 2.",
        risk="It needs a reboot.",
    )


CHECKS = (
    check(UNKNOWN, unknown, needs=("docker-daemon-json-syntax",), needs_root=True, cost="dear"),
    check(RESTART, restart_pending, needs=("docker-not-running",)),
    check(PROXY, proxy, needs=("docker-not-running",)),
    check(BACKING, backing, needs=("docker-not-running",)),
    check(INSECURE, insecure, needs=("docker-daemon-json-syntax",)),
    check(LOGS, logs, needs=("docker-not-running",)),
    check(CGROUPS, cgroups, needs=("docker-not-running",)),
)
