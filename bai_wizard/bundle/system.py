"""Which system a bundle is for: this machine's own, or the one whose files lie below a directory."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.machine.local import LocalMachine
from bai_wizard.pages.docker.facts import System
from bai_wizard.pages.docker.probe import ARCHITECTURES, system_of

STATUS = "var/lib/dpkg/status"


@dataclass(frozen=True)
class Likeness:
    """`root` holds etc/os-release and etc/apt. `status` is dpkg's database of a node as it is before the wizard.

    Without a database nothing is taken for granted, so every dependency is brought: more than is needed, never less.
    """

    root: Path
    system: System
    status: bytes = b""


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
