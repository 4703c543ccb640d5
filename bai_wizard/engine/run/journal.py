"""The write-ahead journal: what was about to be done, and that it was done, each synced before going on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.primitives import BasePrimitive, Primitive, closed_set
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unpredictable
from bai_wizard.engine.run.backups import Backups
from bai_wizard.engine.run.durable import RESERVE, append_line, read_lines, recording, sync_directory, with_reserve

Fate = Literal["open", "done", "failed", "void", "undone", "left"]
UNKNOWN = "unpredictable"


@dataclass(frozen=True)
class Entry:
    """One primitive of a run. `after` is what was intended; once settled, what was really there.

    `fate`: open (an intent without an end), done, failed (its end state is in `after`), void (it never happened),
    undone (taken back), left (undo left it alone).
    """

    number: int
    step: str
    primitive: Primitive
    before: States
    after: Mapping[Key, State | Unpredictable | None]
    inverse: Primitive | None
    fate: Fate = "open"


class Journal:
    """Appends to `journal.jsonl` and reads it back. Contents and hashes lie in the backups. Threads may share it."""

    def __init__(self, path: Path, backups: Backups) -> None:
        self._path = path
        self._reserve = path.with_name(RESERVE)
        self._codec = backups.codec
        self._descriptor: int | None = None
        self._lock = Lock()
        self._next = 1 + max((record["n"] for record in read_lines(path) if "n" in record), default=0)

    def intent(self, step: str, primitive: BasePrimitive, before: States, inverse: BasePrimitive | None) -> int:
        """Writes what is about to be done, with its way back; returns its number once that is on disk."""

        def write() -> None:
            self._append(
                {
                    "n": self._next,
                    "what": "intent",
                    "step": step,
                    "primitive": self._codec.encode(primitive),
                    "before": self._states(before),
                    "after": self._states(primitive.after(before)),
                    "inverse": self._codec.encode(inverse),
                }
            )

        with (
            self._lock,
            recording(self._path, StepFailed, "nothing was changed for this; make room and run `resume`"),
        ):
            with_reserve(self._reserve, write)
            self._next += 1
            return self._next - 1

    def settle(self, number: int, fate: Fate, after: States | None = None) -> None:
        """Writes how an intent ended."""

        def write() -> None:
            told = {} if after is None else {"after": self._states(after)}
            self._append({"n": number, "what": fate, **told})

        with (
            self._lock,
            recording(self._path, StepFailed, "how the last change ended is not written down; `resume` finds it out"),
        ):
            with_reserve(self._reserve, write)

    def last_number(self) -> int:
        """The number of the newest intent; 0 before the first."""
        return self._next - 1

    def entries(self) -> list[Entry]:
        """Every primitive of the run, oldest first, with its fate."""
        found: dict[int, Entry] = {}
        primitives = closed_set()
        for record in read_lines(self._path):
            number = record["n"]
            if record["what"] == "intent":
                found[number] = Entry(
                    number,
                    record["step"],
                    self._codec.decode(primitives, record["primitive"]),
                    {key: state for key, state in self._read(record["before"]).items() if _plain(state)},
                    self._read(record["after"]),
                    self._codec.decode(primitives | None, record["inverse"]),
                )
            else:
                after = self._read(record["after"]) if "after" in record else found[number].after
                found[number] = replace(found[number], fate=record["what"], after=after)
        return list(found.values())

    def close(self) -> None:
        """Closes the file; a later append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, record: dict[str, Any]) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        line = json.dumps({"t": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}, ensure_ascii=False)
        append_line(self._descriptor, line.encode() + b"\n")
        os.fsync(self._descriptor)

    def _open(self) -> int:
        """Opens for appending and cuts a torn last line off, so that what follows is readable."""
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        data = self._path.read_bytes()
        os.ftruncate(descriptor, data.rfind(b"\n") + 1)
        os.lseek(descriptor, 0, os.SEEK_END)
        if is_new:
            sync_directory(self._path.parent)
        return descriptor

    def _states(self, states: Mapping[Key, State | Unpredictable | None]) -> list[list[Any]]:
        return [
            [key.sort, key.name, UNKNOWN if isinstance(state, Unpredictable) else self._codec.encode(state)]
            for key, state in states.items()
        ]

    def _read(self, rows: list[list[Any]]) -> dict[Key, Any]:
        return {
            Key(sort, name): UNPREDICTABLE if state == UNKNOWN else self._codec.decode(State | None, state)
            for sort, name, state in rows
        }


def _plain(state: object) -> bool:
    return not isinstance(state, Unpredictable)
