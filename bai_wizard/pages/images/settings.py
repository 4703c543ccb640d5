"""Settings of [images]: the container images that a compute node starts with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from bai_wizard.pages.fields import Conflict, Many, SecretSource, SettingsPart, SettingsTable, duplicates, field
from bai_wizard.pages.values import (
    AbsolutePath,
    ImageReference,
    OneLine,
    PathOrEmpty,
    RegistryHost,
    RegistryPrefix,
    Sha256,
)

# Common names of Docker Hub besides docker.io.
HUB = ("index.docker.io", "registry-1.docker.io", "hub.docker.com", "registry.hub.docker.com")


class ArchiveSettings(SettingsPart):
    """An image in a file."""

    file: AbsolutePath = field(
        label="File", help="An archive created by `docker save`.", example="/srv/images/python.tar"
    )
    sha256: Sha256 = field(label="sha256", help="The file's SHA-256. It is verified before the image is loaded.")


class RegistrySettings(SettingsPart):
    """How to log in to a registry."""

    host: RegistryHost = field(label="Registry", help="The registry's host name.", example="harbor.corp")
    username: OneLine = field("", label="User", help="The user to log in as. Empty: no login.")
    password: SecretSource | None = field(
        None,
        label="Password",
        help="The source of the password, which is never written here or stored on the node.",
        example={"env": "CR_PASSWORD"},
    )
    ca_file: PathOrEmpty = field(
        "",
        label="CA file",
        help="The certificate of the CA that signed the registry's certificate, if it is your own CA.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.host in HUB:
            yield Conflict(("host",), "must be docker.io for Docker Hub, because images refer to it by that name")
        if self.username and self.password is None:
            yield Conflict(("username",), "requires `password`", ("password",))
        if self.password is not None and not self.username:
            yield Conflict(("password",), "requires `username`", ("username",))


class ImagesSettings(SettingsTable):
    """Container images."""

    starter: Literal["current", "manual", "none"] = field(
        "current",
        label="Starter set",
        help="The initial set of images.",
        choices={"current": "images for current releases", "manual": "the manual's four images", "none": "none"},
    )
    registry: RegistryPrefix = field(
        "",
        label="Own registry",
        help="Pull the starter set from this registry and project instead of cr.backend.ai.",
        example="harbor.corp/bai",
    )
    retag: bool = field(
        False,
        label="Canonical names",
        help="Also tag images from your own registry with their names on cr.backend.ai.",
    )
    pull: Many[ImageReference] = field(
        (),
        label="Additional images",
        help="Images to pull in addition to the starter set.",
        example=["cr.backend.ai/stable/filebrowser:21.02-ubuntu20.04"],
    )
    archives: Many[ArchiveSettings] = field(
        (), label="Archives", help="Image files, for nodes that cannot reach a registry."
    )
    parallel: int = field(3, label="Parallel pulls", help="How many images to pull at the same time.", ge=1, le=16)
    registries: Many[RegistrySettings] = field(
        (),
        label="Logins",
        help="Registries that require a password or use a certificate of your own CA.",
        example=[{"host": "harbor.corp", "username": "u", "password": {"env": "CR_PASSWORD"}}],
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.retag and not self.registry:
            yield Conflict(("retag",), "requires `registry`", ("registry",))
        for index in duplicates(self.pull):
            yield Conflict(("pull", index), "is listed twice")
        for index in duplicates(tuple(archive.file for archive in self.archives)):
            yield Conflict(("archives", index, "file"), "is listed twice")
        for index in duplicates(tuple(registry.host for registry in self.registries)):
            yield Conflict(("registries", index, "host"), "is listed twice")
