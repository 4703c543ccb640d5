"""The events of a run: written by the executor, followed by front ends."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from bai_wizard.core.debug_log import debug
from bai_wizard.core.event import Event, EventKind, Level, Log, Outcome
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.durable import MALFORMED, Damaged, append_line, open_record, read_end, skip_hole
from bai_wizard.engine.result import Result
from bai_wizard.node.deadline import Limit
from bai_wizard.node.watch import DirectoryWatch


class OrderedLogs:
    """Keep each task's lines together and in task order; output of later tasks is buffered until it is their turn."""

    def __init__(self, log: Log, count: int) -> None:
        self._log = log
        self._kept: list[list[tuple[str, dict[str, Any]]]] = [[] for _ in range(count)]
        self._ended: set[int] = set()
        self._turn = 0
        self._lock = Lock()

    def of(self, number: int) -> Log:
        """The log of one task, counted from 0."""

        def log(text: str, **about: Any) -> None:
            with self._lock:
                if number == self._turn:
                    self._log(text, **about)
                else:
                    self._kept[number].append((text, about))

        return log

    def end(self, number: int) -> None:
        """Mark a task as finished: it logs nothing more."""
        with self._lock:
            self._ended.add(number)
            while self._turn in self._ended:
                self._turn += 1
                for text, about in self._kept[self._turn] if self._turn < len(self._kept) else ():
                    self._log(text, **about)


# Bytes read from the end of an events file to continue it: more than one event takes.
TAIL = 1 << 20
# The maximum length of an event's text in characters, so that its line fits into what a follower reads at once.
LONGEST_TEXT = 500_000


def _last_id(lines: bytes) -> int:
    """The ID of the last readable event, or 0."""
    for line in reversed(lines.splitlines()):
        try:
            return int(json.loads(line)["id"])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return 0


def _open(path: Path) -> int:
    """Open the events file. Anything there that is not a regular file is moved aside."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            os.rename(path, path.with_name(f"{path.name}.{os.urandom(4).hex()}"))
    except FileNotFoundError:
        pass
    return os.open(path, flags, 0o600)


class EventLog:
    """Append to `events.jsonl`. Not synced per line: the journal is authoritative, the events are for display."""

    def __init__(self, path: Path, run: str) -> None:
        self._run = run
        self._descriptor = _open(path)
        size = os.fstat(self._descriptor).st_size
        tail = os.pread(self._descriptor, TAIL, max(0, size - TAIL))
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        os.ftruncate(self._descriptor, size - torn)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        if torn == TAIL:  # the torn line is longer than what was read: terminate it, so that the next one is complete
            os.write(self._descriptor, b"\n")
        self._next = 1 + _last_id(tail[: len(tail) - torn])

    def emit(
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
        """Write one event and return its ID. Text beyond `LONGEST_TEXT` is omitted."""
        if len(text) > LONGEST_TEXT:
            text = f"{text[:LONGEST_TEXT]}… ({len(text) - LONGEST_TEXT} more characters)"
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
        debug("event %s %s %s %s: %s", event.id, kind, step, outcome or level, text)
        with suppress(OSError):  # a full disk loses this line of the event log, but does not affect the run
            append_line(self._descriptor, event.to_line().encode())
        return event.id

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


# The maximum output of one step, in bytes of the events file: a child of the account must not fill root's disk.
MAX_OUTPUT = 32 << 20
# What an event takes in the file besides its text.
ENVELOPE = 200


class StepLog:
    """The log of one step: its lines carry the step's ID and belong to its `started` event.

    After `MAX_OUTPUT` bytes, lines are only counted; `close` reports how many were omitted.
    """

    def __init__(self, event_log: EventLog, step: str, parent: int) -> None:
        self._event_log = event_log
        self._step = step
        self._parent = parent
        self._room = MAX_OUTPUT
        self._left_out = 0

    def __call__(
        self,
        text: str,
        *,
        stream: str = "",
        level: Level = "info",
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """Log one line, or progress if `total` is given."""
        # The size as written: a control character takes six bytes there.
        self._room -= len(json.dumps(text)) + ENVELOPE
        if self._room < 0:
            self._left_out += 1
            return
        self._event_log.emit(
            "log" if total is None else "progress",
            text,
            step=self._step,
            parent=self._parent,
            level=level,
            stream=stream,
            done=done,
            total=total,
        )

    def close(self) -> None:
        """Report how many lines were omitted, if any."""
        if self._left_out:
            lines = "1 line" if self._left_out == 1 else f"{self._left_out} lines"
            text = f"{lines} of output omitted after {MAX_OUTPUT >> 20} MiB"
            self._event_log.emit("log", text, step=self._step, parent=self._parent, level="warning")
            self._left_out = 0


# How long to wait for a new event before checking whether the executor is alive, in seconds. Where the kernel has no
# watch left, also how often the file is checked.
INTERVAL = 0.1
# How long a started run may take to write its first event, in seconds.
PATIENCE = 30.0
# How many bytes of events are read at once, so that a front end is not delayed by what it has not asked for yet.
CHUNK = 1 << 18
# How many bytes the longest event takes.
PIECE = 1 << 22
# Only in a line of the log: quotes in a text are escaped.
IS_LOG = b'"kind": "log"'
# Bytes of the executor's own output that are shown.
LAST_OUTPUT = 2000


class RunInterrupted(Exception):
    """The executor is gone and left no result: the run was interrupted; `resume` continues it."""


def follow(
    run: RunDirectory,
    is_alive: Callable[[], bool],
    *,
    offset: int = 0,
    started: bool = False,
    detached: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] | None = None,
    newest: int | None = None,
) -> Iterator[list[Event]]:
    """Yield the events that are read at once, from byte `offset` on, until the summary of this attempt.

    `started`: this process has just started the executor, which may take a while to write its first event.
    `detached` is called between reads; once it returns true, following stops and the run continues. `wait` waits a
    number of seconds, or less if following is about to stop. `newest` as for `EventReader`. Raises RunInterrupted,
    Damaged.
    """
    watch = _watch(run) if wait is None else None
    try:
        reader = EventReader(run, offset, newest)
        yield from _follow(reader, is_alive, started, detached, wait or (watch.wait if watch else time.sleep))
    finally:
        if watch is not None:
            watch.close()


def _watch(run: RunDirectory) -> DirectoryWatch | None:
    try:
        return DirectoryWatch(str(run.path))
    except OSError:
        return None


def _follow(
    reader: EventReader,
    is_alive: Callable[[], bool],
    started: bool,
    detached: Callable[[], bool],
    wait: Callable[[float], object],
) -> Iterator[list[Event]]:
    run, offset = reader.run, reader.offset
    patience = Limit(PATIENCE)
    while True:
        events, was_alive = reader.more(), True
        if not events:
            # Asked before the last read: what the executor wrote before it ended is still found.
            was_alive = is_alive()
            events = reader.more()
        last = next((number for number, event in enumerate(events, 1) if event.kind == "summary"), 0)
        if events:
            yield events[:last] if last else events
        if last or detached():
            return
        if events:
            continue
        is_waiting = not patience.is_over() and offset == reader.offset and (started or _is_young(run))
        if not was_alive and not is_waiting:
            end = unwritten_summary(run)
            if end is None:
                raise RunInterrupted(_cut(run))
            yield [end]
            return
        wait(INTERVAL)


def _is_young(run: RunDirectory) -> bool:
    """Whether an executor that another process started may be about to write the first event."""
    try:
        return time.time() - (run.path / "run.json").stat().st_mtime < PATIENCE
    except OSError:
        return False


def unwritten_summary(run: RunDirectory) -> Event | None:
    """The summary event of a run interrupted between its result and that event; None if the result is missing too."""
    result = run.result()
    if result is None:
        return None
    return Event(t=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), run=run.id, id=0, kind="summary", data=result)


def _cut(run: RunDirectory) -> str:
    message = f"run {run.id} was interrupted; resume it with: bai-wizard resume {run.id}"
    output = last_output(run)
    return f"{message}\nits last output:\n{output}" if output else message


def last_output(run: RunDirectory) -> str:
    """The end of the executor's own output; empty if it is missing or cannot be read."""
    try:
        return read_end(run.log, LAST_OUTPUT).decode(errors="replace").strip()
    except (FileNotFoundError, Damaged):
        return ""


class EventReader:
    """Read complete lines of `events.jsonl` from a byte offset, with bounded memory.

    `newest`: of the lines of the log that are waiting, only so many are read; all other events are.
    """

    def __init__(self, run: RunDirectory, offset: int = 0, newest: int | None = None) -> None:
        self.offset = offset
        self.run = run
        self._newest = newest
        self._skipped = 0
        self._is_reported = False

    def more(self) -> list[Event]:
        """The events written since the last call; a line still being written is left for the next call.

        A line longer than `PIECE` is omitted, and so is a file that cannot be read: a warning is returned instead.
        An empty list means that the end was reached.
        """
        try:
            descriptor = open_record(self.run.events)
        except FileNotFoundError:
            return []
        except Damaged as error:
            return self._unreadable(str(error))
        try:
            if os.fstat(descriptor).st_size < self.offset:
                self.offset = 0  # replaced by a shorter file
            newest = self._newest_begin(descriptor)
            while data := self._chunk(descriptor):
                before = self.offset
                if events := self._events(data, newest):
                    return events
                if self.offset == before:
                    break
                if self._skipped:
                    self.offset = skip_hole(descriptor, self.offset)
        except OSError as error:
            return self._unreadable(f"{self.run.events} cannot be read: {(error.strerror or str(error)).lower()}")
        finally:
            os.close(descriptor)
        return []

    def _chunk(self, descriptor: int) -> bytes:
        """What is read at once: at least one line, if there is a complete one that is not too long."""
        data = os.pread(descriptor, CHUNK, self.offset)
        if len(data) == CHUNK and b"\n" not in data and not self._skipped:
            return os.pread(descriptor, PIECE, self.offset)
        return data

    def _newest_begin(self, descriptor: int) -> int:
        """Before which byte lines of the log are left out."""
        begin, lines = os.fstat(descriptor).st_size, 0
        while self._newest is not None and begin > self.offset:
            begin = max(self.offset, begin - CHUNK)
            lines += os.pread(descriptor, CHUNK, begin).count(IS_LOG)
            if lines >= self._newest:
                return begin
        return self.offset

    def _unreadable(self, text: str) -> list[Event]:
        """Report an unreadable file once; the run continues without events."""
        is_reported, self._is_reported = self._is_reported, True
        return [] if is_reported else [_note(self.run, text)]

    def _events(self, data: bytes, newest: int) -> list[Event]:
        """The events in the complete lines of a chunk; advances the offset past them."""
        events = []
        if self._skipped or (len(data) == PIECE and b"\n" not in data):
            end = data.find(b"\n") + 1
            self._skipped += end or len(data)
            self.offset += end or len(data)
            if not end:
                return []
            text = f"an event of {self._skipped >> 20} MiB was omitted"
            events = [_note(self.run, text)]
            self._skipped, data = 0, data[end:]
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        lines = whole.split(b"\n")[:-1]
        if self.offset <= newest:
            lines = [line for line in lines if IS_LOG not in line]
        return [*events, *(event for line in lines if (event := _event(line)) is not None)]


def _note(run: RunDirectory, text: str) -> Event:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Event(t=now, run=run.id, id=0, kind="log", level="warning", text=text)


def _event(line: bytes) -> Event | None:
    """The event of a line; None for a damaged one: events may be missing, the journal is authoritative."""
    try:
        event = Event.from_json(json.loads(line))
        if event.kind == "summary" and event.data is not None and "steps" in event.data:
            Result.from_json(event.data).code()
        return event
    except (*MALFORMED, ValueError):
        return None


def size_of_events(run: RunDirectory) -> int:
    """Where a follower of the next attempt begins, in bytes."""
    try:
        return run.events.stat().st_size
    except FileNotFoundError:
        return 0
