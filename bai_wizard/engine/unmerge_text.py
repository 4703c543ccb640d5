"""Three-way undo of a text, line by line, so that later edits by others to other lines stay."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher
from posixpath import basename

from msgspec import Struct

# Maximum product of line counts to compare, excluding the common beginning and end.
MAX_COMPARED = 4_000_000
# Maximum number of line pairs to consider where lines of ours are missing.
MAX_PAIRS = 10_000
# Length of a word that two lines do not share by chance (the body of a key).
LONG_WORD = 30

_ARMOR = re.compile(rb"-----BEGIN [^\n]*-----\s*\Z")
_ARMOR_END = re.compile(rb"-----END [^\n]*-----\s*\Z")
_HEADER = re.compile(rb"\s*\[[^\n]*\]\s*\Z")
_MARKER = re.compile(rb"\s*#+ (BEGIN|END) ((?:bai-wizard|for Backend\.AI).*?)\s*\Z")
_NAME = re.compile(rb"([^=:]+?)\s*[=:]")


class Undone(Struct, frozen=True):
    """The content after the undo, None if the file is removed. `kept` are parts of ours that others edited."""

    content: bytes | None
    kept: tuple[str, ...] = ()


def undo_text(
    path: str, before: bytes | None, after: bytes, now: bytes, *, force: bool = False, shared: bool = False
) -> Undone:
    """Like `undo_content`, for a text of lines."""
    return _Text(path, before, after, now, force=force, shared=shared).undone()


class _Text:
    """The undo of one text. Tokens are lines, or whole armored blocks (PEM, OpenPGP), with their line ends."""

    def __init__(
        self, path: str, before: bytes | None, after: bytes, now: bytes, *, force: bool, shared: bool
    ) -> None:
        self.path, self.created = path, before is None
        self.force, self.shared = force, shared
        self.stanzas = path.endswith(".sources") or "/preferences" in path
        self.continued = basename(path) == "pip.conf"
        split = _stanzas if self.stanzas else _tokens
        self.old, self.mid = split(before or b"", ()), split(after, ())
        self.new = split(now, {_body(token) for token in self.mid})
        self.crlf = b"\r\n" in now and b"\r\n" not in after
        self.kept: list[str] = []
        # Index in `mid` → index in `new`; lines added by others are `free`.
        self.here: dict[int, int] = {}
        self.edited: dict[int, int] = {}
        self.drop: set[int] = set()
        self.insert: dict[int, list[bytes]] = {}
        self.replace: dict[int, bytes] = {}

    def undone(self) -> Undone:
        hunks = _opcodes(self.old, self.mid)
        gaps = _opcodes(self.mid, self.new)
        if hunks is None or gaps is None:
            return Undone(_joined(self.new), ("too many lines differ to identify the lines of the wizard",))
        self._match(gaps)
        self.ours = {at for _, _, start, end in hunks for at in range(start, end)}
        taken = set(self.here.values())
        free = _Free(self.new, (at for at in range(len(self.new)) if at not in taken))
        self._find_moved(free)
        parts = list(_parts(hunks))
        back = [
            (part, [line for line in self.old[part[0] : part[1]] if free.take(_body(line)) is None]) for part in parts
        ]
        self._find_edited(gaps, free)
        self.drop = {self.here[at] for at in self.ours if at in self.here}
        for index in self.edited.values():
            if self.force and self.stanzas:
                self._comment_out(index)
            elif self.force:
                self.drop.add(index)
            else:
                self.kept.append(f"a line was edited: {_shown(self.new[index])}")
        for part, lines in back:
            self._put_back(part, lines)
        self._keep_what_others_need()
        return self._result()

    def _match(self, gaps: Sequence[tuple[int, int, int, int]]) -> None:
        at, index = 0, 0
        for start, end, first, last in [*gaps, (len(self.mid), len(self.mid), len(self.new), len(self.new))]:
            self.here.update(zip(range(at, start), range(index, first), strict=True))
            at, index = end, last

    def _find_moved(self, free: _Free) -> None:
        for at in sorted(self.ours - set(self.here)):
            if _is_telling(self.mid[at]) and (index := free.take(_body(self.mid[at]))) is not None:
                self.here[at] = index

    def _find_edited(self, gaps: Sequence[tuple[int, int, int, int]], free: _Free) -> None:
        """Pair missing lines of ours with lines that others put in their place."""
        for start, end, first, last in gaps:
            mine = [at for at in range(start, end) if at not in self.here and self.mid[at].strip()]
            theirs = [at for at in range(first, last) if at in free.paths and self.new[at].strip()]
            if not mine or not theirs or len(mine) * len(theirs) > MAX_PAIRS:
                continue
            scores = [
                (-_likeness(self.path, self.mid[one], self.new[other]), one, other)
                for one in mine
                for other in theirs
            ]
            paired: dict[int, int] = {}
            for score, one, other in sorted(scores):
                if score < 0 and one not in paired and other not in paired.values():
                    paired[one] = other
            self.edited.update((one, other) for one, other in paired.items() if one in self.ours)

    def _put_back(self, part: tuple[int, int, int, int], lines: list[bytes]) -> None:
        _, _, start, end = part
        if not lines or (not self.force and any(at in self.edited for at in range(start, end))):
            return
        result = [index for at in range(start, end) if (index := self.here.get(at, self.edited.get(at))) is not None]
        if result:
            index = min(result)
        elif (above := next((at for at in range(start - 1, -1, -1) if at in self.here), None)) is not None:
            index = self.here[above] + 1
        elif (below := next((at for at in range(end, len(self.mid)) if at in self.here), None)) is not None:
            index = self.here[below]
        else:
            index = len(self.new)
        self.insert.setdefault(index, []).extend(lines)

    def _keep_what_others_need(self) -> None:
        if self.continued:
            self._keep_continued()
        for at in sorted(self.drop):
            if _HEADER.match(self.new[at]) and self._has_foreign_settings(at):
                self.drop.discard(at)
        self._keep_markers()

    def _has_foreign_settings(self, header: int) -> bool:
        for at in range(header + 1, len(self.new)):
            if _HEADER.match(self.new[at]):
                return False
            if at not in self.drop and _is_setting(self.new[at]):
                return True
        return False

    def _comment_out(self, index: int) -> None:
        """Comment out what others wrote into a stanza of ours: no parser accepts a field without its stanza."""
        ours = {line for at in self.ours for line in _body(self.mid[at]).split(b"\n")}
        lines = self.new[index].splitlines(keepends=True)
        self.replace[index] = b"".join(b"# " + line.lstrip() for line in lines if _body(line) not in ours)

    def _keep_continued(self) -> None:
        """Keep a setting of ours whose value others continued on the next line."""
        for at in sorted(self.drop, reverse=True):
            below = at + 1
            while below in self.drop and self.new[below][:1] in (b" ", b"\t"):
                below += 1
            if below >= len(self.new) or below in self.drop or self.new[below][:1] not in (b" ", b"\t"):
                continue
            if self.new[at][:1] in (b" ", b"\t") or not self.new[below].strip() or below in self.replace:
                continue
            name, sign, value = self.new[at].partition(b"=")
            self.drop.discard(at)
            if value.strip() and self.force:
                self.replace[at] = name + sign + _ending(self.new[at])
            elif value.strip():
                self.kept.append(f"this line was continued by someone else: {_shown(self.new[at])}")

    def _keep_markers(self) -> None:
        begin: int | None = None
        for at, line in enumerate(self.new):
            match = _MARKER.match(line)
            if match is None:
                continue
            if match[1] == b"BEGIN":
                begin = at
            elif begin is not None:
                inside = [index for index in range(begin + 1, at) if index not in self.drop]
                if inside and (self.shared or any(index in self.edited.values() for index in inside)):
                    self.drop -= {begin, at}
                begin = None

    def _result(self) -> Undone:
        lines: list[tuple[int, bytes]] = []
        for at in range(len(self.new) + 1):
            lines += [(-1, self._ended(line)) for line in self.insert.get(at, ())]
            if at < len(self.new) and at not in self.drop:
                lines.append((at, self.replace.get(at, self.new[at])))
        lines = _without_empty_blocks(lines)
        if self.created and not any(line.strip() for _, line in lines):
            return Undone(None, tuple(self.kept))
        whole = [line if line.endswith(b"\n") else line + self._newline() for _, line in lines]
        if lines and (not lines[-1][1].endswith(b"\n") or self._lacked_newline(lines[-1])):
            whole[-1] = whole[-1].rstrip(b"\r\n")
        return Undone(b"".join(whole), tuple(self.kept))

    def _lacked_newline(self, last: tuple[int, bytes]) -> bool:
        """Whether we added the line end of the last line."""
        if not self.old or self.old[-1].endswith(b"\n"):
            return False
        at = next((at for at, index in self.here.items() if index == last[0]), None)
        is_same = at is not None and at not in self.ours and self.mid[at].endswith(b"\n")
        return (is_same or last[0] == -1) and _body(last[1]) == _body(self.old[-1])

    def _newline(self) -> bytes:
        return b"\r\n" if self.crlf else b"\n"

    def _ended(self, line: bytes) -> bytes:
        return line.rstrip(b"\r\n") + b"\r\n" if self.crlf and line.endswith(b"\n") else line


class _Free:
    """Lines that are not ours, looked up by their text."""

    def __init__(self, lines: Sequence[bytes], paths: Iterable[int]) -> None:
        self.paths = set(paths)
        self._by_text: dict[bytes, list[int]] = {}
        for at in sorted(self.paths, reverse=True):
            self._by_text.setdefault(_words(lines[at]), []).append(at)

    def take(self, body: bytes) -> int | None:
        """Return and consume the first line with these words, ignoring differences in whitespace."""
        result = self._by_text.get(_words(body))
        if not result:
            return None
        self.paths.discard(result[-1])
        return result.pop()


def _lines(data: bytes) -> list[bytes]:
    chunks = data.split(b"\n")
    return [chunk + b"\n" for chunk in chunks[:-1]] + ([chunks[-1]] if chunks[-1] else [])


def _tokens(data: bytes, known: Collection[bytes]) -> list[bytes]:
    """Split into lines; an armored block is one token."""
    lines, tokens, at = _lines(data), [], 0
    while at < len(lines):
        end = at
        if _ARMOR.match(lines[at]):
            end = next((index for index in range(at + 1, len(lines)) if _ARMOR_END.match(lines[index])), at)
        tokens.append(b"".join(lines[at : end + 1]))
        at = end + 1
    return tokens


def _stanzas(data: bytes, known: Collection[bytes]) -> list[bytes]:
    """Split so that the fields of a stanza are one token. A comment inside a `known` stanza moves above it."""
    tokens: list[bytes] = []
    stanza: list[bytes] = []

    def close() -> None:
        fields = [line for line in stanza if not line.startswith(b"#")]
        whole = b"".join(fields)
        if _body(whole) in known:
            tokens.extend(line for line in stanza if line.startswith(b"#"))
            tokens.append(whole)
        else:
            piece: list[bytes] = []
            for line in stanza:
                if line.startswith(b"#"):
                    tokens.extend([b"".join(piece), line] if piece else [line])
                    piece = []
                else:
                    piece.append(line)
            tokens.extend([b"".join(piece)] if piece else [])
        stanza.clear()

    for line in _lines(data):
        if line.strip():
            stanza.append(line)
        else:
            close()
            tokens.append(line)
    close()
    return tokens


def _words(line: bytes) -> bytes:
    return b" ".join(line.split())


def _body(token: bytes) -> bytes:
    return token.replace(b"\r\n", b"\n").rstrip(b"\r\n")


def _ending(token: bytes) -> bytes:
    return token[len(token.rstrip(b"\r\n")) :]


def _joined(tokens: Sequence[bytes]) -> bytes:
    return b"".join(tokens)


def _is_telling(line: bytes) -> bool:
    """Whether a line is long enough to be identified as ours anywhere; a bracket or header could be anyone's."""
    return len(line.strip()) > 3 and not _HEADER.match(line)


def _is_setting(line: bytes) -> bool:
    return bool(line.strip()) and line.lstrip()[:1] not in (b"#", b";")


def _opcodes(old: Sequence[bytes], new: Sequence[bytes]) -> list[tuple[int, int, int, int]] | None:
    """Return the differing ranges as (start, end, first, last); None if comparing would take too long."""
    one, other = [_body(line) for line in old], [_body(line) for line in new]
    shorter = min(len(one), len(other))
    head = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    tail = next((at for at in range(shorter - head) if one[-1 - at] != other[-1 - at]), shorter - head)
    one, other = one[head : len(one) - tail], other[head : len(other) - tail]
    if len(one) * len(other) > MAX_COMPARED:
        return None
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return [
        (start + head, end + head, first + head, last + head)
        for kind, start, end, first, last in matcher.get_opcodes()
        if kind != "equal"
    ]


def _parts(hunks: Iterable[tuple[int, int, int, int]]) -> Iterable[tuple[int, int, int, int]]:
    """Yield the hunks; a hunk that replaces as many lines as it has is split into one part per line."""
    for start, end, first, last in hunks:
        if end - start == last - first:
            yield from ((start + at, start + at + 1, first + at, first + at + 1) for at in range(end - start))
        else:
            yield start, end, first, last


def _likeness(path: str, ours: bytes, theirs: bytes) -> int:
    """Return 2 if `theirs` contains our text or was cut from it, 1 if it sets the same thing, 0 otherwise.

    Similarity of characters proves nothing: two fstab lines may differ only in a name.
    """
    one, other = _body(ours).strip(), _body(theirs).strip()
    if one == other or (len(one) > 3 and one in other) or (2 * len(other) >= len(one) and other in one):
        return 2
    if one.startswith(b"-----BEGIN"):
        return 0
    mine, others = one.split(b"\n"), other.split(b"\n")
    if len(mine) > 1:
        common = set(mine) & set(others)
        named = any(line.startswith((b"URIs:", b"Package:")) for line in common)
        return int(4 * len(common) >= (2 if named else 3) * len(mine))
    words, result = one.split(), other.lstrip(b"#; \t").split()
    if path == "/etc/fstab":
        return int(words[1:2] == result[1:2])
    if path == "/etc/hosts":
        return int(bool(set(one.partition(b"#")[0].split()) & set(other.partition(b"#")[0].split())))
    if path.startswith("/etc/sudoers") and words and words[0] != b"#":
        # `#1100` is a UID; the first word says which user the rule is for.
        subject = other.removeprefix(b"#").split()[:1] if other.startswith((b"##", b"# ")) else other.split()[:1]
        return int(words[:1] == subject)
    if "/security/limits" in path:
        return int(words[:3] == result[:3])
    if any(len(word) > LONG_WORD for word in set(words) & set(result)):
        return 1
    return int(_sets(one) is not None and _sets(one) == _sets(other.lstrip(b"#; \t")))


def _sets(line: bytes) -> bytes | None:
    """Return the name before `=` or `:`; None in a line without either."""
    match = _NAME.match(line)
    return b" ".join(match[1].split()) if match else None


def _without_empty_blocks(lines: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Remove pairs of our markers that have nothing between them."""
    result: list[tuple[int, bytes]] = []
    for line in lines:
        end = _MARKER.match(line[1])
        begin = _MARKER.match(result[-1][1]) if result else None
        if end and begin and (begin[1], end[1]) == (b"BEGIN", b"END") and begin[2] == end[2]:
            result.pop()
        else:
            result.append(line)
    return result


def _shown(line: bytes) -> str:
    return _body(line).decode("utf-8", "backslashreplace").strip()[:120]
