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

# What people call Docker Hub besides docker.io.
HUB = ("index.docker.io", "registry-1.docker.io", "hub.docker.com", "registry.hub.docker.com")


class ArchiveSettings(SettingsPart):
    """An image in a file."""

    file: AbsolutePath = field(
        label="File", help="An archive made by `docker save`.", example="/srv/images/python.tar"
    )
    sha256: Sha256 = field(label="sha256", help="The file's sha256. It is verified before the file is loaded.")


class RegistrySettings(SettingsPart):
    """How to log in to a registry."""

    host: RegistryHost = field(label="Registry", help="The registry's host.", example="harbor.corp")
    username: OneLine = field("", label="User", help="The user to log in as. Empty: without logging in.")
    password: SecretSource | None = field(
        None,
        label="Password",
        help="Where the password comes from; it is never written here and never stored on the node.",
        example={"env": "CR_PASSWORD"},
    )
    ca_file: PathOrEmpty = field(
        "", label="CA file", help="The certificate of the authority that signed the registry's, if it is your own."
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.host in HUB:
            yield Conflict(("host",), "is Docker Hub, whose name is docker.io: by another one no image finds it")
        if self.username and self.password is None:
            yield Conflict(("username",), "needs `password`", ("password",))
        if self.password is not None and not self.username:
            yield Conflict(("password",), "needs `username`", ("username",))


class ImagesSettings(SettingsTable):
    """Container images."""

    starter: Literal["current", "manual", "none"] = field(
        "current",
        label="Starter set",
        help="The set of images to begin with.",
        choices={"current": "what suits today's releases", "manual": "the four of the manual", "none": "no set"},
    )
    registry: RegistryPrefix = field(
        "",
        label="Own registry",
        help="Takes the starter set from this registry and project instead of cr.backend.ai.",
        example="harbor.corp/bai",
    )
    retag: bool = field(
        False,
        label="Canonical names",
        help="Gives images from your own registry the names of cr.backend.ai as well.",
    )
    pull: Many[ImageReference] = field(
        (),
        label="Further images",
        help="Images to pull besides the starter set.",
        example=["cr.backend.ai/stable/filebrowser:21.02-ubuntu20.04"],
    )
    archives: Many[ArchiveSettings] = field(
        (), label="Archives", help="Images in files, for nodes that reach no registry."
    )
    parallel: int = field(3, label="At once", help="How many images are pulled at the same time.", ge=1, le=16)
    registries: Many[RegistrySettings] = field(
        (),
        label="Logins",
        help="Registries that ask for a password or have a certificate of their own.",
        example=[{"host": "harbor.corp", "username": "u", "password": {"env": "CR_PASSWORD"}}],
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.retag and not self.registry:
            yield Conflict(("retag",), "needs `registry`", ("registry",))
        for place in duplicates(self.pull):
            yield Conflict(("pull", place), "is listed twice")
        for place in duplicates(tuple(archive.file for archive in self.archives)):
            yield Conflict(("archives", place, "file"), "is listed twice")
        for place in duplicates(tuple(registry.host for registry in self.registries)):
            yield Conflict(("registries", place, "host"), "is listed twice")
