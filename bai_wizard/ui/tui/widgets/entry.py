"""Fields for typing: one line, a list with one item per line, or the source of a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from textual import on
from textual.content import Content
from textual.css.scalar import Scalar
from textual.events import DescendantBlur
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input

from bai_wizard.core.secret import SHORTEST_REDACTED, Secret
from bai_wizard.locale import tr
from bai_wizard.ui.form_fields import (
    SOURCES,
    FormField,
    from_lines,
    from_text,
    source_of,
    source_text,
    to_lines,
    to_text,
)
from bai_wizard.ui.tui.base import FieldPath, is_live, while_mounted, wizard
from bai_wizard.ui.tui.widgets.choice import ChoiceField
from bai_wizard.ui.tui.widgets.columns import GAP
from bai_wizard.ui.tui.widgets.field import Field
from bai_wizard.ui.tui.widgets.lines import Lines
from bai_wizard.ui.tui.widgets.list_box import in_cell

# Replaces each letter of a hidden value.
STAR = "*"


class LineInput(Input):
    """An input of a given width: a key does not lay out the whole screen again."""

    virtual_size = Reactive(Size(0, 0), layout=False)


class TypedField(Field):
    """Draws its value itself; an editor replaces it, but only while the field has the focus."""

    DEFAULT_CSS = """
    TypedField { layout: vertical; }
    """
    editor: Input | Lines | None = None

    def make_editor(self) -> Input | Lines:
        raise NotImplementedError

    async def on_focus(self) -> None:
        # Not later: the next key, which may be waiting already, is for the editor.
        await self._edit()

    @while_mounted
    async def _edit(self) -> None:
        if self.editor is None:
            self.editor = self.make_editor()
            # The terminal's own cursor blinks, if configured; ours would wake the screen twice a second.
            self.editor.cursor_blink = False
            self.editor.styles.margin = (0, 0, 0, self.columns.at_want)
            self.fit_editor()
            self.can_focus = False
            await self.mount(self.editor)
        if is_live(self.editor):
            self.screen.set_focus(self.editor)

    def fit_editor(self) -> None:
        """As wide as its column while the text fits; a longer one may use the column of the changes as well."""
        if self.editor is not None and self.in_table:
            columns = self.columns
            editor = self.editor
            fits = isinstance(editor, Input) and cell_len(editor.value or str(editor.placeholder)) < columns.want
            self.covers_change = not fits and bool(columns.change)
            width = columns.want + (GAP + columns.change if self.covers_change else 0)
            if self.editor.styles.width != Scalar.from_number(width):
                self.editor.styles.width = width

    def set_value(self, value: Any) -> None:
        self.value = value
        if isinstance(self.editor, Input):
            self.editor.value = to_text(value)
        elif self.editor is not None:
            self.editor.text = to_lines(value)
        self.redraw()

    def on_resize(self) -> None:
        if self.editor is not None:
            self.editor.styles.margin = (0, 0, 0, self.columns.at_want)
            self.fit_editor()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        # If the terminal loses focus, or a dialog opens above, no widget is focused: then the editor stays.
        self.call_after_refresh(self._close_if_left)

    @while_mounted
    async def _close_if_left(self) -> None:
        focused = self.screen.focused
        if self.editor is not None and focused is not None and focused is not self.editor:
            editor, self.editor, self.covers_change = self.editor, None, False
            self.can_focus = True
            await editor.remove()
            self.refresh(layout=True)

    def want(self, width: int) -> list[Content]:
        if self.editor is not None:
            return [Content("")] * self._editor_height()
        lines = [line for text in self.value_text().splitlines() for line in in_cell(text, width)]
        if any(lines):
            return [Content(line) for line in lines]
        style = "$text-warning" if self.text.is_needed or self.form_field.info.required else "dim"
        return [Content.styled(line, style) for line in in_cell(self.empty_text, width)]

    def lines(self) -> list[str]:
        return [self.value_text()]

    def _editor_height(self) -> int:
        return 1


class TextField(TypedField):
    """One line: a text or a number."""

    def make_editor(self) -> Input:
        example = self.form_field.info.example
        hint = tr("e.g. {example}", example=example) if isinstance(example, str | int) else ""
        return LineInput(
            to_text(self.value),
            placeholder=self.text.want or hint or self.empty_text,
            password=self.form_field.widget == "hash",
            compact=True,
            select_on_focus=False,
        )

    def value_text(self) -> str:
        value = to_text(self.value)
        if self.form_field.widget == "hash":
            return STAR * len(value)
        return f"{value} {self.form_field.info.unit}".rstrip() if value else ""

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.fit_editor()
        value = from_text(self.form_field, event.value)
        if value != self.value and not (value == "" and self.value is None):
            self.tell(value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()


class LinesField(TypedField):
    """A list with one item per line, or one `key = value` per line."""

    def __init__(self, form_field: FormField, path: FieldPath, value: Any) -> None:
        super().__init__(form_field, path, value)
        self._lines = 1

    @property
    def help(self) -> str:
        """The help of the field, starting with how its items are separated, because only two lines are visible."""
        how = (
            tr("one key = value per line")
            if self.form_field.widget == "pairs"
            else tr("separated by commas, spaces or lines")
        )
        return f"{self.label} ({how}): {tr(self.form_field.info.help)}"

    def make_editor(self) -> Lines:
        return Lines(to_lines(self.value))

    def value_text(self) -> str:
        return to_lines(self.value)

    def _editor_height(self) -> int:
        lines = self.editor.document.line_count if isinstance(self.editor, Lines) else 1
        return max(1, min(lines, 8))

    @on(Lines.Changed)
    def _typed(self, event: Lines.Changed) -> None:
        event.stop()
        if self._editor_height() != self._lines:
            self._lines = self._editor_height()
            self.refresh(layout=True)
        value = from_lines(self.form_field, event.text_area.text)
        if value != self.value:
            self.tell(value)


NONE, PROMPT = "none", "prompt"


class SecretField(ChoiceField):
    """The source of a secret; selecting one asks for what it needs."""

    def __init__(self, form_field: FormField, path: FieldPath, value: Any) -> None:
        super().__init__(form_field, path, value)
        self.options = (NONE, PROMPT, *SOURCES)

    def _way(self) -> str:
        return next(iter(self.value), NONE) if isinstance(self.value, dict) else NONE

    def _chosen(self) -> tuple[str, ...]:
        return (self._way(),)

    def value_text(self) -> str:
        return self.meanings[self._way()]

    @property
    def meanings(self) -> Mapping[str, str]:
        """The sources with their current meanings."""
        named = {way: source_text(way, self.value) for way in SOURCES}
        typed = wizard(self).secrets.has(self.key) if self.is_attached else False
        return {
            NONE: tr("no password"),
            PROMPT: tr("typed (kept in memory only)") if typed else tr("type it now (hidden)"),
            "env": tr("environment variable {name}", name=named["env"] or "…"),
            "file": tr("first line of {name}", name=named["file"] or tr("a file")),
            "command": tr("output of {name}", name=named["command"] or tr("a program")),
            "credential": tr("systemd credential {name}", name=named["credential"] or "…"),
        }

    def action_cycle(self, by: int) -> None:
        """A source asks for what it needs, so it is never selected by passing over it."""

    def action_turn(self) -> None:
        self.action_take()

    def choose(self, value: Any) -> None:
        if value == NONE:
            super().choose(None)
        elif value == PROMPT:
            self._ask()
        else:
            self._ask_name(value)

    def _ask(self) -> None:
        from bai_wizard.ui.tui.screens.dialogs import PasswordQuestion

        wizard(self).show(PasswordQuestion(self.label, _too_short), self._typed)

    def _typed(self, password: str | None) -> None:
        if password is not None:
            wizard(self).secrets.keep(self.key, Secret(password))
            super().choose({PROMPT: True})

    def _ask_name(self, way: str) -> None:
        from bai_wizard.ui.tui.screens.dialogs import LineQuestion

        old = source_text(way, self.value)
        wizard(self).show(LineQuestion(self.label, tr(SOURCES[way]), value=old), lambda name: self._named(way, name))

    def _named(self, way: str, name: str | None) -> None:
        if name:
            super().choose(source_of(way, name))


def _too_short(text: str) -> str:
    if len(text) < SHORTEST_REDACTED:
        return tr("must have at least {count} characters", count=SHORTEST_REDACTED)
    return ""
