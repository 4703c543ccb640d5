"""/etc/fstab as text: its lines, our block in it, and what is wrong with a line that findmnt takes for right."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bai_wizard.core.blocks import Markers, find_blocks, outside, put_block

FSTAB = "/etc/fstab"
MARKERS = Markers("# BEGIN bai-wizard", "# END bai-wizard")
_ESCAPES = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134", "#": "\\043"}
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class FstabEntry:
    """A line of fstab, its fields unescaped. `number` counts lines from 1; 0 for one that stands nowhere yet."""

    source: str
    target: str
    fstype: str
    options: str = "defaults"
    freq: str = "0"
    passno: str = "0"
    number: int = 0

    def render(self) -> str:
        """The line as it is written, blanks in names escaped."""
        names = (escape(self.source), escape(self.target))
        return " ".join((*names, self.fstype, self.options, self.freq, self.passno))

    def has(self, option: str) -> bool:
        """True when an option of that name is given, with or without a value."""
        return any(item.partition("=")[0] == option for item in self.options.split(","))


def escape(name: str) -> str:
    """A name as a field of fstab."""
    return "".join(_ESCAPES.get(letter, letter) for letter in name)


def unescape(field: str) -> str:
    """A field of fstab as a name."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def parse_line(text: str, number: int = 0) -> FstabEntry | None:
    """The line's fields; None for blank lines, comments and lines of fewer than three fields."""
    words = text.split()
    if len(words) < 3 or words[0].startswith("#"):
        return None
    options = words[3] if len(words) > 3 else "defaults"
    freq, passno = (*words[4:6], "0", "0")[:2] if len(words) > 4 else ("0", "0")
    target = unescape(words[1])
    stripped = target.rstrip("/") or "/"
    return FstabEntry(unescape(words[0]), stripped, words[2], options, freq, passno, number)


def parse(text: str) -> tuple[FstabEntry, ...]:
    """Every line that mounts something."""
    lines = enumerate(text.split("\n"), start=1)
    return tuple(entry for number, line in lines if (entry := parse_line(line, number)))


def foreign_entries(text: str) -> tuple[FstabEntry, ...]:
    """The lines outside our block. Raises BlockDamaged."""
    return tuple(entry for number, line in outside(text, MARKERS) if (entry := parse_line(line, number)))


def own_entries(text: str) -> tuple[FstabEntry, ...]:
    """The lines in our block. Raises BlockDamaged."""
    lines = [
        (block.first + place, line)
        for block in find_blocks(text, MARKERS)
        for place, line in enumerate(block.lines, start=1)
    ]
    return tuple(entry for number, line in lines if (entry := parse_line(line, number)))


def put_entry(text: str, line: str, target: str) -> str:
    """`text` with `line` in our block, in the place of the one for the same mount point. Raises BlockDamaged."""
    kept: list[str] = []
    placed = False
    for block in find_blocks(text, MARKERS):
        for old in block.lines:
            entry = parse_line(old)
            if entry is None or entry.target != target:
                kept.append(old)
            elif not placed:
                kept.append(line)
                placed = True
    return put_block(text, MARKERS, kept if placed else [*kept, line])


def faults(text: str) -> tuple[str, ...]:
    """What is wrong with lines of fstab, each with its number: fields, ends of lines, mount points given twice."""
    found: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if line.endswith("\r"):
            found.append(f"line {number} ends with a carriage return, which becomes part of its last field")
        if not 4 <= len(words) <= 6 and not (len(words) > 6 and words[6].startswith("#")):
            found.append(f"line {number} has {len(words)} fields; there must be 4 to 6")
            continue
        target = unescape(words[1]).rstrip("/") or "/"
        if not target.startswith("/") and target != "none":
            found.append(f"line {number}: the mount point {target} is no absolute path")
        if target.startswith("/") and target in seen and words[2] != "swap":
            found.append(
                f"line {number} mounts at {target} as line {seen[target]} does; the later one hides the other"
            )
        seen.setdefault(target, number)
        if len(words) > 4 and not all(word.isdigit() for word in words[4:6] if not word.startswith("#")):
            found.append(f"line {number}: the fifth and sixth field must be numbers")
    return tuple(found)


def path_unit(path: str, sort: str) -> str:
    """The name of the unit that systemd makes of a mount point, as `systemd-escape --path --suffix` gives it."""
    parts = [part for part in path.split("/") if part]
    name = "-".join("".join(_unit_letter(letter) for letter in part) for part in parts) or "-"
    if name.startswith("."):
        name = f"\\x2e{name[1:]}"
    return f"{name}.{sort}"


def _unit_letter(letter: str) -> str:
    if letter.isascii() and (letter.isalnum() or letter in ":_."):
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode())
