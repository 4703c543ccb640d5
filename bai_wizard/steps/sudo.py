"""Whether an account may become root: by the group sudo, by a drop-in of ours, or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import AddMember, Primitive, RemoveMember, RemovePath, WriteFile
from bai_wizard.core.step import Effect, Step, register
from bai_wizard.core.view import NodeView

GROUP = "sudo"
SUDOERS = "/etc/sudoers"
DROP_INS = "/etc/sudoers.d"
# sudoers(5): both spellings read the directory; the file is no comment there.
_INCLUDE = re.compile(rf"^\s*[@#]includedir\s+{DROP_INS}/?\s*$", re.MULTILINE)
_GROUP_RULE = re.compile(rf"^\s*%{GROUP}\s+ALL\s*=", re.MULTILINE)


@register
@dataclass(frozen=True, kw_only=True)
class Sudo(Step):
    """`password`: the group sudo (and a rule of our own where the group has none). `nopasswd`: our own rule too."""

    kind: ClassVar[str] = "sudo"
    account: str
    way: Literal["password", "nopasswd", "no"]
    effect: Effect = "next-login"

    @property
    def path(self) -> str:
        """Our drop-in. sudo skips names with a dot or a tilde, so an account's dot becomes '_'."""
        return f"{DROP_INS}/90-bai-wizard-{re.sub(r'[^A-Za-z0-9_-]', '_', self.account)}"

    def describe(self) -> str:
        words = {"password": "with its password", "nopasswd": "without a password", "no": "not at all"}
        return f"{self.account} may become root {words[self.way]}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}", f"member:{GROUP}:{self.account}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self.way == "no":
            yield RemovePath(self.path)
            yield RemoveMember(self.account, GROUP)
            return
        if "sudo" not in view.names("/usr/bin"):
            raise StepBlocked(
                'sudo is not installed on this node: apt-get install sudo, or put sudo = "no" into [account]'
            )
        group = view.group(GROUP)
        if group is None:
            raise StepBlocked(f"there is no group {GROUP!r} on this node; the package sudo brings it")
        yield AddMember(self.account, GROUP)
        rule = self._rule(view)
        if not rule:
            yield RemovePath(self.path)
            return
        if not _INCLUDE.search(_sudoers(view)):
            raise StepBlocked(f"{SUDOERS} does not read {DROP_INS}; put `@includedir {DROP_INS}` at its end (visudo)")
        yield WriteFile(self.path, rule.encode(), mode=0o440, validator="visudo")

    def _rule(self, view: NodeView) -> str:
        """The text of our drop-in; empty where none is needed."""
        # A user name may hold an '@' (a directory's), which sudoers takes literally only when escaped.
        name = re.sub(r"([@\\ ,:=!()])", r"\\\1", self.account)
        head = "# Written by bai-wizard.\n"
        if self.way == "nopasswd":
            return f"{head}{name} ALL=(ALL:ALL) NOPASSWD: ALL\n"
        texts = [_sudoers(view)]
        texts += [_text(view, f"{DROP_INS}/{name}") for name in view.names(DROP_INS) if not re.search(r"\.|~$", name)]
        if any(_GROUP_RULE.search(text) for text in texts):
            return ""
        return f"{head}# The group {GROUP} has no rule on this node.\n{name} ALL=(ALL:ALL) ALL\n"


def _sudoers(view: NodeView) -> str:
    return _text(view, SUDOERS)


def _text(view: NodeView, path: str) -> str:
    entry = view.entry(path)
    return entry.content.decode("utf-8", "replace") if entry is not None and entry.content is not None else ""
