"""The layout of our files: our part with its head, then lines of others, which stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SIGNATURE = "# Written by bai-wizard"
DIVIDER = "# ---- Below: lines that are not bai-wizard's; it leaves them alone. ----"


@dataclass(frozen=True)
class OwnFile:
    """A file of ours as found: our part, and what lies below the divider. `is_ours` is false for a handmade one."""

    is_ours: bool
    upper: tuple[str, ...]
    lower: tuple[str, ...]


def read(text: str | None) -> OwnFile:
    """Splits a file's text; None stands for a file that does not exist."""
    lines = (text or "").rstrip("\n").split("\n") if text and text.strip() else []
    if DIVIDER in lines:
        at = lines.index(DIVIDER)
        return OwnFile(True, tuple(lines[:at]), tuple(lines[at + 1 :]))
    is_ours = bool(lines) and lines[0].startswith(SIGNATURE)
    return OwnFile(is_ours, tuple(lines), ())


def foreign(found: OwnFile, is_setting: Callable[[str], bool], is_managed: Callable[[str], bool]) -> tuple[str, ...]:
    """Lines of others: all below the divider, and settings above it that we do not manage."""
    upper = [line for line in found.upper if is_setting(line) and not is_managed(line)]
    lower = [line for line in found.lower if not (is_setting(line) and is_managed(line))]
    return (*upper, *lower)


def write(head: Sequence[str], body: Sequence[str], others: Sequence[str]) -> str:
    """The text of a file of ours."""
    lines = [f"{SIGNATURE} {head[0]}", *(f"# {line}" for line in head[1:]), *body]
    if others:
        lines += ["", DIVIDER, *others]
    return "\n".join(lines) + "\n"
