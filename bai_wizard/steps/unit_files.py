"""What systemd will read for a unit, worked out from its files (systemd.unit(5)), so true at the next boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bai_wizard.core.view import NodeView

DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)


@dataclass(frozen=True)
class UnitSetting:
    """One assignment of a unit's file or of a drop-in."""

    path: str
    value: str


def unit_file(view: NodeView, unit: str) -> str | None:
    """The unit's own file; None where the node has none."""
    for directory in DIRECTORIES:
        if view.entry(f"{directory}/{unit}") is not None:
            return f"{directory}/{unit}"
    return None


def drop_ins(view: NodeView, unit: str) -> tuple[str, ...]:
    """The unit's drop-ins in the order in which they are read; of one name the first directory's counts."""
    sort = unit.rpartition(".")[2]
    chosen: dict[str, str] = {}
    for owner in (unit, sort):
        for directory in DIRECTORIES:
            for name in view.names(f"{directory}/{owner}.d"):
                if name.endswith(".conf"):
                    chosen.setdefault(name, f"{directory}/{owner}.d/{name}")
    return tuple(chosen[name] for name in sorted(chosen, key=str.encode))


def settings(view: NodeView, unit: str, section: str, name: str) -> tuple[UnitSetting, ...]:
    """Every assignment of one setting in the order in which it is read: the last one counts."""
    own = unit_file(view, unit)
    found = []
    for path in (*((own,) if own else ()), *drop_ins(view, unit)):
        entry = view.entry(path)
        if entry is not None and entry.type == "link":
            # An alias or a mask; what it points at is read under its own name, or is nothing.
            continue
        text = entry.content.decode("utf-8", "replace") if entry is not None and entry.content else ""
        found += [UnitSetting(path, value) for value in _values(text, section, name)]
    return tuple(found)


def _values(text: str, section: str, name: str) -> list[str]:
    here = ""
    found = []
    for line in _lines(text):
        if line.startswith("[") and line.endswith("]"):
            here = line[1:-1]
        elif here == section:
            key, equals, value = line.partition("=")
            if equals and key.strip() == name:
                found.append(value.strip())
    return found


def _lines(text: str) -> Iterator[str]:
    """The lines as they count: comments left out, those that end in a backslash joined with the next one."""
    held = ""
    for line in text.split("\n"):
        if line.strip().startswith(("#", ";")):
            continue
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        yield held
        held = ""
    yield held
