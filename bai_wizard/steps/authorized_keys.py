"""Public keys that may log in as an account; keys that are there already are not touched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

# Type and body of a key; what stands before (options) and behind (comment) does not make it another key.
_KEY = re.compile(rb"(?:^|\s)((?:ssh|ecdsa|sk)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]{40,}={0,3})")


def body_of(line: bytes) -> bytes | None:
    """What tells a key from others: its encoded body; None for a comment or a line that holds no key."""
    found = None if line.lstrip().startswith(b"#") else _KEY.search(line)
    return found.group(2) if found else None


@register
@dataclass(frozen=True, kw_only=True)
class AuthorizedKeys(Step):
    """Adds the keys that are missing to ~/.ssh/authorized_keys (0600 below 0700, the account's own)."""

    kind: ClassVar[str] = "authorized-keys"
    account: str
    home: str
    keys: tuple[str, ...]

    def describe(self) -> str:
        return f"{len(self.keys)} SSH key{'s' if len(self.keys) > 1 else ''} of {self.account}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.home}/.ssh",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = view.account(self.account)
        if account is None:
            raise StepBlocked(f"no account {self.account!r} on this node")
        directory = f"{self.home}/.ssh"
        path = f"{directory}/authorized_keys"
        if view.entry(self.home) is None:
            raise StepBlocked(f"{self.home} is not there yet; it is made at the first login of {self.account!r}")
        for place, wanted in ((directory, "directory"), (path, "file")):
            there = view.entry(place)
            if there is not None and there.type != wanted:
                raise StepBlocked(f"{place} is a {there.type}, not a {wanted}; the wizard does not follow it")
        yield MakeDirectory(directory, account.uid, account.gid, 0o700)
        entry = view.entry(path)
        old = entry.content or b"" if entry is not None else b""
        present = {body_of(line) for line in old.split(b"\n")}
        missing = [key.encode() for key in self.keys if body_of(key.encode()) not in present]
        if missing and old and not old.endswith(b"\n"):
            old += b"\n"
        new = old + b"".join(key + b"\n" for key in missing)
        yield WriteFile(path, new, account.uid, account.gid, 0o600)
