"""Source lists as apt reads them: apt-pkg/sourcelist.cc, tagfile.cc and deb/debmetaindex.cc of apt 2.6 and 3.0.

Texts are decoded as Latin-1, one character per byte: apt knows no other blanks than those of ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from msgspec import Struct

BLANKS = " \t\n\v\f\r"
ARCHITECTURE = "$(ARCH)"
KEY_BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
FINGERPRINT = re.compile(r"[0-9A-F]{40}!?")
# Bytes that apt's readers fetch at once.
PIECE = 4095
# The first version that accepts an entry without a key after one with a key (apt commit of 2.9.8).
TOLERANT = (2, 9, 8)
FALSE = ("no", "false", "without", "off", "disable")
TRUE = ("yes", "true", "with", "on", "enable")


class Source(Struct, frozen=True):
    """One repository in one file. `signed_by` is empty if the file names no key; `line` is 1-based."""

    path: str
    uri: str
    suite: str
    signed_by: str = ""
    line: int = 0


class Fault(Struct, frozen=True):
    """Why apt reads no list at all: the file, the line, and apt's own message."""

    path: str
    line: int
    text: str


class _Unreadable(Exception):
    pass


def _refuse(text: str) -> NoReturn:
    raise _Unreadable(text)


class Reader:
    """Reads files in apt's order, and compares each entry with those before it."""

    def __init__(self, architecture: str = "", version: tuple[int, ...] = TOLERANT) -> None:
        self.sources: list[Source] = []
        self.faults: list[Fault] = []
        self._architecture = architecture
        self._version = version
        # The line that is being read.
        self.line = 0
        self._keys: dict[str, str] = {}
        self._trusted: dict[str, bool | None] = {}

    def read(self, path: str, content: bytes) -> None:
        """Add the entries of a file up to its first fault, where apt stops as well."""
        text = content.decode("latin-1")
        line = 0
        entries = self._stanzas(path, text) if path.endswith(".sources") else self._lines(path, text)
        try:
            for line, uri, suite, options in entries:
                self._add(Source(path, uri, suite, options.get("signed-by", "").strip(BLANKS), line), options)
        except _Unreadable as error:
            self.faults.append(Fault(path, self.line or line, str(error)))

    def _add(self, source: Source, options: dict[str, str]) -> None:
        where = f"{source.uri} {source.suite}"
        place = f"{_place(source.uri)} {source.suite}"
        trusted = None if "trusted" not in options else _truth(options["trusted"], 0) == 1
        if self._trusted.setdefault(place, trusted) != trusted:
            _refuse(f"Conflicting values set for option Trusted regarding source {where}")
        given, key, first = source.signed_by, _normal_key(source.signed_by), self._keys.get(place, "")
        if not first and given:
            if not key:  # apt continues with the file, but refuses all of them in the end
                text = f"Invalid value set for option Signed-By regarding source {where} (not a fingerprint)"
                self.faults.append(Fault(source.path, source.line, text))
            self._keys[place] = key
        elif key != first and (key or self._version < TOLERANT):
            _refuse(f"Conflicting values set for option Signed-By regarding source {where}: {first} != {key}")
        self.sources.append(source)

    def _lines(self, path: str, text: str) -> Iterator[tuple[int, str, str, dict[str, str]]]:
        for self.line, raw in enumerate(_read_lines(text), 1):
            line = _without_comment(raw).strip(" \t\r")
            kind = re.split(r"[ \t\v]", line, maxsplit=1)[0]
            if not line:
                continue
            if not kind or kind == line:
                _refuse(f"Malformed line {self.line} in source list {path} (type)")
            if kind not in ("deb", "deb-src"):
                _refuse(f"Type '{kind}' is not known on line {self.line} in source list {path}")
            fault, uri, suite, options, is_empty = self._entry(line[len(kind) :].lstrip(BLANKS))
            if fault:
                _refuse(f"Malformed entry {self.line} in list file {path} ({fault})")
            if not is_empty:
                yield self.line, uri, suite, options

    def _entry(self, rest: str) -> tuple[str, str, str, dict[str, str], bool]:
        options: dict[str, str] = {}
        fault, rest = _options(rest, options)
        if fault:
            return fault, "", "", {}, True
        uri, rest = _word(rest)
        if uri is None:
            return "URI", "", "", {}, True
        suite, rest = _word(rest)
        if suite is None:
            return "Suite", "", "", {}, True
        fixed = self._uri(uri)
        if not fixed:
            return "URI parse", "", "", {}, True
        component, rest = _word(rest)
        if suite.endswith("/"):
            if component is not None:
                return "absolute Suite Component", "", "", {}, True
            suite = suite.replace(ARCHITECTURE, self._architecture)
        elif component is None:
            return "Component", "", "", {}, True
        return "", fixed, suite, options, False

    def _uri(self, uri: str) -> str:
        if ":" not in uri:
            return ""
        uri = uri.replace(ARCHITECTURE, self._architecture)
        return uri if uri.endswith("/") else f"{uri}/"

    def _stanzas(self, path: str, text: str) -> Iterator[tuple[int, str, str, dict[str, str]]]:
        body, lines = _without_comment_lines(text)
        for number, (at, fields) in enumerate(_scan(body, path, self, lines), 1):
            self.line = lines[body.count("\n", 0, at)]
            if "types" not in fields:
                _refuse(f"Malformed stanza {number} in source list {path} (type)")
            for kind in _words(fields["types"]):
                if kind not in ("deb", "deb-src"):
                    _refuse(f"Type '{kind}' is not known on stanza {number} in source list {path}")
                if _truth(fields.get("enabled", ""), -1) == 0:
                    continue
                for fault, uri, suite in self._stanza(fields):
                    if fault:
                        _refuse(f"Malformed entry {number} in sources file {path} ({fault})")
                    yield self.line, uri, suite, fields

    def _stanza(self, fields: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        uris, components = _words(fields.get("uris", "")), _words(fields.get("components", ""))
        suites = [suite.replace(ARCHITECTURE, self._architecture) for suite in _words(fields.get("suites", ""))]
        if not uris:
            yield "URI", "", ""
        if not suites:
            yield "Suite", "", ""
        for uri in uris:
            fixed = self._uri(uri)
            if not fixed:
                yield "URI parse", "", ""
            for suite in suites:
                if suite.endswith("/") and components:
                    yield "absolute Suite Component", "", ""
                elif not suite.endswith("/") and not components:
                    yield "Component", "", ""
                yield "", fixed, suite


def _read_lines(text: str) -> Iterator[str]:
    """Yield lines as apt's reader does: cut at a null byte, and joined where its pieces of 4095 bytes end."""
    at = 0
    while at < len(text):
        line = ""
        while True:
            if at >= len(text):
                return  # apt drops a line whose continuation it cannot read
            end = text.find("\n", at, at + PIECE)
            end = end + 1 if end >= 0 else min(at + PIECE, len(text))
            piece = text[at:end].partition("\0")[0]
            at = end
            line += piece
            if len(piece) != PIECE or piece[-2] == "\n":
                break
        yield line.rstrip("\r\n")


def _without_comment(line: str) -> str:
    at = line.find("#")
    while at >= 0:
        if line.count("[", 0, at) <= line.count("]", 0, at):
            return line[:at]
        at = line.find("#", at + 1)
    return line


def _word(text: str) -> tuple[str | None, str]:
    """Return the next word without its quotes, and the rest (ParseQuoteWord)."""
    at = len(text) - len(text.lstrip(" "))
    if at == len(text):
        return None, text
    while at < len(text) and text[at] not in BLANKS:
        for opening, closing in (('"', '"'), ("[", "]")):
            if at < len(text) and text[at] == opening:
                at = text.find(closing, at + 1)
                if at < 0:
                    return None, text
        at += 1
    word = re.sub(
        r"%([0-9A-Fa-f]{2})|\"", lambda match: chr(bytes.fromhex(match[1])[0]) if match[1] else "", text[:at]
    )
    return word, text[at:].lstrip(BLANKS)


def _options(text: str, options: dict[str, str]) -> tuple[str, str]:
    """Read `[a=b c=d]` into `options`; return what is wrong with it, and the rest."""
    if not text.startswith("["):
        return "", text
    rest = text[1:].lstrip(BLANKS)
    while not rest.startswith("]"):
        before = rest
        option, rest = _word(rest)
        if option is None:
            return "[option] unparsable", rest
        if len(option) < 3:
            return "[option] too short", rest
        if option.endswith("]"):
            rest = before[before.rindex("]", 0, len(before) - len(rest)) :]
            option = option[:-1]
        name, equals, value = option.partition("=")
        if not equals:
            return "[option] not assignment", rest
        if not name or not value:
            return f"[option] no {'value' if name else 'key'}", rest
        options[name] = value
    return "", rest[1:].lstrip(BLANKS)


def _without_comment_lines(text: str) -> tuple[str, list[int]]:
    """Return the text without comments, and the number of each line in the file."""
    kept = [(number, line) for number, line in enumerate(text.split("\n"), 1) if not line.startswith("#")]
    return "\n".join(line for _, line in kept), [number for number, _ in kept] + [text.count("\n") + 1] * 3


def _scan(text: str, path: str, reader: Reader, lines: list[int]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the stanzas with their offsets (pkgTagSection::Scan): only an empty line without blanks ends one."""
    text += "\n" * max(0, 2 - re.search(r"[\r\n]*\Z", text)[0].count("\n"))  # type: ignore[index]
    begin = 0
    while begin < len(text):
        fields, end = _section(text, begin)
        if end < 0:
            if len(text) - begin > 3:
                reader.line = lines[text.count("\n", 0, begin)]
                _refuse(f"Unable to parse package file {path} (1)")
            return
        if fields:
            yield begin + len(text[begin:]) - len(text[begin:].lstrip("\r\n")), fields
        begin = end


def _section(text: str, begin: int) -> tuple[dict[str, str], int]:
    """Return the fields of a stanza and its end; -1 if it cannot be read."""
    stop, tags = begin, []
    while stop < len(text):
        if text[stop] not in BLANKS:
            colon = text.find(":", stop)
            if colon < 0:
                return {}, -1
            value = colon + 1
            while value < len(text) and text[value] in BLANKS:
                if text[value] == "\n" and text[value + 1 : value + 2] != " ":
                    break
                value += 1
            if value >= len(text):
                return {}, -1
            tags.append((stop, text[stop:colon].rstrip(BLANKS).lower(), value))
            stop = value
        stop = text.find("\n", stop)
        if stop < 0:
            return {}, -1
        while text[stop + 1 : stop + 2] == "\r":
            stop += 1
        if text[stop + 1 : stop + 2] == "\n":
            ends = [start for start, _, _ in tags[1:]] + [stop]
            fields = {name: text[at:to].rstrip(BLANKS) for (_, name, at), to in zip(tags, ends, strict=False)}
            end = stop
            while end < len(text) and text[end] in "\r\n":
                end += 1
            return fields, end
        stop += 1
    return {}, -1


def _words(value: str) -> list[str]:
    return [word for word in re.split(f"[{BLANKS}]", value) if word]


def _truth(text: str, default: int) -> int:
    word = text.lower()
    if word in FALSE or re.fullmatch(r"\s*[+-]?0[x0]*", word):
        return 0
    return 1 if word in TRUE or re.fullmatch(r"\s*\+?(?:0x?)?0*1", word) else default


def _normal_key(value: str) -> str:
    if KEY_BLOCK in value:
        return "\n".join(line.strip(BLANKS) for line in value.split("\n")).replace("\n.\n", "\n\n")
    fingers = [word for word in re.split(f"[,{BLANKS}]", value) if word]
    if not all(word.startswith("/") or FINGERPRINT.fullmatch(word.upper()) for word in fingers):
        return ""
    return ",".join(word if word.startswith("/") else word.upper() for word in fingers)


def _place(uri: str) -> str:
    """Return what apt compares: the address without scheme and login."""
    return re.sub(r"^[^:]*:(?://(?:[^/@]*@)?)?", "", uri)


def same_repository(source: Source, uri: str, suite: str) -> bool:
    """Whether apt takes an entry for this repository: it compares neither scheme nor login."""
    return source.suite == suite and _place(source.uri) == _place(uri)
