"""Packages of the distribution and of repositories that were added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown, StepBlocked
from bai_wizard.core.primitives import InstallPackages, Primitive, RefreshPackages, RemovePackages
from bai_wizard.core.primitives.packages import suits
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

# Its time is set anew by every successful refresh (bai_wizard.machine.perform.packages).
LISTS = "/var/lib/apt/lists"


@register
@dataclass(frozen=True, kw_only=True)
class PackageLists(Step):
    """Reads the package lists anew, only when that is needed: a package is not offered, or a source is newer.

    `addresses` are the repositories that must answer; one of somebody else that does not is a warning.
    """

    kind: ClassVar[str] = "package-lists"
    packages: tuple[str, ...]
    sources: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"the package lists are as new as the source of {self.packages[0]}"

    def scope(self) -> tuple[str, ...]:
        return ("package-lists:",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        newer = self._newer(view)
        if newer:
            yield RefreshPackages(f"{newer} is newer than the lists", self.addresses)
            return
        for name in self.packages:
            if view.package(name) is None and view.candidate(name) is None:
                yield RefreshPackages(f"no list offers {name} yet", self.addresses)
                return

    def verify(self, view: NodeView) -> str:
        """That the lists were read. What they offer is for the step that installs."""
        newer = self._newer(view)
        return f"{newer} is still newer than the package lists" if newer else ""

    def _newer(self, view: NodeView) -> str:
        read_at = view.changed_at(LISTS)
        return next((path for path in self.sources if view.newer(path, read_at)), "")


@register
@dataclass(frozen=True, kw_only=True)
class Packages(Step):
    """Installs what is missing of `names`; what is there in a version that suits is not upgraded.

    `versions`, one for each name, are exact, end in `*`, or are empty for the one that apt would take: that one is
    shown in the plan and installed, no other. `brings` are units and groups that come along (`unit:docker.service`).
    """

    kind: ClassVar[str] = "packages"
    names: tuple[str, ...]
    why: str
    versions: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"{self.why}: {' '.join(self.names)}"

    def scope(self) -> tuple[str, ...]:
        return (*(f"package:{name}" for name in self.names), *self.brings)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        missing: dict[str, str] = {}
        unknown: NotYetKnown | None = None
        for name, version in zip(self.names, self.versions or ("",) * len(self.names), strict=True):
            installed = view.package(name)
            if installed is not None and suits(installed.version, version):
                continue
            try:
                missing[name] = version or _offered(view, name)
            except NotYetKnown as error:
                missing[name], unknown = "", error
        if missing:
            yield InstallPackages(tuple(missing), tuple(missing.values()), self.brings)
        if unknown is not None:
            raise unknown


def _offered(view: NodeView, name: str) -> str:
    version = view.candidate(name)
    if version is None:
        raise StepBlocked(
            f"no source of this node offers the package {name}. Check /etc/apt/sources.list.d, a pin in"
            " /etc/apt/preferences.d, and that the mirror has it for this release"
        )
    return version


@register
@dataclass(frozen=True, kw_only=True)
class NoPackages(Step):
    """Removes packages that are in the way; their configuration and data stay. `for_good`: undo leaves it so."""

    kind: ClassVar[str] = "no-packages"
    names: tuple[str, ...]
    why: str
    for_good: bool = False

    def describe(self) -> str:
        return f"{self.why}: {' '.join(self.names)}"

    def scope(self) -> tuple[str, ...]:
        return tuple(f"package:{name}" for name in self.names)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        there = tuple(name for name in self.names if view.package(name) is not None)
        if there:
            yield RemovePackages(there, self.for_good)
