"""A page's fields, asked for one after the other."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from bai_wizard.core.secret import Secret
from bai_wizard.headless.lines import Back, Talk
from bai_wizard.pages import settings_of
from bai_wizard.texts import tr
from bai_wizard.wizard.draft import Draft, Path, tables_of, troubles_of
from bai_wizard.wizard.secrets import Secrets
from bai_wizard.wizard.shapes import Shape, shapes
from bai_wizard.wizard.values import from_lines, from_text, in_one_line, plain_default, to_text

# What empties a field; an empty line keeps it.
NOTHING = "-"


class PageQuestions:
    """Asks for every field of a page; `b` ends it where one is, and what was answered stays."""

    def __init__(self, talk: Talk, draft: Draft, secrets: Secrets) -> None:
        self.talk = talk
        self.draft = draft
        self.secrets = secrets

    def ask(self, page: str) -> None:
        """Goes through the page's tables, then says what is wrong, field by field, until nothing is or `b`."""
        self.talk.say(tr("«-» empties a field."))
        try:
            for table in tables_of(page):
                self._part(table, (), settings_of(table))
        except Back:
            pass
        for table in tables_of(page):
            for trouble in self.draft.troubles(table):
                self.talk.say(f"! {'.'.join(str(part) for part in trouble.path)} {trouble.reason}")

    def _part(self, table: str, path: Path, model: type[BaseModel]) -> None:
        for shape in shapes(model):
            self._field(table, (*path, shape.note.name), shape)

    def _field(self, table: str, path: Path, shape: Shape) -> None:
        old = self.draft.value(table, path) if self.draft.has(table, path) else plain_default(shape)
        if shape.sort == "part":
            if not shape.optional:
                self._part(table, path, shape.model)
            elif self.talk.sure(f"{tr(shape.note.label)}: {tr(shape.note.help)}"):
                self.draft.put(table, path, old or {})
                self._part(table, path, shape.model)
            else:
                self.draft.put(table, path, None)
            return
        new = self._value(f"{table}." + ".".join(str(part) for part in path), shape, old)
        if new != old:
            self.draft.put(table, path, new)
            for trouble in self.draft.troubles(table):
                if trouble.path[: len(path)] == path:
                    self.talk.say(f"! {trouble.reason}")

    def _value(self, key: str, shape: Shape, old: Any) -> Any:
        if shape.sort == "secret":
            return self._secret(key, shape, old)
        if shape.sort in ("rows", "named-parts"):
            return self._rows(shape, old)
        label, help = tr(shape.note.label), tr(shape.note.help)
        if shape.sort == "yes-no":
            words = {"y": True, "n": False}
            return words[self._ask(f"{label} (y/n)", "y" if old else "n", help, ("y", "n"))]
        if shape.sort == "one-of":
            for word in shape.options:
                self.talk.say(f"    {word}: {tr(shape.note.choices.get(word, ''))}")
            return self._ask(label, str(old), help, shape.options)
        if shape.sort in ("some-of", "lines", "pairs"):
            shown = ", ".join(f"{k} = {v}" for k, v in old.items()) if isinstance(old, dict) else None
            text = self._ask(f"{label} ({tr('joined by commas')})", shown or ", ".join(map(str, old or ())), help)
            return from_lines(shape, "" if text == NOTHING else text.replace(",", "\n"))
        text = self._ask(label + (f" ({shape.note.unit})" if shape.note.unit else ""), to_text(old), help)
        return from_text(shape, "" if text == NOTHING else text)

    def _ask(self, label: str, default: str, help: str, known: tuple[str, ...] = ()) -> str:
        return self.talk.ask(f"  {label}:", default=default, help=help, known=known)

    def _secret(self, key: str, shape: Shape, old: Any) -> Any:
        way = next(iter(old), "none") if isinstance(old, dict) else "none"
        chosen = self._ask(tr(shape.note.label), way, tr(shape.note.help), ("none", "prompt", "env", "file"))
        if chosen == "none":
            return None
        if chosen == "prompt":
            first = self.talk.ask_hidden(tr("It is not shown and not saved.") + " ")
            if first != self.talk.ask_hidden(tr("Once more, to be sure.") + " "):
                self.talk.say("! " + tr("the two are not the same"))
                return old
            self.secrets.keep(key, Secret(first))
            return {"prompt": True}
        named = old.get(chosen, "") if isinstance(old, dict) else ""
        question = tr("The name of the variable:") if chosen == "env" else tr("The path of the file:")
        return {chosen: self.talk.ask(f"  {question}", default=str(named))}

    def _rows(self, shape: Shape, old: Any) -> Any:
        named = shape.sort == "named-parts"
        rows: list[tuple[str, dict[str, Any]]] = (
            list((old or {}).items()) if named else [("", row) for row in old or ()]
        )
        while True:
            self.talk.say(f"  {tr(shape.note.label)}: {tr(shape.note.help)}")
            for number, (name, row) in enumerate(rows, 1):
                self.talk.say(f"    {number}  {name} {in_one_line(row)}".rstrip())
            numbers = tuple(str(number) for number in range(1, len(rows) + 1))
            answer = self._ask(
                tr("+ adds one, a number takes one away, empty goes on"), "ok", "", ("+", "ok", *numbers)
            )
            if answer == "ok":
                return dict(rows) if named else [row for _, row in rows]
            if answer != "+":
                del rows[int(answer) - 1]
                continue
            name = self._ask(tr("Name"), "", "") if named else ""
            row_of_type = self._row(shape)
            if row_of_type is not None:
                rows.append((name, row_of_type))

    def _row(self, shape: Shape) -> dict[str, Any] | None:
        models = shape.models or {}
        kind = next(iter(models))
        row: dict[str, Any] = {}
        if len(models) > 1:
            kind = self._ask(tr("Type"), kind, "", tuple(models))
            row["type"] = kind
        for inner in shapes(models[kind]):
            value = self._value(inner.note.name, inner, plain_default(inner))
            if value != plain_default(inner):
                row[inner.note.name] = value
        troubles = troubles_of(models[kind], row)
        for trouble in troubles:
            self.talk.say(f"! {'.'.join(str(part) for part in trouble.path)} {trouble.reason}")
        return None if troubles else row
