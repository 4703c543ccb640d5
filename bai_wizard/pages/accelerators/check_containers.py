"""Whether containers get NVIDIA GPUs: the container toolkit, Docker's runtimes, CDI specifications."""

from __future__ import annotations

import json
import re
import tomllib
from functools import partial

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known, read_fact, value_of
from bai_wizard.core.parse import json_object
from bai_wizard.core.step import Step
from bai_wizard.node.hardware import scan_pci
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.check_driver import DEADLINE, ask_engine, engine_version, loaded, nvidia_check
from bai_wizard.pages.accelerators.facts import Card, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia.driver import HOOK
from bai_wizard.pages.accelerators.nvidia.steps import CDI_GENERATED, CDI_REFRESH, CDI_WRITTEN, NvidiaCdi
from bai_wizard.pages.accelerators.probe import cards as cards_on
from bai_wizard.pages.check import Outcome, check, not_applicable, ok, problem, unknown, warning
from bai_wizard.steps.docker import DAEMON_JSON, DockerConfig, DockerService, engine_major
from bai_wizard.steps.files import OptionalDropIn
from bai_wizard.steps.packages import NoPackages

NEEDS = ("accelerators.nvidia-module-missing",)
# The first engine that uses any vendor's CDI specification if NVIDIA's program is missing (moby release notes).
VENDOR_NEUTRAL = 29
OLD_SOURCES = ("nvidia-docker.list", "nvidia-container-runtime.list", "libnvidia-container.list")
MAX_CONTAINERS = 16
MAX_PATHS = 60
_HOST_PATH = re.compile(r"hostPath:[ \t]*(\S+)|^[ \t]*- path:[ \t]*(/dev/\S+)", re.MULTILINE)
_LIBRARY = re.compile(r"libcuda\.so\.(\d+\.\d+(?:\.\d+)?)")
_MIG_DEVICE = re.compile(r"MIG-[0-9a-fA-F-]+")


@nvidia_check("accelerators.nvidia-docker-no-driver")
def toolkit_found(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The hook that Docker looks for at startup was installed at that time."""
    unit = machine.unit("docker.service")
    if unit is None:
        return not_applicable("Docker is not installed on this node")
    if machine.entry(HOOK) is None:
        return problem(Evidence("hook", HOOK, "missing", "present"))
    if unit.active != "active" or not machine.newer(HOOK, unit.since):
        return ok()
    return problem(
        Evidence("hook", HOOK, "newer than the running Docker", "older"),
        variant="restart",
        remedy=(restart_docker(HOOK),),
    )


RUNTIME_CONFIG = "/etc/nvidia-container-runtime/config.toml"


@nvidia_check("accelerators.nvidia-no-cgroups")
def device_rules(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The toolkit lets containers of an engine that runs as root open the devices."""
    try:
        table = tomllib.loads(machine.text(RUNTIME_CONFIG) or "").get("nvidia-container-cli")
    except tomllib.TOMLDecodeError as error:
        return unknown(f"{RUNTIME_CONFIG} cannot be read: {error}")
    if not isinstance(table, dict) or table.get("no-cgroups") is not True:
        return ok()
    return problem(Evidence("no-cgroups", RUNTIME_CONFIG, "true", "false"))


@nvidia_check("accelerators.nvidia-docker-no-cdi-vendor", needs=("accelerators.nvidia-docker-no-driver",))
def vendor_found(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The same root cause, as newer engines report it."""
    number = engine_version(machine)
    if engine_major(number) < VENDOR_NEUTRAL:
        return not_applicable("this version of Docker does not look for CDI specifications")
    described = [name for directory in ("/etc/cdi", "/run/cdi") for name in machine.names(directory)]
    if machine.entry(HOOK) is not None or described:
        return ok()
    evidence = Evidence("specifications", "/etc/cdi, /run/cdi", "none", "one, or the container toolkit")
    return problem(evidence, version=number)


@nvidia_check("accelerators.nvidia-runtime-unknown")
def runtime_registered(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The running engine has the runtimes, and so does its configuration file."""
    try:
        config = json_object(facts.daemon_json or "{}")
    except ValueError as error:
        return unknown(f"{DAEMON_JSON} cannot be read: {error}")
    default = str(config.get("default-runtime", "runc"))
    runtimes = config.get("runtimes")
    registered = runtimes if isinstance(runtimes, dict) else {}
    entry = registered.get(default)
    path = str(entry.get("path", "")) if isinstance(entry, dict) else ""
    if default != "runc" and (default not in registered or (path.startswith("/") and machine.entry(path) is None)):
        current = f"{default} ({path or 'not registered'})"
        evidence = Evidence("default-runtime", DAEMON_JSON, current, "an existing one")
        return problem(evidence, variant="default-runtime", runtime=default)
    if not facts.version_of("nvidia-container-toolkit"):
        return not_applicable("the container toolkit is not installed; another check reports that")
    present = value_of(facts.runtimes)
    if present is None:
        return not_applicable("Docker is not running on this node")
    evidence = Evidence("runtimes", "docker info", ", ".join(present), "nvidia")
    if "nvidia" in present:
        return ok(evidence)
    return problem(evidence, remedy=(register_runtime("nvidia", "nvidia-container-runtime"), restart_docker(HOOK)))


def register_runtime(name: str, path: str) -> Step:
    """Return the step that registers a container runtime with Docker."""
    runtimes = {"runtimes": {name: {"path": path, "args": []}}}
    return DockerConfig(id="accelerators.docker-config", wanted=json.dumps(runtimes))


def restart_docker(*reads: str) -> Step:
    """Return the restart that makes Docker read its configuration, and the files `reads`."""
    files = (DAEMON_JSON, *reads)
    return DockerService(id="accelerators.docker-restart", reads=files, enabled=None, active=None, if_running=True)


@nvidia_check("accelerators.nvidia-legacy-docker2")
def nothing_old(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """No packages and sources from older guides are left; such sources can make apt refuse to work."""
    packages = tuple(name for name in nvidia.data().legacy if facts.version_of(name))
    names = machine.names("/etc/apt/sources.list.d")
    sources = [f"/etc/apt/sources.list.d/{name}" for name in OLD_SOURCES if name in names]
    if "nvidia-container-toolkit.sources" not in names:
        # The toolkit's only source: it is outdated but harmless.
        sources = [path for path in sources if not path.endswith("libnvidia-container.list")]
    evidence = [Evidence("package", "dpkg", name, "not installed") for name in packages]
    evidence += [Evidence("source", path, "present", "absent") for path in sources]
    remedy: tuple[Step, ...] = tuple(
        OptionalDropIn(
            id=f"accelerators.old-source-{number}", path=path, text="", why="remove an outdated package source"
        )
        for number, path in enumerate(sources)
    )
    if packages:
        why = "remove packages replaced by nvidia-container-toolkit"
        remedy = (NoPackages(id="accelerators.legacy", names=packages, why=why), *remedy)
    return warning(*evidence, remedy=remedy)


@check("accelerators.nvidia-nvml-unknown-error", needs=NEEDS, deadline=DEADLINE, cost="expensive")
def gpus_kept(machine: Machine, context: Context) -> Outcome:
    """Containers whose devices were not given by runc keep their GPUs when systemd reloads its units.

    The driver is not queried: this check runs in its own child process, which would wait for a hung driver again.
    """
    present = cards_on(machine, scan_pci(machine)).value
    if not any(card.vendor == "nvidia" and not card.is_passed_through for card in present):
        return not_applicable("this node has no NVIDIA GPU")
    info, running = ask_engine(machine, "/info", dict), ask_engine(machine, "/containers/json", list)
    with_gpus = [name for each in running[:MAX_CONTAINERS] if (name := _gpu_container(machine, each))]
    blind = []
    for name in with_gpus:
        try:
            answer = machine.query(("docker", "exec", name, "nvidia-smi", "-L"), deadline=3.0)
        except StateUnknown:
            continue
        if "Unknown Error" in answer.out + answer.err:
            blind.append(name)
    if blind:
        return problem(
            *(Evidence("nvidia-smi", f"container {name}", "Unknown Error", "a list of GPUs") for name in blind)
        )
    links = any(name.startswith("195:") for name in machine.names("/dev/char"))
    if with_gpus and info.get("CgroupDriver") == "systemd" and not links:
        evidence = Evidence("links", "/dev/char", "none for the GPUs", "195:0 and so on")
        return warning(evidence, variant="next-reload", count=len(with_gpus))
    return ok()


def _gpu_container(machine: Machine, container: object) -> str:
    """The name of a container that got GPUs through the runtime or --gpus; empty for any other."""
    if not isinstance(container, dict):
        return ""
    try:
        details = machine.engine(f"/containers/{container.get('Id', '')}/json")
    except StateUnknown:
        return ""
    host = details.get("HostConfig") or {} if isinstance(details, dict) else {}
    requests_gpus = any((each.get("Driver") or "") in ("", "nvidia") for each in host.get("DeviceRequests") or ())
    if host.get("Runtime") != "nvidia" and not requests_gpus:
        return ""
    return str((container.get("Names") or [container.get("Id", "")])[0]).removeprefix("/")


@nvidia_check("accelerators.nvidia-gid-warning")
def harmless_groups(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """Never a problem: the message "groups: cannot find name for group ID" in a GPU container is harmless."""
    return ok()


@nvidia_check("accelerators.nvidia-cdi-unresolvable", needs=NEEDS)
def cdi_specified(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    if re.search(r'"cdi"\s*:\s*true', facts.daemon_json) is None:
        return not_applicable("containers get their GPUs by the runtime, not by CDI")
    present = [path for path in (CDI_WRITTEN, CDI_GENERATED) if machine.entry(path) is not None]
    if present:
        return ok(Evidence("specification", present[0], "present", "present"))
    service = machine.unit(CDI_REFRESH)
    state = service.active if service is not None else "not installed"
    return problem(
        Evidence("specification", f"{CDI_WRITTEN}, {CDI_GENERATED}", "missing", "one of them"),
        Evidence("service", CDI_REFRESH, state, "inactive after success, or active"),
        remedy=(NvidiaCdi(id="accelerators.cdi"),) if loaded(facts) else (),
    )


@nvidia_check("accelerators.nvidia-cdi-stale", needs=NEEDS)
def cdi_current(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """CDI specifications contain no libraries of another driver, and no paths or MIG devices that do not exist."""
    facts_by_path = {path: read_fact(partial(machine.text, path)) for path in (CDI_WRITTEN, CDI_GENERATED)}
    texts = {path: fact.value for path, fact in facts_by_path.items() if isinstance(fact, Known)}
    if not texts:
        return not_applicable("the GPUs have no CDI specification")
    module = loaded(facts)
    evidence = []
    for path, text in texts.items():
        versions = set(_LIBRARY.findall(text))
        if module and versions and versions != {module}:
            evidence.append(Evidence("driver", path, ", ".join(sorted(versions)), module))
        absent = [each for each in _paths(text) if not _exists(machine, each)]
        evidence += [Evidence("path", path, f"{each} is missing", "present") for each in absent[:3]]
        evidence += [
            Evidence("MIG device", path, each, "an existing one") for each in _absent_mig_devices(text, facts)[:3]
        ]
    return problem(*evidence, remedy=(NvidiaCdi(id="accelerators.cdi"),) if module else ())


def _paths(text: str) -> list[str]:
    return list(dict.fromkeys(first or second for first, second in _HOST_PATH.findall(text)))[:MAX_PATHS]


def _absent_mig_devices(text: str, facts: NvidiaFacts) -> list[str]:
    """MIG devices in a specification that do not exist; none if the driver does not respond."""
    if not isinstance(facts.nvml, Known) or not facts.nvml.value.is_healthy:
        return []
    present = {each for gpu in facts.nvml.value.gpus for each in gpu.slices}
    return [each for each in dict.fromkeys(_MIG_DEVICE.findall(text)) if each not in present]


def _exists(machine: Machine, path: str) -> bool:
    try:
        return machine.entry(path) is not None
    except StateUnknown:
        return True  # unknown, therefore not reported as missing
