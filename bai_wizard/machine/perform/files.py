"""Files, directories, links, and the immutable attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bai_wizard.core.event import Log
from bai_wizard.core.primitives import MakeDirectory, MakeLink, RemovePath, SetImmutable, WriteFile
from bai_wizard.core.primitives.files import Validator
from bai_wizard.machine.perform.call import succeed

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

# Each judges the temporary file, before anything is in place.
VALIDATORS: dict[Validator, tuple[str, ...]] = {
    "visudo": ("visudo", "-c", "-f"),
    "findmnt": ("findmnt", "--verify", "--tab-file"),
    "dockerd": ("dockerd", "--validate", "--config-file"),
    "sshd": ("sshd", "-t", "-f"),
}


def write_file(machine: LocalMachine, primitive: WriteFile, log: Log) -> None:
    """Writes a whole file; a validator that refuses it leaves the old one in place."""
    check = _checker(primitive, log) if primitive.validator else None
    machine.files.write(primitive.path, primitive.content, primitive.uid, primitive.gid, primitive.mode, check=check)


def make_directory(machine: LocalMachine, primitive: MakeDirectory, log: Log) -> None:
    """Makes a directory, or gives one its owner and mode."""
    machine.files.make_directory(primitive.path, primitive.uid, primitive.gid, primitive.mode)


def make_link(machine: LocalMachine, primitive: MakeLink, log: Log) -> None:
    """Makes a symbolic link."""
    machine.files.make_link(primitive.path, primitive.target, primitive.uid, primitive.gid)


def remove_path(machine: LocalMachine, primitive: RemovePath, log: Log) -> None:
    """Removes a file, a link or an empty directory."""
    machine.files.remove(primitive.path)


def set_immutable(machine: LocalMachine, primitive: SetImmutable, log: Log) -> None:
    """Gives or takes the immutable attribute."""
    machine.files.set_immutable(primitive.path, primitive.immutable)


def _checker(primitive: WriteFile, log: Log) -> Callable[[str], None]:
    def check(temporary: str) -> None:
        argv = (*VALIDATORS[primitive.validator], temporary)
        succeed(argv, log, timeout=30.0, title=f"{primitive.path}: {argv[0]} refuses the new content")

    return check


PERFORMERS: Performers = {
    WriteFile.kind: write_file,
    MakeDirectory.kind: make_directory,
    MakeLink.kind: make_link,
    RemovePath.kind: remove_path,
    SetImmutable.kind: set_immutable,
}
