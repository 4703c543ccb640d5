"""Packages of the distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import UNPREDICTABLE, Flag, Key, Package, State, States, Unpredictable


def package_key(name: str) -> Key:
    """The key of an installed package."""
    return Key("package", name)


@dataclass(frozen=True)
class InstallPackages(BasePrimitive):
    """Installs packages by apt, with their dependencies. `versions` pins some of them exactly.

    Undo leaves packages where they are: others may have come to rely on them.
    """

    kind: ClassVar[str] = "install-packages"
    names: tuple[str, ...]
    versions: tuple[str, ...] = ()

    def wanted(self) -> dict[str, str]:
        """Version by name; empty for «whatever apt takes»."""
        versions = self.versions or ("",) * len(self.names)
        return dict(zip(self.names, versions, strict=True))

    def keys(self) -> tuple[Key, ...]:
        return tuple(package_key(name) for name in self.names)

    def after(self, before: States) -> Outcome:
        result: Outcome = {}
        for name, version in self.wanted().items():
            old = before[package_key(name)]
            kept = isinstance(old, Package) and version in ("", old.version)
            result[package_key(name)] = old if kept else Package(version)
        return result

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        version = after.version if isinstance(after, Package) else ""
        return Change(f"package {key.name}", verb_of(before, after), attributes=version)

    def lasting(self) -> str:
        return f"packages stay installed: {' '.join(self.names)}"


@dataclass(frozen=True)
class RemovePackages(BasePrimitive):
    """Removes packages; configuration, images and volumes stay."""

    kind: ClassVar[str] = "remove-packages"
    names: tuple[str, ...]

    def keys(self) -> tuple[Key, ...]:
        return tuple(package_key(name) for name in self.names)

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())

    def inverse(self, before: States) -> BasePrimitive | None:
        gone = {key.name: state.version for key, state in before.items() if isinstance(state, Package) and state}
        return InstallPackages(tuple(gone), tuple(gone.values())) if gone else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"package {key.name}", "remove")


@dataclass(frozen=True)
class RefreshPackages(BasePrimitive):
    """Reads the package lists anew, so that a source just written can be installed from.

    `marker` names the list's own file of sources: the refresh is due when the lists are older than it.
    """

    kind: ClassVar[str] = "refresh-packages"
    reason: str

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
