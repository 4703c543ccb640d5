"""Read-only checks in children that may hang without harm: a group of checks is worked off by one child."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Check, Finding, Result
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import redact
from bai_wizard.doctor.abandon import abandon

# A check that takes longer than this, in seconds, no longer holds up the others of its group.
PATIENCE = 0.5

Answer = tuple[Check, tuple[Finding, ...]]


@dataclass
class _Group:
    """Checks that one child works off in turn. Times are of the monotonic clock."""

    checks: list[Check]
    child: int = 0
    reader: int = -1
    buffer: bytes = b""
    begun: float = 0.0
    ended: bool = False
    found: list[Answer] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """When the check at work is given up."""
        return self.begun + self.checks[0].deadline if self.checks else self.begun

    @property
    def may_be_overtaken(self) -> bool:
        """True where others wait for the check at work that owe nothing to what it looks up."""
        return len(self.checks) > 1 and self.checks[0].cost != "shared"

    @property
    def wakes(self) -> float:
        """When to look at this group again."""
        return min(self.limit, self.begun + PATIENCE) if self.may_be_overtaken else self.limit

    def split(self) -> list[_Group]:
        """The checks behind the one at work, each apart; that one keeps its child and its deadline."""
        behind, self.checks = self.checks[1:], self.checks[:1]
        return [_Group([check]) for check in behind]

    def give_up(self) -> None:
        """The check at work is silent; so will be those that need what it looks up."""
        silent = self.checks if self.checks[0].cost == "shared" else self.checks[:1]
        self.found += [(check, (_silent(check),)) for check in silent]
        self.checks = self.checks[len(silent) :]
        self.ended = True


class Children:
    """Children at work. Close it: those that still look are killed, or left behind where the kernel holds them."""

    def __init__(self, machine: Machine, context: Context) -> None:
        # Every child would import these for itself otherwise.
        from bai_wizard.machine import runner  # noqa: F401
        from bai_wizard.machine.readers import units  # noqa: F401

        self._machine, self._context = machine, context
        self._selector = selectors.DefaultSelector()

    def start(self, checks: Sequence[Check]) -> None:
        """Has these checks looked at, one after the other, beside the groups that are at work."""
        self._start(_Group(list(checks)))

    @property
    def at_work(self) -> bool:
        """True while an answer may come."""
        return bool(self._selector.get_map())

    def answers(self, until: float) -> Iterator[Answer]:
        """Waits for the next answers, at most until then. A check over its deadline costs itself: «cannot tell»."""
        groups: list[_Group] = [key.data for key in self._selector.get_map().values()]
        wait = min([until, *(group.wakes for group in groups)]) - time.monotonic()
        for key, _ in self._selector.select(max(0.0, wait)):
            _read(key.data)
        for group in groups:
            now = time.monotonic()
            if group.checks and not group.found and now > group.limit:
                group.give_up()
            yield from group.found
            group.found = []
            if group.may_be_overtaken and not group.ended and now > group.begun + PATIENCE:
                for behind in group.split():
                    self._start(behind)
            if group.ended or not group.checks:
                self._end(group)
                self._start(group)

    def give_up(self) -> Iterator[Answer]:
        """The time is over: whatever has not answered is told as such."""
        for group in [key.data for key in self._selector.get_map().values()]:
            yield from ((check, (_silent(check),)) for check in group.checks)
            self._end(group)

    def close(self) -> None:
        """Ends what is at work."""
        for group in [key.data for key in self._selector.get_map().values()]:
            self._end(group)
        self._selector.close()

    def _start(self, group: _Group) -> None:
        if not group.checks:
            return
        reader, writer = os.pipe2(os.O_CLOEXEC)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            group.child = os.fork()
        if group.child == 0:
            _be_child(group.checks, self._machine, self._context, writer)
        os.close(writer)
        group.reader, group.buffer, group.ended = reader, b"", False
        group.begun = time.monotonic()
        self._selector.register(reader, selectors.EVENT_READ, group)

    def _end(self, group: _Group) -> None:
        self._selector.unregister(group.reader)
        os.close(group.reader)
        abandon(group.child)


def _be_child(checks: Sequence[Check], machine: Machine, context: Context, writer: int) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for check in checks:
            line = json.dumps([finding.to_wire() for finding in look(check, machine, context)]).encode() + b"\n"
            while line:
                line = line[os.write(writer, line) :]
    finally:
        os._exit(0)


def look(check: Check, machine: Machine, context: Context) -> tuple[Finding, ...]:
    """One check, here and now; no answer is «cannot tell», a fault of the check is «crashed»."""
    if check.needs_root and not machine.is_root:
        return (_plain(check, "cannot-tell", "needs root"),)
    try:
        found = check.look(machine, context)
    except CannotTell as error:
        return (_plain(check, "cannot-tell", str(error)),)
    except Exception as error:  # noqa: BLE001 - becomes a finding of its own: the others go on
        return (_plain(check, "crashed", redact(f"{type(error).__name__}: {error}")),)
    return found if isinstance(found, tuple) else (found,)


def _plain(check: Check, result: Result, cause: str) -> Finding:
    return Finding(check.id, result, check.title, check.page, cause=cause, owner=check.owner)


def _silent(check: Check) -> Finding:
    return _plain(check, "cannot-tell", f"no answer within {check.deadline:g} s")


def _read(group: _Group) -> None:
    data = os.read(group.reader, 1 << 16)
    group.buffer += data
    *lines, group.buffer = group.buffer.split(b"\n")
    for line in lines:
        if not group.checks:
            # The child went on to checks that others have taken over.
            break
        items = json.loads(line)
        if any(item["remedy"] for item in items):
            # The child may have imported kinds of steps that this process has not.
            from bai_wizard.steps import load_all

            load_all()
        group.found.append((group.checks.pop(0), tuple(Finding.from_wire(item) for item in items)))
        group.begun = time.monotonic()
    group.ended = not data
    if group.ended and group.checks:
        check = group.checks.pop(0)
        group.found.append((check, (_plain(check, "crashed", "the check's process ended"),)))
