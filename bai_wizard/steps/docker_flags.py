"""dockerd's flags as systemd and dockerd read them, and the keys of daemon.json that they set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from posixpath import basename, dirname
from typing import Any

from msgspec import Struct, convert

from bai_wizard.core.machine import NodeView
from bai_wizard.data import read_toml
from bai_wizard.steps.services import unit_settings

UNIT = "docker.service"
SHELLS = ("sh", "bash", "dash")


class FlagTable(Struct, frozen=True):
    """The flags of dockerd; see docker.toml. A flag in none of the tables takes a value and is its own key."""

    short: dict[str, str]
    switches: tuple[str, ...]
    keys: dict[str, str]
    whole: tuple[str, ...]
    repeatable: tuple[str, ...]


class Flag(Struct, frozen=True):
    """A flag in use: the key that it sets, its spelling, the file that contains it, and its value."""

    key: str
    flag: str
    path: str
    value: str = ""


class Word(Struct, frozen=True):
    """A word of the command, or the value of a variable, with the file that contains it."""

    text: str
    path: str


@cache
def flag_table() -> FlagTable:
    """Return dockerd's flags."""
    return convert(read_toml("docker.toml")["flags"], FlagTable)


def flags(view: NodeView) -> tuple[Flag, ...]:
    """Return the flags that the unit starts dockerd with."""
    return tuple(_flags(_arguments(view)))


def config_file(view: NodeView) -> Flag | None:
    """Return the flag that makes dockerd read a file other than /etc/docker/daemon.json: `value` is that file."""
    return next((flag for flag in reversed(flags(view)) if flag.key == "config-file"), None)


def set_twice(given: tuple[Flag, ...], config: dict[str, Any]) -> tuple[Flag, ...]:
    """Return the flags whose key is set in `config`, too: dockerd refuses them, even if both values are the same."""
    table = flag_table()
    keys = {
        inner
        for key, value in config.items()
        for inner in (value if isinstance(value, dict) and key not in table.whole else (key,))
    }
    return tuple(flag for flag in given if flag.key in keys and flag.key not in table.repeatable)


def _flags(words: list[Word]) -> Iterator[Flag]:
    """Read the words as pflag does: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-Df value`, `--`."""
    table = flag_table()
    rest = iter(words)
    for word in rest:
        if word.text == "--":
            return
        if word.text.startswith("--"):
            name, equals, value = word.text[2:].partition("=")
            if not equals:
                value = "true" if name in table.switches else _value(rest)
            yield Flag(table.keys.get(name, name), f"--{name}", word.path, value)
        elif word.text.startswith("-"):
            yield from _short(word, rest)


def _short(word: Word, rest: Iterator[Word]) -> Iterator[Flag]:
    table = flag_table()
    letters = word.text[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = table.short.get(letter, letter)
        if letters.startswith("="):
            letters, value = "", letters[1:]
        elif name in table.switches:
            value = "true"
        else:
            letters, value = "", letters or _value(rest)
        yield Flag(table.keys.get(name, name), f"-{letter}", word.path, value)


def _value(rest: Iterator[Word]) -> str:
    word = next(rest, None)
    return word.text if word is not None else ""


def _arguments(view: NodeView) -> list[Word]:
    """Return the words after dockerd in the unit as merged by systemd: an empty ExecStart= discards earlier ones."""
    command = Word("", "")
    for setting in unit_settings(view, UNIT, "Service", "ExecStart"):
        command = Word(setting.value, setting.path)
    prefix = re.match(r"[@\-:+!|]*", command.text)
    assert prefix is not None
    words = [Word(text, command.path) for text in split_words(command.text[prefix.end() :], escapes=True)]
    if ":" not in prefix[0]:
        words = _expanded(words, _environment(view))
    if words and basename(words[0].text) in SHELLS and len(words) > 2 and words[1].text in ("-c", "-ec"):
        words = [Word(text, words[2].path) for text in split_words(words[2].text)]
    program = next((at for at, word in enumerate(words) if basename(word.text) == "dockerd"), 0)
    return words[program + 1 :]


def _expanded(words: list[Word], variables: dict[str, Word]) -> list[Word]:
    """Replace `$NAME` by its words and `${NAME}` by its value; nothing else is a variable for systemd."""
    result = []
    for word in words:
        if re.fullmatch(r"\$[A-Za-z_]\w*", word.text):
            variable = variables.get(word.text[1:], Word("", ""))
            result += [Word(text, variable.path) for text in split_words(variable.text)]
            continue
        path = word.path
        for name in re.findall(r"\$\{(\w+)\}", word.text):
            path = variables[name].path if name in variables else path
        text = re.sub(
            r"\$\$|\$\{(\w+)\}",
            lambda found: variables.get(found[1], Word("", "")).text if found[1] else "$",
            word.text,
        )
        result.append(Word(text, path))
    return result


def _environment(view: NodeView) -> dict[str, Word]:
    """Return the variables of the unit: those of its files override those in itself."""
    result: dict[str, Word] = {}
    for setting in unit_settings(view, UNIT, "Service", "Environment"):
        if not setting.value:
            result.clear()
        for text in split_words(setting.value, escapes=True):
            name, equals, value = text.partition("=")
            if equals:
                result[name] = Word(value, setting.path)
    files: list[str] = []
    for setting in unit_settings(view, UNIT, "Service", "EnvironmentFile"):
        files = [*files, setting.value.removeprefix("-").strip("\"'")] if setting.value else []
    for pattern in files:
        directory = dirname(pattern)
        names = view.names(directory) if re.search(r"[*?[]", basename(pattern)) else (basename(pattern),)
        for name in sorted(name for name in names if fnmatchcase(name, basename(pattern))):
            path = f"{directory}/{name}"
            for key, value in environment_file(view.text(path) or ""):
                result[key] = Word(value, path)
    return result


# A value is any number of quoted parts, then text without quotes; a line without a key and `=` is ignored.
_QUOTED = r"'[^']*(?:'|\Z)|\"(?:[^\"\\]|\\[\s\S])*(?:\"|\\?\Z)"
_VARIABLE = re.compile(
    rf"[ \t\r\n]*(?:[#;][^\n\r]*|(?P<key>[^ \t\r\n#;][^=\n\r]*)(?:=(?P<quoted>(?:[ \t]*(?:{_QUOTED}))*)[ \t]*"
    r"(?P<plain>(?:[^\\\n\r]|\\[\s\S])*\\?))?)(?:[\n\r]|\Z)"
)


def environment_file(text: str) -> Iterator[tuple[str, str]]:
    """Yield the variables in a file that EnvironmentFile= names, as systemd reads it (src/basic/env-file.c)."""
    for found in _VARIABLE.finditer(text):
        key = (found["key"] or "").strip(" \t")
        if found["plain"] is not None and re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII):
            yield key, "".join(map(_unquoted, re.findall(_QUOTED, found["quoted"]))) + _plain(found["plain"])


def _unquoted(part: str) -> str:
    if part.startswith("'"):
        return part[1:].removesuffix("'")
    body = re.fullmatch(r"\"((?:[^\"\\]|\\[\s\S])*)[\"\\]?", part)
    assert body is not None
    return re.sub(r"\\([\"\\`$])|\\\n", lambda found: found[1] or "", body[1])


def _plain(text: str) -> str:
    """The text without blanks at its end, which a backslash protects, and without backslashes and joined lines."""
    pieces = re.findall(r"\\[\s\S]?|[^\\]", text)
    while pieces and pieces[-1] in (" ", "\t"):
        pieces.pop()
    return "".join("" if piece in ("\\", "\\\n", "\\\r") else piece[-1] for piece in pieces)


_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_WORD = re.compile(
    r"[ \t\n\r]*((?:'(?:[^'\\]|\\[\s\S])*(?:'|\\?\Z)|\"(?:[^\"\\]|\\[\s\S])*(?:\"|\\?\Z)|\\[\s\S]|[^ \t\n\r'\"\\])+)"
)
_PART = re.compile(r"\\([\s\S])|(['\"])|[\s\S]")


def split_words(text: str, *, escapes: bool = False) -> list[str]:
    """Split as systemd does (src/basic/extract-word.c); `escapes` are those of C."""
    return [_joined(found[1], escapes) for found in _WORD.finditer(text)]


def _joined(word: str, escapes: bool) -> str:
    result, quote = [], ""
    for found in _PART.finditer(word):
        if found[1]:
            # An unknown escape keeps its backslash.
            unescaped = _ESCAPES.get(found[1], found[1] if found[1] in "'\"\\" else found[0]) if escapes else found[1]
            result.append(unescaped)
        elif found[2] and quote in ("", found[2]):
            quote = "" if quote else found[2]
        else:
            result.append(found[0])
    return "".join(result)
