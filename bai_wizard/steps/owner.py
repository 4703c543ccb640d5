"""Who is to own a path: named in a step, turned into ids only against the node, real or predicted."""

from __future__ import annotations

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.view import NodeView


def ids_of(view: NodeView, owner: str) -> tuple[int, int]:
    """uid and primary gid of an account. Raises StepBlocked where the node has none of that name."""
    if owner == "root":
        return 0, 0
    account = view.account(owner)
    if account is None:
        raise StepBlocked(f"no account {owner!r} on this node: add [account] to the answers")
    return account.uid, account.gid
