"""Talking by lines: say, ask, be sure. Nothing is redrawn and nothing is told by colour."""

from __future__ import annotations

from collections.abc import Sequence

from bai_wizard.core.secret import redact
from bai_wizard.texts import tr
from bai_wizard.wizard.glyphs import to_ascii


class Back(Exception):
    """Somebody wants to go back."""


class Gone(Exception):
    """Somebody quits, or nobody is there any more."""


class Talk:
    """One terminal. Foreign text is shown without its control characters."""

    def __init__(self, ascii: bool = False) -> None:
        self._ascii = ascii

    def say(self, text: str) -> None:
        """One paragraph."""
        shown = "".join(letter for letter in redact(text) if letter.isprintable() or letter in "\n\t")
        print(to_ascii(shown) if self._ascii else shown, flush=True)

    def ask(self, question: str, *, default: str = "", known: Sequence[str] = (), help: str = "") -> str:
        """A line; empty is the default. With `known`, nothing else is taken. Raises Back, Gone."""
        while True:
            answer = self._line(f"{question}{f' [{default}]' if default else ''} ")
            if answer == "?":
                self.say(help or tr("Type one of: {words}, b to go back, q to quit.", words=", ".join(known)))
            elif answer == "b" and "b" not in known:
                raise Back
            elif answer == "q":
                raise Gone
            elif not answer and default:
                return default
            elif not known or answer in known:
                return answer
            else:
                self.say(tr("Type one of: {words}, b to go back, q to quit.", words=", ".join(known)))

    def ask_lines(self, question: str) -> str:
        """Lines up to one that is a dot alone; nothing where the first one is empty. Raises Back, Gone.

        An empty line ends nothing: a pasted log has some, and its rest would answer the next question.
        """
        line = self.ask(question)
        found: list[str] = []
        while line != "." and (line or found):
            found.append(line)
            line = self._line("")
        return "\n".join(found)

    def sure(self, question: str) -> bool:
        """Yes or no; only a clear yes is one."""
        return self._line(f"{question} ({tr('yes')}/{tr('no')}) ").lower() in ("y", "yes", tr("yes"))

    def ask_hidden(self, question: str) -> str:
        """A line that is not shown. Raises Gone."""
        from getpass import getpass

        try:
            return getpass(to_ascii(question) if self._ascii else question)
        except (EOFError, KeyboardInterrupt):
            raise Gone from None

    def _line(self, prompt: str) -> str:
        try:
            return input(to_ascii(prompt) if self._ascii else prompt).strip()
        except (EOFError, KeyboardInterrupt):
            print(flush=True)
            raise Gone from None
