"""A repository of packages: its key, and the file that names it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive, RemovePath, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.apt_sources import MAIN_LIST, normal, sources
from bai_wizard.steps.openpgp import fingerprints


@register
@dataclass(frozen=True, kw_only=True)
class AptKey(Step):
    """Puts a repository's key where apt's own user can read it. One that is there with the pinned fingerprint stays.

    `text` is the key, armoured; empty when it could not be had, and `missing` says why.
    """

    kind: ClassVar[str] = "apt-key"
    path: str
    text: str
    fingerprint: str
    missing: str = ""

    def describe(self) -> str:
        return f"{self.path}: the repository's key {short(self.fingerprint)}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}", f"file:{dirname(self.path)}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        content = self._content(view)
        yield MakeDirectory(dirname(self.path))
        yield WriteFile(self.path, content)

    def _content(self, view: NodeView) -> bytes:
        there = view.entry(self.path)
        if there is not None and there.type != "file":
            raise StepBlocked(f"{self.path} is a {there.type}, not a key file")
        if there is not None and there.content is not None and key_fault(there.content, self.fingerprint) == "":
            return there.content
        if not self.text:
            raise StepBlocked(f"the key {short(self.fingerprint)} is not at hand: {self.missing}")
        fault = key_fault(self.text.encode(), self.fingerprint)
        if fault:
            raise StepBlocked(f"the key that was to go to {self.path} is not the right one: {fault}")
        return self.text.encode()


def key_fault(data: bytes, fingerprint: str) -> str:
    """Why a key file is not the pinned key and nothing else; empty when it is."""
    try:
        found = fingerprints(data)
    except ValueError as error:
        return str(error)
    others = [one for one in found if one != fingerprint]
    if others:
        return f"it holds the key {short(others[0])}, expected {short(fingerprint)} and no other"
    return ""


def short(fingerprint: str) -> str:
    """The last 16 digits in groups of four."""
    tail = fingerprint[-16:]
    return " ".join(tail[at : at + 4] for at in range(0, len(tail), 4))


@register
@dataclass(frozen=True, kw_only=True)
class AptSource(Step):
    """Names one repository in a deb822 file of ours.

    Another file that names it with another key would make apt refuse all sources: such a file is removed when it
    names nothing else (undo brings it back); otherwise this blocks and says which line to take out.
    """

    kind: ClassVar[str] = "apt-source"
    path: str
    uri: str
    suite: str
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    signed_by: str
    why: str

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[str, ...]:
        return ("file:/etc/apt/sources.list.d/",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        for path in self._superseded(view):
            yield RemovePath(path)
        yield WriteFile(self.path, self.text().encode())

    def text(self) -> str:
        """The file."""
        lines = [
            f"# Written by bai-wizard: {self.why}.",
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {self.suite}",
            *([f"Components: {' '.join(self.components)}"] if self.components else []),
            *([f"Architectures: {' '.join(self.architectures)}"] if self.architectures else []),
            f"Signed-By: {self.signed_by}",
        ]
        return "\n".join(lines) + "\n"

    def _superseded(self, view: NodeView) -> tuple[str, ...]:
        everything = sources(view)
        same = [
            source
            for source in everything
            if source.path != self.path
            and source.uri == normal(self.uri)
            and source.suite == self.suite
            and source.signed_by != self.signed_by
        ]
        removable = []
        for path in dict.fromkeys(source.path for source in same):
            others = [source for source in everything if source.path == path and source not in same]
            if others or path == MAIN_LIST:
                raise StepBlocked(
                    f"{path} names {self.uri} {self.suite} with another key, and other repositories too. Take that"
                    " entry out of it, then repeat"
                )
            removable.append(path)
        return tuple(removable)
