"""The authority that signed a registry's certificate, where Docker looks for it at every pull."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.facts import Absent, Fact, Unknown
from bai_wizard.core.primitives import MakeDirectory, Primitive, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

CERTS = "/etc/docker/certs.d"
PEM = "-----BEGIN CERTIFICATE-----"


@register
@dataclass(frozen=True, kw_only=True)
class RegistryAuthority(Step):
    """Puts `text` (PEM) to certs.d for `host`. Empty where it could not be had, and `missing` says why."""

    kind: ClassVar[str] = "registry-authority"
    host: str
    text: str
    missing: str = ""

    @property
    def path(self) -> str:
        """Where Docker looks; nothing is restarted for it."""
        return f"{CERTS}/{self.host}/ca.crt"

    def describe(self) -> str:
        return f"{self.path}: the authority that signed {self.host}'s certificate"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}", f"file:{dirname(CERTS)}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if PEM not in self.text:
            raise StepBlocked(
                f"the authority of {self.host}: {self.missing or 'its file holds no certificate (PEM)'}"
            )
        for directory in (dirname(CERTS), CERTS, dirname(self.path)):
            if view.entry(directory) is None:
                yield MakeDirectory(directory)
        yield WriteFile(self.path, self.text.encode())


def why_missing(text: Fact[str]) -> str:
    """Why the file was not read; empty where it was."""
    if isinstance(text, Unknown):
        return text.reason
    return "its file is not there" if isinstance(text, Absent) else ""
