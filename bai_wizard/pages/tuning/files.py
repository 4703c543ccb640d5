"""The layout of the wizard's own files of the Tuning page, and edits of other files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from bai_wizard.steps.files import EditLines

# Markers of the format, never translated: the prefix of the first line, and the divider after our part.
SIGNATURE = "# Written by bai-wizard"
DIVIDER = "# ---- Below: lines that are not bai-wizard's; it leaves them alone. ----"


class OwnFile(Struct, frozen=True):
    """The current content of one of our files: our part, and the lines below the divider. `is_ours`: we wrote it."""

    is_ours: bool
    upper: tuple[str, ...]
    lower: tuple[str, ...]


def read_own_file(text: str | None) -> OwnFile:
    """Split a file's text; None means that the file does not exist."""
    lines = (text or "").rstrip("\n").split("\n") if text and text.strip() else []
    if DIVIDER in lines:
        at = lines.index(DIVIDER)
        return OwnFile(True, tuple(lines[:at]), tuple(lines[at + 1 :]))
    is_ours = bool(lines) and lines[0].startswith(SIGNATURE)
    return OwnFile(is_ours, tuple(lines), ())


def lines_of_others(
    result: OwnFile, is_setting: Callable[[str], bool], is_managed: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return lines that are not ours: all below the divider, and settings above it that we do not manage."""
    upper = [line for line in result.upper if is_setting(line) and not is_managed(line)]
    lower = [line for line in result.lower if not (is_setting(line) and is_managed(line))]
    return (*upper, *lower)


def own_file_text(head: Sequence[str], body: Sequence[str], others: Sequence[str]) -> str:
    """Return the text of one of our files."""
    lines = [f"{SIGNATURE} {head[0]}", *(f"# {line}" for line in head[1:]), *body]
    if others:
        lines += ["", DIVIDER, *others]
    return "\n".join(lines) + "\n"


# The original values of the node, recorded as data in our own files: one comment line of JSON for each value.
#
# The line is in the file that it describes, so that both are written, restored and removed together. The comment for
# readers is a separate line that the wizard ignores: it may be reworded or translated.
#
#     #bai-wizard: {"key": "net.core.somaxconn", "before": "4096", "origin": "", "wanted": "1024", "kept": true}
#
# Version 0.1.0 wrote only the comments for readers. They are parsed only here, and only if a file has no data line;
# the next run writes the file with data.

MARK = "#bai-wizard: "


class RecordedParameter(Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel parameter. `before` is its value without us, None if that could not be determined.

    `origin` is the file that set it, or empty. `kept`: it is at least as good as `wanted` and was kept.
    """

    key: str
    before: str | None
    origin: str
    wanted: str
    kept: bool


class RecordedLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """A kept login limit that is higher without us; `before` and `wanted` are numbers as in limits.conf."""

    user: str
    sort: str
    item: str
    before: str
    origin: str
    wanted: str


T = TypeVar("T", RecordedParameter, RecordedLimit)


def line_of(entry: RecordedParameter | RecordedLimit) -> str:
    """Return the line that records `entry`."""
    return MARK + json.dumps(asdict(entry), ensure_ascii=True)


def recorded_parameters(lines: Iterable[str]) -> Iterator[tuple[int, RecordedParameter]]:
    """Yield the parameters recorded in our sysctl file, with the indexes of their lines."""
    return _entries(tuple(lines), RecordedParameter, _parameter_of_0_1_0)


def recorded_limits(lines: Iterable[str]) -> Iterator[tuple[int, RecordedLimit]]:
    """Yield the limits recorded in our limits file, with the indexes of their lines."""
    return _entries(tuple(lines), RecordedLimit, _limit_of_0_1_0)


def _entries(lines: tuple[str, ...], kind: type[T], older: Any) -> Iterator[tuple[int, T]]:
    has_data = any(line.startswith(MARK) for line in lines)
    for place, line in enumerate(lines):
        entry = (_decoded(line, kind) if line.startswith(MARK) else None) if has_data else older(line)
        if entry is not None:
            yield place, entry


def _decoded(line: str, kind: type[T]) -> T | None:
    """The entry of a line; None for a damaged line, which counts as missing."""
    try:
        return msgspec.json.decode(line.removeprefix(MARK), type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


_PARAMETER_0_1_0 = re.compile(
    r"# (?P<key>[\w./:@-]+): (?P<what>kept|was) (?P<before>.*?)(?: of (?P<origin>/\S+))? \([\w-]+: (?P<wanted>.*)\)$"
)
_LIMIT_0_1_0 = re.compile(
    r"# (?P<user>\S+) (?P<sort>hard|soft) (?P<item>\w+): kept (?P<before>\w+)(?: of (?P<origin>/\S+))?"
    r" \(wanted: (?P<wanted>\w+)\)$"
)


def _parameter_of_0_1_0(line: str) -> RecordedParameter | None:
    match = _PARAMETER_0_1_0.match(line)
    if match is None:
        return None
    before = {"nothing": "", "unknown": None}.get(match["before"], match["before"])
    wanted = match["wanted"].strip("\"'")
    return RecordedParameter(match["key"], before, match["origin"] or "", wanted, match["what"] == "kept")


def _limit_of_0_1_0(line: str) -> RecordedLimit | None:
    match = _LIMIT_0_1_0.match(line)
    if match is None:
        return None
    return RecordedLimit(
        match["user"], match["sort"], match["item"], match["before"], match["origin"] or "", match["wanted"]
    )


def edits(
    id: str, lines: Iterable[tuple[str, str, str]], why: str, targets: dict[str, str] | None = None
) -> tuple[EditLines, ...]:
    """Return steps that replace lines: (path, old, new), one step per file; `id` is the id of the check."""
    by_path: dict[str, list[tuple[str, str]]] = {}
    for path, old, new in lines:
        by_path.setdefault(path, []).append((old, new))
    return tuple(
        EditLines(
            id=f"{id}.{number}", path=path, replacements=tuple(pairs), why=why, target=(targets or {}).get(path, "")
        )
        for number, (path, pairs) in enumerate(by_path.items(), start=1)
    )


def commented(line: str) -> str:
    """Comment out a line; its text stays readable."""
    return f"# bai-wizard: {line.strip()}"
