"""Who may use Docker without sudo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown, StepBlocked
from bai_wizard.core.primitives import AddMember, Primitive
from bai_wizard.core.step import Effect, Step, register
from bai_wizard.core.view import NodeView

GROUP = "docker"


@register
@dataclass(frozen=True, kw_only=True)
class DockerUsers(Step):
    """Lists accounts in the group docker, which is as good as making them root. In effect at their next login."""

    kind: ClassVar[str] = "docker-users"
    accounts: tuple[str, ...]
    effect: Effect = "next-login"

    def describe(self) -> str:
        return f"{', '.join(self.accounts)} may use Docker (as powerful as root)"

    def scope(self) -> tuple[str, ...]:
        return tuple(f"member:{GROUP}:{name}" for name in self.accounts)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        for name in self.accounts:
            if view.account(name) is None:
                raise StepBlocked(
                    f"no account {name!r} on this node: add [account] to the answers, or correct its name"
                )
        if not _has_group(view):
            raise StepBlocked(f"there is no group {GROUP!r} on this node: is Docker installed by its packages?")
        for name in self.accounts:
            yield AddMember(name, GROUP)


def _has_group(view: NodeView) -> bool:
    try:
        return view.group(GROUP) is not None
    except NotYetKnown:
        # It comes with the packages of this plan; who is listed in it does not depend on its number.
        return True
