"""Following a run: its events as they are written, by whoever looks, without a hand in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bai_wizard.core.event import Event
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.lock import is_held
from bai_wizard.engine.run.places import Places

# How often the file is looked at, in seconds: a tenth reads as «live» and costs nothing.
INTERVAL = 0.1
# How long a run that was started may take to write its first event, in seconds.
PATIENCE = 30.0


class RunCut(Exception):
    """The executor is gone and left no result: the run was interrupted; `resume` continues it."""


def follow(
    places: Places,
    run: RunDirectory,
    *,
    offset: int = 0,
    alive: Callable[[], bool] | None = None,
    detached: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Yields events from byte `offset` on, until the summary of this attempt. Raises RunCut.

    `detached` is asked between looks; once true, the follower leaves and the run goes on.
    """
    is_alive = alive or (lambda: is_held(places))
    reader = EventReader(run, offset)
    begun = time.monotonic()
    while True:
        was_alive = is_alive()
        events = reader.more()
        for event in events:
            yield event
            if event.kind == "summary":
                return
        if detached():
            return
        if events:
            continue
        waiting = offset == reader.offset and time.monotonic() - begun < PATIENCE
        if not was_alive and not waiting:
            last = unwritten_summary(run)
            if last is None:
                raise RunCut(_cut(run))
            yield last
            return
        time.sleep(INTERVAL)


def unwritten_summary(run: RunDirectory) -> Event | None:
    """The last line of a run that was cut between its result and that line; None where there is no result either."""
    result = run.result()
    if result is None:
        return None
    return Event(t=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), run=run.id, id=0, kind="summary", data=result)


def _cut(run: RunDirectory) -> str:
    told = f"run {run.id} was cut; continue it with: bai-wizard resume {run.id}"
    last_words = run.log.read_text(errors="replace").strip() if run.log.exists() else ""
    return f"{told}\nits last words:\n{last_words[-2000:]}" if last_words else told


class EventReader:
    """Reads whole lines of `events.jsonl` from an offset in bytes."""

    def __init__(self, run: RunDirectory, offset: int = 0) -> None:
        self.offset = offset
        self._path = run.events

    def more(self) -> list[Event]:
        """The events written since the last call; a line still being written waits."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            data = os.pread(descriptor, 1 << 22, self.offset)
        finally:
            os.close(descriptor)
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [Event.from_json(json.loads(line)) for line in whole.splitlines()]


def size_of_events(run: RunDirectory) -> int:
    """Where a follower of the next attempt begins, in bytes."""
    try:
        return run.events.stat().st_size
    except FileNotFoundError:
        return 0
