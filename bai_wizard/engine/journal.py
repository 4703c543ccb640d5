"""The write-ahead journal of a run, with its backups."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.codec import Codec
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unpredictable
from bai_wizard.engine.durable import (
    MALFORMED,
    RESERVE,
    append_line,
    last_line_end,
    read_bytes,
    recording,
    with_reserve,
    write_durably,
)
from bai_wizard.engine.records import MARKS, Record, Records, line_of, read_records, reverted, write_count
from bai_wizard.node.regular import sync_directory
from bai_wizard.resources import load_operations

DIGEST = re.compile(r"[0-9a-f]{64}")


class Backups:
    """A directory of blobs, and the codec that stores bytes and secrets there instead of in the journal."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.codec = Codec(
            encode_bytes=self._keep,
            decode_bytes=self._get,
            write_secret=lambda secret: self._keep(secret.reveal().encode()),
            read_secret=lambda name: Secret(self._get(name).decode()),
        )

    def _keep(self, data: bytes) -> str:
        from hashlib import sha256

        digest = sha256(data).hexdigest()
        path = self._directory / digest
        if not path.exists():
            write_durably(path, data)
        return f"sha256:{digest}"

    def _get(self, name: str) -> bytes:
        """Raise ValueError if a backup is missing or its content does not match its name."""
        from hashlib import sha256

        digest = name.removeprefix("sha256:")
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"{name[:80]!r} is not the name of a backup")
        try:
            data = read_bytes(self._directory / digest)
        except FileNotFoundError as error:
            raise ValueError(f"backup {digest} is missing") from error
        if sha256(data).hexdigest() != digest:
            raise ValueError(f"backup {digest} is damaged")
        return data


Status = Literal["open", "done", "failed", "void", "undone", "left"]
UNKNOWN = "unpredictable"


class Entry(Struct, frozen=True):
    """One operation of a run. `after` is the intended state; once resolved, the actual one.

    `status`: open (an intent without an end), done, failed (its final state is in `after`), void (it never happened),
    undone, left (undo did not change it).
    """

    number: int
    step: str
    operation: Operation
    before: States
    after: Mapping[Key, State | Unpredictable | None]
    inverse: Operation | None
    status: Status = "open"


class Contents(Struct, frozen=True):
    """The readable part of a journal: complete entries, oldest first, and messages on what is damaged or missing.

    An entry is omitted if any of its records or backups is damaged in a way that matters for undoing it.
    """

    entries: tuple[Entry, ...]
    damages: tuple[str, ...]


class Journal:
    """Append to `journal.jsonl` and read it. Contents and hashes are stored in the backups. Thread-safe."""

    def __init__(self, path: Path, backups: Backups) -> None:
        self._path = path
        self._reserve = path.with_name(RESERVE)
        self._codec = backups.codec
        self._descriptor: int | None = None
        self._lock = Lock()
        self._read_on()

    def _read_on(self) -> None:
        """Determine where the next record goes."""
        records = read_records(self._path)
        self._next, self._seq = records.next_n, records.next_seq
        self._has_sums = records.has_sums or not records.lines
        self._lines, self._size, self._digest = records.lines, records.size, records.digest

    def intent(self, step: str, operation: Operation, before: States, inverse: Operation | None) -> int:
        """Record an operation about to be applied, with its inverse; returns its number once that is on disk."""

        def write() -> None:
            self._append(
                {
                    "n": number,
                    "what": "intent",
                    "step": step,
                    "primitive": self._codec.encode(operation),
                    "before": self._states(before),
                    "after": self._states(operation.after(before)),
                    "inverse": self._codec.encode(inverse),
                }
            )

        with (
            self._lock,
            recording(self._path, StepFailed, "nothing was changed; free up space and run `bai-wizard resume`"),
        ):
            number = self._next
            with_reserve(self._reserve, write)
            self._next = max(self._next, number + 1)
            return number

    def finish(self, number: int, status: Status, after: States | None = None) -> None:
        """Record how an intent ended."""

        def write() -> None:
            result = {} if after is None else {"after": self._states(after)}
            self._append({"n": number, "what": status, **result})

        with (
            self._lock,
            recording(
                self._path,
                StepFailed,
                "the result of the last change was not recorded; run `bai-wizard resume`",
            ),
        ):
            with_reserve(self._reserve, write)

    def last_number(self) -> int:
        """The number of the newest intent; 0 before the first."""
        return self._next - 1

    def begin(self, identity: Mapping[str, object]) -> None:
        """Mark the beginning of an attempt and record the damage known so far. Raises OSError.

        `identity`: the fields of `run.json` that must survive its loss.
        """
        damages = list(read_records(self._path).damages)
        with self._lock:
            mark = {"n": 0, "what": "begin", **identity, **({"damaged": damages} if damages else {})}
            with_reserve(self._reserve, lambda: self._append(mark))

    def end(self, result: str) -> None:
        """Mark the end of an attempt, or of its undo. `result` is the SHA-256 of `result.json`. Raises OSError."""
        with self._lock:
            with_reserve(self._reserve, lambda: self._append({"n": 0, "what": "end", "result": result}))

    def seal(self) -> dict[str, Any]:
        """What `result.json` records of the journal: the number of its records, and their digest."""
        return {"records": self._lines, "digest": self._digest.hexdigest()}

    def entries(self) -> list[Entry]:
        """Every readable operation of the run, oldest first, with its status."""
        return list(self.contents().entries)

    def contents(self) -> Contents:
        """Everything that can be read, and what cannot. A damaged record or backup loses only its own entry."""
        records = read_records(self._path)
        entries: dict[int, Entry] = {}
        damages = list(records.damages)
        of_no_use = reverted(records.records)
        for record in records.records:
            number = record["n"]
            if record["what"] in MARKS or (record["what"] != "intent" and number not in entries):
                continue  # an end whose beginning is damaged, which has already been reported
            try:
                entries[number] = self._entry(record, entries.get(number))
            except (*MALFORMED, ValueError) as error:
                entries.pop(number, None)
                if number in of_no_use:
                    continue
                damages.append(f"{_subject(record, records)}: {str(error)[:200]}")
        certain = [_certain(each, records, damages) for each in entries.values()]
        return Contents(tuple(each for each in certain if each is not None), tuple(damages))

    def _entry(self, record: Record, begun: Entry | None) -> Entry:
        """Apply a record to the entry with its number. Raises ValueError and the other errors in `MALFORMED`."""
        if record["what"] == "intent":
            load_operations()
            return Entry(
                record["n"],
                record["step"],
                self._codec.decode(Operation, record["primitive"]),
                {key: state for key, state in self._read(record["before"]).items() if _plain(state)},
                self._read(record["after"]),
                self._codec.decode(Operation | None, record["inverse"]),
            )
        if begun is None or record["what"] not in get_args(Status):
            raise ValueError(f"{record['what']!r} is not the end of a change")
        after = self._read(record["after"]) if "after" in record else begun.after
        return replace(begun, status=record["what"], after=after)

    def close(self) -> None:
        """Close the file; a later append reopens it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, record: dict[str, Any]) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        if os.fstat(self._descriptor).st_size != self._size:  # another process has appended to it
            self._read_on()
        timed = {"t": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}
        if self._has_sums:
            timed["seq"] = self._seq
        line = line_of(timed, has_sum=self._has_sums)
        append_line(self._descriptor, line)
        self._seq += 1
        self._lines += 1
        self._size += len(line)
        self._digest.update(line)
        os.fsync(self._descriptor)
        if self._has_sums:
            write_count(self._path, timed["seq"])

    def _open(self) -> int:
        """Open for appending and cut off a torn last line, so that what follows is readable."""
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, last_line_end(descriptor))
        os.lseek(descriptor, 0, os.SEEK_END)
        if is_new:
            sync_directory(self._path.parent)
        return descriptor

    def _states(self, states: Mapping[Key, State | Unpredictable | None]) -> list[list[Any]]:
        return [
            [key.kind, key.name, UNKNOWN if isinstance(state, Unpredictable) else self._codec.encode(state)]
            for key, state in states.items()
        ]

    def _read(self, rows: list[list[Any]]) -> dict[Key, Any]:
        return {
            Key(sort, name): UNPREDICTABLE if state == UNKNOWN else self._codec.decode(State | None, state)
            for sort, name, state in rows
        }


def _certain(entry: Entry, result: Records, damages: list[str]) -> Entry | None:
    """The entry, unless how it ended is lost and cannot be inferred.

    If the end was recorded but is lost, undo compares the node with the intended state, as if the change had been
    made.
    The current state may be a later edit by others, which recovery, as for an interrupted change, would treat as
    ours.
    """
    if entry.status != "open" or not (result.is_cut_short or entry.number in result.lost):
        return entry
    if any(isinstance(state, Unpredictable) for state in entry.after.values()):
        names = ", ".join(key.name for key in entry.operation.keys())
        damages.append(f"{entry.step}: {names}: the record of this change's result is missing")
        return None
    return replace(entry, status="done")


def _subject(record: Record, result: Records) -> str:
    """The step of a record and what it changes, for a message."""
    intent = next((each for each in result.records if each["n"] == record["n"] and each["what"] == "intent"), record)
    rows = intent.get("before")
    first = rows[0] if isinstance(rows, list) and rows else None
    name = first[1] if isinstance(first, list) and len(first) > 1 else f"change {record['n']}"
    return f"{intent['step']}: {name}"


def _plain(state: object) -> bool:
    return not isinstance(state, Unpredictable)
