"""Settings of [accelerators]: drivers and container support of GPUs and NPUs, one table per vendor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import PathOrEmpty, Pattern, WebUrl

DriverBranch = Annotated[str, Pattern(r"auto|keep|[0-9]{3}", 'must be "auto", "keep" or a branch, such as "580"')]


class NvidiaSettings(SettingsPart):
    """NVIDIA's driver, libraries and container toolkit."""

    driver: DriverBranch = field(
        "auto",
        label="Driver",
        help="The driver branch.",
        choices={
            "auto": "keep a working driver, otherwise the distribution's server branch",
            "keep": "keep the existing one",
            "580": "a specific branch, for example",
        },
    )
    flavour: Literal["auto", "server-open", "server"] = field(
        "auto",
        label="Kernel modules",
        help="Which kernel modules to install.",
        choices={
            "auto": "depending on the GPU generation",
            "server-open": "open (required by Blackwell and newer)",
            "server": "proprietary (required by GPUs older than Turing)",
        },
    )
    source: Literal["distribution", "nvidia"] = field(
        "distribution",
        label="Source",
        help="The source of the driver.",
        choices={"distribution": "the distribution's packages", "nvidia": "NVIDIA's apt repository"},
    )
    apt_url: WebUrl = field(
        "",
        label="Repository",
        help="URL of a mirror that offers all of NVIDIA's apt packages in one flat repository. Empty: NVIDIA's own.",
    )
    key_file: PathOrEmpty = field(
        "",
        label="Key file",
        help="A local file with the signing key. Empty: built in or downloaded. The fingerprint is always verified.",
    )
    cuda_toolkit: Literal["runtime", "full", "none"] = field(
        "runtime",
        label="CUDA",
        help="Which parts of CUDA to install on the node itself.",
        choices={
            "runtime": "the runtime library that the agent loads",
            "full": "the whole toolkit",
            "none": "nothing",
        },
    )
    container_toolkit: bool = field(
        True, label="Container toolkit", help="Install NVIDIA's container toolkit and register it with Docker."
    )
    cdi: bool = field(
        False,
        label="CDI",
        help="Also describe the GPUs for the Container Device Interface. The agent still needs the runtime.",
    )
    fabric_manager: Literal["auto", "yes", "no"] = field(
        "auto",
        label="Fabric manager",
        help="Install the fabric manager in the same version as the driver.",
        choices={"auto": "if NVSwitches are present", "yes": "always", "no": "never"},
    )
    persistence: bool = field(
        True, label="Persistence", help="Keep the driver loaded while no GPU is in use, so that jobs start quickly."
    )
    hold: bool = field(
        True,
        label="Hold the versions",
        help="Hold the versions of driver, fabric manager and toolkit, so that an upgrade cannot cause a mismatch.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.cdi and not self.container_toolkit:
            yield Conflict(("cdi",), "requires container_toolkit = true", ("container_toolkit",))


class AcceleratorsSettings(SettingsTable):
    """Accelerators of this node."""

    nvidia: NvidiaSettings | None = field(
        None, label="NVIDIA", help="NVIDIA GPUs. If off, GPUs are detected and checked but nothing is installed."
    )
