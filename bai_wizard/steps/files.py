"""Files and directories: written as a whole, marked blocks in files of others, single lines, drop-ins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from posixpath import dirname
from typing import ClassVar

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown, StepBlocked, WizardError
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope, above
from bai_wizard.core.paths import holder, parents, refuse_taken, resolved
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import file_key
from bai_wizard.core.step import Step
from bai_wizard.resources.files import MakeDirectory, RemovePath, Validator, WriteFile
from bai_wizard.steps.accounts import ids_of


class BlockDamaged(WizardError):
    """The markers are not paired, so our lines cannot be identified."""


class Markers(Struct, frozen=True):
    """The first and last line of a block; both are ours."""

    begin: str
    end: str


class Block(Struct, frozen=True):
    """One block found in a file. `first` and `last` are 1-based and include the markers; `lines` excludes them."""

    first: int
    last: int
    lines: tuple[str, ...]


def find_blocks(text: str, markers: Markers) -> tuple[Block, ...]:
    """Return all blocks in order. Raises BlockDamaged for an unpaired marker, naming its line."""
    blocks: list[Block] = []
    begun = 0
    inside: list[str] = []
    for number, line in enumerate(_lines(text), start=1):
        word = line.strip()
        if word == markers.begin:
            if begun:
                raise BlockDamaged(
                    f"line {number} starts the block that line {begun} already started: {markers.begin}"
                )
            begun, inside = number, []
        elif word == markers.end:
            if not begun:
                raise BlockDamaged(f"line {number} ends a block that was never started: {markers.end}")
            blocks.append(Block(begun, number, tuple(inside)))
            begun = 0
        elif begun:
            inside.append(line.rstrip("\r\n"))
    if begun:
        raise BlockDamaged(f"line {begun} starts a block that is never closed: {markers.begin}")
    return tuple(blocks)


def outside(text: str, markers: Markers) -> tuple[tuple[int, str], ...]:
    """Return the lines outside our blocks with their line numbers. Raises BlockDamaged."""
    ours = _numbers(find_blocks(text, markers))
    return tuple(
        (number, line.rstrip("\r\n")) for number, line in enumerate(_lines(text), start=1) if number not in ours
    )


def put_block(text: str, markers: Markers, lines: Sequence[str]) -> str:
    """Return `text` with exactly one block containing `lines`: in place of the first block, or at the end.

    If the file does not end with a newline, one is added before the block. Raises BlockDamaged.
    """
    wanted = [f"{line}\n" for line in (markers.begin, *lines, markers.end)]
    blocks = find_blocks(text, markers)
    if not blocks:
        separator = "" if not text or text.endswith("\n") else "\n"
        return text + separator + "".join(wanted)
    result: list[str] = []
    ours = _numbers(blocks)
    for number, line in enumerate(_lines(text), start=1):
        if number == blocks[0].first:
            result += wanted
        if number not in ours:
            result.append(line)
    return "".join(result)


def drop_block(text: str, markers: Markers) -> str:
    """Return `text` without our blocks. Raises BlockDamaged."""
    ours = _numbers(find_blocks(text, markers))
    return "".join(line for number, line in enumerate(_lines(text), start=1) if number not in ours)


def _numbers(blocks: Sequence[Block]) -> set[int]:
    return {number for block in blocks for number in range(block.first, block.last + 1)}


def _lines(text: str) -> list[str]:
    # Not str.splitlines: it also splits at form feeds and other characters that are not line ends in these files.
    chunks = text.split("\n")
    return [f"{chunk}\n" for chunk in chunks[:-1]] + ([chunks[-1]] if chunks[-1] else [])


class Directory(Step, frozen=True, kw_only=True):
    """Create `path` with owner and mode, and missing parents owned by root (0755). Its content keeps its owner."""

    kind: ClassVar[str] = "directory"
    path: str
    owner: str = "root"
    mode: int = 0o755

    def describe(self) -> str:
        return f"{self.path}/ owned by {self.owner}, mode {self.mode:04o}"

    def scope(self) -> tuple[Scope, ...]:
        return (*above(self.path), file_key(self.path))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        missing = takewhile(lambda parent: view.entry(parent) is None, parents(self.path))
        for parent in reversed(tuple(missing)):
            yield MakeDirectory(parent)
        existing = view.entry(self.path)
        if existing is not None and existing.type != "directory":
            raise StepBlocked(f"{self.path} is a {existing.type}, not a directory")
        uid, gid = ids_of(view, self.owner)
        if uid != 0:
            self._refuse(view)
            if existing is not None:
                self._refuse_unwritable(view)
        yield MakeDirectory(self.path, uid, gid, self.mode)

    def _refuse(self, view: NodeView) -> None:
        """Raise StepBlocked if ownership of the directory must not be given away."""
        refuse_taken(view, self.path, self.owner, "path")

    def _refuse_unwritable(self, view: NodeView) -> None:
        """Raise StepBlocked if its owner could not write there, whatever the mode is."""
        leads = resolved(view, self.path)
        around = holder(view, leads)
        if around is not None and "ro" in around[1].options.split(","):
            raise StepBlocked(
                f"the file system at {around[0]}, which holds {self.path}, is mounted read-only. Find out why (the "
                f"kernel does so on errors of a disk: `journalctl -k`), then run `mount -o remount,rw {around[0]}`"
            )
        with suppress(StateUnknown):
            if view.immutable(leads):
                raise StepBlocked(
                    f"{self.path} has the immutable attribute, so no one can write there: chattr -i {leads}"
                )


def missing_parent(view: NodeView, path: str) -> Iterator[Operation]:
    """Create the parent directory of `path`, owned by root (0755), if missing; an existing one is unchanged."""
    parent = dirname(path)
    if view.entry(parent) is None:
        yield from Directory(id="parent", path=parent).operations(view)


class PrivateFile(Step, frozen=True, kw_only=True):
    """Write `text` to a file that only root can read (0600) and that no plan shows; empty text removes the file."""

    kind: ClassVar[str] = "private-file"
    path: str
    text: Secret
    why: str

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        existing = view.entry(self.path)
        if existing is not None and existing.type != "file":
            raise StepBlocked(f"{self.path} is a {existing.type}; move or remove it")
        if self.text:
            yield WriteFile(self.path, self.text.reveal().encode(), 0, 0, 0o600, secret=True)
        else:
            yield RemovePath(self.path, secret=True)


class DropIn(Step, frozen=True, kw_only=True):
    """Write `text` to `path`. A symbolic link at that path is neither followed nor replaced: it blocks."""

    kind: ClassVar[str] = "drop-in"
    path: str
    text: str
    why: str
    owner: str = "root"
    mode: int = 0o644
    validator: Validator = ""

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        existing = view.entry(self.path)
        if existing is not None and existing.type != "file":
            raise StepBlocked(f"{self.path} is a {existing.type}; move or remove it")
        uid, gid = ids_of(view, self.owner)
        yield WriteFile(self.path, self.text.encode(), uid, gid, self.mode, self.validator)


class OptionalDropIn(DropIn, frozen=True, kw_only=True):
    """Write `text`; without text the file is removed. The file name is reserved for the wizard."""

    kind: ClassVar[str] = "removable-drop-in"

    def scope(self) -> tuple[Scope, ...]:
        return (*super().scope(), *above(self.path))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if not self.text:
            yield RemovePath(self.path)
            return
        yield from missing_parent(view, self.path)
        yield from super().operations(view)


class EditBlock(Step, frozen=True, kw_only=True):
    """Put `lines` between the markers; without lines the block is removed. Owner and mode stay unchanged.

    `create` says whether a missing file may be created; otherwise its absence blocks.
    """

    kind: ClassVar[str] = "edit-block"
    path: str
    begin: str
    end: str
    lines: tuple[str, ...]
    why: str
    validator: Validator = ""
    create: bool = False

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        text = read_text(view, self.path)
        if text is None:
            if not self.lines:
                return
            if not self.create:
                raise StepBlocked(f"{self.path} does not exist on this node")
        markers = Markers(self.begin, self.end)
        try:
            new = put_block(text or "", markers, self.lines) if self.lines else drop_block(text or "", markers)
        except BlockDamaged as error:
            raise StepBlocked(f"{self.path}: {error}. {REPAIR_BY_HAND}") from error
        yield rewrite(view, self.path, new, self.validator)


REPAIR_BY_HAND = "Restore the two marker lines around the wizard's lines, or delete the stray one; then plan again."


def read_text(view: NodeView, path: str) -> str | None:
    """Return a file's text, or None if it does not exist; invalid UTF-8 survives a later `rewrite`.

    Raises StepBlocked if the path is not a plain file: a link is not followed.
    """
    entry = view.entry(path)
    if entry is None:
        return None
    if entry.type != "file" or entry.content is None:
        what = f"a link to {entry.target}" if entry.type == "link" else f"a {entry.type}"
        raise StepBlocked(f"{path} is {what}, not a file; the wizard does not follow it")
    return entry.content.decode("utf-8", "surrogateescape")


def rewrite(view: NodeView, path: str, text: str, validator: Validator = "") -> WriteFile:
    """Return the operation that gives a file this text, keeping owner and mode; a new file gets root and 0644."""
    existing = view.entry(path)
    content = text.encode("utf-8", "surrogateescape")
    if existing is None:
        return WriteFile(path, content, validator=validator)
    return WriteFile(path, content, existing.uid, existing.gid, existing.mode, validator)


class EditLines(Step, frozen=True, kw_only=True):
    """Put `new` in place of each line equal to `old`, ignoring surrounding spaces; all others are preserved.

    `target` is where the result is written: a file of a package is overridden by one of the same name in /etc.
    """

    kind: ClassVar[str] = "edit-lines"
    path: str
    replacements: tuple[tuple[str, str], ...]
    why: str
    target: str = ""

    def describe(self) -> str:
        return f"{self.target or self.path}: {self.why}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.target or self.path),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        target = self.target or self.path
        entry = view.entry(target) or view.entry(self.path)
        if entry is None or entry.content is None:
            raise StepBlocked(f"{self.path} is no longer a file")
        wanted = {old.strip(): new for old, new in self.replacements}
        lines = entry.content.decode("utf-8", "surrogateescape").split("\n")
        text = "\n".join(wanted.get(line.strip(), line) for line in lines)
        yield WriteFile(target, text.encode("utf-8", "surrogateescape"), entry.uid, entry.gid, entry.mode)
