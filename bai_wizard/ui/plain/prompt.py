"""Line prompts, and the questions about the fields of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bai_wizard.core.display import visible
from bai_wizard.core.secret import Secret, redact
from bai_wizard.locale import tr
from bai_wizard.pages import settings_of
from bai_wizard.pages.fields import SettingsPart
from bai_wizard.ui.console import to_ascii
from bai_wizard.ui.draft import Draft, Path, Secrets, tables_of, troubles_of
from bai_wizard.ui.form_fields import (
    SOURCES,
    FormField,
    form_fields,
    from_lines,
    from_text,
    in_one_line,
    plain_default,
    source_of,
    source_text,
    to_text,
)


class Back(Exception):
    """The user wants to go back."""


class TerminalClosed(Exception):
    """The terminal was closed."""


class Quit(Exception):
    """The user wants to quit."""


# Commands at prompts where any text may be a value. A value that begins with a colon is typed with two.
HELP, BACK, QUIT = ":?", ":b", ":q"


class Prompt:
    """One terminal. Control characters in foreign text are escaped."""

    def __init__(self, ascii: bool = False) -> None:
        self._ascii = ascii

    def say(self, text: str) -> None:
        """Print one paragraph."""
        print(self._shown(redact(text)), flush=True)

    def ask(self, question: str, *, default: str = "", known: Sequence[str] = (), help: str = "") -> str:
        """Ask for a line; empty means the default.

        With `known`, only those words are accepted, and `?`, `b` and `q` are commands; without, any text is a value,
        and the commands are `:?`, `:b` and `:q`. Raises Back, Quit, TerminalClosed.
        """
        choices = tr("Type one of: {words}, b to go back, q to quit.", words=", ".join(known))
        while True:
            answer = self._line(f"{question}{f' [{default}]' if default else ''} ")
            is_bare = bool(known) and (answer == "q" or answer not in known) and not answer.startswith(":")
            command = f":{answer}" if is_bare else answer
            if command == HELP:
                self.say(help or (choices if known else tr("Type a value. :b to go back, :q to quit.")))
            elif command == BACK:
                raise Back
            elif command == QUIT:
                raise Quit
            elif not answer and default:
                return default
            elif not known:
                return answer.removeprefix(":") if answer.startswith("::") else answer
            elif answer in known:
                return answer
            else:
                self.say(choices)

    def ask_lines(self, question: str) -> str:
        """Ask for lines, up to a line with a single dot; empty if the first line is empty.

        Other empty lines do not end the input: a pasted log contains some, and its remaining lines would answer the
        next question. Raises Back, Quit, TerminalClosed.
        """
        line = self.ask(question)
        result: list[str] = []
        while line != "." and (line or result):
            result.append(line)
            line = self._line("")
        return "\n".join(result)

    def sure(self, question: str) -> bool:
        """Ask yes or no; only a clear yes counts."""
        return self._line(f"{question} ({tr('yes')}/{tr('no')}) ").lower() in ("y", "yes", tr("yes"))

    def ask_hidden(self, question: str) -> str:
        """Ask for a line without echo. Raises Quit on Ctrl+C, TerminalClosed."""
        from getpass import getpass

        try:
            return getpass(self._shown(question))
        except KeyboardInterrupt:
            raise Quit from None
        except EOFError:
            raise TerminalClosed from None

    def _line(self, prompt: str) -> str:
        try:
            # Not through `sys.stdout`: on a terminal, `input` passes the prompt to the C library.
            return input(self._shown(redact(prompt))).strip()
        except KeyboardInterrupt:
            print(flush=True)
            raise Quit from None
        except EOFError:
            print(flush=True)
            raise TerminalClosed from None

    def _shown(self, text: str) -> str:
        text = visible(text)
        return to_ascii(text) if self._ascii else text


# Clears a field; an empty line keeps its value.
NOTHING = "-"


class PageQuestions:
    """Ask for every field of a page; `:b` stops there and keeps the answers so far.

    `changed` is called after each answer that changes the draft.
    """

    def __init__(
        self, prompt: Prompt, draft: Draft, secrets: Secrets, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.prompt = prompt
        self.draft = draft
        self.secrets = secrets
        self._changed = changed

    def ask(self, page: str) -> None:
        """Ask for the fields of the page's tables, then print the problems by field."""
        self.prompt.say(tr("Enter - to clear a field. :? for help, :b to go back, :q to quit."))
        try:
            for table in tables_of(page):
                self._part(table, (), settings_of(table))
        except Back:
            pass
        for table in tables_of(page):
            for problem in self.draft.problems(table):
                self.prompt.say(f"! {'.'.join(str(part) for part in problem.path)} {problem.reason}")

    def _part(self, table: str, path: Path, model: type[SettingsPart]) -> None:
        for form_field in form_fields(model):
            self._field(table, (*path, form_field.info.name), form_field)

    def _field(self, table: str, path: Path, form_field: FormField) -> None:
        old = self.draft.value(table, path) if self.draft.has(table, path) else plain_default(form_field)
        if form_field.widget == "part":
            if not form_field.optional:
                self._part(table, path, form_field.model)
            elif self.prompt.sure(f"{tr(form_field.info.label)}: {tr(form_field.info.help)}"):
                self._put(table, path, old or {})
                self._part(table, path, form_field.model)
            else:
                self._put(table, path, None)
            return
        key = f"{table}." + ".".join(str(part) for part in path)
        new = self._value(key, form_field, old, lambda value: self._put(table, path, value))
        if new != old:
            self._put(table, path, new)
            for problem in self.draft.problems(table):
                if problem.path[: len(path)] == path:
                    self.prompt.say(f"! {problem.reason}")

    def _put(self, table: str, path: Path, value: Any) -> None:
        self.draft.put(table, path, value)
        self._changed()

    def _value(self, key: str, form_field: FormField, old: Any, put: Callable[[Any], None]) -> Any:
        """The answer. `put` receives each state of a table, so that leaving early loses none of its rows."""
        if form_field.widget == "secret":
            return self._secret(key, form_field, old)
        if form_field.widget in ("rows", "named-parts"):
            return self._rows(form_field, old, put)
        label, help = tr(form_field.info.label), tr(form_field.info.help)
        if form_field.widget == "yes-no":
            words = {"y": True, "n": False}
            return words[self._ask(f"{label} (y/n)", "y" if old else "n", help, ("y", "n"))]
        if form_field.widget == "one-of":
            for word in form_field.options:
                self.prompt.say(f"    {word}: {tr(form_field.info.choices.get(word, ''))}")
            return self._ask(label, str(old), help, form_field.options)
        if form_field.widget in ("some-of", "lines", "pairs"):
            pairs = [f"{k} = {v}" for k, v in old.items()] if isinstance(old, dict) else None
            shown = ", ".join(pairs or map(str, old or ()))
            text = self._ask(f"{label} ({tr('comma-separated')})", shown, help)
            if text == shown:
                return old
            if form_field.widget != "lines":
                text = text.replace(",", "\n")
            return from_lines(form_field, "" if text == NOTHING else text)
        text = self._ask(label + (f" ({form_field.info.unit})" if form_field.info.unit else ""), to_text(old), help)
        if text == to_text(old):
            return old
        return from_text(form_field, "" if text == NOTHING else text)

    def _ask(self, label: str, default: str, help: str, known: tuple[str, ...] = ()) -> str:
        return self.prompt.ask(f"  {label}:", default=default, help=help, known=known)

    def _secret(self, key: str, form_field: FormField, old: Any) -> Any:
        way = next(iter(old), "none") if isinstance(old, dict) else "none"
        chosen = self._ask(tr(form_field.info.label), way, tr(form_field.info.help), ("none", "prompt", *SOURCES))
        if chosen == "none":
            return None
        if chosen == "prompt":
            while True:
                first = self.prompt.ask_hidden(tr("Input is hidden and never saved.") + " ")
                if not first:
                    return old
                if first == self.prompt.ask_hidden(tr("Retype to confirm.") + " "):
                    break
                self.prompt.say("! " + tr("Passwords do not match. Try again, or press Enter to skip this field."))
            self.secrets.keep(key, Secret(first))
            return {"prompt": True}
        default = source_text(chosen, old)
        return source_of(chosen, self.prompt.ask(f"  {tr(SOURCES[chosen])}", default=default))

    def _rows(self, form_field: FormField, old: Any, put: Callable[[Any], None]) -> Any:
        named = form_field.widget == "named-parts"
        rows: list[tuple[str, dict[str, Any]]] = (
            list((old or {}).items()) if named else [("", row) for row in old or ()]
        )
        while True:
            self.prompt.say(f"  {tr(form_field.info.label)}: {tr(form_field.info.help)}")
            for number, (name, row) in enumerate(rows, 1):
                self.prompt.say(f"    {number}  {name} {in_one_line(row)}".rstrip())
            numbers = tuple(str(number) for number in range(1, len(rows) + 1))
            answer = self._ask(tr("+ to add, a number to remove, Enter to continue"), "ok", "", ("+", "ok", *numbers))
            if answer == "ok":
                return dict(rows) if named else [row for _, row in rows]
            if answer == "+":
                try:
                    rows.append((self._ask(tr("Name"), "", "") if named else "", self._row(form_field)))
                except Back:
                    self.prompt.say(tr("The row was discarded."))
            else:
                del rows[int(answer) - 1]
            put(dict(rows) if named else [row for _, row in rows])

    def _row(self, form_field: FormField) -> dict[str, Any]:
        """Ask for a new row until it is valid. Raises Back."""
        models = form_field.models or {}
        kind = next(iter(models))
        row: dict[str, Any] = {}
        if len(models) > 1:
            kind = self._ask(tr("Type"), kind, "", tuple(models))
            row["type"] = kind
        while True:
            for inner in form_fields(models[kind]):
                self._cell(row, inner)
            problems = troubles_of(models[kind], row)
            if not problems:
                return row
            for problem in problems:
                self.prompt.say(f"! {'.'.join(str(part) for part in problem.path)} {problem.reason}")
            self.prompt.say(tr("Correct the row, or enter :b to discard it."))

    def _cell(self, row: dict[str, Any], inner: FormField) -> None:
        name = inner.info.name
        old = row.get(name, plain_default(inner))

        def put(value: Any) -> None:
            row[name] = value

        value = self._value(name, inner, old, put)
        if value != plain_default(inner):
            row[name] = value
        else:
            row.pop(name, None)
