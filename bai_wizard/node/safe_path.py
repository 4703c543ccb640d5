"""Resolve paths one component at a time, and judge who can change what they name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from posixpath import join, normpath
from shlex import quote

from msgspec import Struct

from bai_wizard.core.errors import PreflightError, StateUnknown
from bai_wizard.core.parse import Malformed
from bai_wizard.core.paths import has_owners
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.mounts import mount_of, read_mountinfo
from bai_wizard.node.regular import READ
from bai_wizard.node.run_as import Identity, identity_of_uid, invoker, is_shared, run_as
from bai_wizard.trusted_path import EVERYONE, Everyone, Owner, TrustedPaths, Untrusted, Writers

STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_LINKS = 16
# Bytes; the kernel accepts no longer path (PATH_MAX including the null byte).
LONGEST_PATH = 4095


class UntrustedDirectory(PermissionError):
    """A directory owned by root that others can write to: nothing below it can be trusted."""


class OpenParent(Struct, frozen=True):
    """Where the walk ended: an open directory, its path, and the remaining components (at least the last one).

    `identity` is set if everything below requires that account's privileges.
    """

    directory: int
    path: str
    remaining: tuple[str, ...]
    identity: Identity | None


def components(path: str) -> tuple[str, ...]:
    """Return the components of an absolute path.

    Raises Malformed if it is relative, empty, or contains `..` or NUL.
    """
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise Malformed(f"not a normalized absolute path: {path[:200]!r}")
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise Malformed(f"not a valid path: {path[:200]!r}") from error
    if size > LONGEST_PATH:
        raise Malformed(f"the path is longer than {LONGEST_PATH} bytes: {path[:200]!r}")
    return parts


def absolute(path: str) -> str:
    """Return an absolute path without `.` and `..`. Raises PreflightError if it names no file or is ambiguous."""
    if not path or "\0" in path or path.endswith("/") or os.path.basename(path) in (".", ".."):
        raise PreflightError(f"{path!r} does not name a file")
    parts = _working_directory(path)
    own = len(parts)  # of the working directory, which contains no links
    for part in path.split("/"):
        if part == ".." and parts:
            if len(parts) > own and _is_link("/" + "/".join(parts)):
                raise PreflightError(
                    f"{path} is ambiguous: /{'/'.join(parts)} is a symbolic link that is followed by .."
                )
            parts.pop()
            own = min(own, len(parts))
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/" + "/".join(parts)


def _is_link(path: str) -> bool:
    """Whether a path is a link; checked in a child, because it may be on a file system that never answers."""
    try:
        return bool(run_as(None, os.path.islink, path, answer=bool))
    except StateUnknown as error:
        raise PreflightError(f"{path}: {error}") from error


def from_root(path: str) -> str:
    """Return a path as given, from /.

    Raises PreflightError if it is relative and the working directory was deleted.
    """
    return os.path.join("/", *_working_directory(path), path)


def _working_directory(path: str) -> list[str]:
    if path.startswith("/"):
        return []
    try:
        here = os.getcwd()
    except OSError as error:
        raise PreflightError(f"{path}: the working directory does not exist") from error
    if not here.startswith("/"):
        raise PreflightError(f"{path}: the working directory cannot be reached from /")
    return [part for part in here.split("/") if part]


class SafePath:
    """Resolves paths below a root directory, which is trusted as given.

    With `sticky`, root also works in its own directories that have the sticky bit (/tmp): files that others create
    there are theirs, but they cannot replace root's. The caller must create new names with O_EXCL only.
    """

    def __init__(self, root: str, accounts: AccountFiles, *, sticky: bool = False) -> None:
        self._root = root
        self._accounts = accounts
        self._sticky = sticky
        self._is_root = os.geteuid() == 0
        self._trusted: tuple[int, ...] = (0,) if self._is_root else (0, os.geteuid())

    @contextmanager
    def open_parent(self, path: str) -> Iterator[OpenParent]:
        """Yield the open parent of `path`; its directory is closed at the end.

        Links that root created in its own directories are followed, the last component never is. Raises OSError as
        the kernel does, ELOOP for a link that others may have created, UntrustedDirectory.
        """
        parent = self._walk(components(path), MAX_LINKS)
        try:
            yield parent
        finally:
            os.close(parent.directory)

    def _walk(self, parts: tuple[str, ...], links: int) -> OpenParent:
        walked: list[str] = []
        trusted = True
        here = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for index, name in enumerate(parts[:-1]):
                target = link_of(here, name)
                if target is not None:
                    if not trusted or os.stat(name, dir_fd=here, follow_symlinks=False).st_uid not in self._trusted:
                        raise self._refused_link(_join(walked, name))
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
                    return OpenParent(here, _join(walked), parts[index + 1 :], identity)
            return OpenParent(here, _join(walked), parts[-1:], None)
        except BaseException:
            if here >= 0:
                os.close(here)
            raise

    def _refused_link(self, path: str) -> Exception:
        """Return the error for a link that another user may have created."""
        return OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _judge(self, directory: int, walked: list[str], trusted: bool) -> tuple[Identity | None, bool]:
        """Return whose privileges are needed below, and whether links in there may be followed."""
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
        if self._sticky and state.st_mode & stat.S_ISVTX:
            return None, False
        if self._is_root:
            raise UntrustedDirectory(errno.EPERM, f"{_join(walked)} belongs to root, but {reason}", _join(walked))
        return None, False


def open_rest(directory: int, rest: tuple[str, ...]) -> int:
    """Return a new descriptor of the directory that contains the last of `rest`; links are never followed."""
    here = os.dup(directory)
    for name in rest[:-1]:
        try:
            below = os.open(name, STEP, dir_fd=here)
        except NotADirectoryError:
            if link_of(here, name) is not None:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
            raise
        finally:
            os.close(here)
        here = below
    return here


def link_of(directory: int, name: str) -> str | None:
    """Return the target of a link; None for anything else."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


def _has_acl(directory: int) -> bool:
    try:
        return bool(os.getxattr(f"/proc/self/fd/{directory}", "system.posix_acl_access"))
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)


def _join(walked: list[str], name: str = "") -> str:
    return "/" + "/".join([*walked, name] if name else walked)


# Who else can change (or read) a file, judged by owners, modes, access control lists and group members.
#
# Root acts on the content of answers, secrets, keys and code only if no one but root and trusted users can change the
# file or a directory on its path. Everything is checked on open descriptors, so nothing can be swapped between check
# and use.


def local_path(source: str, home: str = "/") -> str:
    """Return the absolute path that a package source (a path or file URL) names; empty for any other address."""
    if source.lower().startswith("file:"):
        from urllib.parse import unquote, urlsplit

        path = unquote(urlsplit(source).path)
        return normpath(path) if path.startswith("/") else ""
    if "://" in source or not source:
        return ""
    return normpath(join(home, source.removeprefix("~/")))


class Trust(Writers):
    """Judges for root and some trusted users; `accounts` are the node's user databases."""

    def __init__(self, users: Collection[int] | None = None, accounts: AccountFiles | None = None) -> None:
        """`users` are UIDs; by default the current user and, under sudo, the user who called it."""
        caller = invoker()
        mine = {os.geteuid(), *([caller[0]] if caller else [])}
        super().__init__(mine if users is None else users, accounts or AccountFiles())

    def readers(self, descriptor: int) -> str:
        """Describe who else can read an open file; empty if no one can."""
        state = os.fstat(descriptor)
        if state.st_mode & stat.S_IROTH:
            return EVERYONE
        return f"the group {self._group_name(state.st_gid)}" if state.st_mode & stat.S_IRGRP else ""

    def open(self, path: str, *, follow: bool = True, private: bool = False) -> int:
        """Return a descriptor for reading a file that only trusted users can change (with `private`: and read).

        Raises PreflightError with what to do, OSError as the kernel does: EISDIR for a directory, ENXIO for anything
        else that is neither a regular file nor, unless `private`, a pipe. Such files are never opened.
        """
        walker = _TrustWalker(self)
        here = absolute(path)
        for _ in range(MAX_LINKS):
            with walker.open_parent(here) as parent:
                name = parent.remaining[-1]
                target = link_of(parent.directory, name) if follow else None
                if target is None:
                    return self._open(parent.directory, name, here, private)
                owner = os.stat(name, dir_fd=parent.directory, follow_symlinks=False).st_uid
            if owner not in self.users:
                raise self.refusal(here, Owner(f"its owner {self._name(owner)}"))
            here = normpath(os.path.join(os.path.dirname(here), target))
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def judge_command(self, argv: Sequence[str], root: str = "") -> None:
        """Raise PreflightError if others can change a file that a command names: its program, or an argument.

        An argument may be a script for an interpreter. Raises OSError as the kernel does.
        """
        for word in argv:
            if word.startswith("/") and os.path.isfile(f"{root}{word}"):
                self.judge_content(f"{root}{word}")

    def judge_directory(self, path: str, *, sticky: bool = False) -> None:
        """Raise PreflightError if others can change a directory or one above it, or create names in it.

        `sticky` allows a sticky directory, such as /tmp, as the last one. Raises OSError as the kernel does.
        """
        with _TrustWalker(self).open_parent(f"{path.rstrip('/')}/.bai-wizard") as parent:
            mode = os.fstat(parent.directory).st_mode
            if not sticky and mode & stat.S_ISVTX and mode & 0o022:
                raise PreflightError(f"other users can create files in {path}; choose a subdirectory")

    def open_directory(self, path: str) -> int:
        """Return a descriptor of a directory that others cannot change. Raises as `judge_directory` does.

        The caller closes it.
        """
        with _TrustWalker(self).open_parent(f"{path.rstrip('/')}/.bai-wizard") as parent:
            return os.open(f"/proc/self/fd/{parent.directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def judge_content(self, path: str) -> None:
        """Raise PreflightError if others can change a file, or anything in a directory. Links are followed.

        A path that does not exist is accepted unless others could create it. Raises OSError as the kernel does.
        """
        try:
            TrustedPaths(self.users, self._accounts).judge_tree(path)
        except Untrusted as error:
            raise self.refusal(error.path, error.who) from error

    def refusal(self, path: str, who: str) -> PreflightError:
        """Return the error for a path that `who` can change."""
        fstype = _without_permissions(path)
        if fstype:
            return PreflightError(
                f"{path} can be changed by {who}, so it cannot be trusted, and {fstype} does not store owners and "
                "modes; copy it to a directory that only root can change, such as /root, and use the copy"
            )
        if isinstance(who, Owner):
            todo = f"chown -h root {quote(path)}"
        else:
            todo = f"chmod {'o' if isinstance(who, Everyone) else 'g'}-w {quote(path)}"
        return PreflightError(f"{path} can be changed by {who}, so it cannot be trusted; run: {todo}")

    def _open(self, directory: int, name: str, path: str, private: bool) -> int:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ELOOP if stat.S_ISLNK(mode) else errno.ENXIO
        if not stat.S_ISREG(mode) and (private or not stat.S_ISFIFO(mode)):
            raise OSError(code, os.strerror(code), path)
        descriptor = os.open(name, READ, dir_fd=directory)
        try:
            who = self.writers(descriptor)
            if who:
                raise self.refusal(path, who)
            who = self.readers(descriptor) if private else ""
            if who:
                todo = f"chmod 600 {quote(path)}"
                raise PreflightError(f"{path} can be read by {who}, so it is not a secret; run: {todo}")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _without_permissions(path: str) -> str:
    """Return the file system type of a path if owners and modes cannot be changed there; otherwise empty."""
    try:
        mount = mount_of(os.path.realpath(path), read_mountinfo())
    except StateUnknown:
        return ""
    return mount.fstype if mount is not None and not has_owners(mount.fstype) else ""


class _TrustWalker(SafePath):
    """Enters only directories that no one else can change, and follows links of trusted users."""

    def __init__(self, trust: Trust) -> None:
        super().__init__("/", AccountFiles())
        self._trust = trust
        self._trusted = tuple(trust.users)

    def _judge(self, directory: int, walked: list[str], trusted: bool) -> tuple[Identity | None, bool]:
        who = self._trust.writers(directory)
        if who:
            raise self._trust.refusal("/" + "/".join(walked), who)
        return None, trusted

    def _refused_link(self, path: str) -> Exception:
        return self._trust.refusal(path, Owner("its owner, another user"))
