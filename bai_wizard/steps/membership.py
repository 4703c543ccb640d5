"""Membership of an account in existing local groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import AddMember, Primitive
from bai_wizard.core.step import Effect, Step, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class Groups(Step):
    """Lists `account` in each of `groups`. A session that runs already sees that only after a new login."""

    kind: ClassVar[str] = "groups"
    account: str
    groups: tuple[str, ...]
    effect: Effect = "next-login"

    def describe(self) -> str:
        return f"{self.account} in {', '.join(self.groups)}"

    def scope(self) -> tuple[str, ...]:
        return tuple(f"member:{group}:{self.account}" for group in self.groups)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = view.account(self.account)
        if account is None:
            raise StepBlocked(f"no account {self.account!r} on this node")
        for name in self.groups:
            group = view.group(name)
            if group is None:
                raise StepBlocked(f"there is no group {name!r} on this node; make it first (groupadd {name})")
            if not group.local:
                raise StepBlocked(
                    f"the group {name!r} comes from a directory; {self.account!r} has to be added there"
                )
            if group.gid != account.gid:
                yield AddMember(self.account, name)
