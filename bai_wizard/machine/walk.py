"""The way to a path, component by component, so that nobody can swap a directory under root's feet.

Root walks only through directories that root owns alone. At the first one that somebody else may write into the
walk stops, and what lies below is the business of a child with that owner's rights.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from posixpath import normpath

from bai_wizard.machine.identity import Identity, identity_of_uid, is_shared
from bai_wizard.machine.readers.accounts import AccountFiles

STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 16


class NotOurs(PermissionError):
    """A directory of root's that others may write into: nothing below it can be trusted, by nobody."""


@dataclass(frozen=True)
class Place:
    """Where the walk ended: an open directory, its path, and the components still to go (at least the last one).

    `identity` is set where everything below has to be done with that account's rights.
    """

    directory: int
    path: str
    rest: tuple[str, ...]
    identity: Identity | None


def components(path: str) -> tuple[str, ...]:
    """The parts of an absolute path. Raises ValueError for a relative one and for one that climbs."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise ValueError(f"not a plain absolute path: {path!r}")
    return parts


class Walker:
    """Walks below a root directory, which is trusted as given."""

    def __init__(self, root: str, accounts: AccountFiles) -> None:
        self._root = root
        self._accounts = accounts
        self._is_root = os.geteuid() == 0
        self._trusted = (0,) if self._is_root else (0, os.geteuid())

    @contextmanager
    def reach(self, path: str) -> Iterator[Place]:
        """The place of `path`; its directory is closed at the end.

        Links that root made in root's own directories are followed, the last component never is.
        Raises OSError as the kernel does, ELOOP for a link that somebody else may have made, NotOurs.
        """
        place = self._walk(components(path), MOST_LINKS)
        try:
            yield place
        finally:
            os.close(place.directory)

    def _walk(self, parts: tuple[str, ...], links: int) -> Place:
        walked: list[str] = []
        trusted = True
        here = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for index, name in enumerate(parts[:-1]):
                target = _link(here, name)
                if target is not None:
                    if not trusted or os.stat(name, dir_fd=here, follow_symlinks=False).st_uid not in self._trusted:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), _join(walked, name))
                    if links == 0:
                        raise OSError(errno.ELOOP, "too many links", _join(walked, name))
                    onward = normpath(_join(walked, target) if not target.startswith("/") else target)
                    followed = tuple(part for part in onward.split("/") if part)
                    os.close(here)
                    here = -1
                    return self._walk((*followed, *parts[index + 1 :]), links - 1)
                below = os.open(name, STEP, dir_fd=here)
                os.close(here)
                here = below
                walked.append(name)
                identity, trusted = self._judge(here, walked, trusted)
                if identity is not None:
                    return Place(here, _join(walked), parts[index + 1 :], identity)
            return Place(here, _join(walked), parts[-1:], None)
        except BaseException:
            if here >= 0:
                os.close(here)
            raise

    def _judge(self, directory: int, walked: list[str], trusted: bool) -> tuple[Identity | None, bool]:
        """Whose rights are needed below, and whether links in there may be followed."""
        state = os.fstat(directory)
        if state.st_uid not in self._trusted:
            if not self._is_root:
                return None, False
            return identity_of_uid(state.st_uid, self._accounts, fallback_gid=state.st_gid), False
        if not state.st_mode & 0o022:
            return None, trusted
        reason = is_shared(state, self._accounts, has_acl=_has_acl(directory))
        if not reason:
            return None, trusted
        if self._is_root:
            raise NotOurs(errno.EPERM, f"{_join(walked)} belongs to root, but {reason}", _join(walked))
        return None, False


def finish(directory: int, rest: tuple[str, ...]) -> int:
    """An own descriptor of the directory that holds the last of `rest`, links never followed."""
    here = os.dup(directory)
    for name in rest[:-1]:
        try:
            below = os.open(name, STEP, dir_fd=here)
        except NotADirectoryError:
            if _link(here, name) is not None:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
            raise
        finally:
            os.close(here)
        here = below
    return here


def _link(directory: int, name: str) -> str | None:
    """The target of a link, None for anything else."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def _has_acl(directory: int) -> bool:
    try:
        return bool(os.getxattr(f"/proc/self/fd/{directory}", "system.posix_acl_access"))
    except OSError:
        return False  # ENODATA, or a file system without access lists


def _join(walked: list[str], name: str = "") -> str:
    return "/" + "/".join([*walked, name] if name else walked)
