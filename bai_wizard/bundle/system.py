"""Which system a bundle is for: this machine's own, or the one whose files lie below a directory."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.machine.local import LocalMachine
from bai_wizard.machine.readers.packages import parse_paragraph
from bai_wizard.pages.accelerators.vendors.nvidia.kernels import sort_key
from bai_wizard.pages.docker.facts import System
from bai_wizard.pages.docker.probe import ARCHITECTURES, system_of

STATUS = "var/lib/dpkg/status"
# The package of one kernel, whose name ends in its release; meta packages have no number there.
KERNEL = re.compile(r"^Package: linux-image-(?:unsigned-)?(\d\S*)$(?<!-dbg)", re.MULTILINE)


@dataclass(frozen=True)
class Likeness:
    """`root` holds etc/os-release and etc/apt. `status` is dpkg's database of a node as it is before the wizard.

    Without a database nothing is taken for granted, so every dependency is brought: more than is needed, never less.
    """

    root: Path
    system: System
    status: bytes = b""

    def kernels(self) -> tuple[str, ...]:
        """The releases of the kernels that a node has, the one that boots next last; empty where nobody knows."""
        paragraphs = self.status.decode(errors="replace").split("\n\n")
        found = {match[1] for text in paragraphs if (match := KERNEL.search(text)) and parse_paragraph(text)}
        return tuple(sorted(found, key=sort_key))


def likeness(directory: str = "") -> Likeness:
    """The system of this machine, or of a node's files below a directory. Raises PreflightError."""
    root = Path(directory or "/")
    found = system_of(LocalMachine(str(root)))
    if not isinstance(found, Known):
        reason = found.reason if isinstance(found, Unknown) else "it names no system"
        raise PreflightError(f"{root}/etc/os-release: {reason}; name a node's files with --like DIR")
    machine = platform.machine()
    system = replace(found.value, architecture=ARCHITECTURES.get(machine, machine))
    status = root / STATUS
    return Likeness(root, system, status.read_bytes() if directory and status.is_file() else b"")
