"""Fields that are typed: one line, or a list with an item a line. The editor is there only while one is in it."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.content import Content
from textual.events import DescendantBlur, Focus
from textual.geometry import Size
from textual.widgets import Input

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Place
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.lines import Lines
from bai_wizard.tui.widgets.walk import cut
from bai_wizard.wizard.shapes import Shape
from bai_wizard.wizard.values import from_lines, from_text, to_lines, to_text

# What stands for each letter of a hidden value.
STAR = "*"


class TypedField(Field):
    """Drawn by itself; when the cursor comes, an editor takes the place of the value."""

    DEFAULT_CSS = """
    TypedField { layout: vertical; }
    """
    editor: Input | Lines | None = None

    def make_editor(self) -> Input | Lines:
        """The editor with the present value."""
        raise NotImplementedError

    def _on_focus(self, event: Focus) -> None:
        self.call_later(self._edit)

    async def _edit(self) -> None:
        if self.editor is None:
            self.editor = self.make_editor()
            # The terminal's own cursor blinks, if it does; ours would wake the screen twice a second.
            self.editor.cursor_blink = False
            self.editor.styles.margin = (0, 0, 0, self.lines_begin.x)
            self.can_focus = False
            await self.mount(self.editor)
        self.screen.set_focus(self.editor)

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        # A terminal that loses its focus, or a dialogue above, leaves nobody focused: then the editor stays.
        self.call_after_refresh(self._close_if_left)

    async def _close_if_left(self) -> None:
        focused = self.screen.focused
        if self.editor is not None and focused is not None and focused is not self.editor:
            editor, self.editor = self.editor, None
            self.can_focus = True
            await editor.remove()
            self.refresh(layout=True)

    def render(self) -> Content:
        if self.editor is None:
            return super().render()
        reason = self._reason(self.size.width)
        below = [""] * (self._editor_height() - 1)
        indent = self.lines_begin.x
        told = [Content.styled(" " * indent + line, "$text-error") for line in reason]
        return Content("\n").join([Content(cut(self.label, indent - 1)), *map(Content, below), *told])

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if self.editor is None:
            return super().get_content_height(container, viewport, width)
        return self._editor_height() + len(self._reason(width))

    def _editor_height(self) -> int:
        return 1


class TextField(TypedField):
    """One line: a text or a number."""

    def make_editor(self) -> Input:
        example = self.shape.note.example
        hint = tr("e.g. {example}", example=example) if isinstance(example, str | int) else ""
        return Input(
            to_text(self.value),
            placeholder=hint,
            password=self.shape.sort == "hash",
            compact=True,
            select_on_focus=False,
        )

    def lines(self) -> list[Content]:
        shown = to_text(self.value)
        if self.shape.sort == "hash":
            shown = STAR * len(shown)
        if not shown:
            return [Content.styled(tr("(default)") if not self.shape.note.required else "", "dim")]
        return [Content(f"{shown} {self.shape.note.unit}".rstrip())]

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        value = from_text(self.shape, event.value)
        if value != self.value and not (value == "" and self.value is None):
            self.tell(value)


class LinesField(TypedField):
    """A list with an item a line, or `key = value` in each."""

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(shape, place, value)
        self._height = 1

    def make_editor(self) -> Lines:
        return Lines(to_lines(self.value))

    def lines(self) -> list[Content]:
        shown = to_lines(self.value).splitlines()
        return [Content(line) for line in shown] or [Content.styled(tr("(none)"), "dim")]

    def _editor_height(self) -> int:
        lines = self.editor.document.line_count if isinstance(self.editor, Lines) else 1
        return max(1, min(lines, 8))

    @on(Lines.Changed)
    def _typed(self, event: Lines.Changed) -> None:
        event.stop()
        if self._editor_height() != self._height:
            self._height = self._editor_height()
            self.refresh(layout=True)
        value = from_lines(self.shape, event.text_area.text)
        if value != self.value:
            self.tell(value)
