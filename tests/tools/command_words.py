"""The command line as data, read from the parser: what completions and the man page are made from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from bai_wizard.cli import COMMANDS, parser


@dataclass(frozen=True)
class Option:
    """An option with its spellings. `value` is its metavar, empty for a switch; `is_file`: a path completes it."""

    spellings: tuple[str, ...]
    value: str
    help: str
    is_optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_file(self) -> bool:
        """True where files or directories are what is wanted."""
        return self.value in ("FILE", "DIR", "BUNDLE", "REPORT")


@dataclass(frozen=True)
class Command:
    """A sub-command, or the wizard itself with an empty name. `words` are its positional arguments."""

    name: str
    help: str
    options: tuple[Option, ...]
    words: tuple[str, ...]

    @property
    def takes_files(self) -> bool:
        """True where positional arguments are files."""
        return any(word in ("FILE", "REPORT") for word in self.words)


def commands() -> tuple[Command, ...]:
    """The wizard itself first, then every public sub-command in the order of `--help`."""
    top = parser()
    subparsers = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return (
        _command("", top.description or "", top),
        *(_command(name, help, subparsers.choices[name]) for name, help in COMMANDS.items()),
    )


def epilog() -> str:
    """What stands behind the options: the exit codes."""
    return parser().epilog or ""


def _command(name: str, help: str, parser: argparse.ArgumentParser) -> Command:
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    words = tuple(
        str(action.metavar or action.dest)
        for action in shown
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
    )
    return Command(name, help, tuple(_options(shown)), words)


def _options(actions: list[argparse.Action]) -> Iterator[Option]:
    for action in actions:
        if action.option_strings:
            value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
            choices = tuple(str(choice) for choice in action.choices or ())
            yield Option(tuple(action.option_strings), value, action.help or "", action.nargs == "?", choices)
