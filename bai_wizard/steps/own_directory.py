"""Directories that belong to an account: what is missing on the way to a path below its home."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive
from bai_wizard.core.state import Account
from bai_wizard.core.view import NodeView


def account_of(view: NodeView, name: str) -> Account:
    """The account, real or promised. Raises StepBlocked where the node has none of that name."""
    account = view.account(name)
    if account is None:
        raise StepBlocked(f"no account {name!r} on this node: add [account] to the answers")
    return account


def own_directories(view: NodeView, path: str, account: Account) -> Iterator[Primitive]:
    """Makes `path` and what is missing above it: the account's below its home, elsewhere root's but for `path`.

    A directory that is there is left as it is. Raises StepBlocked where it cannot be the account's.
    """
    there = view.entry(path)
    if there is not None:
        if there.type != "directory":
            raise StepBlocked(f"{path} is a {there.type}, not a directory: move it away")
        if there.uid != account.uid and account.uid != 0:
            raise StepBlocked(
                f"{path} does not belong to {account.name}: give it to the account, or choose another place"
            )
        return
    if path == account.home:
        raise StepBlocked(f"{path}, the home of {account.name}, does not exist: add [account] to the answers")
    above = dirname(path)
    inside = above == account.home or above.startswith(f"{account.home.rstrip('/')}/")
    if inside:
        yield from own_directories(view, above, account)
    else:
        yield from _of_root(view, above)
    yield MakeDirectory(path, account.uid, account.gid)


def _of_root(view: NodeView, path: str) -> Iterator[Primitive]:
    if path == "/" or view.entry(path) is not None:
        return
    yield from _of_root(view, dirname(path))
    yield MakeDirectory(path)
