"""`--print-completion SHELL`, and the command line as data: the parser generates completions and man page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from msgspec import Struct


class Option(Struct, frozen=True):
    """An option with its spellings. `value` is its metavar, empty for a switch; `is_file`: complete it as a path."""

    spellings: tuple[str, ...]
    value: str
    help: str
    is_optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_file(self) -> bool:
        """Whether the value is a file or a directory."""
        return self.value in ("FILE", "DIR", "BUNDLE", "REPORT")


class Command(Struct, frozen=True):
    """A sub-command, or the wizard itself with an empty name. `words` are its positional arguments."""

    name: str
    help: str
    options: tuple[Option, ...]
    words: tuple[str, ...]

    @property
    def takes_files(self) -> bool:
        """Whether positional arguments are files."""
        return any(word in ("FILE", "REPORT") for word in self.words)


def commands(top: argparse.ArgumentParser, names: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the wizard itself, then its sub-commands `names` with their help texts."""
    subparsers = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return (
        _command("", top.description or "", top),
        *(_command(name, help, subparsers.choices[name]) for name, help in names.items()),
    )


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


def bash(every: tuple[Command, ...]) -> str:
    """For bash-completion 2, and for a plain `complete -F` without it."""
    names = " ".join(command.name for command in every[1:])
    with_value = "|".join(sorted(spelling for c in every for o in c.options if o.is_file for spelling in o.spellings))
    cases = "\n".join(_bash_case(command, names) for command in every)
    return f"""# bash completion of bai-wizard; generated from its argument parser.
_bai_wizard() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="" known
    COMPREPLY=()
    case "$before" in
        {with_value}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    local each
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case " {names} " in *" $each "*) command="$each"; break ;; esac
    done
    case "$command" in
{cases}
    esac
}}
complete -F _bai_wizard bai-wizard
"""


def _bash_case(command: Command, names: str) -> str:
    words = " ".join(spelling for option in command.options for spelling in option.spellings)
    known = f"{words} {names}".strip() if not command.name else words
    more = 'if [[ $word != -* ]]; then compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$word")); fi'
    files = f" {more};" if command.takes_files else ""
    label = command.name or '""'
    return f'        {label}) known="{known}"; COMPREPLY=($(compgen -W "$known" -- "$word"));{files} ;;'


def zsh(every: tuple[Command, ...]) -> str:
    """For zsh's `compinit`."""
    top, *rest = every
    listed = "\n".join(f"        {_zsh_quoted(f'{_zsh_part(c.name)}:{c.help}')}" for c in rest)
    cases = "\n".join(f"        {command.name}) _arguments {_zsh_words(command)} ;;" for command in rest)
    return f"""#compdef bai-wizard
# zsh completion of bai-wizard; generated from its argument parser.
_bai_wizard() {{
    local context state state_descr line
    local -a names
    typeset -A opt_args
    names=(
{listed}
    )
    _arguments -C {_zsh_words(top)} '1: :->command' '*:: :->rest'
    case $state in
    command) _describe -t commands command names ;;
    rest)
        case $line[1] in
{cases}
        esac ;;
    esac
}}
_bai_wizard "$@"
"""


def _zsh_words(command: Command) -> str:
    words = [word for option in command.options for word in _zsh_option(option)]
    if command.takes_files:
        words.append("'*:file:_files'")
    return " ".join(words)


def _zsh_option(option: Option) -> Iterator[str]:
    value = ""
    if option.value:
        action = "_files" if option.is_file else " "
        value = f"{':' if option.is_optional else ''}:{_zsh_part(option.value)}:{action}"
    for spelling in option.spellings:
        yield _zsh_quoted(f"{spelling}[{_zsh_part(option.help)}]{value}")


def _zsh_part(text: str) -> str:
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    return text


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(every: tuple[Command, ...]) -> str:
    """For fish's vendor_completions.d."""
    top, *rest = every
    lines = ["# fish completion of bai-wizard; generated from its argument parser.", "complete -c bai-wizard -f"]
    lines += [_fish(option, "__fish_use_subcommand") for option in top.options]
    for command in rest:
        seen = f"__fish_seen_subcommand_from {command.name}"
        lines.append(
            f"complete -c bai-wizard -n __fish_use_subcommand -a {command.name} -d {_fish_quoted(command.help)}"
        )
        lines += [_fish(option, seen) for option in command.options]
        if command.takes_files:
            lines.append(f"complete -c bai-wizard -n {_fish_quoted(seen)} -F")
    return "\n".join(lines) + "\n"


def _fish(option: Option, when: str) -> str:
    names = " ".join(
        f"-l {spelling[2:]}" if spelling.startswith("--") else f"-s {spelling[1:]}" for spelling in option.spellings
    )
    value = "" if not option.value or option.is_optional else " -r -F" if option.is_file else " -x"
    return f"complete -c bai-wizard -n {_fish_quoted(when)} {names}{value} -d {_fish_quoted(option.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def script(shell: str, top: argparse.ArgumentParser, names: Mapping[str, str]) -> str:
    """Return the completion script for a shell."""
    return SHELLS[shell](commands(top, names))
