"""Packages from dpkg's own database, without starting dpkg."""

from __future__ import annotations

import os
import re

from bai_wizard.core.state import Package

STATUS = "/var/lib/dpkg/status"
# What dpkg calls a package whose files are in place and whose set-up is done or only waits for triggers.
INSTALLED = ("installed", "triggers-pending", "triggers-awaited")


class PackageDatabase:
    """The database is read once and again when it changed; a package is found by a search, not by parsing it all."""

    def __init__(self, root: str = "/") -> None:
        self._path = root.rstrip("/") + STATUS
        self._stamp: tuple[int, int, int] | None = None
        self._data = b""

    def package(self, name: str) -> Package | None:
        """An installed package; `name` may carry an architecture (`libc6:arm64`)."""
        self._refresh()
        bare, _, architecture = name.partition(":")
        # A search for bytes takes microseconds in a database of megabytes; parsing it takes tens of milliseconds.
        head = b"\nPackage: " + bare.encode() + b"\n"
        start = self._data.find(head)
        while start >= 0:
            found = parse_paragraph(self._paragraph(start + 1))
            if found is not None and architecture in ("", found[1]):
                return found[0]
            start = self._data.find(head, start + 1)
        return None

    def _refresh(self) -> None:
        try:
            with open(self._path, "rb") as file:
                state = os.fstat(file.fileno())
                stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
                if stamp != self._stamp:
                    self._data, self._stamp = b"\n" + file.read(), stamp
        except FileNotFoundError:
            self._data, self._stamp = b"", None

    def _paragraph(self, start: int) -> str:
        begin = self._data.rfind(b"\n\n", 0, start) + 1
        end = self._data.find(b"\n\n", start)
        return self._data[begin : end if end >= 0 else None].decode(errors="replace")


def parse_paragraph(text: str) -> tuple[Package, str] | None:
    """The package and its architecture, None for one that is not (wholly) installed."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and not line.startswith((" ", "\t")):
            fields.setdefault(name, value.strip())
    want, _, rest = fields.get("Status", "").partition(" ")
    if rest.rpartition(" ")[2] not in INSTALLED or "Version" not in fields:
        return None
    return Package(fields["Version"], held=want == "hold"), fields.get("Architecture", "")


def parse_policy(text: str) -> str | None:
    """The candidate in the answer of `apt-cache policy`; None for «(none)» and for an unknown package."""
    match = re.search(r"^ +Candidate: (\S+)$", text, re.MULTILINE)
    return match[1] if match and match[1] != "(none)" else None
