"""Settings of [docker]: the engine, its source and its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from bai_wizard.core.paths import is_system
from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, duplicates, field
from bai_wizard.pages.values import (
    AbsolutePath,
    ByteSize,
    GivenUrl,
    InsecureRegistry,
    Network,
    PackageVersion,
    PathOrEmpty,
    RegistryHost,
    UserName,
    WebUrl,
)


class LogSettings(SettingsPart):
    """Rotation of the containers' logs."""

    driver: Literal["json-file", "local", "journald"] = field(
        "json-file",
        label="Log driver",
        help="Where the containers' output goes.",
        choices={
            "json-file": "files that `docker logs` can read",
            "local": "compact log files",
            "journald": "the systemd journal",
        },
    )
    max_size: ByteSize = field("100m", label="Log file size", help="Log files are rotated at this size (k, m or g).")
    max_file: int = field(5, label="Log files kept", help="Number of log files to keep per container.", ge=1, le=1000)


class AddressPool(SettingsPart):
    """An address range that Docker allocates networks from."""

    base: Network = field(label="Range", help="The whole range.", example="172.30.0.0/16")
    size: int = field(
        label="Prefix length", help="The prefix length of each network allocated from it.", example=24, ge=8, le=128
    )

    def conflicts(self) -> Iterator[Conflict]:
        length = int(self.base.partition("/")[2] or 32)
        if self.size < length:
            yield Conflict(("size",), f"must be at least {length}, the prefix length of the range")


class DockerSettings(SettingsTable):
    """The container engine."""

    source: Literal["docker-ce", "distro", "keep"] = field(
        "docker-ce",
        label="Source",
        help="The source of the Docker packages.",
        choices={
            "docker-ce": "Docker's own apt repository",
            "distro": "the distribution's packages",
            "keep": "keep the installed engine, manage its configuration only",
        },
    )
    apt_url: WebUrl = field(
        "",
        label="Repository",
        help="URL of the apt repository or a mirror of it. Empty: Docker's own for this distribution.",
        example="https://mirror.corp/docker-ce/linux/ubuntu",
    )
    key_file: PathOrEmpty = field(
        "",
        label="Key file",
        help="A file with the repository's signing key. Empty: a built-in copy. The fingerprint is always verified.",
    )
    version: PackageVersion = field(
        "",
        label="Version",
        help="A major or exact version. Empty: the newest version compatible with the chosen release.",
        example="28",
    )
    hold: bool = field(
        True,
        label="Hold the version",
        help="Pin the major version, so that an upgrade cannot install an incompatible engine.",
    )
    remove_conflicts: bool = field(
        False,
        label="Remove conflicts",
        help="Remove packages that conflict with the chosen source. Images and volumes are never removed.",
    )
    users: Many[UserName] = field(
        (),
        label="Users",
        help="Users who can run Docker without sudo (equivalent to root). Empty: the service account.",
    )
    registry_mirrors: Many[GivenUrl] = field(
        (),
        label="Mirrors",
        help="Mirrors of Docker Hub. They are not used for other registries.",
        example=["https://mirror.corp"],
    )
    registry_ca: dict[RegistryHost, AbsolutePath] = field(
        {},
        label="Registry CAs",
        help="Registries whose certificates are signed by your own CA, each with that CA's certificate file.",
        example={"harbor.corp:443": "/root/corp-ca.crt"},
    )
    insecure_registries: Many[InsecureRegistry] = field(
        (),
        label="Insecure registries",
        help="Registries to use without TLS or without verifying it. The doctor keeps warning about them.",
        example=["harbor.corp:5000"],
    )
    data_root: PathOrEmpty = field(
        "",
        label="Data directory",
        help="Where to store images and containers. Empty: /var/lib/docker. Never switched silently while in use.",
    )
    data_root_must_be_mount: bool = field(
        False,
        label="Data directory is a mount",
        help="Start Docker only when the file system of the data directory is mounted.",
    )
    image_store: Literal["auto", "overlay2", "containerd"] = field(
        "auto",
        label="Image store",
        help="Where Docker stores images.",
        choices={
            "auto": "as the chosen release requires",
            "overlay2": "Docker's own store in the data directory",
            "containerd": "containerd's store in /var/lib/containerd",
        },
    )
    address_pools: Many[AddressPool] = field(
        (),
        label="Address pools",
        help="Address ranges for Docker's networks, if the defaults overlap your networks.",
        example=[{"base": "172.30.0.0/16", "size": 24}],
    )
    log: LogSettings = field(factory=LogSettings, label="Logs", help="How the containers' logs are kept and rotated.")

    def conflicts(self) -> Iterator[Conflict]:
        if self.data_root and is_system(self.data_root, store=True):
            yield Conflict(("data_root",), "must not be an operating system directory")
        if self.data_root_must_be_mount and not self.data_root:
            yield Conflict(("data_root_must_be_mount",), "requires `data_root`", ("data_root",))
        for key in ("apt_url", "key_file"):
            if getattr(self, key) and self.source != "docker-ce":
                yield Conflict((key,), 'applies only to source = "docker-ce"', ("source",))
        for key in ("users", "registry_mirrors", "insecure_registries"):
            for index in duplicates(getattr(self, key)):
                yield Conflict((key, index), "is listed twice")
