"""/etc/fstab: its lines as mount reads them, our block in it, and faults that findmnt accepts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from bai_wizard.core.machine import NodeView
from bai_wizard.core.parse import decode_octal, fstab_name, fstab_options, fstab_word
from bai_wizard.pages.storage.options import kind_of, name_of, split, type_names, type_of
from bai_wizard.steps.files import Markers, find_blocks, put_block

FSTAB = "/etc/fstab"
FSTAB_MARKERS = Markers("# BEGIN bai-wizard", "# END bai-wizard")
# A number as strtol(3) reads it, which skips more kinds of blanks than separate fields.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)(?![^ \t])")
_OPTIONS = re.compile(r"([ \t]*(?:[^ \t]+[ \t]+){2}[^ \t]+)([ \t]*)([^ \t]*)(.*)", re.DOTALL)


class FstabEntry(Struct, frozen=True):
    """An fstab line with unescaped fields. `number` is the 1-based line number; 0 if it is not in the file yet."""

    source: str
    target: str
    fstype: str
    options: str = "defaults"
    freq: str = "0"
    passno: str = "0"
    number: int = 0

    def render(self) -> str:
        """Return the line as written, with spaces in names escaped."""
        names = (fstab_name(self.source), fstab_name(self.target))
        options = fstab_options(split(self.options))
        return " ".join((*names, fstab_word(self.fstype), options, fstab_word(self.freq), fstab_word(self.passno)))

    def has(self, option: str) -> bool:
        """Whether an option of that name is given, with or without a value."""
        return option in map(name_of, split(self.options))


def fstab_text(view: NodeView) -> str:
    """Return the text of fstab, or an empty string; bytes that are not UTF-8 are kept as surrogates."""
    entry = view.entry(FSTAB)
    return (entry.content or b"").decode("utf-8", "surrogateescape") if entry else ""


def fields(line: str) -> list[str]:
    """Split a line at spaces and tabs; no other character separates fields."""
    return [field for field in re.split("[ \t]+", line) if field]


def read_line(line: str, number: int = 0) -> FstabEntry | str | None:
    """Read a line as mount does (libmount): an entry, why mount ignores the line, or None for blanks and comments."""
    line = line.removesuffix("\r").strip(" \t")
    if not line or line.startswith("#"):
        return None
    if "\0" in line:
        return "contains a NUL, so mount ignores it"
    raw = re.split("[ \t]+", line, maxsplit=4)
    if len(raw) < 3:
        return f"has {len(raw)} fields; there must be 4 to 6"
    numbers = _numbers(raw[4]) if raw[4:] else ("0", "0")
    if numbers is None:
        return "is ignored by mount: the fifth and sixth fields must be numbers"
    source, target, fstype, options = (decode_octal(field).partition("\0")[0] for field in [*raw, ""][:4])
    target = re.sub("(?<=.)/+$", "", re.sub("/+", "/", target))
    return FstabEntry(source, target, fstype, options if raw[3:] else "defaults", *numbers, number)


def _numbers(text: str) -> tuple[str, str] | None:
    found = _NUMBER.match(text)
    rest = text[found.end() :].lstrip(" \t") if found else ""
    second = _NUMBER.match(rest or "0")
    return (found[1], second[1]) if found and second else None


def parse_fstab_line(line: str, number: int = 0) -> FstabEntry | None:
    """Return the entry of a line; None for a line that mount ignores."""
    result = read_line(line, number)
    return result if isinstance(result, FstabEntry) else None


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    *lines, last = text.split("\n")
    # mount reads an unfinished last line up to a NUL, and ignores any other line with one.
    return enumerate((*lines, last.partition("\0")[0]), start=1)


def parse_fstab(text: str) -> tuple[FstabEntry, ...]:
    """Return every line that mounts something."""
    return tuple(entry for number, line in _numbered(text) if (entry := parse_fstab_line(line, number)))


def _own_numbers(text: str) -> frozenset[int]:
    blocks = find_blocks(text, FSTAB_MARKERS)
    return frozenset(number for block in blocks for number in range(block.first, block.last + 1))


def foreign_entries(text: str) -> tuple[FstabEntry, ...]:
    """Return the lines outside our block. Raises BlockDamaged."""
    own = _own_numbers(text)
    return tuple(entry for entry in parse_fstab(text) if entry.number not in own)


def own_entries(text: str) -> tuple[FstabEntry, ...]:
    """Return the lines in our block. Raises BlockDamaged."""
    own = _own_numbers(text)
    return tuple(entry for entry in parse_fstab(text) if entry.number in own)


def put_entry(text: str, line: str, target: str) -> str:
    """Return `text` with `line` in our block, replacing one for the same mount point. Raises BlockDamaged."""
    kept: list[str] = []
    placed = False
    for block in find_blocks(text, FSTAB_MARKERS):
        for old in block.lines:
            entry = parse_fstab_line(old)
            if entry is None or entry.target != target:
                kept.append(old)
            elif not placed:
                kept.append(line)
                placed = True
    return put_block(text, FSTAB_MARKERS, kept if placed else [*kept, line])


def fstab_faults(text: str) -> tuple[str, ...]:
    """Return lines that mount ignores, that systemd reads in another way, and mount points that are wrong."""
    result: list[str] = []
    seen: dict[str, int] = {}
    for number, line in _numbered(text):
        entry = read_line(line, number)
        if isinstance(entry, str):
            result.append(f"line {number} {entry}")
        if not isinstance(entry, FstabEntry):
            continue
        if line.endswith("\r") and len(fields(line)) < 5:
            result.append(f"line {number} ends with a carriage return: systemd reads it as part of the last field")
        target = entry.target
        if not target.startswith("/") and target != "none":
            result.append(f"line {number}: the mount point {target} is not an absolute path")
        if target.startswith("/") and target in seen and entry.fstype != "swap":
            result.append(
                f"line {number} has the same mount point as line {seen[target]}, {target}: the later one hides it"
            )
        seen.setdefault(target, number)
    return tuple(result)


def with_options(line: str, change: Callable[[tuple[str, ...]], Iterable[str]]) -> str:
    """Return a line with its options changed, as they are written; every other byte of the line stays."""
    end = "\r" if line.endswith("\r") else ""
    head, gap, options, tail = _OPTIONS.fullmatch(line.removesuffix("\r")).groups()  # type: ignore[union-attr]
    return f"{head}{gap or ' '}{','.join(change(split(options)))}{tail}{end}"


def path_unit(path: str, kind: str) -> str:
    """Return the unit name that systemd derives from a mount point, as in `systemd-escape --path --suffix`."""
    parts = [part for part in path.split("/") if part]
    name = "-".join("".join(_unit_letter(character) for character in part) for part in parts) or "-"
    if name.startswith("."):
        name = f"\\x2e{name[1:]}"
    return f"{name}.{kind}"


def _unit_letter(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in ":_."):
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def helper_of(volume: object) -> str:
    """Return the program that mounts this volume; empty if the kernel needs none."""
    kind = getattr(volume, "type", "")
    if kind == "fstab":
        entry = parse_fstab_line(getattr(volume, "line", ""))
        kind = kind_of(entry.fstype) if entry else "other"
    return type_of(kind).helper if kind != "other" else ""


def packages_of(volume: object) -> tuple[str, ...]:
    """Return the distribution's packages that contain that program."""
    helper = helper_of(volume)
    result = next((known for known in map(type_of, type_names()) if helper and known.helper == helper), None)
    return result.packages if result else ()
