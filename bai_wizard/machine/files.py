"""Files of the node by absolute path: each operation with the rights that its place demands.

In directories that root owns alone root acts itself; below any other one a child acts with the owner's rights
(`walk`, `account`). What lies on a network file system is always touched by a child that can be left behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.state import Entry
from bai_wizard.machine import atomic, entries
from bai_wizard.machine.account import as_account
from bai_wizard.machine.failures import changing, reading
from bai_wizard.machine.readers.accounts import AccountFiles
from bai_wizard.machine.readers.attributes import immutable_at, set_immutable_at
from bai_wizard.machine.readers.mounts import RemoteMounts
from bai_wizard.machine.walk import Place, Walker, finish

# Seconds for one read, and for one change with its fsync, by a child.
READ_DEADLINE = 5.0
WRITE_DEADLINE = 60.0

Operation = Callable[..., Any]


class Files:
    """The files below a root directory. Reads raise CannotTell, changes StepFailed, each with the cause."""

    def __init__(self, root: str, accounts: AccountFiles) -> None:
        self._root = root
        self._walker = Walker(root, accounts)
        self._remote = RemoteMounts() if root == "/" else None

    def read(self, path: str) -> Entry | None:
        """The entry at a path, links not followed; None where nothing is."""
        with reading(path):
            entry = self._at(path, entries.read_at, (), Entry | None, READ_DEADLINE, absent=None)
        assert entry is None or isinstance(entry, Entry)
        return entry

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted; none where it does not exist."""
        with reading(path):
            if path.strip("/") == "":
                return tuple(sorted(os.listdir(self._root)))
            return tuple(self._at(path, entries.names_at, (), list[str], READ_DEADLINE, absent=()))

    def changed_at(self, path: str) -> float:
        """When a path was last altered (ctime), in seconds since 1970; 0 where nothing is."""
        with reading(path):
            return float(self._at(path, entries.changed_at, (), float, READ_DEADLINE, absent=0.0))

    def write(
        self, path: str, content: bytes, uid: int, gid: int, mode: int, check: Callable[[str], None] | None = None
    ) -> None:
        """Puts a whole file in place. `check` gets the path of the temporary file and may raise StepFailed."""
        with changing(path):
            self._at(path, atomic.write_at, (content, uid, gid, mode), None, WRITE_DEADLINE, check=check)

    def make_directory(self, path: str, uid: int, gid: int, mode: int) -> None:
        """A directory with owner and mode; its parent has to exist."""
        with changing(path):
            self._at(path, atomic.directory_at, (uid, gid, mode), None, WRITE_DEADLINE)

    def make_link(self, path: str, target: str, uid: int, gid: int) -> None:
        """A symbolic link in place of nothing, of a file or of another link."""
        with changing(path):
            self._at(path, atomic.link_at, (target, uid, gid), None, WRITE_DEADLINE)

    def remove(self, path: str) -> None:
        """Removes a file, a link or an empty directory."""
        with changing(path):
            self._at(path, atomic.remove_at, (), None, WRITE_DEADLINE, absent=None)

    def sweep(self, path: str) -> None:
        """Removes what a killed write of this path left behind beside it."""
        with changing(path):
            self._at(path, atomic.sweep_at, (), None, WRITE_DEADLINE, absent=None)

    def is_immutable(self, path: str) -> bool:
        """True when a file or directory carries the immutable attribute."""
        with reading(path):
            return bool(self._at(path, immutable_at, (), bool, READ_DEADLINE, absent=False))

    def set_immutable(self, path: str, immutable: bool) -> None:
        """Gives or takes the immutable attribute of a directory."""
        with changing(path):
            self._at(path, set_immutable_at, (immutable,), None, WRITE_DEADLINE)

    def look_below(self, path: str, operation: Operation, *args: Any, answer: Any, deadline: float) -> Any:
        """What `operation(open directory, last name, *args)` finds at `path`; None where nothing is.

        `answer` is the type of what it returns, which may have to cross from a child.
        """
        with reading(path):
            return self._at(path, operation, args, answer, deadline, absent=None)

    def change_below(self, path: str, operation: Operation, *args: Any, deadline: float) -> None:
        """Has `operation(open directory, last name, *args)` change what is at `path`; nothing where nothing is."""
        with changing(path):
            self._at(path, operation, args, None, deadline, absent=None)

    def _at(
        self,
        path: str,
        operation: Operation,
        args: tuple[Any, ...],
        answer: Any,
        deadline: float,
        *,
        absent: Any = ...,
        check: Callable[[str], None] | None = None,
    ) -> Any:
        try:
            if self._remote is not None and self._remote.cross(path):
                if check is not None:
                    raise StepFailed(f"{path} lies on a network file system: not a place for system configuration")
                return as_account(None, self._reach, path, operation, args, answer, deadline, answer=answer,
                                  deadline=deadline)  # fmt: skip
            return self._reach(path, operation, args, answer, deadline, check)
        except (FileNotFoundError, NotADirectoryError):
            if absent is ...:
                raise
            return absent

    def _reach(
        self,
        path: str,
        operation: Operation,
        args: tuple[Any, ...],
        answer: Any,
        deadline: float,
        check: Callable[[str], None] | None = None,
    ) -> Any:
        with self._walker.reach(path) as place:
            if place.identity is None:
                if check is None:
                    return _operate(place.directory, place.rest, operation, args)
                return _operate(place.directory, place.rest, operation, (*args, self._named(place, check)))
            if check is not None:
                raise StepFailed(f"{path} lies below {place.path}, which is not root's: no place for this file")
            keep = (place.directory,)
            return as_account(place.identity, _operate, place.directory, place.rest, operation, args,
                              answer=answer, keep=keep, deadline=deadline)  # fmt: skip

    def _named(self, place: Place, check: Callable[[str], None]) -> Callable[[str], None]:
        return lambda name: check(os.path.join(self._root, place.path.lstrip("/"), name))


def _operate(directory: int, rest: tuple[str, ...], operation: Operation, args: tuple[Any, ...]) -> Any:
    here = finish(directory, rest)
    try:
        return operation(here, rest[-1], *args)
    finally:
        os.close(here)
