"""Static completions for bash, zsh and fish, made from the parser: python -m tests.tools.make_completions DIR."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.tools.command_words import Command, Option, commands

# Where each lies below a `share` directory.
PLACES = {
    "bash": "bash-completion/completions/bai-wizard",
    "zsh": "zsh/site-functions/_bai-wizard",
    "fish": "fish/vendor_completions.d/bai-wizard.fish",
}


def bash() -> str:
    """For bash-completion 2, and for a plain `complete -F` without it."""
    every = commands()
    names = " ".join(command.name for command in every[1:])
    with_value = "|".join(sorted(spelling for c in every for o in c.options if o.is_file for spelling in o.spellings))
    cases = "\n".join(_bash_case(command, names) for command in every)
    return f"""# bash completion of bai-wizard; made from its parser.
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


def zsh() -> str:
    """For zsh's `compinit`."""
    top, *rest = commands()
    listed = "\n".join(f"        {_zsh_quoted(f'{_zsh_part(c.name)}:{c.help}')}" for c in rest)
    cases = "\n".join(f"        {command.name}) _arguments {_zsh_words(command)} ;;" for command in rest)
    return f"""#compdef bai-wizard
# zsh completion of bai-wizard; made from its parser.
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


def fish() -> str:
    """For fish's vendor_completions.d."""
    top, *rest = commands()
    lines = ["# fish completion of bai-wizard; made from its parser.", "complete -c bai-wizard -f"]
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


def write_all(share: Path) -> None:
    """Puts each into its place below a `share` directory."""
    for name, text in (("bash", bash()), ("zsh", zsh()), ("fish", fish())):
        file = share / PLACES[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
