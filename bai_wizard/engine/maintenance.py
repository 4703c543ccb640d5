"""When a run may interrupt running work: in a window, on a node without sessions, after a hook has drained it.

This applies only where something would really be interrupted, and in addition to consent.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from bai_wizard.core.consent import TO_DISRUPT, Disruptions, Interrupt, affected_by, names_of
from bai_wizard.core.errors import RunCancelled, StateUnknown, StepBlocked
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Machine
from bai_wizard.engine.durable import Damaged, read_bytes, recording, write_durably
from bai_wizard.engine.window import Window
from bai_wizard.node.deadline import Limit
from bai_wizard.node.sessions import with_details

# How often to look whether sessions have ended or the window has opened, in seconds.
POLL = 5.0
# How long a hook may take, in seconds.
HOOK_LIMIT = 60 * 60.0
# The day on which summer time ends, in seconds.
LONGEST_DAY = 25 * 60 * 60.0
UNTOUCHED = "Nothing was interrupted"
# What `StatePaths.drained` contains: `DONE` from the end of a successful drain hook until the resume hook begins.
STARTED, DONE = b"", b"done\n"


class Conditions(Struct, frozen=True):
    """When disruptive steps may run. `wait_idle`: how long to wait until sessions have ended, in seconds."""

    window: str = ""
    wait_idle: float | None = None

    def __bool__(self) -> bool:
        return bool(self.window) or self.wait_idle is not None

    def longest(self) -> float:
        """How long consent has to last for a run that begins now, in seconds."""
        if self.window:
            # The steps before the disruptive ones may take until this window has closed.
            return Window(self.window).ends_in(datetime.now(UTC)) + LONGEST_DAY
        return TO_DISRUPT + (self.wait_idle or 0.0)

    def to_json(self) -> dict[str, Any]:
        """JSON values for the run directory."""
        return {"window": self.window, "wait_idle": self.wait_idle}


class Hooks(Struct, frozen=True):
    """Programs with their arguments that stop and restart the scheduling of sessions on this node."""

    drain: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()


def conditions_from_json(data: Any) -> Conditions:
    """Read what `Conditions.to_json` wrote; no conditions for a run that recorded none."""
    return Conditions(str(data["window"]), data["wait_idle"]) if isinstance(data, dict) else Conditions()


def hooks_of(settings: Mapping[str, Any]) -> Hooks:
    """The hooks in the settings of a run; none for a fix of the doctor, whose consent covers sessions as well."""
    table = settings.get("tables", {}).get("maintenance", {})
    if settings.get("fix") or not table.get("apply", True):
        return Hooks()
    return Hooks(tuple(table.get("drain_hook", ())), tuple(table.get("resume_hook", ())))


def notes_on(hooks: Hooks, conditions: Conditions) -> Iterator[str]:
    """What to know before a plan with disruptive steps is confirmed: the commands that root runs, and the waits."""
    if hooks.drain:
        command = shlex.join(hooks.drain)
        yield f"drain hook, run as root before the first step that would interrupt something: {command}"
    if hooks.resume:
        command = shlex.join(hooks.resume)
        yield f"resume hook, run as root at the end of the run: {command}"
    if conditions.window:
        yield f"disruptive steps run only in the window {conditions.window}"
    if conditions.wait_idle is not None:
        seconds = int(conditions.wait_idle)
        size, unit = next(item for item in ((3600, "h"), (60, "min"), (1, "s")) if seconds % item[0] == 0)
        longest = f"{seconds // size} {unit}"
        yield f"before a disruptive step, the run waits at most {longest} until no Backend.AI session is running"


class Maintenance:
    """The conditions and hooks of one run, for its executor."""

    def __init__(
        self,
        machine: Machine,
        conditions: Conditions,
        hooks: Hooks,
        mark: Path,
        should_stop: Callable[[], bool],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._machine = machine
        self._conditions = conditions
        self._hooks = hooks
        self._mark = mark
        self._should_stop = should_stop
        self._now = now
        self._pause = pause

    @property
    def is_drained(self) -> bool:
        """Whether the drain hook was started, also by another run, and the resume hook is still to be run."""
        return bool(self._hooks.drain) and self._mark.exists()

    def spares(self, disruptions: Disruptions) -> bool:
        """Whether there are sessions among these, which no consent covers because the run lets them end."""
        if not self._hooks.drain and self._conditions.wait_idle is None:
            return False
        detailed = with_details(self._machine, disruptions)
        return any(item.session for items in detailed.values() for item in items)

    def enter(self, interrupts: Collection[Interrupt], log: Log) -> bool:
        """Wait until a step may interrupt; returns whether time has passed or a hook has run.

        Raises StepBlocked if the drain hook fails or sessions do not end in time, RunCancelled.
        """
        if not (self._conditions or self._hooks.drain) or not affected_by(self._machine, interrupts):
            return False
        self._await_window(log)
        self._drain(log)
        self._refuse_closed()
        self._await_idle(interrupts, log)
        return True

    def leave(self, log: Log) -> str:
        """Run the resume hook if the node was drained; returns why it failed, empty on success."""
        problem = self._resume(log) if self.is_drained else ""
        return f"{problem}. The node may still be drained: run the hook by hand" if problem else ""

    def _resume(self, log: Log) -> str:
        try:
            self._record(STARTED)
            if self._hooks.resume and (problem := self._run("resume hook", self._hooks.resume, log)):
                return problem
            self._record(None)
        except StepBlocked as error:
            return str(error)
        return ""

    def _await_window(self, log: Log) -> None:
        if not self._conditions.window:
            return
        window, is_told = Window(self._conditions.window), False
        while seconds := window.opens_in(self._now()):
            if self.is_drained and (problem := self.leave(log)):
                raise StepBlocked(problem)
            if not is_told:
                opens = window.next(self._now())[0].astimezone()
                log(f"waiting for the window {window.text}, which opens at {opens:%Y-%m-%d %H:%M %Z}")
                is_told = True
            self._wait(min(seconds, POLL))

    def _drain(self, log: Log) -> None:
        if not self._hooks.drain or self._was_drained():
            return
        self._record(STARTED)
        if problem := self._run("drain hook", self._hooks.drain, log):
            raise StepBlocked(f"{problem}. {UNTOUCHED}")
        self._record(DONE)

    def _was_drained(self) -> bool:
        """Whether the drain hook has succeeded; without a readable mark, it is run again."""
        try:
            return read_bytes(self._mark) == DONE
        except (FileNotFoundError, Damaged):
            return False

    def _record(self, state: bytes | None) -> None:
        with recording(self._mark, StepBlocked, "the file was not changed"):
            if state is None:
                self._mark.unlink()
            else:
                write_durably(self._mark, state)

    def _await_idle(self, interrupts: Collection[Interrupt], log: Log) -> None:
        if self._conditions.wait_idle is None:
            return
        limit, told = Limit(self._conditions.wait_idle), ""
        while busy := self._busy_with(interrupts):
            if limit.is_over():
                raise StepBlocked(f"the node is still not idle after the time of --wait-idle: {busy}. {UNTOUCHED}")
            if busy != told:
                log(f"waiting until the node is idle: {busy}")
                told = busy
            self._wait(POLL, limit)
            self._refuse_closed()

    def _refuse_closed(self) -> None:
        window = self._conditions.window
        if window and Window(window).opens_in(self._now()):
            raise StepBlocked(f"the window {window} has closed before this step could begin. {UNTOUCHED}")

    def _busy_with(self, interrupts: Collection[Interrupt]) -> str:
        """The sessions, or why the node is not known to be idle; empty if it is."""
        try:
            detailed = with_details(self._machine, affected_by(self._machine, interrupts), strict=True)
        except StateUnknown as error:
            return f"sessions may be running ({error})"
        sessions = {item.id: item for items in detailed.values() for item in items if item.session}
        return names_of(tuple(sessions.values()))

    def _wait(self, seconds: float, *others: Limit) -> None:
        """Pause; `others` count the time as well. Raises RunCancelled if the run is to stop."""
        limit = Limit(seconds)
        while True:
            if self._should_stop():
                raise RunCancelled("the run was cancelled while it waited")
            if limit.is_over():
                return
            self._pause(limit.wait())
            for other in others:
                other.is_over()

    def _run(self, what: str, argv: tuple[str, ...], log: Log) -> str:
        """Run a hook and log its output; returns why it failed, empty on success."""
        log(f"{what}: {shlex.join(argv)}")
        try:
            completed = self._machine.run_hook(argv, log, deadline=HOOK_LIMIT)
        except StateUnknown as error:
            return f"the {what} failed: {error}"
        return f"the {what} failed with exit code {completed.code}" if completed.code else ""
