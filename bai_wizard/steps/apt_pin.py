"""A pin: which versions of some packages apt may choose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

# Above the target release's 990, below 1000: what is installed is never replaced by something older.
PRIORITY = 999


@register
@dataclass(frozen=True, kw_only=True)
class AptPin(Step):
    """Lets apt choose only versions like `version` (`5:28.*`) of `packages`; the file says why.

    Without `version` it is the major version that is installed, else the one that apt would install now.
    """

    kind: ClassVar[str] = "apt-pin"
    path: str
    packages: tuple[str, ...]
    why: str
    version: str = ""

    def describe(self) -> str:
        return f"{self.path}: {self.packages[0]} stays at {self.version or 'its major version'}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        yield WriteFile(self.path, self.text(self.version or self._major(view)).encode())

    def text(self, version: str) -> str:
        """The file of preferences."""
        packages = " ".join(self.packages)
        return (
            f"# Written by bai-wizard: {self.why}.\n"
            "# Remove this file to let apt upgrade to any version again.\n"
            f"Package: {packages}\n"
            f"Pin: version {version}\n"
            f"Pin-Priority: {PRIORITY}\n"
            "\n"
            f"Package: {packages}\n"
            "Pin: version *\n"
            "Pin-Priority: -1\n"
        )

    def _major(self, view: NodeView) -> str:
        name = self.packages[0]
        installed = view.package(name)
        version = installed.version if installed is not None else ""
        version = version or view.candidate(name) or ""
        if not version:
            raise StepBlocked(f"no source of this node offers {name}, so its major version cannot be held")
        return major_pattern(version)


def major_pattern(version: str) -> str:
    """`5:28.*` for `5:28.5.1-1~debian.13~trixie`."""
    found = re.match(r"(\d+:)?\d+(?=[.+~-])", version)
    return f"{found[0]}.*" if found else version
