"""Trees below an account's directory: fingerprint, staging, removal, clones; all of it with the account's rights."""

from __future__ import annotations

import os
import shutil
import stat
from hashlib import sha256
from posixpath import dirname
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import CloneRepository, RemoveTree
from bai_wizard.core.primitives.trees import staged
from bai_wizard.core.state import Tree
from bai_wizard.machine.failures import changing
from bai_wizard.machine.perform.acting import Acting

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

# Seconds for walking or removing a tree of some ten thousand files on a slow disk.
TREE_DEADLINE = 180.0
# Written anew by whoever uses the tree, so they tell nothing: byte code, a repository's index, pyenv's shims.
GENERATED = ("__pycache__", ".git", "shims")


def tree_state(machine: LocalMachine, path: str) -> Tree | None:
    """The fingerprint of a tree; None where there is no directory."""
    found = machine.files.look_below(path, tree_at, answer=Tree | None, deadline=TREE_DEADLINE)
    assert found is None or isinstance(found, Tree)
    return found


def tree_at(directory: int, name: str) -> Tree | None:
    """sha256 over names, types, modes, sizes and times of the files, and targets of the links, in one order.

    Empty directories do not count, for tools make and leave them.
    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        return None
    digest = sha256()
    for above, directories, files, here in os.fwalk(name, dir_fd=directory):
        directories[:] = sorted(entry for entry in directories if entry not in GENERATED)
        links = [
            entry for entry in directories if stat.S_ISLNK(os.stat(entry, dir_fd=here, follow_symlinks=False).st_mode)
        ]
        for entry in sorted([*files, *links]):
            told = os.stat(entry, dir_fd=here, follow_symlinks=False)
            line: tuple[Any, ...] = (f"{above}/{entry}", stat.S_IFMT(told.st_mode))
            if stat.S_ISLNK(told.st_mode):
                line += (os.readlink(entry, dir_fd=here),)
            else:
                line += (told.st_mode, told.st_size, told.st_mtime_ns)
            digest.update(repr(line).encode(errors="surrogateescape"))
    return Tree(digest.hexdigest())


def remove_at(directory: int, name: str) -> None:
    """Removes a tree; nothing where nothing is. Links in it are removed, never followed."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)


def remove(machine: LocalMachine, path: str) -> None:
    """Removes a tree with the rights that its place demands. Raises StepFailed."""
    with changing(path):
        machine.files.change_below(path, remove_at, deadline=TREE_DEADLINE)


def place(acting: Acting, prepared: str, path: str) -> None:
    """Renames a prepared tree to its final name, after its files are on disk, and clears the staging place."""
    acting.run(["sync", "--file-system", prepared], timeout=TREE_DEADLINE)
    acting.call(os.rename, prepared, path)
    acting.call(_remove_path, staged(path), deadline=TREE_DEADLINE)
    acting.call(_sync_directory, dirname(path))


def begin_staging(acting: Acting, path: str) -> str:
    """The empty staging place of a tree; what a cut run left there is gone."""
    place = staged(path)
    acting.call(_remove_path, place, deadline=TREE_DEADLINE)
    acting.call(os.mkdir, place, 0o755)
    return place


def end_staging(acting: Acting, path: str) -> None:
    """Takes the staging place away after a failure."""
    acting.call(_remove_path, staged(path), deadline=TREE_DEADLINE)


def clone_repository(machine: LocalMachine, primitive: CloneRepository, log: Log) -> None:
    """Clones beside the place and renames. Raises StepFailed with git's last words."""
    acting = Acting.of(machine, primitive.account, log, dict(primitive.environment))
    place_aside = begin_staging(acting, primitive.path)
    try:
        argv = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1", "--", primitive.url]
        # Never a question on a terminal that nobody watches.
        acting.run([*argv, f"{place_aside}/clone"], timeout=600, title=f"git clone {primitive.url}",
                   env={"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"})  # fmt: skip
        place(acting, f"{place_aside}/clone", primitive.path)
    except StepFailed:
        end_staging(acting, primitive.path)
        raise


def remove_tree(machine: LocalMachine, primitive: RemoveTree, log: Log) -> None:
    """Removes the tree and what was left of its preparation."""
    remove(machine, staged(primitive.path))
    remove(machine, primitive.path)


def _remove_path(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


PERFORMERS: Performers = {CloneRepository.kind: clone_repository, RemoveTree.kind: remove_tree}
