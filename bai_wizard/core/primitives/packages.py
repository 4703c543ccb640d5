"""Packages of the distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.keys import package_key
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import UNPREDICTABLE, Flag, Key, Package, State, States, Unpredictable


def suits(installed: str, wanted: str) -> bool:
    """True when a version is the wanted one, or begins like it where that ends in `*`; empty wants any."""
    return installed.startswith(wanted[:-1]) if wanted.endswith("*") else wanted in ("", installed)


@dataclass(frozen=True)
class InstallPackages(BasePrimitive):
    """Installs packages by apt, with what they depend on. `versions`, one for each name, are exact or end in `*`.

    `brings` names units and groups that come with the packages (`unit:docker.service`, `group:docker`): where one
    is not there yet, nobody can tell what it will look like before the packages are in.
    Undo leaves packages where they are: others may have come to rely on them.
    """

    kind: ClassVar[str] = "install-packages"
    names: tuple[str, ...]
    versions: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()

    def wanted(self) -> dict[str, str]:
        """Version by name; empty for «whatever apt takes»."""
        versions = self.versions or ("",) * len(self.names)
        return dict(zip(self.names, versions, strict=True))

    def keys(self) -> tuple[Key, ...]:
        brought = (Key(*name.split(":", 1)) for name in self.brings)
        return (*(package_key(name) for name in self.names), *brought)

    def after(self, before: States) -> Outcome:
        result: Outcome = {}
        for name, version in self.wanted().items():
            old = before[package_key(name)]
            kept = isinstance(old, Package) and suits(old.version, version)
            result[package_key(name)] = old if kept else Package("" if version.endswith("*") else version)
        installs = any(result[key] != before[key] for key in result)
        for key in self.keys():
            if key.sort != "package":
                result[key] = UNPREDICTABLE if installs and before[key] is None else before[key]
        return result

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def changes(self, before: States) -> tuple[Change, ...]:
        return tuple(change for change in super().changes(before) if change.subject.startswith("package "))

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        if key.sort != "package":
            return Change(str(key), "create")
        version = self.wanted().get(key.name, "")
        return Change(f"package {key.name}", verb_of(before, after), attributes=version)

    def lasting(self) -> str:
        return f"packages stay installed: {' '.join(self.names)}"


@dataclass(frozen=True)
class RemovePackages(BasePrimitive):
    """Removes packages; configuration, images and volumes stay. `for_good`: others take their place, no way back."""

    kind: ClassVar[str] = "remove-packages"
    names: tuple[str, ...]
    for_good: bool = False

    def keys(self) -> tuple[Key, ...]:
        return tuple(package_key(name) for name in self.names)

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())

    def inverse(self, before: States) -> BasePrimitive | None:
        gone = {key.name: state.version for key, state in before.items() if isinstance(state, Package)}
        return InstallPackages(tuple(gone), tuple(gone.values())) if gone and not self.for_good else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"package {key.name}", "remove")

    def lasting(self) -> str:
        return f"packages stay removed: {' '.join(self.names)}" if self.for_good else ""


@dataclass(frozen=True)
class RefreshPackages(BasePrimitive):
    """Reads the package lists anew, so that a source just written can be installed from.

    `addresses` are the repositories that must answer; another one that does not is a warning.
    """

    kind: ClassVar[str] = "refresh-packages"
    reason: str
    addresses: tuple[str, ...] = ()

    def keys(self) -> tuple[Key, ...]:
        return (Key("package-lists", self.reason),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Flag()}

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change("package lists", "run", attributes=self.reason)


@dataclass(frozen=True)
class HoldPackages(BasePrimitive):
    """Holds packages against upgrades, or lets them go."""

    kind: ClassVar[str] = "hold-packages"
    names: tuple[str, ...]
    held: bool = True

    def keys(self) -> tuple[Key, ...]:
        return tuple(package_key(name) for name in self.names)

    def after(self, before: States) -> Outcome:
        result: Outcome = {}
        for key in self.keys():
            old = before[key]
            result[key] = replace(old, held=self.held) if isinstance(old, Package) else UNPREDICTABLE
        return result

    def inverse(self, before: States) -> BasePrimitive | None:
        return HoldPackages(self.names, not self.held)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"package {key.name}", "modify", attributes="held" if self.held else "no longer held")
