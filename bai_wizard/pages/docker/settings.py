"""Settings of [docker]: the engine, its source and its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

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
        label="Driver",
        help="Where the containers' output goes.",
        choices={"json-file": "files that `docker logs` reads", "local": "compact files", "journald": "the journal"},
    )
    max_size: ByteSize = field("100m", label="Size of a file", help="A log file of this size is rotated (k, m or g).")
    max_file: int = field(5, label="Files kept", help="How many log files of a container are kept.", ge=1, le=1000)


class AddressPool(SettingsPart):
    """A range from which Docker takes the networks it makes."""

    base: Network = field(label="Range", help="The whole range.", example="172.30.0.0/16")
    size: int = field(
        label="Prefix length", help="The prefix length of each network taken from it.", example=24, ge=8, le=128
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
        help="Where Docker comes from.",
        choices={
            "docker-ce": "Docker's own apt repository",
            "distro": "the distribution's packages",
            "keep": "whatever is installed; only the configuration is looked after",
        },
    )
    apt_url: WebUrl = field(
        "",
        label="Repository",
        help="Address of the apt repository or of its mirror. Empty: Docker's, for this distribution.",
        example="https://mirror.corp/docker-ce/linux/ubuntu",
    )
    key_file: PathOrEmpty = field(
        "",
        label="Key file",
        help="The repository's signing key as a file; else the wizard's copy. Its fingerprint is always verified.",
    )
    version: PackageVersion = field(
        "",
        label="Version",
        help="A major version or an exact one. Empty: the newest that suits node.backend_ai.",
        example="28",
    )
    hold: bool = field(
        True,
        label="Hold the version",
        help="Pins the major version, so that an upgrade cannot bring an engine too new.",
    )
    remove_conflicts: bool = field(
        False,
        label="Remove conflicts",
        help="Removes packages that conflict with the chosen source. Images and volumes are never removed.",
    )
    users: Many[UserName] = field(
        (),
        label="Users",
        help="Who may use Docker without sudo, which is as much as being root. Empty: the operation account.",
    )
    registry_mirrors: Many[GivenUrl] = field(
        (),
        label="Mirrors",
        help="Mirrors of Docker Hub; other registries are not mirrored.",
        example=["https://mirror.corp"],
    )
    registry_ca: dict[RegistryHost, AbsolutePath] = field(
        {},
        label="Registry CAs",
        help="Registries whose certificates are signed by an authority of your own, with the file of that authority.",
        example={"harbor.corp:443": "/root/corp-ca.crt"},
    )
    insecure_registries: Many[InsecureRegistry] = field(
        (),
        label="Insecure registries",
        help="Registries that are used without TLS or without checking it. The doctor keeps warning about them.",
        example=["harbor.corp:5000"],
    )
    data_root: PathOrEmpty = field(
        "",
        label="Data directory",
        help="Where images and containers are kept. Empty: /var/lib/docker. A filled one is not abandoned silently.",
    )
    data_root_must_be_mount: bool = field(
        False,
        label="Data directory is a mount",
        help="Docker starts only when the file system of the data directory is mounted.",
    )
    image_store: Literal["auto", "overlay2", "containerd"] = field(
        "auto",
        label="Image store",
        help="How images are stored.",
        choices={
            "auto": "as node.backend_ai needs it",
            "overlay2": "Docker's own store below the data directory",
            "containerd": "containerd's store below /var/lib/containerd",
        },
    )
    address_pools: Many[AddressPool] = field(
        (),
        label="Address pools",
        help="Ranges for networks that Docker makes, where its own choice meets networks of yours.",
        example=[{"base": "172.30.0.0/16", "size": 24}],
    )
    log: LogSettings = field(factory=LogSettings, label="Logs", help="How the containers' logs are kept and rotated.")

    def conflicts(self) -> Iterator[Conflict]:
        if self.data_root_must_be_mount and not self.data_root:
            yield Conflict(("data_root_must_be_mount",), "needs `data_root`", ("data_root",))
        for key in ("apt_url", "key_file"):
            if getattr(self, key) and self.source != "docker-ce":
                yield Conflict((key,), 'is used with source = "docker-ce" only', ("source",))
        for key in ("users", "registry_mirrors", "insecure_registries"):
            for place in duplicates(getattr(self, key)):
                yield Conflict((key, place), "is listed twice")
