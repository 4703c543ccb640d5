"""Steps for trusted certificates, and the proxy settings in the format of each program."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from posixpath import basename
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Below, Operation, Scope
from bai_wizard.core.parse import apt_scope, apt_value, environment_value, git_value
from bai_wizard.core.state import command_key, file_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.files import MakeDirectory, RemovePath, WriteFile
from bai_wizard.steps.files import BlockDamaged, Markers, drop_block, read_text, rewrite

CERTIFICATES = "/usr/local/share/ca-certificates"
TRUST_STORE = "/etc/ssl/certs"
BUNDLE = f"{TRUST_STORE}/ca-certificates.crt"
REBUILD_TRUST = ("update-ca-certificates",)
CERTIFICATE_PREFIX = "bai-wizard-"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


class Trust(Step, frozen=True, kw_only=True):
    """Put the certificates of `sources` (PEM files) where update-ca-certificates finds them, and run it.

    A file with several certificates is split, because the tool expects one per file. Certificates of ours that are no
    longer requested are removed.
    """

    kind: ClassVar[str] = "trust"
    sources: tuple[str, ...]

    def describe(self) -> str:
        names = ", ".join(basename(source) for source in self.sources)
        return f"trust the certificates {names}" if names else "trust no additional certificates"

    def scope(self) -> tuple[Scope, ...]:
        return (
            Below(file_key(CERTIFICATES)),
            file_key(BUNDLE),
            command_key(REBUILD_TRUST),
            command_key((*REBUILD_TRUST, "--fresh")),
        )

    def operations(self, view: NodeView) -> Iterator[Operation]:
        wanted = {name: body for source in self.sources for name, body in _certificates(view, source)}
        stale = [
            name for name in view.names(CERTIFICATES) if name.startswith(CERTIFICATE_PREFIX) and name not in wanted
        ]
        dangling = [
            name
            for name in view.names(TRUST_STORE)
            if name.startswith(CERTIFICATE_PREFIX) and f"{name.removesuffix('.pem')}.crt" not in wanted
        ]
        if wanted and "update-ca-certificates" not in view.names("/usr/sbin"):
            raise StepBlocked("update-ca-certificates is missing on this node: apt-get install ca-certificates")
        if wanted and view.entry(CERTIFICATES) is None:
            yield MakeDirectory(CERTIFICATES)
        for name, body in wanted.items():
            yield WriteFile(
                f"{CERTIFICATES}/{name}", f"-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n".encode()
            )
        for name in stale:
            yield RemovePath(f"{CERTIFICATES}/{name}")
        if stale or dangling or not _are_trusted(view, tuple(wanted.values())):
            # Without --fresh, a removed certificate keeps its link.
            command = (*REBUILD_TRUST, *(("--fresh",) if stale or dangling else ()))
            yield RunCommand(
                command,
                title="rebuild the system's list of trusted certificates",
                touches=(BUNDLE,),
                undo=("update-ca-certificates", "--fresh"),
                undo_last=True,
            )


def _certificates(view: NodeView, source: str) -> Iterator[tuple[str, str]]:
    """Yield the file name and PEM body of each certificate in a file. Raises StepBlocked if it is not a PEM file."""
    entry = view.entry(source)
    if entry is None or entry.content is None:
        raise StepBlocked(f"the certificate file {source} does not exist on this node")
    text = entry.text() or ""
    if "PRIVATE KEY" in text:
        raise StepBlocked(f"{source} contains a private key; specify a file with the certificate only")
    bodies = [match.group(1) for match in _CERTIFICATE.finditer(text)]
    if not bodies:
        raise StepBlocked(
            f"{source} contains no PEM certificate; convert a DER certificate with"
            f" `openssl x509 -inform der -in {source} -out {source}.pem`"
        )
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", basename(source).rpartition(".")[0] or basename(source))
    for number, body in enumerate(bodies, start=1):
        yield f"{CERTIFICATE_PREFIX}{stem}{f'-{number}' if len(bodies) > 1 else ''}.crt", body


def _are_trusted(view: NodeView, bodies: tuple[str, ...]) -> bool:
    if not bodies:
        return True
    bundle = view.text(BUNDLE) or ""
    trusted = {"".join(match.group(1).split()) for match in _CERTIFICATE.finditer(bundle)}
    return all("".join(body.split()) in trusted for body in bodies)


PIP_CONFIG = "/etc/pip.conf"
MARKERS = Markers("# BEGIN bai-wizard", "# END bai-wizard")
PIP_SECTION = "[global]"


class PipConfig(Step, frozen=True, kw_only=True):
    """Set `cert` for every pip on this node, unless it is already set by others; empty removes our lines."""

    kind: ClassVar[str] = "pip-config"
    cert: str

    def describe(self) -> str:
        return f"{PIP_CONFIG}: certificate file {self.cert}" if self.cert else f"{PIP_CONFIG}: no certificate file"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(PIP_CONFIG),)

    def note(self, view: NodeView) -> Unchanged:
        text = read_text(view, PIP_CONFIG) or ""
        if self.cert and _sets_cert(drop_block(text, MARKERS)):
            return Unchanged(f"{PIP_CONFIG} already sets a certificate file, which is kept")
        return Unchanged()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        text = read_text(view, PIP_CONFIG)
        try:
            others = drop_block(text or "", MARKERS)
        except BlockDamaged as error:
            raise StepBlocked(f"{PIP_CONFIG}: {error}") from error
        if not self.cert or _sets_cert(others):
            if others.strip() in ("", PIP_SECTION):
                yield RemovePath(PIP_CONFIG)
            else:
                yield rewrite(view, PIP_CONFIG, others)
            return
        block = f"{MARKERS.begin}\ncert = {self.cert}\n{MARKERS.end}\n"
        lines = others.splitlines(keepends=True)
        paths = [number for number, line in enumerate(lines) if line.strip() == PIP_SECTION]
        if paths:
            head = lines[: paths[0] + 1]
            if not head[-1].endswith("\n"):
                head[-1] += "\n"
            new = "".join(head) + block + "".join(lines[paths[0] + 1 :])
        else:
            separator = "" if not others or others.endswith("\n") else "\n"
            new = f"{others}{separator}{PIP_SECTION}\n{block}"
        yield rewrite(view, PIP_CONFIG, new)


def _sets_cert(text: str) -> bool:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == PIP_SECTION and line.replace(":", "=").partition("=")[0].strip() == "cert":
            return True
    return False


APT_PROXY = "/etc/apt/apt.conf.d/95bai-wizard-proxy"
ENVIRONMENT = "/etc/environment"
GITCONFIG = "/etc/gitconfig"


def apt_text(http: str, https: str, no_proxy: str) -> str:
    """Return apt.conf(5) text; empty without a proxy. apt supports exceptions only by exact host name."""
    if not http and not https:
        return ""
    lines = ["// Written by bai-wizard."]
    for scheme, proxy in (("http", http), ("https", https)):
        if proxy:
            lines.append(f"Acquire::{scheme}::Proxy {apt_value(proxy)};")
            lines += [
                f"Acquire::{scheme}::Proxy::{apt_scope(host)} {apt_value('DIRECT')};"
                for host in plain_hosts(no_proxy)
            ]
    return "\n".join(lines) + "\n"


def plain_hosts(no_proxy: str) -> tuple[str, ...]:
    """Return the entries that are host names, not domains, networks or addresses of this node."""
    entries = (entry.strip() for entry in no_proxy.split(","))
    return tuple(entry for entry in entries if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*", entry))


def environment_lines(
    http: str, https: str, no_proxy: str, *, trust: bool, others: Collection[str]
) -> tuple[str, ...]:
    """Return lines of /etc/environment. `others`: variables set there by others are left alone, in either case."""
    no_proxy = no_proxy.replace(" ", "")
    wanted = {"http_proxy": http, "https_proxy": https, "no_proxy": no_proxy if http or https else ""}
    taken = {name.lower() for name in others}
    lines = []
    for name, value in wanted.items():
        if value and name not in taken:
            # curl reads only the lower-case names; many other programs prefer the upper-case ones.
            lines += [f"{word}={environment_value(value)}" for word in (name, name.upper())]
    if trust and "ssl_cert_file" not in taken:
        # uv has its own list of certificate authorities, and so do other Rust and Go programs.
        lines.append(f"SSL_CERT_FILE={environment_value(BUNDLE)}")
    return tuple(lines)


def git_lines(http: str, https: str, others: str) -> tuple[str, ...]:
    """Return lines of git's system-wide configuration; none if it already contains another proxy."""
    proxy = https or http
    section = ""
    for raw in others.split("\n"):
        line = raw.strip()
        if line.startswith("["):
            section = line.lower()
        elif section == "[http]" and line.partition("=")[0].strip().lower() == "proxy":
            return ()
    return ("[http]", f"\tproxy = {git_value(proxy)}") if proxy else ()
