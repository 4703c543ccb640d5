"""Lines of somebody else's file, replaced one by one: what a finding's remedy does, after its diff was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class EditLines(Step):
    """Puts `new` for each line that reads `old` (blanks around it do not count), and keeps all others to the byte.

    `target` is where the outcome is written: a file of a package is replaced by one of the same name in /etc.
    """

    kind: ClassVar[str] = "edit-lines"
    path: str
    replacements: tuple[tuple[str, str], ...]
    why: str
    target: str = ""

    def describe(self) -> str:
        return f"{self.target or self.path}: {self.why}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.target or self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        target = self.target or self.path
        entry = view.entry(target) or view.entry(self.path)
        if entry is None or entry.content is None:
            raise StepBlocked(f"{self.path} is not a file any more")
        wanted = {old.strip(): new for old, new in self.replacements}
        lines = entry.content.decode("utf-8", "surrogateescape").split("\n")
        text = "\n".join(wanted.get(line.strip(), line) for line in lines)
        yield WriteFile(target, text.encode("utf-8", "surrogateescape"), entry.uid, entry.gid, entry.mode)
