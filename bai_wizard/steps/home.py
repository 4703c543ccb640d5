"""A home directory, filled from /etc/skel as long as nobody has put anything else into it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, MakeLink, Primitive, WriteFile
from bai_wizard.core.state import Account
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.directory import Directory

SKELETON = "/etc/skel"
# Where the system says how private a new home is: adduser.conf(5), login.defs(5).
MODE_SETTINGS = (("/etc/adduser.conf", "DIR_MODE", "="), ("/etc/login.defs", "HOME_MODE", None))
# Ubuntu's own default.
DEFAULT_MODE = 0o750
WRITABLE_BY_OTHERS = 0o022


@register
@dataclass(frozen=True, kw_only=True)
class Home(Step):
    """The account's home directory: its own, not writable for others (sshd refuses keys otherwise).

    The skeleton is copied while the home holds nothing but skeleton files, so a copy that was cut off is finished
    by the next run and a home in use is left alone.
    """

    kind: ClassVar[str] = "home"
    account: str
    home: str

    def describe(self) -> str:
        return f"{self.home}/, the home of {self.account}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.home}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = view.account(self.account)
        if account is None:
            raise StepBlocked(f"no account {self.account!r} on this node")
        there = view.entry(self.home)
        mode = _home_mode(view) if there is None else there.mode & ~WRITABLE_BY_OTHERS
        if there is not None and there.type == "directory":
            self._refuse_owner(there.uid, view)
        yield from Directory(id=self.id, path=self.home, owner=self.account, mode=mode).primitives(view)
        present = set(view.names(self.home))
        if present <= set(view.names(SKELETON)):
            yield from _copy(view, SKELETON, self.home, account)

    def _refuse_owner(self, uid: int, view: NodeView) -> None:
        for other in view.accounts():
            if other.uid == uid and uid != 0 and other.name != self.account:
                raise StepBlocked(
                    f"{self.home} belongs to {other.name!r}; move it away, or choose another home in [account]"
                )


def _home_mode(view: NodeView) -> int:
    for path, name, separator in MODE_SETTINGS:
        for line in (view.text(path) or "").splitlines():
            words = [word.strip() for word in line.split(separator)]
            if len(words) == 2 and words[0] == name and re.fullmatch("[0-7]{3,4}", words[1]):
                return int(words[1], 8) & 0o777 & ~WRITABLE_BY_OTHERS
    return DEFAULT_MODE


def _copy(view: NodeView, source: str, target: str, owner: Account) -> Iterator[Primitive]:
    """What is missing in `target`; a file that is there already is the account's own."""
    for name in view.names(source):
        entry = view.entry(f"{source}/{name}")
        path = f"{target}/{name}"
        if entry is None:
            continue
        if entry.type == "directory":
            if view.entry(path) is None:
                yield MakeDirectory(path, owner.uid, owner.gid, entry.mode)
            yield from _copy(view, f"{source}/{name}", path, owner)
        elif view.entry(path) is not None:
            continue
        elif entry.type == "link":
            yield MakeLink(path, entry.target or "", owner.uid, owner.gid)
        elif entry.type == "file":
            yield WriteFile(path, entry.content or b"", owner.uid, owner.gid, entry.mode)
