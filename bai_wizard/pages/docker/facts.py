"""What the docker page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass, field

from bai_wizard.core.facts import Absent, Fact, Known


@dataclass(frozen=True)
class System:
    """The operating system: `os` is ubuntu or debian (also for what derives from them), `architecture` is dpkg's."""

    os: str
    name: str
    codename: str
    architecture: str
    version: str = ""


@dataclass(frozen=True)
class Engine:
    """A running engine, as it tells of itself."""

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
        """True where images lie in containerd's store."""
        return self.driver in ("overlayfs", "native", "stargz", "erofs")


@dataclass(frozen=True)
class DockerFacts:
    """`packages` are installed packages with their versions. `networks` are the node's own, Docker's left out.

    `data_root` is where the data lie now, `is_filled` whether anything lies there. `data_root_mount` is the mount
    point that holds the wished-for data root, the root file system not counting. `free` are the bytes that are free
    where the data lie, and where containerd's do if images are in its store. `key` is the text of key_file;
    `registry_ca` the certificates by registry. `kubernetes` names what else manages containerd on this node.
    `rootless` are the ids of users with an engine of their own, which is none of Backend.AI's business.
    `offered` is the version of the distribution's engine where that is asked for and not here; empty if unknown.
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
    free: tuple[tuple[str, Fact[int]], ...] = ()
    networks: Fact[tuple[str, ...]] = field(default_factory=Absent)
    key: Fact[str] = field(default_factory=Absent)
    registry_ca: tuple[tuple[str, Fact[str]], ...] = ()
    offered: str = ""
    rootless: tuple[str, ...] = ()

    def version_of(self, package: str) -> str:
        """The version of an installed package; empty where it is not."""
        return dict(self.packages).get(package, "")

    @property
    def is_fresh(self) -> bool:
        """True when no engine is here yet: what is written now is read by its first start."""
        engines = ("docker-ce", "docker.io", "moby-engine")
        is_running = isinstance(self.engine, Known)  # one that was copied here by hand has no package
        return not self.snap and not is_running and not any(self.version_of(name) for name in engines)
