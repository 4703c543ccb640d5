"""What the doctor looks at between NVIDIA's driver and containers."""

from __future__ import annotations

import json

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step
from bai_wizard.machine.pci import scan
from bai_wizard.pages.accelerators.check.look import AGAIN, DEADLINE, PAGE, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.probe import cards as cards_on
from bai_wizard.pages.accelerators.probe import nvidia_key
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.accelerators.vendors.nvidia.work import HOOK
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.apt import NoPackages
from bai_wizard.steps.docker_config import DAEMON_JSON, DockerConfig
from bai_wizard.steps.docker_service import DockerService
from bai_wizard.steps.removable import RemovableDropIn

NO_DRIVER = Subject("nvidia-docker-no-driver", PAGE, "Docker knows how to give GPUs to containers")
NO_VENDOR = Subject("nvidia-docker-no-cdi-vendor", PAGE, "Docker finds a vendor's description of the GPUs")
UNKNOWN = Subject("nvidia-runtime-unknown", PAGE, "The runtime nvidia is registered with Docker")
LEGACY = Subject("nvidia-legacy-docker2", PAGE, "No pieces of the old nvidia-docker are left")
LOST = Subject("nvidia-nvml-unknown-error", PAGE, "Running containers keep their GPUs")
GROUPS = Subject("nvidia-gid-warning", PAGE, "Nothing is wrong with groups in GPU containers")
RUNTIMES = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}
# The first engine that looks for any vendor's description where NVIDIA's program is missing (moby, release notes).
VENDOR_NEUTRAL = 29
OLD_SOURCES = ("nvidia-docker.list", "nvidia-container-runtime.list", "libnvidia-container.list")
MOST_CONTAINERS = 16


def no_driver(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """The hook that dockerd looks for when it starts."""
    if machine.unit("docker.service") is None:
        return NO_DRIVER.not_applicable("no Docker on this node")
    if machine.entry(HOOK) is None:
        return NO_DRIVER.problem(
            "Docker cannot give GPUs to containers: the container toolkit is not installed",
            [Evidence("hook", HOOK, "not there", "there")],
            cause="nvidia-container-toolkit is missing.",
            guidance=f"{AGAIN} It installs the toolkit, registers the runtime and restarts Docker.",
        )
    unit = machine.unit("docker.service")
    if unit is None or unit.active != "active" or not machine.newer(HOOK, unit.since):
        return NO_DRIVER.ok()
    return NO_DRIVER.problem(
        "Docker was started before the container toolkit was installed, and looks for it only then",
        [Evidence("hook", HOOK, "newer than the running Docker", "older")],
        cause="dockerd looks for NVIDIA's programs once, when it starts.",
        guidance="Restart Docker.",
        risk="A restart ends running containers, unless live-restore is on.",
        remedy=_restart(),
    )


def no_vendor(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """The same root cause in the words of newer engines."""
    version = machine.engine("/version")
    number = str(version.get("Version", "")) if isinstance(version, dict) else ""
    if not number or int(number.split(".")[0] or 0) < VENDOR_NEUTRAL:
        return NO_VENDOR.not_applicable("this Docker does not look for vendors' descriptions")
    described = [name for directory in ("/etc/cdi", "/run/cdi") for name in machine.names(directory)]
    if machine.entry(HOOK) is not None or described:
        return NO_VENDOR.ok()
    return NO_VENDOR.problem(
        f"Docker {number} finds neither NVIDIA's programs nor a description of the GPUs",
        [Evidence("descriptions", "/etc/cdi, /run/cdi", "none", "one, or the container toolkit")],
        cause="The container toolkit is not installed: newer engines say it in other words.",
        guidance=AGAIN,
    )


def unknown(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """What the running engine says of its runtimes, and what its file says of them."""
    try:
        config = json.loads(facts.daemon_json or "{}")
    except ValueError as error:
        return UNKNOWN.cannot_tell(f"{DAEMON_JSON} cannot be read: {error}")
    default = config.get("default-runtime", "runc")
    registered = config.get("runtimes") or {}
    path = str((registered.get(default) or {}).get("path", ""))
    if default != "runc" and (default not in registered or (path.startswith("/") and machine.entry(path) is None)):
        return UNKNOWN.problem(
            f"Docker's default runtime {default} does not exist: no container can be started",
            [Evidence("default-runtime", DAEMON_JSON, f"{default} ({path or 'not registered'})", "an existing one")],
            cause="The runtime was removed, and the file still names it.",
            guidance=f"Install it again, or take default-runtime out of {DAEMON_JSON}, and restart Docker.",
        )
    if not facts.version_of("nvidia-container-toolkit"):
        return UNKNOWN.not_applicable("the container toolkit is not installed; nvidia-docker-no-driver says so")
    if isinstance(facts.runtimes, Unknown):
        return UNKNOWN.cannot_tell(facts.runtimes.reason)
    if not isinstance(facts.runtimes, Known):
        return UNKNOWN.not_applicable("no Docker runs on this node")
    known = ", ".join(facts.runtimes.value)
    if "nvidia" in facts.runtimes.value:
        return UNKNOWN.ok(Evidence("runtimes", "docker info", known, "nvidia"))
    return UNKNOWN.problem(
        "The container toolkit is installed, but Docker does not know the runtime nvidia",
        [Evidence("runtimes", "docker info", known, "nvidia")],
        cause="It was never registered, Docker was not restarted since, or another tool has rewritten daemon.json.",
        guidance="Register it and restart Docker. Backend.AI's agent looks for exactly this name.",
        risk="A restart ends running containers, unless live-restore is on.",
        remedy=(DockerConfig(id="accelerators.docker-config", wanted=json.dumps(RUNTIMES)), *_restart()),
    )


def _restart() -> tuple[Step, ...]:
    reads = (DAEMON_JSON, HOOK)
    return (DockerService(id="accelerators.docker-restart", reads=reads, enabled=None, active=None, if_running=True),)


def legacy(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Packages and sources of older guides; the sources can make apt refuse everything."""
    packages = tuple(name for name in data.legacy() if facts.version_of(name))
    names = machine.names("/etc/apt/sources.list.d")
    sources = [f"/etc/apt/sources.list.d/{name}" for name in OLD_SOURCES if name in names]
    if "nvidia-container-toolkit.sources" not in names:
        # The one source that is there serves the toolkit: it is only old, not in the way.
        sources = [path for path in sources if not path.endswith("libnvidia-container.list")]
    if not packages and not sources:
        return LEGACY.ok()
    evidence = [Evidence("package", "dpkg", name, "not installed") for name in packages]
    evidence += [Evidence("source", path, "there", "not there") for path in sources]
    gone: tuple[Step, ...] = tuple(
        RemovableDropIn(id=f"accelerators.old-source-{number}", path=path, text="", why="served by one file")
        for number, path in enumerate(sources)
    )
    if packages:
        why = "removed: nvidia-container-toolkit has taken their place"
        gone = (NoPackages(id="accelerators.legacy", names=packages, why=why), *gone)
    return LEGACY.warning(
        "Pieces of the old nvidia-docker are left",
        evidence,
        cause="Older guides, Backend.AI's own among them, name nvidia-docker2.",
        guidance="Remove them; the runtime's entry in daemon.json stays. Scripts that call «nvidia-docker» have to"
        " call «docker run --gpus».",
        remedy=gone,
    )


def lost(machine: Machine, context: Context) -> Finding:
    """Containers that got their GPUs behind runc's back lose them when systemd reads its units anew.

    The driver is not asked: this check has a child of its own, which would wait for a silent one a second time.
    """
    if not any(card.vendor == nvidia_key() for card in cards_on(machine, scan(machine)).value):
        return LOST.not_applicable("no NVIDIA GPU in this node")
    info = machine.engine("/info")
    running = machine.engine("/containers/json")
    if not isinstance(info, dict) or not isinstance(running, list):
        return LOST.not_applicable("no Docker runs on this node")
    with_gpus = [name for one in running[:MOST_CONTAINERS] if (name := _gpu_container(machine, one))]
    blind = []
    for name in with_gpus:
        try:
            answer = machine.look(("docker", "exec", name, "nvidia-smi", "-L"), deadline=3.0)
        except CannotTell:
            continue
        if "Unknown Error" in answer.out + answer.err:
            blind.append(name)
    if blind:
        return LOST.problem(
            f"{len(blind)} running containers have lost their GPUs",
            [Evidence("nvidia-smi", f"container {name}", "Unknown Error", "a list of GPUs") for name in blind],
            cause="«systemctl daemon-reload», which upgrades run too, writes the containers' device rules anew,"
            " without the GPUs.",
            guidance="Restart these containers (sessions). To prevent it, give GPUs by CDI ([accelerators.nvidia]"
            " cdi = true), or see that /dev/char has links for them (nvidia-ctk system create-dev-char-symlinks).",
            risk="A restarted session loses what it had in memory.",
        )
    links = any(name.startswith("195:") for name in machine.names("/dev/char"))
    if with_gpus and info.get("CgroupDriver") == "systemd" and not links:
        return LOST.warning(
            f"The next «systemctl daemon-reload» takes the GPUs from {len(with_gpus)} running containers",
            [Evidence("links", "/dev/char", "none for the GPUs", "195:0 and so on")],
            cause="systemd manages the containers' device rules and cannot find the GPUs' device nodes.",
            guidance="Make the links: nvidia-ctk system create-dev-char-symlinks --create-all (udev rules of the"
            " toolkit do it at boot), or give GPUs by CDI.",
        )
    return LOST.ok()


def _gpu_container(machine: Machine, container: object) -> str:
    """The name of a container that got GPUs by the runtime or by --gpus; empty for any other."""
    if not isinstance(container, dict):
        return ""
    try:
        about = machine.engine(f"/containers/{container.get('Id', '')}/json")
    except CannotTell:
        return ""
    host = about.get("HostConfig") or {} if isinstance(about, dict) else {}
    asks = any((one.get("Driver") or "") in ("", "nvidia") for one in host.get("DeviceRequests") or ())
    if host.get("Runtime") != "nvidia" and not asks:
        return ""
    return str((container.get("Names") or [container.get("Id", "")])[0]).removeprefix("/")


def groups(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """«groups: cannot find name for group ID» in a GPU container: harmless, so nothing is ever reported."""
    return GROUPS.ok()


CHECKS = (
    nvidia_check(NO_DRIVER, no_driver),
    nvidia_check(NO_VENDOR, no_vendor, NO_DRIVER.id),
    nvidia_check(UNKNOWN, unknown),
    nvidia_check(LEGACY, legacy),
    LOST.check(lost, needs=("nvidia-module-missing",), deadline=DEADLINE, cost="dear"),
    nvidia_check(GROUPS, groups),
)
