"""A marked block of ours in a file that belongs to others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged, Markers, drop_block, put_block
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, WriteFile
from bai_wizard.core.primitives.files import Validator
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class EditBlock(Step):
    """Puts `lines` between the markers; without lines the block is taken out. Owner and mode stay as they are.

    `create` says whether a file that does not exist may be made; otherwise its absence blocks.
    """

    kind: ClassVar[str] = "edit-block"
    path: str
    begin: str
    end: str
    lines: tuple[str, ...]
    why: str
    validator: Validator = ""
    create: bool = False

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        text = read_text(view, self.path)
        if text is None:
            if not self.lines:
                return
            if not self.create:
                raise StepBlocked(f"{self.path} does not exist on this node")
        markers = Markers(self.begin, self.end)
        try:
            new = put_block(text or "", markers, self.lines) if self.lines else drop_block(text or "", markers)
        except BlockDamaged as error:
            raise StepBlocked(f"{self.path}: {error}. {REPAIR_BY_HAND}") from error
        yield rewrite(view, self.path, new, self.validator)


REPAIR_BY_HAND = "Put the two marker lines around our lines again, or delete the stray one; then plan again."


def read_text(view: NodeView, path: str) -> str | None:
    """A file's text, None where there is none; bytes that are no UTF-8 survive a later `rewrite`.

    Raises StepBlocked where the path is not a plain file: a link is not followed.
    """
    entry = view.entry(path)
    if entry is None:
        return None
    if entry.type != "file" or entry.content is None:
        what = f"a link to {entry.target}" if entry.type == "link" else f"a {entry.type}"
        raise StepBlocked(f"{path} is {what}, not a file; the wizard does not follow it")
    return entry.content.decode("utf-8", "surrogateescape")


def rewrite(view: NodeView, path: str, text: str, validator: Validator = "") -> WriteFile:
    """The primitive that gives a file this text and leaves its owner and mode; a new file is root's, 0644."""
    there = view.entry(path)
    content = text.encode("utf-8", "surrogateescape")
    if there is None:
        return WriteFile(path, content, validator=validator)
    return WriteFile(path, content, there.uid, there.gid, there.mode, validator)
