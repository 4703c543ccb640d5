"""Distribution packages: the operations, and their state as dpkg records it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.state import (
    DPKG_KEY,
    LISTS_KEY,
    UNPREDICTABLE,
    Flag,
    Hold,
    Key,
    Package,
    State,
    States,
    Unfinished,
    Unit,
    Unpredictable,
    package_key,
)
from bai_wizard.node.regular import open_foreign, read_all
from bai_wizard.resources import reads

if TYPE_CHECKING:
    from bai_wizard.core.operation import Simulation


def suits(installed: str, wanted: str) -> bool:
    """Whether a version equals the desired one, or has its prefix if that ends in `*`; empty accepts any version."""
    return installed.startswith(wanted[:-1]) if wanted.endswith("*") else wanted in ("", installed)


class InstallPackages(Operation, frozen=True):
    """Install packages with apt, including dependencies. `versions`, one for each name, are exact or end in `*`.

    `brings` names units and groups that the packages create (`unit:docker.service`, `group:docker`): the state of one
    that does not exist yet is unknown until the packages are installed. Undo keeps packages: others may have come to
    rely on them.
    """

    kind: ClassVar[str] = "install-packages"
    names: tuple[str, ...]
    versions: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()

    def wanted(self) -> dict[str, str]:
        """Return versions by name; an empty version accepts apt's choice."""
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
            if key.kind != "package":
                result[key] = UNPREDICTABLE if installs and before[key] is None else before[key]
        return result

    def changes(self, before: States) -> tuple[Change, ...]:
        return tuple(
            change for change in super().changes(before) if change.key is not None and change.key.kind == "package"
        )

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        if key.kind != "package":
            return Change(str(key), "create")
        version = self.wanted().get(key.name, "")
        return Change(f"package {key.name}", verb_of(before, after), attributes=version)

    def irreversible_reason(self) -> str:
        return f"packages stay installed: {' '.join(self.names)}"

    def simulate(self, node: Simulation) -> States:
        result: States = {}
        for name, version in self.wanted().items():
            old, offer = node.states.get(package_key(name)), node.offers.get(name)
            if isinstance(old, Package) and suits(old.version, version):
                continue
            if offer is None or (offer.source and Key("file", offer.source) not in node.states):
                raise StepFailed(f"no package source offers {name}")
            if not suits(offer.version, version):
                raise StepFailed(f"no package source offers version {version} of {name}, only {offer.version}")
            result[package_key(name)] = Package(offer.version)
            for key, state in offer.brings:
                if key not in node.states:
                    result[key] = replace(state, since=node.now) if isinstance(state, Unit) else state
        return result


class RemovePackages(Operation, frozen=True):
    """Remove packages; configuration, images and volumes stay. `for_good`: they are replaced and not restored."""

    kind: ClassVar[str] = "remove-packages"
    noun: ClassVar[str] = "package"
    names: tuple[str, ...]
    for_good: bool = False

    def keys(self) -> tuple[Key, ...]:
        return tuple(package_key(name) for name in self.names)

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())

    def inverse(self, before: States) -> Operation | None:
        gone = {key.name: state.version for key, state in before.items() if isinstance(state, Package)}
        return InstallPackages(tuple(gone), tuple(gone.values())) if gone and not self.for_good else None

    def irreversible_reason(self) -> str:
        return f"packages stay removed: {' '.join(self.names)}" if self.for_good else ""


class RefreshPackages(Operation, frozen=True):
    """Refresh the package lists, so that packages can be installed from a source that was just written.

    `addresses` are the repositories that must answer; failure of any other is a warning. Without addresses, any may
    fail as long as apt offers `packages`.
    """

    kind: ClassVar[str] = "refresh-packages"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("packages",)
    reason: str
    addresses: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def keys(self) -> tuple[Key, ...]:
        return (LISTS_KEY,)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Flag()}

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change("package lists", "run", attributes=self.reason)


class HoldPackages(Operation, frozen=True):
    """Hold packages back from upgrades, or release them."""

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

    def inverse(self, before: States) -> Operation | None:
        return HoldPackages(self.names, not self.held)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"package {key.name}", "modify", attributes="held" if self.held else "no longer held")

    def simulate(self, node: Simulation) -> States:
        missing = [name for name in self.names if package_key(name) not in node.states]
        if missing:
            raise StepFailed(f"not installed: {' '.join(missing)}")
        return {}


class CompletePackages(Operation, frozen=True):
    """Complete interrupted dpkg work: configure, remove, and reinstall damaged packages.

    `packages` are the packages concerned; their final states cannot be predicted. It has no inverse.
    """

    kind: ClassVar[str] = "complete-packages"
    packages: tuple[str, ...]

    def keys(self) -> tuple[Key, ...]:
        return (DPKG_KEY, *(package_key(name) for name in self.packages))

    def after(self, before: States) -> Outcome:
        return {key: None if key == DPKG_KEY else UNPREDICTABLE for key in self.keys()}

    def is_satisfied(self, before: States) -> bool:
        return before[DPKG_KEY] is None

    def changes(self, before: States) -> tuple[Change, ...]:
        return () if self.is_satisfied(before) else (self.change(DPKG_KEY, before[DPKG_KEY], None),)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        title = "complete interrupted package configuration"
        return Change(title, "run", attributes="dpkg --configure -a", key=key)

    def irreversible_reason(self) -> str:
        return f"interrupted package operations stay completed: {' '.join(self.packages)}".removesuffix(": ")


STATUS = "/var/lib/dpkg/status"
# Changes that dpkg has not yet merged into the database; they exist only while it runs, or after it was killed.
UPDATES = "/var/lib/dpkg/updates"
# Bytes; that of a full desktop takes 10 MB.
LARGEST = 256 << 20
# Bytes of one package's paragraph; a real one with thousands of configuration files takes 100 kB.
LARGEST_PARAGRAPH = 4 << 20
# dpkg's states of a package whose files are installed and whose configuration is complete or waits for triggers.
INSTALLED = ("installed", "triggers-pending", "triggers-awaited")
# Other states: a package that dpkg has to reinstall, configure, or run triggers of (dpkg --audit).
_UNFINISHED = re.compile(
    rb"\nStatus: \S+ (?:reinstreq \S+|\S+ (?:half-installed|half-configured|unpacked|triggers-(?:awaited|pending)))\n"
)
_REMOVED = re.compile(r"(?:deinstall|purge) \S+ half-installed")
_DAMAGED = re.compile(r"\S+ (?:reinstreq \S+|\S+ half-installed)")


reads("package")(lambda machine, name: machine.packages.package(name))
reads("hold")(lambda machine, name: Hold() if machine.packages.on_hold(name) else None)


class PackageDatabase:
    """The database, re-read when it changes; a package is found by a search instead of parsing everything."""

    def __init__(self, root: str = "/") -> None:
        self._path = root.rstrip("/") + STATUS
        self._updates_path = root.rstrip("/") + UPDATES
        self._stamp: tuple[int, int, int] | None = None
        self._data = b""
        # Paragraphs that replace those of the database, by name and architecture; None if no updates exist.
        self._updates: dict[tuple[str, str], str] | None = None

    def package(self, name: str) -> Package | None:
        """Return an installed package; `name` may include an architecture (`libc6:arm64`)."""
        architecture = name.partition(":")[2]
        for text in self._paragraphs(name):
            result = parse_paragraph(text)
            if result is not None and architecture in ("", result[1]):
                return result[0]
        return None

    def on_hold(self, name: str) -> bool:
        """Whether a package is on hold, installed or not."""
        return any(_fields(text).get("Status", "").startswith("hold ") for text in self._paragraphs(name))

    def _paragraphs(self, name: str) -> Collection[str]:
        """Return what the database says about a package, once for each architecture."""
        self._refresh()
        bare = name.partition(":")[0]
        # A byte search takes microseconds in a database of megabytes; parsing it takes tens of milliseconds.
        head = b"\nPackage: " + bare.encode() + b"\n"
        paragraphs = {}
        start = self._data.find(head)
        while start >= 0:
            text, end = self._paragraph(start + 1)
            paragraphs[_fields(text).get("Architecture", "")] = text
            # Continue after this paragraph: one with many package lines must not be parsed for each of them.
            start = self._data.find(head, end)
        updated = (self._updates or {}).items()
        paragraphs.update((theirs, text) for (package, theirs), text in updated if package == bare)
        return paragraphs.values()

    def unfinished(self) -> Unfinished | None:
        """Return what dpkg left half-done; None if nothing. dpkg may be working on it right now."""
        self._refresh()
        result, end = [], 0
        while match := _UNFINISHED.search(self._data, end):
            text, end = self._paragraph(match.start() + 1)
            result.append(text)
        if self._updates is not None:
            result = [text for text in result if _name_of(text) not in self._updates]
            # Include those that look finished: only dpkg knows the order in which updates apply.
            result += self._updates.values()
        elif not result:
            return None
        status = {_qualified(text): _fields(text).get("Status", "") for text in result}
        removing = sorted(name for name, words in status.items() if _REMOVED.match(words))
        damaged = sorted(name for name, words in status.items() if _DAMAGED.match(words) and name not in removing)
        names = sorted({_name_of(text)[0] for text in result})
        return Unfinished(tuple(names), tuple(removing), tuple(damaged))

    def _refresh(self) -> None:
        try:
            with open_foreign(self._path) as file:
                state = os.fstat(file.fileno())
                stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
                if stamp != self._stamp:
                    self._data, self._stamp = b"\n" + read_all(file, LARGEST), stamp
        except FileNotFoundError:
            self._data, self._stamp = b"", None
        except OSError as error:
            raise StateUnknown(f"{STATUS}: {(error.strerror or str(error)).lower()}") from error
        self._updates = self._read_updates()

    def _read_updates(self) -> dict[tuple[str, str], str] | None:
        try:
            names = sorted(name for name in os.listdir(self._updates_path) if name.isdecimal())
            result: dict[tuple[str, str], str] = {}
            for name in names:
                with open_foreign(f"{self._updates_path}/{name}") as file:
                    for text in read_all(file, LARGEST).decode(errors="replace").split("\n\n"):
                        if len(text) > LARGEST_PARAGRAPH:
                            raise StateUnknown(
                                f"{UPDATES}/{name}: an entry is longer than {LARGEST_PARAGRAPH >> 20} MiB"
                            )
                        if _name_of(text)[0]:
                            result[_name_of(text)] = text
        except (FileNotFoundError, NotADirectoryError):  # dpkg has merged them in the meantime, or is not installed
            return None
        except OSError as error:
            raise StateUnknown(f"{UPDATES}: {(error.strerror or str(error)).lower()}") from error
        return result if names else None

    def _paragraph(self, start: int) -> tuple[str, int]:
        """Return the paragraph that contains `start`, and its end. Raises StateUnknown if it is too long."""
        begin = self._data.rfind(b"\n\n", 0, start) + 1
        end = self._data.find(b"\n\n", start)
        end = end if end >= 0 else len(self._data)
        if end - begin > LARGEST_PARAGRAPH:
            head = self._data[start : start + 80].partition(b"\n")[0].decode(errors="replace")
            raise StateUnknown(f"{STATUS}: the entry of {head!r} is longer than {LARGEST_PARAGRAPH >> 20} MiB")
        return self._data[begin:end].decode(errors="replace"), end


def parse_paragraph(text: str) -> tuple[Package, str] | None:
    """Return the package and its architecture; None if it is not (completely) installed."""
    fields = _fields(text)
    want, _, rest = fields.get("Status", "").partition(" ")
    if rest.rpartition(" ")[2] not in INSTALLED or "Version" not in fields:
        return None
    return Package(fields["Version"], held=want == "hold"), fields.get("Architecture", "")


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and not line.startswith((" ", "\t")):
            fields.setdefault(name, value.strip())
    return fields


def _name_of(text: str) -> tuple[str, str]:
    fields = _fields(text)
    return fields.get("Package", ""), fields.get("Architecture", "")


def _qualified(text: str) -> str:
    name, architecture = _name_of(text)
    return name if architecture in ("", "all") else f"{name}:{architecture}"


def parse_policy(text: str) -> str | None:
    """Return the candidate in the output of `apt-cache policy`; None for "(none)" and for an unknown package."""
    match = re.search(r"^ +Candidate: (\S+)$", text, re.MULTILINE)
    return match[1] if match and match[1] != "(none)" else None
