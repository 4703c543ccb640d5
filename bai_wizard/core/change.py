"""One change as people see it: what, from what, to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verb = Literal["create", "modify", "remove", "run"]
MARKS: dict[str, str] = {"create": "+", "modify": "~", "remove": "-", "run": ">"}


@dataclass(frozen=True)
class Change:
    """A difference between the node now and the node as promised.

    `before` and `after` are texts for a diff; None means that the thing does not exist (or is not text).
    `attributes` tells owner and mode where those change. `token` stands for content that must not be
    shown (a secret, a binary file), so that two changes still compare exactly.
    """

    subject: str
    verb: Verb
    before: str | None = None
    after: str | None = None
    attributes: str = ""
    token: str = ""

    def headline(self) -> str:
        """One line: `+ /etc/sysctl.d/99-backendai.conf`, `~ net.core.somaxconn  4096 → 65536`."""
        text = f"{MARKS[self.verb]} {self.subject}"
        if self.before is not None and self.after is not None and self.is_short():
            text += f"  {self.before} → {self.after}"
        elif self.before is None and self.after is not None and self.is_short() and self.after:
            text += f"  {self.after}"
        return f"{text}  {self.attributes}" if self.attributes else text

    def is_short(self) -> bool:
        """True when both sides fit into the headline."""
        return all("\n" not in side and len(side) <= 60 for side in (self.before or "", self.after or ""))

    def diff(self) -> str:
        """A unified diff of the two sides, or the headline where there is nothing more to show."""
        if self.is_short():
            return self.headline()
        from difflib import unified_diff

        old = (self.before or "").splitlines(keepends=True)
        new = (self.after or "").splitlines(keepends=True)
        name_old = self.subject if self.before is not None else "/dev/null"
        name_new = self.subject if self.after is not None else "/dev/null"
        lines = [
            line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in unified_diff(old, new, name_old, name_new)
        ]
        tail = f"# {self.subject}: {self.attributes}\n" if self.attributes else ""
        return "".join(lines) + tail
