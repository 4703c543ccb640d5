"""Settings of [node], [network], [sources] and [doctor]: what this node is, and what holds for every page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, duplicates, field
from bai_wizard.pages.values import AbsolutePath, CheckId, PathOrEmpty, Release, Shape

ProxyUrl = Annotated[
    str,
    Shape(
        r"https?://(?:[^\s/@]*@)?[^\s/@:]+(?::[0-9]{1,5})?/?",
        "must be a proxy's address such as http://proxy.corp:3128",
        empty=True,
    ),
]
NoProxy = Annotated[
    str, Shape(r"[^\s,]+(?:, ?[^\s,]+)*", "must be hosts, domains or networks joined by commas", empty=True)
]
Digest = Annotated[str, Shape(r"[0-9a-f]{64}", "must be a sha256 in hex: 64 digits 0-9 and a-f", empty=True)]
Reason = Annotated[str, Shape(r"[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*", "must say in one line why it is ignored")]


class NodeSettings(SettingsTable):
    """What this node is for."""

    roles: Many[Literal["management", "compute", "storage"]] = field(
        ("compute",),
        label="Roles",
        help="What this node does for Backend.AI; several roles are possible. Defaults of other pages follow.",
        choices={
            "management": "runs the manager, the web server and their databases",
            "compute": "runs the agent and the users' containers",
            "storage": "runs the storage proxy",
        },
        min_length=1,
    )
    backend_ai: Release = field(
        "",
        label="Backend.AI release",
        help="The release that will run here. It decides the Python and which versions of Docker are safe.",
        example="26.4",
    )
    reboot: Literal["never", "ask"] = field(
        "never",
        label="Reboot",
        help="What to do when the rest can be done only after a reboot.",
        choices={"never": "end with code 5 and go on with `bai-wizard resume`", "ask": "offer it at the screen"},
    )

    def conflicts(self) -> Iterator[Conflict]:
        for place in duplicates(self.roles):
            yield Conflict(("roles", place), "is listed twice")


class ProxySettings(SettingsPart):
    """The way out of a closed network."""

    http: ProxyUrl = field(
        "", label="HTTP proxy", help="Proxy for http://. Empty: none.", example="http://proxy.corp:3128"
    )
    https: ProxyUrl = field(
        "", label="HTTPS proxy", help="Proxy for https://. Empty: none.", example="http://proxy.corp:3128"
    )
    no_proxy: NoProxy = field(
        "",
        label="No proxy for",
        help="Hosts, domains and networks that are reached directly, joined by commas.",
        example="localhost,127.0.0.1,.corp,10.0.0.0/8",
    )


class NetworkSettings(SettingsTable):
    """How this node reaches the outside, and whom it trusts."""

    proxy: ProxySettings = field(
        factory=ProxySettings,
        label="Proxy",
        help="Used by apt, downloads, pip and uv, git and the Docker service.",
    )
    ca_certificates: Many[AbsolutePath] = field(
        (),
        label="CA certificates",
        help="Certificate files of your own authorities. They join the system's trust and are given to pip and uv.",
        example=["/root/corp-ca.crt"],
    )

    def conflicts(self) -> Iterator[Conflict]:
        for place in duplicates(self.ca_certificates):
            yield Conflict(("ca_certificates", place), "is listed twice")


class SourcesSettings(SettingsTable):
    """Where everything is taken from on a node without a way out."""

    bundle: PathOrEmpty = field(
        "",
        label="Bundle",
        help="A directory made by `bai-wizard bundle`. Every page then takes from there and nothing from outside.",
        example="/media/usb/bundle",
    )
    bundle_digest: Digest = field(
        "",
        label="Digest of the bundle",
        help="The sha256 of the bundle's manifest, as `bai-wizard bundle` printed it. Another bundle is refused.",
    )


class DoctorSettings(SettingsTable):
    """Findings that this site has accepted."""

    ignore: dict[CheckId, Reason] = field(
        {},
        label="Ignored checks",
        help="Ids of checks with the reason why their findings are accepted. They still run and are still shown.",
        example={"tmp-noexec": "agreed with operations in 2026"},
    )
