"""Choices `(•) ( )` and check boxes `[X] [ ]`, as fields of a form and on their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Blur
from textual.geometry import Offset

from bai_wizard.locale import tr
from bai_wizard.ui.form_fields import FormField
from bai_wizard.ui.tui.base import FieldPath, shown, while_mounted
from bai_wizard.ui.tui.widgets.columns import BELOW
from bai_wizard.ui.tui.widgets.field import Field
from bai_wizard.ui.tui.widgets.list_box import ListBox, wrapped


def option_lines(
    options: Sequence[str], meanings: Mapping[str, str], chosen: Sequence[str], several: bool
) -> list[str]:
    """One line per option: its glyph, its word, its meaning."""
    width = max((cell_len(word) for word in options), default=0)
    left, on, right = ("[", "X", "]") if several else ("(", "•", ")")
    drawn = []
    for word in options:
        gap = " " * (width - cell_len(word) + 2)
        glyph = f"{left}{on if word in chosen else ' '}{right}"
        drawn.append(f"{glyph} {word}{gap}{meanings.get(word, '')}".rstrip())
    return drawn


class ChoiceField(Field):
    """Yes or no, one of several, or some of several.

    Enter opens the list of choices below the row and selects one; Space, Left and Right change the value directly.
    Esc and leaving the field close the list.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "turn", "Change", show=False, id="choice.turn"),
        Binding("enter", "take", "Choose", show=False, id="choice.take"),
        Binding("right", "cycle(1)", "Next", show=False, id="choice.next"),
        Binding("left", "cycle(-1)", "Previous", show=False, id="choice.previous"),
        Binding("escape", "fold", "Back", show=False, id="choice.fold"),
    ]

    def __init__(self, form_field: FormField, path: FieldPath, value: Any) -> None:
        super().__init__(form_field, path, value)
        self.options = form_field.options
        self.is_switch = form_field.widget == "yes-no"

    @property
    def meanings(self) -> Mapping[str, str]:
        """What each choice means."""
        return {word: tr(text) for word, text in self.form_field.info.choices.items()}

    def _chosen(self) -> tuple[str, ...]:
        if self.form_field.widget == "some-of":
            return tuple(str(word) for word in self.value or ())
        return (str(self.value),)

    @property
    def is_on(self) -> bool:
        """Whether a switch is on."""
        return bool(self.value)

    def value_text(self) -> str:
        if self.is_switch:
            return tr("yes") if self.is_on else tr("no")
        return ", ".join(self._chosen())

    def want(self, width: int) -> list[Content]:
        if self.is_switch:
            return [Content(f"[{'X' if self.is_on else ' '}] {self.value_text()}")]
        lines = wrapped(self.value_text() or self.empty_text, max(4, width - 2))
        return [*(Content(line) for line in lines[:-1]), Content(f"{lines[-1]} ▾")]

    def _options(self) -> list[tuple[int, str]]:
        """The lines of the open list, each with the index of its option."""
        meanings = self.meanings
        room = max(10, (self.size.width or 76) - BELOW)
        width = max((cell_len(word) for word in self.options), default=0)
        several = self.form_field.widget == "some-of"
        result = []
        for index, word in enumerate(self.options):
            head = option_lines((word,), {}, self._chosen(), several)[0]
            head += " " * (width - cell_len(word) + 2)
            meaning = wrapped(meanings.get(word, ""), max(10, room - cell_len(head)))
            result += [
                (index, (head if first else " " * cell_len(head)) + line)
                for first, line in ((at == 0, line) for at, line in enumerate(meaning))
            ]
        return result

    def lines(self) -> list[str]:
        return [line.rstrip() for _, line in self._options()] if self.is_unfolded else [self.value_text()]

    def drawn_lines(self) -> list[Content]:
        """The list of choices with the one under the cursor marked, however many lines it takes."""
        options = self._options()
        at = options[min(self.cursor, len(options) - 1)][0]
        return [
            Content(shown(line, lines=False).plain).stylize("reverse" if index == at and self.has_focus else "")
            for index, line in options
        ]

    def help_of_line(self) -> str:
        word, meanings = self.options[self._option()] if self.is_unfolded else str(self.value), self.meanings
        return f"{word}: {meanings[word]}" if word in meanings else ""

    def _option(self) -> int:
        options = self._options()
        return options[min(self.cursor, len(options) - 1)][0]

    @property
    def cursor_in_widget(self) -> Offset:
        begin = self.lines_begin
        return Offset(begin.x + 1, begin.y + self.cursor) if self.is_unfolded else begin

    def action_walk(self, by: int) -> None:
        if not self.is_unfolded:
            super().action_walk(by)
            return
        options = self._options()
        at, index = self._option(), self.cursor
        while 0 <= index < len(options) and options[index][0] == at:
            index += by
        if 0 <= index < len(options):
            first = options[index][0]
            self.cursor = next(line for line, (option, _) in enumerate(options) if option == first)

    def action_fold(self) -> None:
        """Fold the list; without one, Esc is left to the screen."""
        if not self.is_unfolded:
            raise SkipAction
        self.unfold(False)

    def unfold(self, on: bool) -> None:
        """Open or fold the list of choices."""
        self.is_unfolded = on
        chosen = next((index for index, word in enumerate(self.options) if word in self._chosen()), 0)
        lines = [option for option, _ in self._options()] if on else []
        self.cursor = lines.index(chosen) if lines else 0
        self.refresh(layout=True)
        self.call_after_refresh(self._reveal)

    @while_mounted
    def _reveal(self) -> None:
        self.show_cursor()

    def _on_blur(self, event: Blur) -> None:
        if self.is_unfolded:
            self.unfold(False)

    def action_turn(self) -> None:
        """Change the value at once."""
        if self.is_unfolded or self.form_field.widget == "some-of":
            self.action_take()
        else:
            self.action_cycle(1)

    def action_cycle(self, by: int) -> None:
        """Select the next or the previous choice."""
        if self.is_unfolded or self.form_field.widget == "some-of":
            return
        if self.is_switch:
            self.choose(not self.value)
            return
        at = self.options.index(str(self.value)) if str(self.value) in self.options else -1
        self.choose(self.options[(at + by) % len(self.options)])

    def on_select(self, index: int) -> None:
        if self.is_switch:
            self.choose(not self.value)
        elif not self.is_unfolded:
            self.unfold(True)
        elif self.form_field.widget == "some-of":
            turned = {self.options[self._option()]} ^ set(self._chosen())
            self.choose([word for word in self.options if word in turned])
        else:
            self.choose(self.options[self._option()])
            self.unfold(False)

    def choose(self, value: Any) -> None:
        """Set the value."""
        self.tell(value)
        self.post_message(self.Focused(self))
        self.redraw()


class Choice(ListBox):
    """A list of words with their meanings, without a label; one of them is `chosen`."""

    def __init__(
        self, options: Sequence[str], meanings: Mapping[str, str], chosen: str, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.options = tuple(options)
        self.meanings = dict(meanings)
        self.chosen = chosen
        self.set_reactive(Choice.cursor, self.options.index(chosen) if chosen in self.options else 0)

    def lines(self) -> list[str]:
        return option_lines(self.options, self.meanings, (self.chosen,), False)

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, self.cursor)

    def on_select(self, index: int) -> None:
        self.chosen = self.options[index]
        self.refresh()
        super().on_select(index)


class Tick(ListBox):
    """`[X] label`: yes or no, without a label column."""

    def __init__(self, label: str, value: bool, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.label = label
        self.value = value

    def lines(self) -> list[str]:
        return [f"[{'X' if self.value else ' '}] {self.label}"]

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, 0)

    def on_select(self, index: int) -> None:
        self.value = not self.value
        self.refresh()
        super().on_select(index)
