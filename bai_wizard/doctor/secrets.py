"""What looks like a secret in a text: one list, used for masking and for the last scan before a bundle is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2

from bai_wizard.core.secret import MASK

# A long word is tried once, from its beginning: logs hold words of a whole page.
_BEGIN = r"(?<![\w.-])"
_NAME = (
    r"[\w.-]*(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth"
    r"|account[_-]?key|credentials?|cookie|session[_-]?id|signature)[\w-]*"
)
_KEY = _BEGIN + _NAME
_QUOTE = r"\\*[\"']"
# The masked form itself is no secret.
_NOT_MASK = rf"(?!\\*[\"']?{re.escape(MASK)})"


@dataclass(frozen=True)
class Kind:
    """A kind of secret. The group `s` of the pattern is what is hidden; the rest of the match stays readable."""

    name: str
    pattern: re.Pattern[str]


def _kind(name: str, pattern: str, flags: int = 0) -> Kind:
    return Kind(name, re.compile(pattern, flags))


KINDS = (
    _kind(
        "private key",
        rf"(?P<s>(?!{re.escape(MASK)})-----BEGIN[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z))",
        re.DOTALL,
    ),
    _kind("password in an address", rf"(?<=://){_NOT_MASK}(?P<s>[^/\s\"']*)(?=@)"),
    _kind("header", rf"(?i)\b(?:proxy-)?authorization{_QUOTE}?\s*[:=]\s*+{_NOT_MASK}(?P<s>[^\r\n]+)"),
    _kind("cookie", rf"(?i)\b(?:set-)?cookie{_QUOTE}?\s*[:=]\s*+{_NOT_MASK}(?P<s>[^\r\n]+)"),
    _kind("bearer token", rf"(?i)\b(?:bearer|basic)\s++{_NOT_MASK}(?P<s>[\w.~+/=-]{{8,}})"),
    _kind("JWT", r"(?P<s>\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?)"),
    _kind(
        "crypt hash",
        r"(?P<s>\$(?:y|gy|7|6|5|1|2[abxy]?|sha1|md5|apr1|argon2\w{0,2}|sm3|scrypt)\$[^\s:\"'\\]{8,}"
        # The old form in a line of the shadow file, and a boot loader's.
        r"|(?<=:)[./0-9A-Za-z]{13}(?=:\d+:\d*:\d*:)|\bgrub\.pbkdf2\.[\w.]{8,})",
    ),
    _kind("AWS key", r"(?P<s>\b(?:AKIA|ASIA|AIDA|AROA)[0-9A-Z]{12,})"),
    _kind(
        "service token",
        r"(?P<s>\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{8,}|hf_\w{16,}"
        r"|nvapi-[\w-]{16,}|npm_\w{16,}|pypi-[\w-]{16,}|AIza[\w-]{20,}|sk-[\w-]{16,}|dckr_pat_[\w-]{16,}"
        r"|SWMTKN-[\w-]{16,}|AGE-SECRET-KEY-\w{16,}|hv[sbr]\.[\w-]{16,}|glrt-[\w-]{16,}|dop_v1_\w{16,}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}))",
    ),
    _kind("address with a key", r"(?i)(?:[?&]sig=|hooks\.slack\.com/services/)(?P<s>[^&\s\"'*][^&\s\"']*)"),
    _kind(
        "named secret in quotes",
        rf"(?i){_KEY}{_QUOTE}?\s*(?:[:=]|=>)\s*(?P<q>{_QUOTE}){_NOT_MASK}(?P<s>(?:(?!(?P=q))[^\r\n])+)",
    ),
    _kind("named secret", rf"(?i){_KEY}\s*(?:[:=]|=>)\s*+{_NOT_MASK}(?P<s>[^\s\"',;\\]{{2,}})"),
    _kind("option", rf"(?i){_BEGIN}--?{_NAME}[ =]++{_QUOTE}?{_NOT_MASK}(?P<s>[^\s\"'-][^\s\"']*)"),
    _kind(
        "option of a program",
        r"\b(?:sshpass|docker\s+login|ipmitool|redis-cli|smbclient|ldap[a-z]+)\b[^\n|;&\\]{0,200}?\s-[pPaw]\s*"
        rf"{_QUOTE}?{_NOT_MASK}(?P<s>[^\s\"'-][^\s\"']*)",
    ),
    _kind("option of a database", rf"\bmysql\w*\b[^\n|;&\\]{{0,200}}?\s-p{_QUOTE}?{_NOT_MASK}(?P<s>[^\s\"']+)"),
    _kind(
        # Not the numbers of a user and a group, which containers get by the same option.
        "login in an option",
        rf"\s(?:-u|-U|--user|--proxy-user)[ =]+{_QUOTE}?[^\s:\"'/\\]+:(?!\d+\b){_NOT_MASK}(?P<s>[^\s\"']+)",
    ),
    _kind(
        "login for chpasswd",
        rf"{_BEGIN}[\w.-]+:{_NOT_MASK}(?P<s>[^\s\"'|:\\][^\s\"'|:]*){_QUOTE}?\s*\|\s*(?:sudo\s+)?(?:/usr/sbin/)?chpasswd",
    ),
    _kind(
        "secret of a configuration",
        rf"(?i)\b(?:login\s+\S+\s+password|requirepass|masterauth|bindpw|rootpw)\s+{_QUOTE}?{_NOT_MASK}"
        r"(?P<s>[^\s\"']+)",
    ),
    _kind(
        # Where only a blank stands between, English goes on as well: only what has letters and digits is taken.
        "secret behind a word",
        rf"(?i)\b(?:password|passwd|passphrase|secret|token|community)\s+{_QUOTE}?{_NOT_MASK}"
        r"(?P<s>(?=[^\s\"']*\d)(?=[^\s\"']*[a-z])[^\s\"':=]{8,})",
    ),
    _kind("SSH key", r"(?P<s>\bAAAA[A-Za-z0-9+/]{30,}={0,3})"),
)
_RANDOM = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{24,}={0,3}")
_HEX = re.compile(r"[0-9a-fA-F]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Bits a letter; English words stay below 4, base64 of random bytes is above 4.5 from 32 letters on.
_BITS = 3.9


@dataclass(frozen=True)
class Found:
    """A secret's kind and place in a text."""

    kind: str
    start: int
    end: int


def find(text: str) -> Iterator[Found]:
    """Everything in the text that looks like a secret."""
    for kind in KINDS:
        for match in kind.pattern.finditer(text):
            if match.end("s") > match.start("s"):
                yield Found(kind.name, match.start("s"), match.end("s"))
    for match in _RANDOM.finditer(text):
        if looks_random(match.group()):
            yield Found("random letters", match.start(), match.end())


def looks_random(word: str) -> bool:
    """True for what was made by chance: mixed letters and digits; digests in hex and paths are none."""
    if _HEX.fullmatch(word) or not any(_is_mixed(part) for part in word.split("/")):
        return False
    shares = [word.count(letter) / len(word) for letter in set(word)]
    return -sum(share * log2(share) for share in shares) >= _BITS


def _is_mixed(word: str) -> bool:
    return any(map(str.isupper, word)) and any(map(str.islower, word)) and any(map(str.isdigit, word))
