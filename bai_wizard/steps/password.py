"""The password field of an account, by hash only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import CannotTell, StepBlocked
from bai_wizard.core.primitives import Primitive, SetPassword
from bai_wizard.core.secret import Secret
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

# No password fits it, and unlike «!» it does not stop sshd from taking keys where PAM is not asked.
LOCKED = Secret("*")


@register
@dataclass(frozen=True, kw_only=True)
class SetAccountPassword(Step):
    """Sets the hash. Without one the field is locked, but a password that somebody has set is kept.

    `unknown` says why the hash could not be found out when the plan was made.
    """

    kind: ClassVar[str] = "password"
    account: str
    hash: Secret | None = None
    unknown: str = ""

    def describe(self) -> str:
        return f"password of {self.account}" if self.hash or self.unknown else f"no password login for {self.account}"

    def scope(self) -> tuple[str, ...]:
        return (f"password:{self.account}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = view.account(self.account)
        if account is None:
            raise StepBlocked(f"no account {self.account!r} on this node")
        if not account.local:
            raise StepBlocked(f"{self.account!r} comes from a directory, which keeps its password")
        if self.unknown:
            raise CannotTell(self.unknown)
        if self.hash is not None:
            yield SetPassword(self.account, self.hash)
            return
        current = view.password(self.account)
        # An empty field lets everybody in; «!» alone is what useradd leaves.
        if current is None or current.hash.reveal() in ("", "!", "!!", "!*"):
            yield SetPassword(self.account, LOCKED)
