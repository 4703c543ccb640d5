"""What is known of NVIDIA's GPUs, driver and container toolkit on a node."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Absent, Fact, Known
from bai_wizard.machine.nvml import Nvml

ABSENT = Absent()


@dataclass(frozen=True)
class System:
    """`os` is ubuntu or debian; `version` and `codename` are the release's, `architecture` dpkg's word for it."""

    os: str
    version: str
    codename: str
    architecture: str


@dataclass(frozen=True)
class Kernels:
    """`running` and `next` are releases (6.8.0-60-generic), `metas` the flavours whose meta packages are here."""

    running: str = ""
    next: str = ""
    metas: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Both, each once."""
        return tuple(dict.fromkeys(release for release in (self.running, self.next) if release))


@dataclass(frozen=True)
class NvidiaFacts:
    """`nvml` is Absent without its library, Unknown where the driver gives no answer.

    `loaded` is the version of the kernel module, `is_open` its kind. `packages` are those of NVIDIA that are
    installed, with versions. `nouveau` are the GPUs that the free driver holds, `switches` the NVSwitches on the
    bus. `runfile` says how a driver that dpkg does not know came here. `may_sign` tells whether this firmware trusts
    modules that are built here. `runtimes` are the container engine's; `image` is one in which the proof can run.
    """

    system: Fact[System] = ABSENT
    kernels: Kernels = Kernels()
    nvml: Fact[Nvml] = ABSENT
    loaded: Fact[str] = ABSENT
    is_open: bool = False
    packages: tuple[tuple[str, str], ...] = ()
    runfile: str = ""
    nouveau: tuple[str, ...] = ()
    switches: int = 0
    secure_boot: Fact[bool] = ABSENT
    may_sign: Fact[bool] = ABSENT
    cudart: Fact[str] = ABSENT
    runtimes: Fact[tuple[str, ...]] = ABSENT
    daemon_json: str = ""
    image: str = ""
    key: Fact[str] = ABSENT
    container: bool = False

    def version_of(self, package: str) -> str:
        """An installed package's version; empty where it is not installed."""
        return dict(self.packages).get(package, "")

    @property
    def is_healthy(self) -> bool:
        """True when a driver is loaded and answers."""
        return isinstance(self.nvml, Known) and self.nvml.value.is_healthy
