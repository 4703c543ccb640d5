"""Packages and package lists of apt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import ClassVar

from bai_wizard.core.errors import KnownAfterApply, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.state import DPKG_KEY, LISTS_KEY, Key, Unfinished, package_key
from bai_wizard.core.step import Step
from bai_wizard.resources.packages import CompletePackages, InstallPackages, RefreshPackages, RemovePackages, suits

# Its timestamp is updated by every successful refresh (bai_wizard.resources.packages_apply).
LISTS = "/var/lib/apt/lists"


class PackageLists(Step, frozen=True, kw_only=True):
    """Refresh the package lists, only if needed: a package is not offered, or a source is newer than the lists.

    `addresses` are the repositories that must answer; failure of any other is a warning.
    """

    kind: ClassVar[str] = "package-lists"
    is_slow: ClassVar[bool] = True
    packages: tuple[str, ...]
    sources: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"refresh package lists for {self.packages[0]}"

    def scope(self) -> tuple[Scope, ...]:
        return (LISTS_KEY,)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        newer = self._newer(view)
        if newer or self._is_missing(view):
            from bai_wizard.steps.apt_sources import read_all_sources, why_unreadable

            if faults := read_all_sources(view).faults:
                raise StepBlocked(why_unreadable(faults[0]))
        if newer:
            yield RefreshPackages(f"{newer} is newer than the package lists", self.addresses, self.packages)
            return
        for name in self.packages:
            if view.package(name) is None and view.candidate(name) is None:
                _refuse_pinned(view, name)
                yield RefreshPackages(f"the package lists do not contain {name}", self.addresses, self.packages)
                return

    def verify(self, view: NodeView) -> str:
        """Verify that the lists were refreshed.

        Whether they offer the packages is checked by the step that installs them.
        """
        newer = self._newer(view)
        return f"{newer} is still newer than the package lists" if newer else ""

    def _is_missing(self, view: NodeView) -> bool:
        return any(view.package(name) is None for name in self.packages)

    def _newer(self, view: NodeView) -> str:
        read_at = view.changed_at(LISTS)
        return next((path for path in self.sources if view.newer(path, read_at)), "")


class Packages(Step, frozen=True, kw_only=True):
    """Install the missing packages of `names`; an installed package with a suitable version is not upgraded.

    `versions`, one for each name, are exact, end in `*`, or are empty for apt's candidate: the plan shows that
    version, and only it is installed. `brings` are units and groups that the packages create (`unit:docker.service`).
    """

    kind: ClassVar[str] = "packages"
    is_slow: ClassVar[bool] = True
    names: tuple[str, ...]
    why: str
    versions: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"{self.why}: {' '.join(self.names)}"

    def scope(self) -> tuple[Scope, ...]:
        return (*(package_key(name) for name in self.names), *(Key(*name.split(":", 1)) for name in self.brings))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        missing: dict[str, str] = {}
        unknown: KnownAfterApply | None = None
        for name, version in zip(self.names, self.versions or ("",) * len(self.names), strict=True):
            try:
                installed = view.package(name)
            except KnownAfterApply as error:
                unknown = error
                continue
            if installed is not None and suits(installed.version, version):
                continue
            held = installed.held if installed is not None else view.state(Key("hold", name)) is not None
            if held:
                raise StepBlocked(_on_hold((name,)))
            _refuse_pinned(view, name)
            try:
                missing[name] = version or _offered(view, name)
            except KnownAfterApply as error:
                missing[name], unknown = "", error
        if missing:
            yield InstallPackages(tuple(missing), tuple(missing.values()), self.brings)
        if unknown is not None:
            raise unknown


PREFERENCES = "/etc/apt/preferences"
# Pins that every version of a package matches.
_ANY_VERSION = re.compile(r"(?:version|release)[ \t]+(?:[a-z]=)?\*|origin[ \t]+\*")


def pins(view: NodeView) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the file and the fields, by lowercase name, of each stanza of apt's preferences, in apt's order."""
    more = [
        f"{PREFERENCES}.d/{each}" for each in view.names(f"{PREFERENCES}.d") if not re.search(r"\.(?!pref$)", each)
    ]
    for path in (PREFERENCES, *more):
        entry = view.entry(path)
        for stanza in re.split(r"\n[ \t]*\n", (entry.content or b"").decode("utf-8", "replace") if entry else ""):
            lines = (line.partition(":") for line in stanza.splitlines() if not line.startswith("#"))
            yield path, {key.strip().lower(): value.strip() for key, _, value in lines}


def _refuse_pinned(view: NodeView, name: str) -> None:
    """Raise StepBlocked if the first pin for all versions of a package by its name has a negative priority."""
    for path, fields in pins(view):
        names = [pattern for pattern in fields.get("package", "").split() if pattern != "*"]
        if not any(fnmatchcase(name, pattern) for pattern in names):
            continue
        priority = fields.get("pin-priority", "")
        if not priority.startswith("-"):
            return
        if _ANY_VERSION.fullmatch(fields.get("pin", "")):
            raise StepBlocked(
                f"{path} keeps apt from installing {name} (Pin-Priority: {priority}). Remove that pin if it no"
                " longer applies, then try again"
            )


def _on_hold(names: tuple[str, ...]) -> str:
    return (
        f"{', '.join(names)}: on hold, so apt does not change {'it' if len(names) == 1 else 'them'}. To change that,"
        f" run `apt-mark unhold {' '.join(names)}`, then try again"
    )


def _offered(view: NodeView, name: str) -> str:
    version = view.candidate(name)
    if version is None:
        raise StepBlocked(
            f"no package source of this node offers {name}. Check /etc/apt/sources.list.d, a pin in"
            " /etc/apt/preferences.d, and that the mirror provides it for this release"
        )
    return version


class NoPackages(Step, frozen=True, kw_only=True):
    """Remove conflicting packages; their configuration and data stay. `for_good`: undo does not reinstall them.

    `replaced_by` are packages that a later step installs: nothing is removed unless apt offers them.
    """

    kind: ClassVar[str] = "no-packages"
    is_slow: ClassVar[bool] = True
    omitted_if_default: ClassVar[tuple[str, ...]] = ("replaced_by",)
    names: tuple[str, ...]
    why: str
    for_good: bool = False
    replaced_by: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"{self.why}: {' '.join(self.names)}"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(package_key(name) for name in self.names)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        existing = tuple(name for name in self.names if view.package(name) is not None)
        held = tuple(name for name in existing if (state := view.package(name)) is not None and state.held)
        if held:
            raise StepBlocked(_on_hold(held))
        if not existing:
            return
        unknown: KnownAfterApply | None = None
        for name in self.replaced_by:
            if view.package(name) is None:
                _refuse_pinned(view, name)
                try:
                    _offered(view, name)
                except KnownAfterApply as error:
                    unknown = error
        yield RemovePackages(existing, self.for_good)
        if unknown is not None:
            raise unknown


# Packages whose scripts restart the engine, and thus containers.
ENGINE = frozenset({"docker.io", "docker-ce", "containerd", "containerd.io", "runc", "moby-engine"})


class PackagesCompleted(Step, frozen=True, kw_only=True):
    """No package is left half-installed, half-configured or half-removed. `names` are those found in that state."""

    kind: ClassVar[str] = "packages-completed"
    is_slow: ClassVar[bool] = True
    names: tuple[str, ...]

    def describe(self) -> str:
        names = f": {' '.join(self.names)}" if self.names else ""
        return f"complete interrupted package operations{names}"

    def scope(self) -> tuple[Scope, ...]:
        return (DPKG_KEY, *(package_key(name) for name in self.names))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        unfinished = view.unfinished()
        if unfinished is not None:
            yield CompletePackages(unfinished.packages)


def completion(unfinished: Unfinished, page: str, *, optional: bool = False) -> PackagesCompleted:
    """Return the step of a page that completes interrupted package operations."""
    return PackagesCompleted(
        id=f"{page}.dpkg",
        names=unfinished.packages,
        optional=optional,
        interrupts=("docker.restart",) if ENGINE.intersection(unfinished.packages) else (),
    )
