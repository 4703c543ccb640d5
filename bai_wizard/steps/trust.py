"""Certificates of the site's own authorities in the system's trust."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import basename
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive, RemovePath, RunCommand, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

DIRECTORY = "/usr/local/share/ca-certificates"
TRUSTED = "/etc/ssl/certs"
BUNDLE = f"{TRUSTED}/ca-certificates.crt"
PREFIX = "bai-wizard-"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@register
@dataclass(frozen=True, kw_only=True)
class Trust(Step):
    """Puts the certificates of `sources` (PEM files) where update-ca-certificates finds them, and runs it.

    A file with several certificates becomes several files, for the tool takes one each. Ones of ours that are no
    longer asked for are removed.
    """

    kind: ClassVar[str] = "trust"
    sources: tuple[str, ...]

    def describe(self) -> str:
        names = ", ".join(basename(source) for source in self.sources)
        return f"the system trusts {names}" if names else "the system trusts no authority of ours"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{DIRECTORY}", f"file:{BUNDLE}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        wanted = {name: body for source in self.sources for name, body in _certificates(view, source)}
        stale = [name for name in view.names(DIRECTORY) if name.startswith(PREFIX) and name not in wanted]
        dangling = [
            name
            for name in view.names(TRUSTED)
            if name.startswith(PREFIX) and f"{name.removesuffix('.pem')}.crt" not in wanted
        ]
        if wanted and "update-ca-certificates" not in view.names("/usr/sbin"):
            raise StepBlocked("update-ca-certificates is missing on this node: apt-get install ca-certificates")
        if wanted and view.entry(DIRECTORY) is None:
            yield MakeDirectory(DIRECTORY)
        for name, body in wanted.items():
            yield WriteFile(
                f"{DIRECTORY}/{name}", f"-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n".encode()
            )
        for name in stale:
            yield RemovePath(f"{DIRECTORY}/{name}")
        if stale or dangling or not _are_trusted(view, tuple(wanted.values())):
            # --fresh, for without it a certificate that is gone keeps its link and its place.
            command = ("update-ca-certificates", *(("--fresh",) if stale or dangling else ()))
            yield RunCommand(
                command,
                title="build the system's list of trusted authorities anew",
                touches=(BUNDLE,),
                undo=("update-ca-certificates", "--fresh"),
                undo_last=True,
            )


def _certificates(view: NodeView, source: str) -> Iterator[tuple[str, str]]:
    """File name and PEM body of each certificate in a file. Raises StepBlocked for what is no PEM file."""
    entry = view.entry(source)
    if entry is None or entry.content is None:
        raise StepBlocked(f"there is no certificate file {source} on this node")
    text = entry.text() or ""
    if "PRIVATE KEY" in text:
        raise StepBlocked(f"{source} holds a private key; give a file with the certificate only")
    bodies = [match.group(1) for match in _CERTIFICATE.finditer(text)]
    if not bodies:
        raise StepBlocked(
            f"{source} holds no PEM certificate; one in DER form becomes one with"
            f" `openssl x509 -inform der -in {source} -out {source}.pem`"
        )
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", basename(source).rpartition(".")[0] or basename(source))
    for number, body in enumerate(bodies, start=1):
        yield f"{PREFIX}{stem}{f'-{number}' if len(bodies) > 1 else ''}.crt", body


def _are_trusted(view: NodeView, bodies: tuple[str, ...]) -> bool:
    if not bodies:
        return True
    bundle = view.text(BUNDLE) or ""
    trusted = {"".join(match.group(1).split()) for match in _CERTIFICATE.finditer(bundle)}
    return all("".join(body.split()) in trusted for body in bodies)
