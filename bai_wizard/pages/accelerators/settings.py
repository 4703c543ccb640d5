"""Settings of [accelerators]: drivers and container support of GPUs and NPUs, one table a vendor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import PathOrEmpty, Shape, WebUrl

DriverBranch = Annotated[str, Shape(r"auto|keep|[0-9]{3}", 'must be "auto", "keep" or a branch such as "580"')]


class NvidiaSettings(SettingsPart):
    """NVIDIA's driver, libraries and container toolkit."""

    driver: DriverBranch = field(
        "auto",
        label="Driver",
        help="The driver's branch.",
        choices={
            "auto": "keep a healthy one, else the distribution's server branch",
            "keep": "whatever is there",
            "580": "this branch, for instance",
        },
    )
    flavour: Literal["auto", "server-open", "server"] = field(
        "auto",
        label="Kernel modules",
        help="Which kernel modules are installed.",
        choices={
            "auto": "by the GPUs' generation",
            "server-open": "the open ones, which Blackwell and later need",
            "server": "the closed ones, which GPUs before Turing need",
        },
    )
    source: Literal["distribution", "nvidia"] = field(
        "distribution",
        label="Source",
        help="Where the driver comes from.",
        choices={"distribution": "the distribution's packages", "nvidia": "NVIDIA's apt repository"},
    )
    apt_url: WebUrl = field(
        "",
        label="Repository",
        help="Address of a mirror of NVIDIA's apt packages, all in one flat repository. Empty: NVIDIA's own.",
    )
    key_file: PathOrEmpty = field(
        "",
        label="Key file",
        help="The signing key as a local file; else it is known or fetched. Its fingerprint is compared.",
    )
    cuda_toolkit: Literal["runtime", "full", "none"] = field(
        "runtime",
        label="CUDA",
        help="How much of CUDA is installed on the node itself.",
        choices={
            "runtime": "the runtime library that the agent loads",
            "full": "the whole toolkit",
            "none": "nothing",
        },
    )
    container_toolkit: bool = field(
        True, label="Container toolkit", help="Installs NVIDIA's container toolkit and registers it with Docker."
    )
    cdi: bool = field(
        False,
        label="CDI",
        help="Also describes the GPUs for the Container Device Interface. The runtime stays, for the agent needs it.",
    )
    fabric_manager: Literal["auto", "yes", "no"] = field(
        "auto",
        label="Fabric manager",
        help="Installs the fabric manager in exactly the driver's version.",
        choices={"auto": "where there are NVSwitches", "yes": "always", "no": "never"},
    )
    persistence: bool = field(
        True, label="Persistence", help="Keeps the driver loaded while nobody uses a GPU, so that starts are fast."
    )
    hold: bool = field(
        True,
        label="Hold the versions",
        help="Holds driver, fabric manager and toolkit as one set, so that an upgrade cannot tear them apart.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.cdi and not self.container_toolkit:
            yield Conflict(("cdi",), "needs container_toolkit = true", ("container_toolkit",))


class AcceleratorsSettings(SettingsTable):
    """Accelerators of this node."""

    nvidia: NvidiaSettings | None = field(
        None, label="NVIDIA", help="NVIDIA GPUs. Absent: they are shown and checked, nothing is installed."
    )
