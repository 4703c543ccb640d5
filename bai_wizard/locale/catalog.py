"""Translate texts that were formatted in English, perhaps by another process or an earlier version.

Steps, checks and the executor produce English texts, so that stored plans, events, results and reports are the same
on every node. A front end translates such a text when it is drawn. The catalog holds the template of
the sentence ("{path} cannot be read: {reason}"); matching a text with the templates separates its parameters, which
are translated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from gettext import NullTranslations
from string import Formatter
from typing import NamedTuple

from bai_wizard.locale.particles import with_particles

# Longer texts are the output of programs and are not translated.
LONGEST = 8000
# Separators between joined sentences, or between a sentence and its context.
SEPARATORS = ("\n", "  ", " → ", ". ", "; ", ": ", " (", ", ", " | ")
# Those of them that end a sentence.
ENDS = ("\n", ". ", "; ")
# Prefixes that a front end or a change adds to a text.
MARKS = ("+ ", "- ", "~ ", "> ", "! ", "= ", "? ", "* ")
# Templates with fewer letters outside of their parameters are too generic: the parts of a text are matched first.
DISTINCT = 8


class Template(NamedTuple):
    """A message with parameters: `literals` are the texts before, between and after the parameters `names`."""

    message: str
    literals: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def letters(self) -> int:
        """How much of a matching text the template itself covers."""
        return sum(character.isalpha() for literal in self.literals for character in literal)

    def begins_inside(self, values: Mapping[str, str]) -> bool:
        """Whether its first parameter contains another sentence, which has to be translated on its own."""
        is_list = self.literals[1].startswith(ENDS)
        return not self.literals[0] and not is_list and any(each in values[self.names[0]] for each in ENDS)

    def match(self, text: str) -> dict[str, str] | None:
        """The parameters of a text; None if it was not made from this template."""
        first, *inner, last = self.literals
        position, end = len(first), len(text) - len(last)
        if position > end or not (text.startswith(first) and text.endswith(last)):
            return None
        values: dict[str, str] = {}
        for name, literal in zip(self.names, [*inner, None], strict=True):
            found = end if literal is None else text.find(literal, position, end)
            if found < 0 or values.setdefault(name, text[position:found]) != text[position:found]:
                return None
            position = found + len(literal or "")
        return values


def template_of(message: str) -> Template | None:
    """The template of a message; None if it cannot be a format string."""
    literals, names = [""], []
    try:
        for literal, name, _, _ in Formatter().parse(message):
            literals[-1] += literal
            if name is not None:
                names.append(name)
                literals.append("")
    except ValueError:
        return None
    return Template(message, tuple(literals), tuple(names))


class Catalog:
    """The messages of one language."""

    def __init__(self, messages: NullTranslations, ids: Mapping[str, str]) -> None:
        """`ids`: the translation of every message, by its English text."""
        self.messages = messages
        # The translations of the messages without parameters.
        self._exact: dict[str, str] = {}
        self._by_start: dict[str, list[Template]] = {}
        for message in ids:
            template = template_of(message)
            if template is None:
                continue
            if not template.names:
                translated = template_of(ids[message])
                self._exact[template.literals[0]] = translated.literals[0] if translated else ids[message]
            elif template.letters > 2:
                self._by_start.setdefault(_start(template.literals[0]), []).append(template)
        self._ids = ids
        self._known: dict[str, str] = {}

    def filled(self, message: str, values: Mapping[str, object]) -> str:
        """The translation of a message, with its parameters, which are translated too."""
        return with_particles(message.format(**{name: self._value(value) for name, value in values.items()}))

    def text(self, text: str) -> str:
        """The translation of a text; the text itself if nothing in it is known."""
        if text.isascii() is False and not any("a" <= character <= "z" for character in text):
            return text
        known = self._known.get(text)
        if known is None:
            known = self._find(text)
            if len(self._known) > 5000:
                self._known.clear()
            self._known[text] = known
        return known

    def _value(self, value: object) -> object:
        # A single word may be the name of something on the node.
        if isinstance(value, Exception):
            value = str(value)
        return self.text(value) if isinstance(value, str) and " " in value.strip() else value

    def _find(self, text: str) -> str:
        bare = text.strip()
        if bare != text:
            return text.replace(bare, self.text(bare), 1) if bare else text
        if not bare or len(text) > LONGEST:
            return text
        if (exact := self._exact.get(text)) is not None:
            return exact
        if text.startswith(MARKS):
            return text[:2] + self.text(text[2:])
        whole = self._whole(text)
        if whole is not None:
            return whole
        for separator in SEPARATORS:
            if separator in text and (joined := self._parts(text.split(separator), separator)) is not None:
                return joined
        rough = self._matched(text, 0)
        return text if rough is None else rough

    def _whole(self, text: str) -> str | None:
        """The translation of a text that is one message; with a capital or a full stop that was added to it."""
        lower = text[:1].lower() + text[1:]
        for form in (text, lower):
            if (found := self._exact.get(form)) is not None:
                return found
            if (found := self._matched(form, DISTINCT)) is not None:
                return found
        if text.endswith("."):
            for form in (text[:-1], lower[:-1]):
                if (found := self._exact.get(form)) is not None:
                    return f"{found}."
        return None

    def _matched(self, text: str, letters: int) -> str | None:
        found: tuple[Template, dict[str, str]] | None = None
        for template in self._candidates(text):
            if template.letters >= letters and (found is None or template.letters > found[0].letters):
                values = template.match(text)
                if values is not None and not (letters and template.begins_inside(values)):
                    found = template, values
        if found is None:
            return None
        return self.filled(self._ids[found[0].message], found[1])

    def _candidates(self, text: str) -> Iterator[Template]:
        for length in range(START + 1):
            yield from self._by_start.get(text[:length], ())

    def _parts(self, parts: list[str], separator: str) -> str | None:
        """The parts, each translated, as many together as one message has. None if none of them is known."""
        result: list[str] = []
        first, is_known = 0, False
        while first < len(parts):
            for last in range(min(len(parts), first + 12), first, -1):
                whole = separator.join(parts[first:last])
                stop = "." if separator == ". " and last < len(parts) else ""
                found = self._whole(whole + stop) if stop else None
                found = found.removesuffix(".") if found is not None else self._whole(whole)
                if found is not None:
                    break
            else:
                last, found = first + 1, self.text(parts[first])
            is_known = is_known or found != separator.join(parts[first:last])
            result.append(found)
            first = last
        return separator.join(result) if is_known else None


# Characters of a template's beginning by which it is found.
START = 5


def _start(literal: str) -> str:
    return literal[:START]
