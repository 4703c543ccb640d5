"""Where a secret comes from: nowhere, typed here, a variable, or a file. It is never shown and never saved."""

from __future__ import annotations

from typing import Any

from textual import work
from textual.geometry import Offset

from bai_wizard.core.secret import SHORTEST_REDACTED, Secret
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Place, wizard
from bai_wizard.tui.widgets.choice import option_lines
from bai_wizard.tui.widgets.field import Field
from bai_wizard.wizard.shapes import Shape

NONE, PROMPT, ENV, FILE = "none", "prompt", "env", "file"


class SecretField(Field):
    """The way to a secret; choosing one asks for what it needs."""

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(shape, place, value)
        self.set_reactive(SecretField.at, list(self.meanings()).index(self._way()))

    def _way(self) -> str:
        return next(iter(self.value), NONE) if isinstance(self.value, dict) else NONE

    def meanings(self) -> dict[str, str]:
        """The ways with what they mean here and now."""
        named = str(self.value.get(self._way(), "")) if isinstance(self.value, dict) else ""
        typed = wizard(self).secrets.has(self.key) if self.is_attached else False
        return {
            NONE: tr("no password"),
            PROMPT: tr("typed here: it is kept in memory") if typed else tr("ask for it here, hidden"),
            ENV: tr("in the environment variable {name}", name=named if self._way() == ENV else "…"),
            FILE: tr("on the first line of {name}", name=named if self._way() == FILE else tr("a file")),
        }

    @property
    def key(self) -> str:
        """The name of the secret, as its asker is told it."""
        from bai_wizard.answers.model import dotted

        return dotted((self.place.table, *self.place.path))

    def lines(self) -> list[str]:
        meanings = self.meanings()
        return option_lines(tuple(meanings), meanings, (self._way(),), False)

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(self.lines_begin.x + 1, self.at)

    def taken(self, at: int) -> None:
        way = list(self.meanings())[at]
        if way == NONE:
            self.tell(None)
            self.refresh()
        elif way == PROMPT:
            self._ask()
        else:
            self._ask_name(way)

    @work
    async def _ask(self) -> None:
        from bai_wizard.tui.screens.ask import LineQuestion

        title = self.label
        first = await self.app.push_screen_wait(
            LineQuestion(title, tr("It is not shown and not saved."), hidden=True, refuse=_too_short)
        )
        if first is None:
            return

        def differs(again: str) -> str:
            return "" if again == first else tr("the two are not the same")

        again = await self.app.push_screen_wait(
            LineQuestion(title, tr("Once more, to be sure."), hidden=True, refuse=differs)
        )
        if again is not None:
            wizard(self).secrets.keep(self.key, Secret(first))
            self.tell({PROMPT: True})
            self.refresh()

    @work
    async def _ask_name(self, way: str) -> None:
        from bai_wizard.tui.screens.ask import LineQuestion

        text = tr("The name of the variable:") if way == ENV else tr("The path of the file:")
        old = str(self.value.get(way, "")) if isinstance(self.value, dict) else ""
        name = await self.app.push_screen_wait(LineQuestion(self.label, text, value=old))
        if name:
            self.tell({way: name})
            self.refresh()


def _too_short(text: str) -> str:
    if len(text) < SHORTEST_REDACTED:
        return tr("it must have at least {count} characters", count=SHORTEST_REDACTED)
    return ""
