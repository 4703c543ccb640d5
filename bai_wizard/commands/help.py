"""The help of the command line in the language of the user."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, Action, ArgumentParser, HelpFormatter, Namespace, _SubParsersAction
from collections.abc import Iterable, Iterator, Sequence

from bai_wizard import locale
from bai_wizard.locale import N_, language_of, tr

# The texts of argparse itself.
OWN = (N_("usage:"), N_("positional arguments"), N_("options"), N_("show this help message and exit"))


class Formatter(HelpFormatter):
    """Breaks lines by their width in cells: a letter of some scripts takes two."""

    def add_usage(
        self, usage: str | None, actions: Iterable[object], groups: Iterable[object], prefix: str | None = None
    ) -> None:
        super().add_usage(usage, actions, groups, tr("usage:") + " " if prefix is None else prefix)  # type: ignore[arg-type]

    def _split_lines(self, text: str, width: int) -> list[str]:
        from rich.cells import cell_len

        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and cell_len(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in self._split_lines(text, width - len(indent)))


def translate(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Translate a parser and those of its commands, if the command line or the environment asks for a language."""
    options = ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--lang", nargs="?")
    given, _ = options.parse_known_args(words, Namespace())
    language = given.lang or os.environ.get("BAI_WIZARD_LANG") or language_of(os.environ)
    if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8":
        locale.choose(language)
        _translate(parser)


def _translate(parser: ArgumentParser) -> None:
    parser.formatter_class = Formatter
    parser.description, parser.epilog = tr(parser.description or ""), tr(parser.epilog or "")
    for group in parser._action_groups:
        group.title = tr(group.title or "")
    for action in _described(parser):
        action.help = tr(action.help or "")
    for each in _commands(parser):
        _translate(each)


def texts(parser: ArgumentParser) -> Iterator[str]:
    """Every text of the help, for the catalog; that of a command is also the one that the list of commands shows."""
    yield from (text for text in (parser.description, parser.epilog) if text)
    for each in (parser, *_commands(parser)):
        yield from (group.title for group in each._action_groups if group.title)
        yield from (action.help for action in _described(each) if action.help)


def _described(parser: ArgumentParser) -> Iterator[Action]:
    """The options and arguments, and the commands, that the help shows."""
    for action in parser._actions:
        shown = action._choices_actions if isinstance(action, _SubParsersAction) else (action,)
        yield from (each for each in shown if each.help and each.help != SUPPRESS)


def _commands(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            yield from action.choices.values()
