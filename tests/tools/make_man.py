"""The man page, made from the parser: python -m tests.tools.make_man > bai-wizard.1."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bai_wizard import __version__
from tests.tools.command_words import Command, Option, commands, epilog


def man_page() -> str:
    """man(7) source."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    top, *rest = commands()
    yield f'.TH BAI-WIZARD 1 "" "bai-wizard {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "bai\\-wizard \\- prepares a node for Backend.AI"
    yield ".SH SYNOPSIS"
    yield ".B bai\\-wizard\n.RI [ options ]"
    yield ".br\n.B bai\\-wizard \\-\\-headless\n.IR FILE\n.RI [ options ]"
    for command in rest:
        arguments = " ".join(command.words)
        yield f".br\n.B bai\\-wizard {_text(command.name)}\n.RI [ options ]" + (
            f"\n.I {arguments}" if arguments else ""
        )
    yield ".SH DESCRIPTION"
    yield _text(top.help)
    yield ".SH OPTIONS"
    yield from _options(top)
    yield ".SH COMMANDS"
    for command in rest:
        yield f".SS {_text(command.name)}"
        yield _text(command.help)
        yield from _options(command)
    yield ".SH EXIT STATUS"
    yield _text(epilog())
    yield ".SH FILES"
    yield ".TP\n.I /var/lib/bai\\-wizard/runs\nEvery run with its plan, journal and backups; read by undo and resume."
    yield ".TP\n.I /run/bai\\-wizard/lock\nHeld while a run is in progress."


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.spellings != ("-h", "--help"):
            yield f".TP\n{_name(option)}\n{_text(option.help)}"


def _name(option: Option) -> str:
    names = ", ".join(f"\\fB{_text(spelling)}\\fR" for spelling in option.spellings)
    value = f"\\fI{_text(option.value)}\\fR"
    return names if not option.value else f"{names} [{value}]" if option.is_optional else f"{names} {value}"


def _text(text: str) -> str:
    """Text as roff wants it: its own signs masked, no line beginning with a command."""
    masked = text.replace("\\", "\\e").replace("-", "\\-")
    # roff's own names for what is beyond ASCII, so that a page is read without a preprocessor too.
    masked = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in masked)
    return "\\&" + masked if masked.startswith((".", "'")) else masked


if __name__ == "__main__":
    sys.stdout.write(man_page())
