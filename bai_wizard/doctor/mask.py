"""Mask secrets, names and addresses in everything that a support bundle contains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import log2
from typing import Any

from msgspec import Struct

from bai_wizard.core.secret import MASK, STRUCTURAL, redacted_with_count
from bai_wizard.doctor.allowed import Line, allowed_id, cut_line, is_measure, is_parameter

# A long word is tried only once, from its beginning: logs contain words as long as a page.
_BEGIN = r"(?<![\w.-])"
_NAME = (
    r"[\w.-]{0,128}(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth"
    r"|account[_-]?key|credentials?|cookie|session[_-]?id|signature)[\w-]{0,128}"
)
_KEY = _BEGIN + _NAME
_QUOTE = r"\\{0,8}[\"']"
# The mask itself is not a secret.
_NOT_MASK = rf"(?!\\{{0,8}}[\"']?{re.escape(MASK)})"
# Matches all blanks: what follows must not begin with a blank and thus look like a word other than the mask.
# Possessive quantifiers are not used, because Python 3.11.2 handles them incorrectly.
_BLANKS = r"\s{0,100}(?!\s)"


# The group `s` of a pattern is masked; the rest of the match stays readable.
_PATTERNS = {
    "private key": (
        rf"(?s)(?P<s>(?!{re.escape(MASK)})-----BEGIN[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z))"
    ),
    "password in a URL": rf"(?<=://){_NOT_MASK}(?P<s>[^/\s\"']*)(?=@)",
    "header": rf"(?i)\b(?:proxy-)?authorization{_QUOTE}?\s*[:=]{_BLANKS}{_NOT_MASK}(?P<s>[^\r\n]+)",
    "cookie": rf"(?i)\b(?:set-)?cookie{_QUOTE}?\s*[:=]{_BLANKS}{_NOT_MASK}(?P<s>[^\r\n]+)",
    "bearer token": rf"(?i)\b(?:bearer|basic)\s{{1,100}}(?!\s){_NOT_MASK}(?P<s>[\w.~+/=-]{{8,}})",
    "JWT": r"(?P<s>\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?)",
    "crypt hash": (
        r"(?P<s>\$(?:y|gy|7|6|5|1|2[abxy]?|sha1|md5|apr1|argon2\w{0,2}|sm3|scrypt)\$[^\s:\"'\\]{8,}"
        # The traditional crypt(3) hash in a line of the shadow file, and a boot loader's hash.
        r"|(?<=:)[./0-9A-Za-z]{13}(?=:\d+:\d*:\d*:)|\bgrub\.pbkdf2\.[\w.]{8,})"
    ),
    "AWS key": r"(?P<s>\b(?:AKIA|ASIA|AIDA|AROA)[0-9A-Z]{12,})",
    "service token": (
        r"(?P<s>\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{8,}|hf_\w{16,}"
        r"|nvapi-[\w-]{16,}|npm_\w{16,}|pypi-[\w-]{16,}|AIza[\w-]{20,}|sk-[\w-]{16,}|dckr_pat_[\w-]{16,}"
        r"|SWMTKN-[\w-]{16,}|AGE-SECRET-KEY-\w{16,}|hv[sbr]\.[\w-]{16,}|glrt-[\w-]{16,}|dop_v1_\w{16,}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}))"
    ),
    "URL with a key": r"(?i)(?:[?&]sig=|hooks\.slack\.com/services/)(?P<s>[^&\s\"'*][^&\s\"']*)",
    "named secret in quotes": (
        rf"(?i){_KEY}{_QUOTE}?\s*(?:[:=]|=>)\s*(?P<q>{_QUOTE}){_NOT_MASK}(?P<s>(?:(?!(?P=q))[^\r\n])+)"
    ),
    "named secret": rf"(?i){_KEY}\s*(?:[:=]|=>){_BLANKS}{_NOT_MASK}(?P<s>[^\s\"',;\\]{{2,}})",
    "option": rf"(?i){_BEGIN}--?{_NAME}[ =]{{1,100}}(?![ =]){_QUOTE}?{_NOT_MASK}(?P<s>[^\s\"'-][^\s\"']*)",
    "option of a program": (
        r"\b(?:sshpass|docker\s+login|ipmitool|redis-cli|smbclient|ldap[a-z]+)\b[^\n|;&\\]{0,200}?\s-[pPaw]\s*"
        rf"{_QUOTE}?{_NOT_MASK}(?P<s>[^\s\"'-][^\s\"']*)"
    ),
    "option of a database": rf"\bmysql\w*\b[^\n|;&\\]{{0,200}}?\s-p{_QUOTE}?{_NOT_MASK}(?P<s>[^\s\"']+)",
    # Excludes UIDs and GIDs, which containers get by the same option.
    "login in an option": (
        rf"\s(?:-u|-U|--user|--proxy-user)[ =]+{_QUOTE}?[^\s:\"'/\\]+:(?!\d+\b){_NOT_MASK}(?P<s>[^\s\"']+)"
    ),
    "login for chpasswd": (
        rf"{_BEGIN}[\w.-]+:{_NOT_MASK}(?P<s>[^\s\"'|:\\][^\s\"'|:]*){_QUOTE}?\s*\|\s*(?:sudo\s+)?(?:/usr/sbin/)?chpasswd"
    ),
    "secret in a configuration": (
        rf"(?i)\b(?:login\s+\S+\s+password|requirepass|masterauth|bindpw|rootpw)\s+{_QUOTE}?{_NOT_MASK}"
        r"(?P<s>[^\s\"']+)"
    ),
    # If only a blank separates the two, English prose looks the same: only words with letters and digits match.
    "secret after a keyword": (
        rf"(?i)\b(?:password|passwd|passphrase|secret|token|community)\s+{_QUOTE}?{_NOT_MASK}"
        r"(?P<s>(?=[^\s\"']*\d)(?=[^\s\"']*[a-z])[^\s\"':=]{8,})"
    ),
    "SSH key": r"(?P<s>\bAAAA[A-Za-z0-9+/]{30,}={0,3})",
}
KINDS = {name: re.compile(pattern) for name, pattern in _PATTERNS.items()}
_RANDOM = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{24,}={0,3}")
_HEX = re.compile(r"[0-9a-fA-F]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Bits per character; English words stay below 4, base64 of random bytes is above 4.5 from 32 characters on.
_BITS = 3.9


class SecretMatch(Struct, frozen=True):
    """The kind and position of a secret in a text."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> Iterator[SecretMatch]:
    """Yield everything in the text that looks like a secret."""
    for kind, pattern in KINDS.items():
        for match in pattern.finditer(text):
            if match.end("s") > match.start("s"):
                yield SecretMatch(kind, match.start("s"), match.end("s"))
    for match in _RANDOM.finditer(text):
        if looks_random(match.group()):
            yield SecretMatch("random letters", match.start(), match.end())


def looks_random(word: str) -> bool:
    """Whether a word looks random: mixed letters and digits, but neither a hexadecimal digest nor a path."""
    if _HEX.fullmatch(word) or not any(_is_mixed(part) for part in word.split("/")):
        return False
    shares = [word.count(character) / len(word) for character in set(word)]
    return -sum(share * log2(share) for share in shares) >= _BITS


def _is_mixed(word: str) -> bool:
    return any(map(str.isupper, word)) and any(map(str.islower, word)) and any(map(str.isdigit, word))


_IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]{0,64}\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
_MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,128}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,10}\b")
_URL_HOST = re.compile(r"(?<=://)(?:[^/\s\"'@]{0,256}@)?([\w.-]{1,253})")
# Addresses that reveal nothing about the site: loopback, unspecified, netmasks, link-local, multicast.
_NOBODY = re.compile(r"(?:127\.|0\.0\.0\.0|255\.|169\.254\.|224\.)")
# Well-known public servers; which one failed is what a bundle has to show.
PUBLIC = frozenset(
    (
        "archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com",
        "download.docker.com", "registry-1.docker.io", "auth.docker.io", "docker.io", "cr.backend.ai",
        "github.com", "nvidia.github.io", "developer.download.nvidia.com",
        "localhost", "ghcr.io", "quay.io",
    )
)  # fmt: skip
SHORTEST_NAME = 3
# Accounts that exist on every node; masking them would hide half of every log.
COMMON = frozenset(
    ("root", "daemon", "docker", "nobody", "sudo", "bai", "user", "users", "home", "local", "localhost")
)


# The measured values in a finding's evidence: actual and expected.
_MEASURED = ("found", "expected")


def _is_field(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and key.islower() and allowed_id(key) == key


def lines_left_out(number: int) -> str:
    """Return the text that replaces lines of a log."""
    return f"[{number} {'line' if number == 1 else 'lines'} omitted]"


class Masker:
    """Replaces names by placeholders. `names` maps known names to their kind (host, user, registry)."""

    def __init__(self, names: Iterable[tuple[str, str]] = ()) -> None:
        self._stand_ins: dict[tuple[str, str], str] = {}
        self._numbers: Counter[str] = Counter()
        self.redactions: dict[str, Counter[str]] = {}
        small = ((name.lower(), kind) for name, kind in names if len(name) >= SHORTEST_NAME)
        known = {name: kind for name, kind in small if name not in COMMON}
        self._known = {name: kind for name, kind in known.items() if name not in PUBLIC and not name.isdecimal()}
        longest = sorted(self._known, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, longest))
        self._names = re.compile(rf"(?<![\w])(?:{alternatives})(?![\w])", re.IGNORECASE) if longest else None

    def text(self, text: str, file: str = "") -> str:
        """Return the text without secrets and with placeholders; masked items are counted under `file`."""
        counts = self.redactions.setdefault(file, Counter())
        lines = self._without_names(text, counts)
        shown = [Line(text, before, original) for before, text, original in _with_previous(lines)]
        counts["unknown word"] += sum(line.unknown for line in shown)
        return "\n".join(line.text for line in shown)

    def log(self, lines: Sequence[str], file: str, is_closed: Callable[[str], bool] | None = None) -> str:
        """Mask the lines of a log. Lines that are meaningless without their unknown words are dropped and counted.

        `is_closed` tells whether the format of a line leaves no room for other words.
        """
        counts = self.redactions.setdefault(file, Counter())
        shown: list[str] = []
        left_out = 0
        if is_closed is None:
            # All lines at once: a private key spans several lines.
            masked = self._without_names("\n".join(lines), counts)
            closed = [False] * len(masked)
        else:
            closed = [is_closed(line) for line in lines]
            masked = [
                (_without_registered(line, counts), "") if known else self._without_names(line, counts)[0]
                for line, known in zip(lines, closed, strict=True)
            ]
        for (before, text, original), known in zip(_with_previous(masked), closed, strict=True):
            if not known:
                line = Line(text, before, original)
                if not line.says_something:
                    left_out += 1
                    continue
                counts["unknown word"] += line.unknown
                text = line.text
            if left_out:
                shown.append(lines_left_out(left_out))
            shown.append(text)
            counts["omitted line"] += left_out
            left_out = 0
        counts["omitted line"] += left_out
        return "\n".join([*shown, *([lines_left_out(left_out)] if left_out else [])]) + "\n"

    def _without_names(self, text: str, counts: Counter[str]) -> list[tuple[str, str]]:
        """Remove secrets of known forms and replace names by placeholders.

        Returns each line, and what it was if a secret was masked in it.
        """
        text = _without_registered(text, counts)
        text = "\n".join(cut_line(line) for line in text.split("\n"))
        # Only private keys span lines.
        text, count = KINDS["private key"].subn(MASK, text)
        counts["private key"] += count
        originals = text.split("\n")
        text = _without_secrets(text, counts)
        changed = [old if old != new else "" for old, new in zip(originals, text.split("\n"), strict=True)]
        return list(zip(self._placeholders(text, counts).split("\n"), changed, strict=True))

    def _placeholders(self, text: str, counts: Counter[str]) -> str:
        text = _MAC.sub(self._by("mac", counts), text)
        text = _MAIL.sub(self._by("mail", counts), text)
        text = _URL_HOST.sub(lambda match: self._url_host(match, counts), text)
        if self._names is not None:
            text = self._names.sub(lambda match: self._name(match.group(), counts), text)
        text = _IPV4.sub(lambda match: self._address(match.group(), counts), text)
        return _IPV6.sub(lambda match: self._address(match.group(), counts), text)

    def value(self, value: Any, file: str = "", field: str = "") -> Any:
        """Mask every string in a JSON value; a value under a key that suggests a secret is masked completely.

        Numbers are kept where they belong to a kernel parameter.
        """
        if isinstance(value, str):
            return self._word(value, file) if field in STRUCTURAL else self.text(value, file)
        if isinstance(value, dict):
            # Two labels may look the same once masked; neither may overwrite the other.
            shown: dict[str, Any] = {}
            for key, item in value.items():
                # Our own field names are kept even if a secret is the same word.
                name = key if _is_field(key) else self.text(str(key), file)
                while name in shown:
                    name += "+"
                measured = is_parameter(str(key)) or (key in _MEASURED and is_parameter(str(value.get("what", ""))))
                shown[name] = item if measured and is_measure(item) else self._under(str(key), item, file)
            return shown
        if isinstance(value, list | tuple):
            return [self.value(item, file, field) for item in value]
        return value

    def _word(self, value: str, file: str) -> str:
        """Mask the value of a structural field: an id of ours, which may contain a name of the site."""
        lines = self._without_names(value, self.redactions.setdefault(file, Counter()))
        return allowed_id("\n".join(text for text, _ in lines))

    def _under(self, key: str, item: Any, file: str) -> Any:
        if isinstance(item, str) and item and any(True for _ in find_secrets(f'{key}="{item}"')):
            shown = self.text(item, file)
            # The key marks the value as a secret: `password`, `auth` …
            return MASK if shown == item else shown
        return self.value(item, file, key)

    def _name(self, name: str, counts: Counter[str]) -> str:
        kind = self._known[name.lower()]
        counts[kind] += 1
        return self._stand_in(kind, name.lower())

    def _url_host(self, match: re.Match[str], counts: Counter[str]) -> str:
        host = match.group(1)
        if host.lower() in PUBLIC or host.lower() in self._known or _IPV4.fullmatch(host):
            return match.group()
        counts["host"] += 1
        return match.group()[: -len(host)] + self._stand_in("host", host.lower())

    def _address(self, address: str, counts: Counter[str]) -> str:
        if _NOBODY.match(address) or address in ("::", "::1") or not any(map(str.isalnum, address)):
            return address
        # Clock times look like short IPv6 addresses.
        if ":" in address and "::" not in address and address.count(":") < 7:
            return address
        counts["address"] += 1
        return self._stand_in("address", address.lower())

    def _by(self, kind: str, counts: Counter[str]) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            counts[kind] += 1
            return self._stand_in(kind, match.group().lower())

        return replace

    def _stand_in(self, kind: str, name: str) -> str:
        if (kind, name) not in self._stand_ins:
            self._numbers[kind] += 1
            self._stand_ins[kind, name] = f"{kind}-{self._numbers[kind]}"
        return self._stand_ins[kind, name]


def _with_previous(lines: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """The previous line, the line, and the line before secrets were masked."""
    before = ""
    for text, original in lines:
        yield before, text, original
        before = original or text


def _without_registered(text: str, counts: Counter[str]) -> str:
    text, count = redacted_with_count(text)
    if count:
        counts["secret from the answers"] += count
    return text


def _without_secrets(text: str, counts: Counter[str]) -> str:
    """Remove secrets until none is found: removing one may expose another. Each round removes one, so it ends."""
    for _ in range(20):
        result = sorted(find_secrets(text), key=lambda each: (each.start, -each.end))
        if not result:
            break
        chunks, at = [], 0
        for each in result:
            if each.start < at:
                continue
            counts[each.kind] += 1
            chunks += [text[at : each.start], MASK]
            at = each.end
        text = "".join(chunks) + text[at:]
    return text
