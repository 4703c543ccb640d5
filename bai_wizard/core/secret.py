"""A type for secrets, and the redaction of secrets and of credentials in URLs."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any
from urllib.parse import unquote

MASK = "***"
# A shorter secret would obscure half of every log; the answers reject such passwords anyway.
SHORTEST_REDACTED = 4

_registered: set[str] = set()


class Secret:
    """A string that prints as `***`. Creating one registers it for redaction in this process."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        # Output is reported line by line, so each line of a key or certificate is also a secret.
        for secret in {text, *text.splitlines()}:
            if len(secret) >= SHORTEST_REDACTED:
                _registered.add(secret)

    def reveal(self) -> str:
        """Return the clear text; call this only where it is passed to the program that needs it."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


def redact(text: str) -> str:
    """Return `text` with every registered secret replaced, including its escaped and encoded forms."""
    return without_credentials(redacted_with_count(text)[0])


def redacted_with_count(text: str) -> tuple[str, int]:
    """Like `redact`, but also return the number of replaced secrets."""
    if not _registered:
        return text, 0
    pattern, total = pattern_of(frozenset(_registered)), 0
    # The text around a replacement may itself form a secret. Each round shortens the text.
    while True:
        text, count = pattern.subn(MASK, text)
        if not count:
            return text, total
        total += count


# Fields that programs rely on. A secret whose text happens to be `changed` or `info` must not break them.
STRUCTURAL = frozenset(
    (
        "effect", "host", "id", "interrupts", "kind", "level", "made", "next_login", "outcome", "owner", "page",
        "reboot", "result", "run", "state", "step", "stopped", "suppressed_by", "t", "wizard", "written",
    )
)  # fmt: skip
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:+-")
_LABEL = _WORD | frozenset(" ,()")


def redacted(value: Any, field: str = "") -> Any:
    """Return JSON values with the secrets in their strings replaced; call this before encoding.

    Numbers, structural fields and keys that are plain words are unchanged, so that programs can still read the
    result.
    """
    if isinstance(value, str):
        return value if field in STRUCTURAL and _WORD.issuperset(value) else redact(value)
    if isinstance(value, dict):
        return {_redacted_key(key): redacted(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, field) for item in value]
    return value


def _redacted_key(key: Any) -> Any:
    return redact(key) if isinstance(key, str) and not _LABEL.issuperset(key) else key


# Resolves the source of a secret (a table of the answers, such as `{ file = … }`) to the secret; the key is its
# display name. Pages must not prompt or read files, so the program's entry point sets the resolver.
Resolver = Callable[[str, Any], Secret | None]
_resolver: Resolver | None = None


def use_resolver(resolver: Resolver | None) -> None:
    """Set the resolver of this process; None removes it."""
    global _resolver
    _resolver = resolver


# Whether secrets may come from programs, which then run as root.
_runs_programs = True


def allow_programs(allowed: bool) -> None:
    """Allow secrets to come from programs: not for a simulated node, whose answers any user may have written."""
    global _runs_programs
    _runs_programs = allowed


def programs_are_allowed() -> bool:
    """Whether secrets may come from programs."""
    return _runs_programs


def resolve(key: str, source: Any) -> Secret | None:
    """Return the secret that `source` refers to; None if this process cannot resolve it.

    Propagates the resolver's errors: a WizardError that names the source, never the value.
    """
    return _resolver(key, source) if _resolver is not None else None


# Every repetition is bounded, so that matching untrusted text takes linear time. As lax as URL parsers: those of uv
# and curl accept one slash, three slashes, or a backslash instead of two slashes.
_START = r"(?<![A-Za-z0-9.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}):"
_USERINFO = re.compile(rf"{_START}[/\\]{{1,8}}(?P<userinfo>[^/\\?#\s\"']{{1,2048}})@")
_NO_SLASHES = re.compile(r"(?<![A-Za-z0-9.-])(?i:https?|ftp):(?P<userinfo>[^/\\?#\s\"'@]{1,256})@")
# A password may contain a '/' that should have been percent-encoded.
_ANY_USERINFO = re.compile(rf"{_START}[/\\]{{1,8}}(?P<userinfo>[^\s\"']{{1,256}})@")
_QUERY = re.compile(r"[?#][^\s\"']{1,4096}")
_PARAMETER = re.compile(r"(?<![^?&;#])(?P<name>[^?&;#=\s\"']{1,64})=(?P<value>[^&;#\s\"']{1,4096})")
_SECRET_NAME = re.compile(
    r"(?:.*[-_.])?(?:(?:access|auth|api|job|private|deploy|secret)?_?token|api_?key|key|auth|authorization|pass|passwd"
    r"|password|pw|pwd|secret|sig|signature|credentials?|sas)"
)


def has_credentials(url: str) -> bool:
    """Whether a URL, or text with URLs in it, contains a user, a password, a token or a signature.

    A user name alone counts except for ssh: `https://TOKEN@host` logs in. In queries, the parameter name decides
    (`token`, `sig`, `X-Amz-Signature`); a token in a path cannot be distinguished from other parts.
    """
    return next(_credentials(url), None) is not None


def without_credentials(text: str) -> str:
    """Return `text` with the credentials in its URLs replaced by `***`."""
    if ":" not in text:
        return text
    return _hide(text, _credentials(text))


def hide_urls(text: str) -> str:
    """Like `without_credentials`, but err on the side of hiding: for rejected lines of unknown content."""
    text = without_credentials(text)
    return _hide(text, (match.span("userinfo") for match in _ANY_USERINFO.finditer(text)))


def _hide(text: str, paths: Iterator[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in sorted(paths):
        if start >= at:
            kept += [text[at:start], MASK]
            at = end
    return "".join([*kept, text[at:]])


def _credentials(text: str) -> Iterator[tuple[int, int]]:
    """Yield where credentials begin and end; the ranges do not overlap."""
    for match in _USERINFO.finditer(text):
        is_ssh = match["scheme"].lower().split("+")[-1] == "ssh"
        if match["userinfo"] != MASK and (not is_ssh or ":" in unquote(match["userinfo"])):
            yield match.span("userinfo")
    for match in _NO_SLASHES.finditer(text):
        if match["userinfo"] != MASK:
            yield match.span("userinfo")
    for query in _QUERY.finditer(text):
        for match in _PARAMETER.finditer(text, query.start(), query.end()):
            name = unquote(match["name"]).lower()
            if match["value"] != MASK and _SECRET_NAME.fullmatch(name):
                yield match.span("value")


# The forms in which a secret may appear in a text: plain, quoted, escaped or encoded by a program.
#
# Supported: backslash escapes (shells, JSON including nested JSON, C, Python, systemd), percent encoding, HTML
# entities, shell quoting, Base64 at any offset (so also inside `user:password`) and hexadecimal digits. Not
# supported: compression, encryption, double percent encoding, and a secret that a program has wrapped across two
# lines.

# As written by html.escape, whose module costs 3 ms for its table of entities.
_HTML_FORMS = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
# Shorter Base64 or hexadecimal strings would match by chance.
_MIN_ENCODED = 5


@lru_cache(4)
def pattern_of(secrets: frozenset[str]) -> re.Pattern[str]:
    """Return a pattern for all forms of these secrets; if two start at the same position, the longer one wins."""
    forms = []
    for secret in sorted(secrets, key=len, reverse=True):
        forms += [_escaped(secret), *map(re.escape, _encoded(secret))]
    return re.compile("|".join(forms))


def _escaped(secret: str) -> str:
    """Escape character by character, because programs escape different characters. All repetitions are bounded."""
    return "".join(_letter(character, len(list(group))) for character, group in groupby(secret))


def _letter(character: str, count: int) -> str:
    import json

    if character == "\\":
        return rf"(?:\\{{{count},{8 * count}}}|(?:%5[cC]){{{count}}}|(?:\\x5c|\\134){{{count}}})"
    if character.isascii() and character.isalnum():
        return character * count
    percent = "".join(f"%{_hex(byte)}" for byte in character.encode("utf-8", "surrogatepass"))
    forms = [re.escape(character), percent]
    if character.isascii():
        number = ord(character)
        forms = [rf"\\{{0,8}}{re.escape(character)}", percent]
        forms += [rf"\\{{1,4}}(?:x{_hex(number)}|u00{_hex(number)}|{number:03o})"]
        forms += [
            rf"&\#(?:{number}|[xX]{_hex(number)});",
            re.escape(_HTML_FORMS.get(character, character)),
            rf"\\{{1,8}}{re.escape(json.dumps(character)[-2])}",
        ]
        forms += [r"'(?:\"'\"|\\{1,4}')'"] if character == "'" else []
        forms += [r"\+"] if character == " " else []
    else:
        forms += [_any_case(json.dumps(character)[1:-1]), _any_case(character.encode("unicode_escape").decode())]
        forms += [rf"&\#(?:{ord(character)}|[xX]{_any_case(f'{ord(character):x}')});"]
    alternatives = "|".join(dict.fromkeys(forms))
    return rf"(?:{alternatives}){{{count}}}" if count > 1 else rf"(?:{alternatives})"


def _hex(byte: int) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{byte:02x}")


def _any_case(escaped: str) -> str:
    """Match `\\u00e9` and `\\u00E9`, also with the backslash escaped again."""
    characters = {"\\": r"\\{1,8}", **{character: f"[{character}{character.upper()}]" for character in "abcdef"}}
    return "".join(characters.get(character, re.escape(character)) for character in escaped)


def _encoded(secret: str) -> Iterator[str]:
    data = secret.encode("utf-8", "surrogatepass")
    hexadecimal = data.hex()
    if len(hexadecimal) >= _MIN_ENCODED:
        yield hexadecimal
        yield hexadecimal.upper()
    for before in range(3):
        # Only the characters that no adjacent byte contributes to.
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        encoded = b64encode(bytes(before) + data).decode()
        # A short secret is matched only at the end, where the padding belongs to it.
        core = encoded[first:last] if last - first >= _MIN_ENCODED else encoded[first:]
        if len(core) >= _MIN_ENCODED:
            yield core
            yield core.replace("+", "-").replace("/", "_")
