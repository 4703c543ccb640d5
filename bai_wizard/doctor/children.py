"""Read-only checks in children that may hang without harm, one child a page, all at once."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import redact

# A check that takes longer than this, in seconds, no longer holds up the others of its page.
PATIENCE = 0.5


@dataclass
class _Batch:
    """The checks of one page, being worked off by one child. Times are of the monotonic clock."""

    checks: list[Check]
    child: int = 0
    reader: int = -1
    buffer: bytes = b""
    begun: float = 0.0
    ended: bool = False
    found: list[Finding] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """When the check at work is given up."""
        return self.begun + self.checks[0].deadline if self.checks else self.begun

    @property
    def wakes(self) -> float:
        """When to look at this batch again."""
        return min(self.limit, self.begun + PATIENCE) if len(self.checks) > 1 else self.limit

    def split(self) -> list[_Batch]:
        """The checks behind the one at work, each apart; that one keeps its child and its deadline."""
        behind, self.checks = self.checks[1:], self.checks[:1]
        return [_Batch([check]) for check in behind]


def look_all(checks: Sequence[Check], machine: Machine, context: Context) -> Iterator[Finding]:
    """Yields findings as they come. A check over its deadline costs itself: «cannot tell», and the next goes on.

    A slow one lets the others of its page go on beside it: many that hang take as long as the slowest deadline.
    """
    batches: dict[str, _Batch] = {}
    for check in checks:
        batches.setdefault(check.page, _Batch([])).checks.append(check)
    selector = selectors.DefaultSelector()
    for batch in batches.values():
        _start(batch, machine, context, selector)
    try:
        while selector.get_map():
            wait = min(key.data.wakes for key in selector.get_map().values()) - time.monotonic()
            for key, _ in selector.select(max(0.0, wait)):
                _read(key.data)
            for batch in [key.data for key in selector.get_map().values()]:
                if batch.checks and not batch.found and time.monotonic() > batch.limit:
                    batch.found.append(_silent(batch.checks.pop(0)))
                    batch.ended = True
                yield from _drain(batch)
                if len(batch.checks) > 1 and not batch.ended and time.monotonic() > batch.begun + PATIENCE:
                    for behind in batch.split():
                        _start(behind, machine, context, selector)
                if batch.ended or not batch.checks:
                    _abandon(batch, selector)
                    _start(batch, machine, context, selector)
    finally:
        for key in list(selector.get_map().values()):
            _abandon(key.data, selector)
        selector.close()


def _start(batch: _Batch, machine: Machine, context: Context, selector: selectors.BaseSelector) -> None:
    if not batch.checks:
        return
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        batch.child = os.fork()
    if batch.child == 0:
        _be_child(batch.checks, machine, context, writer)
    os.close(writer)
    batch.reader, batch.buffer, batch.ended = reader, b"", False
    batch.begun = time.monotonic()
    selector.register(reader, selectors.EVENT_READ, batch)


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
        return (Finding(check.id, "cannot-tell", check.title, check.page, cause="needs root", owner=check.owner),)
    try:
        found = check.look(machine, context)
    except CannotTell as error:
        return (Finding(check.id, "cannot-tell", check.title, check.page, cause=str(error), owner=check.owner),)
    except Exception as error:  # noqa: BLE001 - becomes a finding of its own: the others go on
        told = redact(f"{type(error).__name__}: {error}")
        return (Finding(check.id, "crashed", check.title, check.page, cause=told, owner=check.owner),)
    return found if isinstance(found, tuple) else (found,)


def _silent(check: Check) -> Finding:
    told = f"no answer within {check.deadline:g} s"
    return Finding(check.id, "cannot-tell", check.title, check.page, cause=told, owner=check.owner)


def _read(batch: _Batch) -> None:
    data = os.read(batch.reader, 1 << 16)
    batch.buffer += data
    *lines, batch.buffer = batch.buffer.split(b"\n")
    for line in lines:
        if not batch.checks:
            # The child went on to checks that others have taken over.
            break
        items = json.loads(line)
        if any(item["remedy"] for item in items):
            # The child may have imported kinds of steps that this process has not.
            from bai_wizard.steps import load_all

            load_all()
        batch.found += [Finding.from_wire(item) for item in items]
        batch.checks.pop(0)
        batch.begun = time.monotonic()
    batch.ended = not data
    if batch.ended and batch.checks:
        check = batch.checks.pop(0)
        batch.found.append(
            Finding(
                check.id, "crashed", check.title, check.page, cause="the check's process ended", owner=check.owner
            )
        )


def _drain(batch: _Batch) -> Iterator[Finding]:
    while batch.found:
        yield batch.found.pop(0)


def _abandon(batch: _Batch, selector: selectors.BaseSelector) -> None:
    """Closes the batch's pipe; the child is killed, or left behind where the kernel holds it."""
    selector.unregister(batch.reader)
    os.close(batch.reader)
    with suppress(ProcessLookupError):
        os.killpg(batch.child, signal.SIGKILL)
    os.waitpid(batch.child, os.WNOHANG)
