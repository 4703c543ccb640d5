"""Writes the events of a run; every line is redacted before it is on disk."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bai_wizard.core.event import Event, EventKind, Level, Outcome
from bai_wizard.core.secret import redact
from bai_wizard.engine.run.durable import append_line, read_lines


class Narrator:
    """Appends to `events.jsonl`. Not synced per line: the journal is the truth, this is the narrative."""

    def __init__(self, path: Path, run: str) -> None:
        self._run = run
        self._next = 1 + max((record.get("id", 0) for record in read_lines(path)), default=0)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._descriptor, path.read_bytes().rfind(b"\n") + 1)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def tell(
        self,
        kind: EventKind,
        text: str = "",
        *,
        step: str = "",
        parent: int | None = None,
        level: Level = "info",
        stream: str = "",
        outcome: Outcome | None = None,
        done: int | None = None,
        total: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> int:
        """Writes one event and returns its id."""
        event = Event(
            t=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            run=self._run,
            id=self._next,
            kind=kind,
            page=step.partition(".")[0],
            step=step,
            parent=parent,
            level=level,
            stream=stream,
            outcome=outcome,
            text=text,
            done=done,
            total=total,
            data=data,
        )
        self._next += 1
        with suppress(OSError):  # a full disk costs the narrative this line, and the run nothing
            append_line(self._descriptor, redact(json.dumps(event.to_json(), ensure_ascii=False)).encode() + b"\n")
        return event.id

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


class StepLog:
    """The Log of one step: its lines carry the step and hang under its `started` event."""

    def __init__(self, narrator: Narrator, step: str, parent: int) -> None:
        self._narrator = narrator
        self._step = step
        self._parent = parent

    def __call__(
        self,
        text: str,
        *,
        stream: str = "",
        level: Level = "info",
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """One line of log, or of progress where `total` is given."""
        self._narrator.tell(
            "log" if total is None else "progress",
            text,
            step=self._step,
            parent=self._parent,
            level=level,
            stream=stream,
            done=done,
            total=total,
        )
