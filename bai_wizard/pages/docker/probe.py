"""Asks the node about its engine: packages, what runs, where the data lie. Never starts a stopped daemon."""

from __future__ import annotations

import json
import re
from posixpath import dirname
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker import catalogue
from bai_wizard.pages.docker.facts import DockerFacts, Engine, System
from bai_wizard.pages.docker.networks import own_networks
from bai_wizard.steps.containerd import content_root
from bai_wizard.steps.docker_config import DAEMON_JSON
from bai_wizard.steps.openpgp import armoured, is_binary

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings

# The first is what the second, which people know, is a link to.
OS_RELEASE = ("/usr/lib/os-release", "/etc/os-release")
DATA_ROOT = "/var/lib/docker"
SNAP = "/var/lib/snapd/snaps"
DISTRO = "docker.io"
# Of each user that is logged in; a rootless engine has its socket there.
RUNTIMES = "/run/user"
# uname's name of the architecture → dpkg's.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What runs Kubernetes, by the beginning of its unit's name.
KUBERNETES = {"kubelet": "kubelet", "k3s": "k3s", "rke2-": "rke2", "k0s": "k0s", "snap.microk8s.": "microk8s"}
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/usr/local/lib/systemd/system")
# Directories of a data root that are empty until an image or a container is there.
FILLED = ("image/overlay2/imagedb/content/sha256", "containers", "volumes")


def probe(machine: Machine, settings: DockerSettings, context: Context) -> DockerFacts:
    """The facts of the page."""
    config = _text(machine, DAEMON_JSON)
    engine = engine_of(machine)
    # What Podman keeps is Podman's, and stays where it is.
    docker = Absent() if isinstance(engine, Known) and engine.value.product == "podman" else engine
    data_root = _data_root(docker, config)
    return DockerFacts(
        system=system_of(machine),
        engine=engine,
        packages=installed(machine),
        snap=any(name.startswith("docker_") for name in _names(machine, SNAP)),
        kubernetes=_kubernetes(machine),
        daemon_json=config,
        data_root=data_root,
        is_filled=_is_filled(machine, docker, data_root),
        free=tuple((path, _free(machine, path)) for path in places(machine, docker, data_root)),
        data_root_mount=mount_above(machine, settings.data_root) if settings.data_root else Absent(),
        networks=own_networks(machine),
        key=_key(machine, settings.key_file) if settings.key_file else Absent(),
        registry_ca=tuple((host, _text(machine, path)) for host, path in settings.registry_ca.items()),
        offered=_offered(machine) if settings.source == "distro" else "",
        rootless=tuple(
            uid for uid in _names(machine, RUNTIMES) if "docker.sock" in _names(machine, f"{RUNTIMES}/{uid}")
        ),
    )


def installed(machine: Machine) -> tuple[tuple[str, str], ...]:
    """The packages of engines that are here, with their versions."""
    found = []
    for name in catalogue.every_package():
        package = machine.package(name)
        if package is not None:
            found.append((name, package.version))
    return tuple(found)


def system_of(machine: Machine) -> Fact[System]:
    """Which system this is, and what Docker's repository calls it."""
    text = next((found for path in OS_RELEASE if isinstance(found := _text(machine, path), Known)), None)
    if text is None:
        return Unknown(f"{OS_RELEASE[1]} cannot be read, so nobody can tell which system this is")
    fields = {
        name: value.strip().strip("\"'")
        for name, _, value in (line.partition("=") for line in text.value.splitlines())
    }
    families = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    os = next((family for family in families if family in ("ubuntu", "debian")), "")
    codename = fields.get("UBUNTU_CODENAME" if os == "ubuntu" else "DEBIAN_CODENAME") or fields.get(
        "VERSION_CODENAME", ""
    )
    if not os:
        return Unknown(f"{fields.get('PRETTY_NAME', 'this system')} is neither Ubuntu nor Debian")
    name, version = fields.get("PRETTY_NAME", os), fields.get("VERSION_ID", "")
    return Known(System(os, name, codename, _architecture(machine), version))


def _architecture(machine: Machine) -> str:
    """dpkg's name of the architecture; empty where nothing tells."""
    try:
        name = machine.kernel_text("/proc/sys/kernel/arch") or machine.look(("uname", "-m")).out.strip()
    except CannotTell:
        return ""
    return ARCHITECTURES.get(name, name)


def engine_of(machine: Machine) -> Fact[Engine]:
    """The engine, if one runs."""
    try:
        version = machine.engine("/version")
        info = machine.engine("/info") if version is not None else None
    except CannotTell as error:
        return Unknown(str(error))
    if not isinstance(version, dict) or not isinstance(info, dict):
        return Absent()
    return Known(_engine(version, info))


def _engine(version: dict[str, Any], info: dict[str, Any]) -> Engine:
    components = [str(part.get("Name", "")) for part in version.get("Components") or []]
    security = [str(option) for option in info.get("SecurityOptions") or []]
    return Engine(
        version=str(version.get("Version", "")),
        product="podman" if any("podman" in name.lower() for name in components) else "docker",
        api=str(version.get("ApiVersion", "")),
        driver=str(info.get("Driver", "")),
        cgroup=str(info.get("CgroupVersion", "")),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        data_root=str(info.get("DockerRootDir", "")),
        images=int(info.get("Images") or 0),
        containers=int(info.get("Containers") or 0),
        running=int(info.get("ContainersRunning") or 0),
        rootless=any("name=rootless" in option for option in security),
        live_restore=bool(info.get("LiveRestoreEnabled")),
    )


def _data_root(engine: Fact[Engine], config: Fact[str]) -> str:
    if isinstance(engine, Known) and engine.value.data_root:
        return engine.value.data_root
    if isinstance(config, Known):
        try:
            found = json.loads(config.value)
        except ValueError:
            return DATA_ROOT
        if isinstance(found, dict):
            return str(found.get("data-root") or found.get("graph") or DATA_ROOT)
    return DATA_ROOT


def _is_filled(machine: Machine, engine: Fact[Engine], data_root: str) -> Fact[bool]:
    if isinstance(engine, Known):
        return Known(engine.value.images > 0 or engine.value.containers > 0)
    try:
        return Known(
            any(
                name != "metadata.db"
                for directory in FILLED
                for name in machine.names(f"{data_root.rstrip('/')}/{directory}")
            )
        )
    except CannotTell as error:
        return Unknown(str(error))


def places(machine: Machine, engine: Fact[Engine], data_root: str) -> tuple[str, ...]:
    """Where images take room: with containerd's store in its directory too, whatever data-root says."""
    uses_containerd = isinstance(engine, Known) and engine.value.uses_containerd
    return (data_root, content_root(machine)) if uses_containerd else (data_root,)


def _free(machine: Machine, path: str) -> Fact[int]:
    try:
        return Known(machine.free_bytes(path))
    except CannotTell as error:
        return Unknown(str(error))


def mount_above(machine: Machine, path: str) -> Fact[str]:
    """The mount point at or above `path`; Absent where that is the root file system's."""
    try:
        while path != "/":
            if machine.mount(path) is not None:
                return Known(path)
            path = dirname(path.rstrip("/")) or "/"
    except CannotTell as error:
        return Unknown(str(error))
    return Absent()


def _kubernetes(machine: Machine) -> str:
    units = [name for directory in UNITS for name in _names(machine, directory) if name.endswith(".service")]
    return next((name for head, name in KUBERNETES.items() if any(unit.startswith(head) for unit in units)), "")


def _offered(machine: Machine) -> str:
    """The version of the distribution's engine that apt would install now; empty where it is here, or unknown."""
    try:
        return "" if machine.package(DISTRO) is not None else machine.candidate(DISTRO) or ""
    except CannotTell:
        return ""


def _key(machine: Machine, path: str) -> Fact[str]:
    """A key file's text; the binary form, as `gpg --dearmor` makes it, is put into armour."""
    try:
        entry = machine.entry(path)
    except CannotTell as error:
        return Unknown(str(error))
    if entry is not None and entry.content is not None and is_binary(entry.content):
        return Known(armoured(entry.content))
    return _text(machine, path)


def _text(machine: Machine, path: str) -> Fact[str]:
    try:
        text = machine.text(path)
    except CannotTell as error:
        return Unknown(str(error))
    return Absent() if text is None else Known(text)


def _names(machine: Machine, directory: str) -> tuple[str, ...]:
    try:
        return machine.names(directory)
    except CannotTell:
        return ()


def major(version: str) -> int:
    """28 of `28.5.1`; 0 for what is no version."""
    found = re.match(r"(\d+)", version)
    return int(found[1]) if found else 0
