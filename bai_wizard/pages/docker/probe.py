"""What the Docker page reads from a node: the system, the engine, its data and the node's networks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, Space
from bai_wizard.core.page import Absent, Context, Fact, Finding, Known, Unknown, read_fact, value_or
from bai_wizard.core.parse import json_object, whole
from bai_wizard.core.paths import parents
from bai_wizard.pages.check import NotApplicable, unfixed
from bai_wizard.pages.docker import check_system
from bai_wizard.pages.docker.packages import every_package
from bai_wizard.pages.node_state import System, system_of
from bai_wizard.steps.apt_sources import armored, is_binary
from bai_wizard.steps.docker import DAEMON_JSON, likely_content_root

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings


class Engine(Struct, frozen=True):
    """A running engine, as reported by itself."""

    version: str
    product: str = "docker"
    api: str = ""
    driver: str = ""
    cgroup: str = ""
    runtimes: tuple[str, ...] = ()
    data_root: str = ""
    images: int = 0
    containers: int = 0
    running: int = 0
    rootless: bool = False
    live_restore: bool = False

    @property
    def uses_containerd(self) -> bool:
        """Whether images are in containerd's store."""
        return self.driver in ("overlayfs", "native", "stargz", "erofs")


class DockerFacts(Struct, frozen=True):
    """`packages` are installed packages with their versions. `networks` are the node's own, without Docker's.

    `data_root` is the current data directory, and `is_filled` whether it contains data. `data_root_mount` is the
    mount point that contains the desired data root, not counting the root file system. `free` is the free space in
    bytes in the data directory, and in containerd's directory if images are in its store. `key` is the text of
    key_file; `registry_ca` are the certificates by registry. `kubernetes` names other software that manages
    containerd on this node. `rootless` are the UIDs of users with an engine of their own, which Backend.AI does not
    use. `offered` is the available version of the distribution's engine if it is requested and not installed; empty
    if unknown. `local_images` are images for Backend.AI's registries of type local. `masked` are
    units that the packages could not start. `unfixed` are problems with apt or Docker that no step of the page fixes.
    """

    system: Fact[System]
    engine: Fact[Engine]
    packages: tuple[tuple[str, str], ...] = ()
    snap: bool = False
    kubernetes: str = ""
    daemon_json: Fact[str] = field(default_factory=Absent)
    data_root: str = "/var/lib/docker"
    is_filled: Fact[bool] = field(default_factory=Absent)
    data_root_mount: Fact[str] = field(default_factory=Absent)
    free: tuple[tuple[str, Fact[Space]], ...] = ()
    networks: Fact[tuple[str, ...]] = field(default_factory=Absent)
    key: Fact[str] = field(default_factory=Absent)
    registry_ca: tuple[tuple[str, Fact[str]], ...] = ()
    offered: str = ""
    rootless: tuple[str, ...] = ()
    local_images: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    unfixed: tuple[Finding, ...] = ()

    def version_of(self, package: str) -> str:
        """Return the version of an installed package; empty if it is not installed."""
        return dict(self.packages).get(package, "")

    @property
    def is_fresh(self) -> bool:
        """Whether no engine is installed yet: configuration written now is read at its first start."""
        engines = ("docker-ce", "docker.io", "moby-engine")
        is_running = isinstance(self.engine, Known)  # an engine that was copied manually has no package
        return not self.snap and not is_running and not any(self.version_of(name) for name in engines)


ROUTES = "/proc/net/route"
ROUTES_6 = "/proc/net/ipv6_route"
# Interfaces that engines create for their containers; does not match a site's own bridge, such as br-mgmt.
OF_ENGINES = re.compile(r"docker|br-[0-9a-f]{12}$|veth|cni|flannel|cali|podman|virbr")
# Flags of a route (linux/route.h): up, and reject (unreachable).
UP, REJECT = 0x1, 0x200


def own_networks(machine: Machine) -> Fact[tuple[str, ...]]:
    """Return the networks that this node has a route to, without the default route and those of engines."""
    try:
        text, text_6 = machine.kernel_text(ROUTES), machine.kernel_text(ROUTES_6)
    except StateUnknown as error:
        return Unknown(str(error))
    if text is None:
        return Unknown(f"{ROUTES} does not exist")
    # A kernel without IPv6 has neither this file nor such networks.
    try:
        result = [*parse_routes(text), *parse_routes_6(text_6 or "")]
    except ValueError as error:
        return Unknown(f"{ROUTES}, {ROUTES_6}: {error}")
    return Known(tuple(dict.fromkeys(str(network) for network in result)))


def is_of_engine(device: str) -> bool:
    """Whether an engine created this interface for its containers."""
    return OF_ENGINES.match(device) is not None


def parse_routes(text: str) -> Iterable[IPv4Network]:
    """Yield the networks in /proc/net/route, whose addresses are hexadecimal in host byte order (little-endian)."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or is_of_engine(fields[0]):
            continue
        flags = whole(fields[3], 16)
        destination, mask = (_address(fields[1]), _address(fields[7]))
        if flags & UP and not flags & REJECT and int(mask):
            yield IPv4Network(f"{destination}/{mask}", strict=False)


def parse_routes_6(text: str) -> Iterable[IPv6Network]:
    """Yield the networks in /proc/net/ipv6_route, without single addresses and link-local networks."""
    for fields in (line.split() for line in text.splitlines()):
        if len(fields) < 10 or is_of_engine(fields[9]):
            continue
        network = IPv6Network((bytes.fromhex(fields[0]), whole(fields[1], 16)), strict=False)
        flags = whole(fields[8], 16)
        everywhere = network.is_link_local or network.is_multicast or network.prefixlen in (0, 128)
        if flags & UP and not flags & REJECT and not everywhere:
            yield network


def _address(text: str) -> IPv4Address:
    """Parse an address. Raises ValueError."""
    return IPv4Address(int.from_bytes(bytes.fromhex(text), "little"))


def overlaps(ranges: Iterable[str], networks: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return each (range, network) pair with common addresses."""
    parsed = [ip_network(network) for network in networks]
    return tuple((one, str(network)) for one in ranges for network in parsed if network.overlaps(ip_network(one)))


DATA_ROOT = "/var/lib/docker"
SNAP = "/var/lib/snapd/snaps"
DISTRO = "docker.io"
ENGINES = ("docker-ce", "docker.io", "moby-engine")
# Units that the engine's packages start.
STARTED = ("docker.service", "docker.socket", "containerd.service")
# The label that marks images for Backend.AI sessions.
KERNEL_LABEL = "ai.backend.kernelspec"
NO_ENGINE = "no container engine is running"
# Runtime directories of logged-in users; a rootless engine has its socket there.
RUNTIMES = "/run/user"
# Kubernetes distributions, by the prefix of their unit names.
KUBERNETES = {"kubelet": "kubelet", "k3s": "k3s", "rke2-": "rke2", "k0s": "k0s", "snap.microk8s.": "microk8s"}
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/usr/local/lib/systemd/system")
# Directories of a data root that are empty until there is an image, a container or a volume.
FILLED = ("image/overlay2/imagedb/content/sha256", "containers", "volumes")


def probe(machine: Machine, settings: DockerSettings, context: Context) -> DockerFacts:
    """Return the facts of the page."""
    config = read_fact(lambda: machine.text(DAEMON_JSON))
    engine = engine_of(machine)
    # Podman's data belongs to Podman and stays where it is.
    docker = Absent() if isinstance(engine, Known) and engine.value.product == "podman" else engine
    data_root = _data_root(docker, config)
    return DockerFacts(
        system=system_of(machine),
        engine=engine,
        packages=installed(machine),
        snap=any(name.startswith("docker_") for name in names_or_none(machine, SNAP)),
        kubernetes=_kubernetes(machine),
        daemon_json=config,
        data_root=data_root,
        is_filled=_is_filled(machine, docker, data_root),
        free=tuple((path, read_fact(partial(machine.space, path))) for path in paths(machine, docker, data_root)),
        data_root_mount=mount_above(machine, settings.data_root) if settings.data_root else Absent(),
        networks=own_networks(machine),
        key=_key(machine, settings.key_file) if settings.key_file else Absent(),
        registry_ca=tuple(
            (host, read_fact(partial(machine.text, path))) for host, path in settings.registry_ca.items()
        ),
        offered=_offered(machine) if settings.source == "distro" else "",
        rootless=tuple(
            uid
            for uid in names_or_none(machine, RUNTIMES)
            if "docker.sock" in names_or_none(machine, f"{RUNTIMES}/{uid}")
        ),
        local_images=value_or(read_fact(partial(local_images, machine)), ()),
        masked=_masked(machine),
        unfixed=unfixed(machine, context, check_system.one_key, check_system.containerd, check_system.socket_present),
    )


def _masked(machine: Machine) -> tuple[str, ...]:
    units = value_or(read_fact(lambda: machine.units(STARTED)), {})
    return tuple(name for name, unit in units.items() if unit is not None and unit.enabled.startswith("masked"))


def installed(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Return the installed packages of engines with their versions."""
    packages = ((name, machine.package(name)) for name in every_package())
    return tuple((name, package.version) for name, package in packages if package is not None)


def has_engine(machine: Machine) -> bool:
    """Whether Docker is installed from packages."""
    return any(name in ENGINES for name, _ in installed(machine))


def require_engine(machine: Machine) -> None:
    """Raise NotApplicable unless Docker is installed from packages."""
    if not has_engine(machine):
        raise NotApplicable("Docker is not installed from packages")


def require_info(machine: Machine, path: str = "/info") -> dict[str, Any]:
    """Return what the engine reports about itself. Raises NotApplicable if none is running, and StateUnknown."""
    info = machine.engine(path)
    if not isinstance(info, dict):
        raise NotApplicable(NO_ENGINE)
    return info


def require_list(machine: Machine, path: str) -> list[Any]:
    """Return a list of the engine's objects. Raises NotApplicable if none is running, and StateUnknown."""
    objects = machine.engine(path)
    if not isinstance(objects, list):
        raise NotApplicable(NO_ENGINE)
    return objects


def subnets_of(network: dict[str, Any]) -> list[str]:
    """Return the address ranges of one of the engine's networks."""
    parts = (network.get("IPAM") or {}).get("Config") or []
    return [str(part["Subnet"]) for part in parts if part.get("Subnet")]


def local_images(machine: Machine) -> tuple[str, ...]:
    """Return the names of Backend.AI images that no registry served, as a registry of type local uses them.

    Such a registry lists every image of the engine that is not registered from another registry (lablup/backend.ai,
    manager/container_registry/local.py), so names do not tell. Docker's own store records where an image was pulled
    from. containerd's store records a digest for every image: there, names without a host are assumed to be local.
    """
    images = machine.engine("/images/json") or []
    engine = engine_of(machine) if images else Absent()
    is_recorded = not (isinstance(engine, Known) and engine.value.uses_containerd)
    names = (
        str(tag)
        for image in images
        if KERNEL_LABEL in (image.get("Labels") or {})
        for tag in image.get("RepoTags") or ()
        if (not image.get("RepoDigests") if is_recorded else not re.match(r"[^/]*[.:][^/]*/|localhost/", str(tag)))
    )
    return tuple(names)


def engine_of(machine: Machine) -> Fact[Engine]:
    """Return the engine, if one is running."""
    try:
        version = machine.engine("/version")
        info = machine.engine("/info") if version is not None else None
    except StateUnknown as error:
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
        images=whole(info.get("Images") or 0),
        containers=whole(info.get("Containers") or 0),
        running=whole(info.get("ContainersRunning") or 0),
        rootless=any("name=rootless" in option for option in security),
        live_restore=bool(info.get("LiveRestoreEnabled")),
    )


def _data_root(engine: Fact[Engine], config: Fact[str]) -> str:
    if isinstance(engine, Known) and engine.value.data_root:
        return engine.value.data_root
    settings = daemon_settings(value_or(config, ""))
    return str(settings.get("data-root") or settings.get("graph") or DATA_ROOT)


def daemon_settings(text: str) -> dict[str, Any]:
    """Return the settings in the text of daemon.json; none if it is invalid, which other steps and checks report."""
    try:
        return json_object(text)
    except ValueError:
        return {}


def _is_filled(machine: Machine, engine: Fact[Engine], data_root: str) -> Fact[bool]:
    if isinstance(engine, Known):
        return Known(engine.value.images > 0 or engine.value.containers > 0)
    directories = (f"{data_root.rstrip('/')}/{directory}" for directory in FILLED)
    return read_fact(lambda: any(name != "metadata.db" for path in directories for name in machine.names(path)))


def paths(machine: Machine, engine: Fact[Engine], data_root: str) -> tuple[str, ...]:
    """Return the directories where images use space: with containerd's store, also containerd's own, which data-root
    does not move.
    """
    uses_containerd = isinstance(engine, Known) and engine.value.uses_containerd
    return (data_root, likely_content_root(machine)) if uses_containerd else (data_root,)


def mount_above(machine: Machine, path: str) -> Fact[str]:
    """Return the mount point at or above `path`; Absent if it is the root file system."""
    above = (path, *parents(path))
    return read_fact(lambda: next((each for each in above if each != "/" and machine.mount(each) is not None), None))


def _kubernetes(machine: Machine) -> str:
    units = [name for path in UNITS for name in names_or_none(machine, path) if name.endswith(".service")]
    return next((name for head, name in KUBERNETES.items() if any(unit.startswith(head) for unit in units)), "")


def _offered(machine: Machine) -> str:
    """The version of the distribution's engine that apt would install; empty if it is installed or unknown."""
    return value_or(read_fact(lambda: None if machine.package(DISTRO) is not None else machine.candidate(DISTRO)), "")


def _key(machine: Machine, path: str) -> Fact[str]:
    """The text of a key file; a binary key, as written by `gpg --dearmor`, is armored."""
    entry = value_or(read_fact(lambda: machine.entry(path)), None)
    if entry is not None and entry.content is not None and is_binary(entry.content):
        return Known(armored(entry.content))
    return read_fact(lambda: machine.text(path))


def names_or_none(machine: Machine, directory: str) -> tuple[str, ...]:
    """Return the names in a directory; none if it cannot be read."""
    return value_or(read_fact(lambda: machine.names(directory)), ())
