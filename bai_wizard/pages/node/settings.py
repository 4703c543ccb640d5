"""Settings of [node], [network], [sources] and [doctor]: this node, and settings that all pages use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, duplicates, field
from bai_wizard.pages.values import HIDDEN, URL_HOST, AbsolutePath, Argument, BundleSource, CheckId, Pattern, Release

ProxyUrl = Annotated[
    str,
    Pattern(
        rf"https?://(?:(?:[A-Za-z0-9._~!*+=,:-]|%[0-9A-Fa-f]{{2}})*@)?{URL_HOST}(?::[0-9]{{1,5}})?/?",
        "must be a proxy URL, such as http://proxy.corp:3128; percent-encode special characters in user name and"
        " password",
        empty=True,
    ),
]
NoProxy = Annotated[
    str,
    Pattern(
        r"[A-Za-z0-9.*_:\[\]/-]+(?:, ?[A-Za-z0-9.*_:\[\]/-]+)*",
        "must be hosts, domains or networks separated by commas",
        empty=True,
    ),
]
Digest = Annotated[
    str, Pattern(r"[0-9a-f]{64}", "must be a SHA-256 in hexadecimal: 64 digits 0-9 and a-f", empty=True)
]
Reason = Annotated[str, Pattern(rf"(?=.*\S)[^{HIDDEN}]*", "must give the reason on one line")]


class NodeSettings(SettingsTable):
    """The role of this node."""

    roles: Many[Literal["management", "compute", "storage"]] = field(
        ("compute",),
        label="Roles",
        help="What this node does for Backend.AI. Several roles are possible. They set the defaults of other pages.",
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
        help="The release that will run here. It determines the Python version and the compatible Docker versions.",
        example="26.4",
    )
    reboot: Literal["never", "ask"] = field(
        "never",
        label="Reboot",
        help="What to do if the remaining steps require a reboot.",
        choices={
            "never": "exit with code 5; continue later with `bai-wizard resume`",
            "ask": "offer it in the wizard",
        },
    )

    def conflicts(self) -> Iterator[Conflict]:
        for index in duplicates(self.roles):
            yield Conflict(("roles", index), "is listed twice")


class ProxySettings(SettingsPart):
    """Proxy settings."""

    http: ProxyUrl = field(
        "", label="HTTP proxy", help="Proxy for http://. Empty: none.", example="http://proxy.corp:3128"
    )
    https: ProxyUrl = field(
        "", label="HTTPS proxy", help="Proxy for https://. Empty: none.", example="http://proxy.corp:3128"
    )
    no_proxy: NoProxy = field(
        "",
        label="No proxy for",
        help="Hosts, domains and networks to reach without the proxy, separated by commas.",
        example="localhost,127.0.0.1,.corp,10.0.0.0/8",
    )


class NetworkSettings(SettingsTable):
    """Network access and trusted certificates."""

    proxy: ProxySettings = field(
        factory=ProxySettings, label="Proxy", help="Used by apt, downloads, pip and uv, git and the Docker service."
    )
    ca_certificates: Many[AbsolutePath] = field(
        (),
        label="CA certificates",
        help="Certificate files of your own CAs. They are added to the system's trust store and used by pip and uv.",
        example=["/root/corp-ca.crt"],
    )

    def conflicts(self) -> Iterator[Conflict]:
        for index in duplicates(self.ca_certificates):
            yield Conflict(("ca_certificates", index), "is listed twice")


class SourcesSettings(SettingsTable):
    """Installation sources for air-gapped nodes."""

    bundle: BundleSource = field(
        "",
        label="Bundle",
        help="A directory created by `bai-wizard bundle`, or its URL on a web server, which requires the digest. All"
        " pages then install from it and access no other source.",
        example="/media/usb/bundle",
    )
    bundle_digest: Digest = field(
        "",
        label="Digest of the bundle",
        help="The SHA-256 of the bundle's manifest, as printed by `bai-wizard bundle`. Any other bundle is refused.",
    )


class DoctorSettings(SettingsTable):
    """Findings accepted at this site."""

    ignore: dict[CheckId, Reason] = field(
        {},
        label="Ignored checks",
        help="Check IDs, each with the reason for accepting its findings. The checks still run and are still shown.",
        example={"node.tmp-noexec": "agreed with operations in 2026"},
    )


class MaintenanceSettings(SettingsTable):
    """Programs that drain this node before a run interrupts sessions, and make it available again afterwards."""

    drain_hook: Many[Argument] = field(
        (),
        label="Drain hook",
        help="Program with arguments, run as root before the first step that would interrupt something. It should"
        " keep new sessions off this node. If it fails, nothing is interrupted.",
        example=["/usr/local/sbin/drain-node", "--wait"],
    )
    resume_hook: Many[Argument] = field(
        (),
        label="Resume hook",
        help="Program with its arguments, run as root at the end of a run that has drained the node, also if a step"
        " or the drain hook has failed.",
        example=["/usr/local/sbin/resume-node"],
    )

    def conflicts(self) -> Iterator[Conflict]:
        for name in ("drain_hook", "resume_hook"):
            argv = getattr(self, name)
            if argv and not argv[0].startswith("/"):
                yield Conflict((name, 0), "must be the absolute path of a program")
        if self.resume_hook and not self.drain_hook:
            yield Conflict(("resume_hook",), "needs drain_hook: without it, this is never run")
