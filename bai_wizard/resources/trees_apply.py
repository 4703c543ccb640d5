"""Run programs as an account, and create, replace and remove directory trees in its name."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from hashlib import sha256
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Tree
from bai_wizard.node.error_hints import changing
from bai_wizard.node.process import OnLine, last_words, log_lines, run
from bai_wizard.node.regular import DIRECTORY, sync, sync_directory
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.node.safe_path import Trust, local_path
from bai_wizard.resources import performs
from bai_wizard.resources.trees import CloneRepository, GiveTree, RemoveTree, removed, staged
from bai_wizard.trusted_path import sudo_uid

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine


# Maintained by Debian and Ubuntu; tools that ship their own certificates are told to use these.
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


class Acting(Struct, frozen=True):
    """Acts as `identity`; None is the wizard's own account. `environment` is merged into that of every program."""

    identity: Identity | None
    log: Log
    environment: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(machine: LocalMachine, account: str, log: Log, environment: Mapping[str, str]) -> Acting:
        """Act as an account by name. Raises StepFailed if the node has no such account."""
        if account in ("", "root"):
            return Acting(None, log, environment)
        identity = machine.identity(account)
        if identity is None:
            raise StepFailed(f"account {account} does not exist on this node")
        return Acting(identity, log, environment)

    @property
    def home(self) -> str:
        """The account's home directory."""
        from os.path import expanduser

        return self.identity.home if self.identity is not None else expanduser("~")

    def refuse_untrusted(self, sources: Iterable[str]) -> None:
        """Raise StepFailed if anyone other than root and the account can change a local package source."""
        if os.geteuid() != 0:
            return
        caller = sudo_uid()
        trust = Trust([uid for uid in (self.identity and self.identity.uid, caller) if uid is not None])
        for path in filter(None, (local_path(source, self.home) for source in sources)):
            try:
                trust.judge_content(path)
            except PreflightError as error:
                raise StepFailed(str(error)) from error
            except OSError as error:
                raise StepFailed(f"{path} cannot be examined: {(error.strerror or str(error)).lower()}") from error

    def caches(self) -> dict[str, str]:
        """Return variables that keep the caches of uv and pip out of the account's home. Raises StepFailed."""
        from bai_wizard.node.cache import account_cache

        uid, gid = self.identity[:2] if self.identity is not None else (os.geteuid(), os.getegid())
        cache = account_cache(uid, gid)
        return {"XDG_CACHE_HOME": cache, "UV_CACHE_DIR": f"{cache}/uv", "PIP_CACHE_DIR": f"{cache}/pip"}

    def call(self, function: Callable[..., Any], *args: Any, answer: Any = None, deadline: float = 60.0) -> Any:
        """Run `function(*args)` in a child with the account's privileges; the first argument is a path."""
        with changing(str(args[0])):
            return run_as(self.identity, function, *args, answer=answer, deadline=deadline)

    def run(
        self, argv: Sequence[str], *, timeout: float, title: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        """Run a program that must succeed. Raises StepFailed with its last output."""
        completed = self.attempt(argv, timeout=timeout, env=env)
        if completed.code != 0:
            raise StepFailed(f"{title or argv[0]}: {last_words(completed)}")

    def attempt(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> Completed:
        """Run a program, whatever its result. Raises StateUnknown if it is missing or does not end in time."""
        own = {"SSL_CERT_FILE": TRUSTED}
        if self.identity is not None:
            own |= {"HOME": self.identity.home, "USER": self.identity.name, "LOGNAME": self.identity.name}
        return run(
            argv,
            timeout=timeout,
            on_line=on_line or log_lines(self.log),
            env={**own, **self.environment, **(env or {})},
            account=self.identity[:3] if self.identity is not None else None,
        )


# Time limit in seconds for walking or removing a tree of some ten thousand files on a slow disk.
TREE_DEADLINE = 180.0
# Regenerated when the tree is used, so they are ignored: byte code, a repository's index, pyenv's shims.
GENERATED = ("__pycache__", ".git", "shims")


def tree_state(machine: LocalMachine, path: str, without: tuple[str, ...] = ()) -> Tree | None:
    """Return the fingerprint of a tree without the paths `without`; None if it is not a directory."""
    parts = tuple(f"{basename(path)}{part[len(path) :]}" for part in without)
    result = machine.files.look_below(path, tree_at, parts, answer=Tree | None, deadline=TREE_DEADLINE)
    assert result is None or isinstance(result, Tree)
    return result


def tree_at(directory: int, name: str, without: Sequence[str] = ()) -> Tree | None:
    """SHA-256 over names, types, modes, sizes and times of files and the targets of links, in a fixed order.

    Empty directories are ignored, because tools create and leave them; so are the paths in `without`, which begin
    with `name`, and everything below them.
    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        return None
    digest = sha256()
    for _, line in _lines(directory, name, frozenset(without)):
        digest.update(line)
    return Tree(digest.hexdigest())


def _lines(directory: int, name: str, without: AbstractSet[str] = frozenset()) -> Iterator[tuple[str, bytes]]:
    """Yield the path of each file and link of a tree, beginning with `name`, and a line that changes with it."""
    for above, directories, files, here in os.fwalk(name, dir_fd=directory):
        files = [entry for entry in files if f"{above}/{entry}" not in without]
        directories[:] = sorted(
            entry for entry in directories if entry not in GENERATED and f"{above}/{entry}" not in without
        )
        links = [
            entry for entry in directories if stat.S_ISLNK(os.stat(entry, dir_fd=here, follow_symlinks=False).st_mode)
        ]
        for entry in sorted([*files, *links]):
            info = os.stat(entry, dir_fd=here, follow_symlinks=False)
            line: tuple[Any, ...] = (f"{above}/{entry}", stat.S_IFMT(info.st_mode))
            if stat.S_ISLNK(info.st_mode):
                line += (os.readlink(entry, dir_fd=here),)
            else:
                line += (info.st_mode, info.st_size, info.st_mtime_ns)
            yield line[0], repr(line).encode(errors="surrogateescape")


def place(acting: Acting, prepared: str, path: str) -> None:
    """Sync a staged tree to disk, rename it to its final name, and remove the staging directory."""
    acting.run(["sync", "--file-system", prepared], timeout=TREE_DEADLINE)
    acting.call(os.rename, prepared, path)
    acting.call(_remove_path, staged(path), deadline=TREE_DEADLINE)
    acting.call(sync_directory, dirname(path))


def begin_staging(acting: Acting, path: str) -> str:
    """Create the empty staging directory of a tree, removing what an interrupted run left there."""
    location = staged(path)
    acting.call(_remove_path, location, deadline=TREE_DEADLINE)
    acting.call(os.mkdir, location, 0o755)
    return location


def end_staging(acting: Acting, path: str) -> None:
    """Remove the staging directory after a failure."""
    acting.call(_remove_path, staged(path), deadline=TREE_DEADLINE)


@performs(CloneRepository)
def clone_repository(machine: LocalMachine, operation: CloneRepository, log: Log) -> None:
    """Clone into a staging directory and rename. Raises StepFailed with git's last output."""
    acting = Acting.of(machine, operation.account, log, dict(operation.environment))
    acting.refuse_untrusted((operation.url,))
    place_aside = begin_staging(acting, operation.path)
    try:
        argv = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1", "--", operation.url]
        # Never prompt on a terminal that is unattended.
        acting.run([*argv, f"{place_aside}/clone"], timeout=600, title=f"git clone {operation.url}",
                   env={"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"})  # fmt: skip
        place(acting, f"{place_aside}/clone", operation.path)
    except StepFailed:
        end_staging(acting, operation.path)
        raise


@performs(RemoveTree)
def remove_tree(machine: LocalMachine, operation: RemoveTree, log: Log) -> None:
    """Remove the tree and leftovers of its staging. An interrupted removal is completed first.

    Raises StepFailed.
    """
    aside = removed(operation.path)
    parts = (staged(operation.path), operation.path)
    with changing(operation.path):
        machine.files.change_below(aside, finish_removal_at, parts, deadline=TREE_DEADLINE)
        for path in parts:
            machine.files.change_below(path, set_aside_at, basename(aside), deadline=TREE_DEADLINE)
            machine.files.change_below(aside, finish_removal_at, parts, deadline=TREE_DEADLINE)


def set_aside_at(directory: int, name: str, aside: str) -> None:
    """Move a tree to its removal directory, beside a list of its files, so that leftovers are identified as ours."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        return
    try:
        os.mkdir(aside, 0o700, dir_fd=directory)
        here = os.open(aside, DIRECTORY, dir_fd=directory)
        try:
            _write_list(here, (line for _, line in _lines(directory, name)))
            os.rename(name, name, src_dir_fd=directory, dst_dir_fd=here)
            os.fsync(here)
        finally:
            os.close(here)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Removing the tree is what frees space.
        shutil.rmtree(name, dir_fd=directory)
    sync(directory)


def _write_list(here: int, lines: Iterator[bytes]) -> None:
    descriptor = os.open("list", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=here)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(descriptor)


def finish_removal_at(directory: int, aside: str, paths: Sequence[str]) -> None:
    """Remove what was set aside of `paths`. Raises StepFailed, with nothing removed, if it contains other files."""
    try:
        here = os.open(aside, DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        trees = [name for name in os.listdir(here) if name != "list"]
        known = _listed(here) if trees else set()
        for name in trees:
            added = [] if name in map(basename, paths) else [name]
            added += [path for path, line in _lines(here, name) if line not in known]
            if added:
                raise StepFailed(
                    f"{aside} is left over from a removed directory and contains other files: {added[0][:200]}"
                )
        for name in trees:
            shutil.rmtree(name, dir_fd=here)
        with suppress(FileNotFoundError):
            os.unlink("list", dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(aside, dir_fd=directory)
    sync(directory)


def _listed(here: int) -> set[bytes]:
    try:
        descriptor = os.open("list", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=here)
    except FileNotFoundError:
        return set()
    with os.fdopen(descriptor, "rb") as file:
        return set(file.read().split(b"\n"))


def give_at(directory: int, name: str, uid: int, gid: int, recursive: bool) -> None:
    """Give what root owns to an account, contents first, so that others cannot change the directory meanwhile.

    A file with several hard links may belong to the system, so it is left alone.
    """
    here = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(here)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and recursive:
            below = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
            try:
                for entry in os.listdir(below):
                    if os.stat(entry, dir_fd=below, follow_symlinks=False).st_dev == status.st_dev:
                        give_at(below, entry, uid, gid, recursive)
            finally:
                os.close(below)
        if status.st_uid != 0:
            return
        if stat.S_ISLNK(status.st_mode):
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        elif is_directory or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
            os.chown(f"/proc/self/fd/{here}", uid, gid)
    finally:
        os.close(here)


@performs(GiveTree)
def give_tree(machine: LocalMachine, operation: GiveTree, log: Log) -> None:
    """Give a tree back to its account."""
    machine.files.change_as_root(operation.path, give_at, operation.uid, operation.gid, operation.recursive)


def _remove_path(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
