"""limits.conf and limits.d as pam_limits reads them: the grammar of its versions, and what a session gets.

Compared with pam_limits itself on generated lines in tests/node/test_tuning.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Literal

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import NodeView
from bai_wizard.core.page import Context
from bai_wizard.core.parse import Malformed, whole
from bai_wizard.pages.node_state import is_package_before

LIMITS_CONF = "/etc/security/limits.conf"
LIMITS_D = "/etc/security/limits.d"
LimitType = Literal["soft", "hard"]
Pair = tuple[float, float]
# The item of a line `USER -`, which exempts that user from all limits of these files.
EXEMPT = "all"
UNLIMITED = ("unlimited", "infinity", "-1", "-")
# The items that systemd and the kernel count in bytes and limits.conf in KiB.
SIZES = ("fsize", "data", "stack", "core", "rss", "memlock", "as")
ITEMS = (*SIZES, "cpu", "nproc", "nofile", "locks", "sigpending", "msgqueue", "nice", "rtprio", "maxlogins",
         "maxsyslogins", "priority", "nonewprivs", "chroot")  # fmt: skip
# strtoul(3) in base 10; whatever follows is the caller's.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_LARGEST = 2**64 - 1
# isspace(3); no-break and other Unicode blanks are not blanks for C.
_SPACE = b" \t\n\v\f\r"
# Before Linux-PAM 1.6: the size of its buffer, which splits longer lines.
_LINE_LENGTH = 1024


class LimitLine(Struct, frozen=True):
    """One line. `sort` is soft, hard or `-` (both); `value` is in the item's unit, inf for unlimited."""

    path: str
    line: int
    domain: str
    sort: str
    item: str
    value: float
    text: str

    @property
    def place(self) -> str:
        """Path and line number, for display."""
        return f"{self.path}:{self.line}"


def parse_limits(path: str, content: str | bytes, *, before_1_6: bool = False) -> tuple[LimitLine, ...]:
    """Return the limits of a file; lines that pam_limits does not understand are skipped.

    Linux-PAM 1.6 changed the grammar: fields are separated by spaces and tabs only, the value is the rest of the
    line, and lines may be of any length.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    result = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        for part in _pieces(raw) if before_1_6 else (raw,):
            line = part.partition(b"\0")[0].lstrip(_SPACE).partition(b"#")[0]
            split = line.split()[:4] if before_1_6 else re.split(rb"[ \t]+", line.strip(b" \t"), maxsplit=3)
            found = _limit([word.decode("utf-8", "replace") for word in split])
            if found is not None:
                result.append(LimitLine(path, number, *found, raw.decode("utf-8", "replace")))
    return tuple(result)


def _pieces(raw: bytes) -> Iterator[bytes]:
    """Split a line as fgets(3) does with a buffer of 1024 bytes."""
    step = _LINE_LENGTH - 1
    return (raw[at : at + step] for at in range(0, max(len(raw), 1), step))


def _limit(words: list[str]) -> tuple[str, str, str, float] | None:
    """Return domain, type, item and value of a line; None if pam_limits ignores it."""
    if len(words) not in (2, 4) or isinstance(_ids(words[0]), str):
        return None
    sort = _lower(words[1])
    if len(words) == 2:
        return (words[0], "-", EXEMPT, 0) if sort.startswith("-") else None
    item = _lower(words[2])
    value = _value(item, _lower(words[3]))
    return (words[0], sort, item, value) if sort in ("soft", "hard", "-") and value is not None else None


def _lower(text: str) -> str:
    """Like tolower(3), unlike str.lower, which turns the Kelvin sign into a k."""
    return text.encode().lower().decode()


def _value(item: str, word: str) -> float | None:
    """Return a limit's value; None for an unknown item or a value without a number."""
    if item not in ITEMS:
        return None
    if item == "chroot":
        return 0
    if word in UNLIMITED and item not in ("nice", "priority"):
        return inf
    match = _NUMBER.match(word)
    if match is None:
        return None
    if item in ("nice", "priority"):
        return int(match[1] + match[2][:10])
    number = _unsigned(match)
    return inf if number >= (_LARGEST // 1024 if item in SIZES else _LARGEST) else number


def _unsigned(match: re.Match[str]) -> int:
    """Return what strtoul(3) makes of a number: negative ones wrap around, and too large ones are the largest."""
    digits = match[2].lstrip("0")
    number = int(digits or "0") if len(digits) <= 20 else _LARGEST
    if number >= _LARGEST:
        return _LARGEST
    return -number % (_LARGEST + 1) if match[1] == "-" else number


def _ids(domain: str) -> tuple[int, int] | Literal["malformed"] | None:
    """Return the first and last id of a domain `MIN:MAX`, `:ID` or `MIN:`, also after @ or %; None for a name."""
    if ":" not in domain:
        return None
    low, _, high = domain.removeprefix(domain[0] if domain[0] in "@%" else "").partition(":")
    first, last = _id(low), _id(high)
    if (low and first is None) or (high and last is None) or (last is None and not low):
        return "malformed"
    if last is None:
        return (first or 0, 2**32)
    return (last if first is None else first, last)


def _id(text: str) -> int | None:
    match = _NUMBER.fullmatch(text)
    if match is None or len(match[2].lstrip("0")) > 20 or int(match[2].lstrip("0") or "0") > _LARGEST:
        return None
    return _unsigned(match) & 0xFFFFFFFF


def read_lines(view: NodeView) -> tuple[tuple[LimitLine, ...], tuple[str, ...]]:
    """Return all limits in the order in which they are read, and the reasons why files could not be read."""
    paths = [LIMITS_CONF, *(f"{LIMITS_D}/{name}" for name in _names(view))]
    before_1_6 = is_package_before(view, "libpam-modules", (1, 6))
    result: list[LimitLine] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            _, entry = view.behind_links(path)
        except StateUnknown as error:
            unreadable.append(str(error))
            continue
        if entry is not None and entry.content is not None:
            result += parse_limits(path, entry.content, before_1_6=before_1_6)
    return tuple(result), tuple(unreadable)


def _names(view: NodeView) -> list[str]:
    names = (name for name in view.names(LIMITS_D) if name.endswith(".conf") and not name.startswith("."))
    return sorted(names, key=os.fsencode)


class Login(Struct, frozen=True):
    """A user whose session is opened; `groups` by name and number, as far as lines mention them."""

    name: str
    uid: int
    gid: int
    groups: frozenset[str] = frozenset()
    gids: frozenset[int] = frozenset()


def logins(view: NodeView, context: Context, lines: tuple[LimitLine, ...]) -> tuple[Login, ...]:
    """Return root and the account, which has the ids of the answers as long as it does not exist."""
    return (Login("root", 0, 0), login_of(view, context.account, context.uid, context.gid, lines))


def login_of(view: NodeView, name: str, uid: int, gid: int, lines: tuple[LimitLine, ...]) -> Login:
    """Return a user with the groups that occur in the lines; `uid` and `gid` if it does not exist."""
    domains = {line.domain for line in lines if line.domain.startswith("@")}
    try:
        account = view.account(name)
        known = {group.gid: group.name for group in view.groups()} if any(":" in each for each in domains) else {}
    except StateUnknown:
        account, known = None, {}
    if account is not None:
        uid, gid = account.uid, account.gid
    named = frozenset(each[1:] for each in domains if ":" not in each and _belongs(view, name, gid, each[1:]))
    numbers = {ids[0] for each in domains if isinstance(ids := _ids(each), tuple) and each.startswith("@:")}
    gids = frozenset(number for number in numbers if number in known and _belongs(view, name, gid, known[number]))
    return Login(name, uid, gid, named, gids)


def _belongs(view: NodeView, user: str, gid: int, name: str) -> bool:
    try:
        group = view.group(name)
        return group is not None and (group.gid == gid or view.is_member(user, name))
    except StateUnknown:
        return False


class Session(Struct, frozen=True):
    """The lines that decide the limits of a session, by item and type; `exempt` makes it ignore all of them."""

    lines: Mapping[tuple[str, str], LimitLine]
    exempt: LimitLine | None = None

    def limit(self, item: str, sort: LimitType, inherited: Mapping[str, Pair], nr_open: float = inf) -> float | None:
        """Return a limit: a soft one never exceeds the hard one, nor unlimited files fs.nr_open. None: unknown."""
        if item == "nofile" and self.refused(nr_open) is not None:
            pair = inherited.get(item)
            return pair[0 if sort == "soft" else 1] if pair else None
        result = self._limit(item, sort, inherited)
        if sort == "soft" and result is not None and self.lines.keys() & {(item, "soft"), (item, "hard")}:
            hard = self._limit(item, "hard", inherited)
            result = result if hard is None else min(result, hard)
        return nr_open if item == "nofile" and result == inf else result

    def refused(self, nr_open: float) -> LimitLine | None:
        """Return the line with a hard limit on open files that the kernel refuses: it is above fs.nr_open.

        Debian's pam_limits (patch 032_pam_limits_EPERM_NOT_FATAL) then sets neither limit and opens the session.
        """
        line = self.lines.get(("nofile", "hard"))
        return line if line is not None and nr_open < line.value < inf else None

    def _limit(self, item: str, sort: LimitType, inherited: Mapping[str, Pair]) -> float | None:
        line = self.lines.get((item, sort))
        if line is not None:
            return line.value
        pair = inherited.get(item)
        return pair[0 if sort == "soft" else 1] if pair else None


def session(lines: Iterable[LimitLine], login: Login) -> Session:
    """Return what pam_limits applies to a session: users and ranges of UIDs before groups before `*`, later wins."""
    chosen: dict[tuple[str, str], LimitLine] = {}
    ranks: dict[tuple[str, str], int] = {}
    for line in lines:
        if line.item == EXEMPT:
            if _is_exempt(line.domain, login):
                return Session({}, line)
            continue
        rank = _rank(line.domain, login)
        if rank is None:
            continue
        for sort in ("soft", "hard") if line.sort == "-" else (line.sort,):
            subject = (line.item, sort)
            if ranks.get(subject, rank) < rank:
                break  # As in pam_limits: `-` does not set the hard limit either.
            ranks[subject], chosen[subject] = rank, line
    return Session(chosen)


def _rank(domain: str, login: Login) -> int | None:
    """How specific a line is for the user, 0 being the most specific; None if it does not apply."""
    if domain == login.name:
        return 0
    is_root = login.uid == 0
    ids = _ids(domain)
    if domain[:1] in ("@", "%") and not is_root:
        return 1 if domain[0] == "@" and _in_groups(domain, ids, login) else None
    if isinstance(ids, tuple):
        return 0 if ids[0] <= login.uid <= ids[1] else None
    return 2 if domain == "*" and not is_root else None


def _in_groups(domain: str, ids: object, login: Login) -> bool:
    """Whether a domain `@NAME`, `@:GID` (any group) or `@MIN:MAX` (the primary group) includes the user."""
    if not isinstance(ids, tuple):
        return domain[1:] in login.groups
    if domain.startswith("@:"):
        return ids[0] in login.gids
    return bool(ids[0] <= login.gid <= ids[1])


def _is_exempt(domain: str, login: Login) -> bool:
    ids = _ids(domain)
    if domain == login.name:
        return True
    if domain.startswith("@"):
        return _in_groups(domain, ids, login)
    return isinstance(ids, tuple) and ids[0] <= login.uid <= ids[1]


# Our items in the terms of /proc/PID/limits, with the size of one limits.conf unit there (memlock is in KiB).
KERNEL_WORDS = {
    "nofile": ("Max open files", 1),
    "nproc": ("Max processes", 1),
    "memlock": ("Max locked memory", 1024),
}


def parse_kernel(text: str | None) -> dict[str, Pair]:
    """Return soft and hard limits by item, from the text of /proc/PID/limits."""
    result = {}
    for line in (text or "").split("\n"):
        for item, (words, unit) in KERNEL_WORDS.items():
            if line.startswith(words):
                values = line.removeprefix(words).split()
                if len(values) < 2:
                    raise Malformed(f"the limits of a process have no values for {item}")
                soft, hard = values[:2]
                result[item] = (_kernel(soft, unit), _kernel(hard, unit))
    return result


def _kernel(word: str, unit: int) -> float:
    return inf if word == "unlimited" else whole(word) // unit
