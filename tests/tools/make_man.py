"""Generate the man page from the parser and the CHANGELOG: python -m tests.tools.make_man > bai-wizard.1."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from bai_wizard import __version__
from bai_wizard.cli import COMMANDS, parser
from bai_wizard.commands.completion import Command, Option, commands
from tests.cache import CHECKOUT

ENVIRONMENT = {
    "BAI_WIZARD_DEBUG": "If set to 1, write a debug log, like --debug. sudo drops the variable and keeps the option.",
    "BAI_WIZARD_LANG": "Language of the screens: en or ko.",
    "NO_COLOR": "If set, use the terminal's own colors.",
}
# Command lines and what they do; a test parses them.
EXAMPLES = {
    "bai-wizard --demo": "Try the wizard on a simulated node; nothing is changed.",
    "bai-wizard": "Configure this node with the interactive wizard.",
    "bai-wizard answers > answers.toml": "Create a commented answers file.",
    "bai-wizard check answers.toml": "Validate it.",
    "bai-wizard --headless answers.toml --plan": "Show what would change, as a diff.",
    "bai-wizard --headless answers.toml": "Apply it.",
    "bai-wizard doctor": "Diagnose problems.",
    "bai-wizard doctor --fix node.swap --yes": "Apply the fix of one check, then check again.",
    "bai-wizard doctor --before-upgrade 26.04": "Also check what an upgrade to this release would break.",
    "bai-wizard drift": "Show what differs from the newest finished run, and what may have changed it.",
    "bai-wizard drift --answers answers.toml --metrics /var/lib/prometheus/node-exporter/bai-wizard.prom": (
        "Compare with answers, and write metrics for Prometheus."
    ),
    "bai-wizard undo --plan": "Show what undoing the newest run would change.",
    "bai-wizard bundle answers.toml -o bundle --like node1": "Build an offline bundle for nodes like node1.",
    "bai-wizard --print-completion bash": "Print the completion for bash.",
}
FILES = {
    "/var/lib/bai-wizard/runs": "Every run with its plan, journal and backups; read by undo and resume.",
    "/etc/default/bai-wizard-drift": "DRIFT_OPTIONS, the options of drift for the timer bai-wizard-drift.timer.",
    "/run/bai-wizard/lock": "Held while a run is in progress.",
    "/var/cache/bai-wizard": "Downloads and programs that can be fetched again.",
    "~/.local/state/bai-wizard": "Drafts of the interactive wizard.",
}
SEE_ALSO = {"apt-get": 8, "docker": 1, "fstab": 5, "journalctl": 1, "sudo": 8, "sysctl.d": 5, "systemd": 1}


def man_page() -> str:
    """man(7) source."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    top, *rest = commands(parser(), COMMANDS)
    yield f'.TH BAI-WIZARD 1 "{date()}" "bai-wizard {__version__}" "User Commands"'
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
    yield _text(parser().epilog or "")
    yield ".SH EXAMPLES"
    for example, meaning in EXAMPLES.items():
        yield f".TP\n.B {_text(example)}\n{_text(meaning)}"
    yield ".SH FILES"
    for name, meaning in FILES.items():
        yield f".TP\n.I {_text(name)}\n{_text(meaning)}"
    yield ".SH ENVIRONMENT"
    for name, meaning in ENVIRONMENT.items():
        yield f".TP\n.B {name}\n{_text(meaning)}"
    yield ".SH SEE ALSO"
    pages = SEE_ALSO.items()
    yield ",\n".join(f".BR {_text(name)} ({section})" for name, section in pages).replace(",\n", " ,\n")


def date() -> str:
    """Return the date of the release; empty before it is released."""
    changes = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    match = re.search(rf"^## \[?{re.escape(__version__)}\]?.*?(\d{{4}}-\d\d-\d\d)", changes, re.MULTILINE)
    return match[1] if match else ""


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.spellings != ("-h", "--help"):
            yield f".TP\n{_name(option)}\n{_text(option.help)}"


def _name(option: Option) -> str:
    names = ", ".join(f"\\fB{_text(spelling)}\\fR" for spelling in option.spellings)
    value = f"\\fI{_text(option.value)}\\fR"
    return names if not option.value else f"{names} [{value}]" if option.is_optional else f"{names} {value}"


def _text(text: str) -> str:
    """Escape text for roff, so that no line starts with a request."""
    masked = text.replace("\\", "\\e").replace("-", "\\-")
    # Escapes of roff for characters beyond ASCII, which need no preprocessor.
    masked = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in masked)
    return "\\&" + masked if masked.startswith((".", "'")) else masked


if __name__ == "__main__":
    sys.stdout.write(man_page())
