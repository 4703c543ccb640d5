"""The node as a running step gets it: each primitive is journalled, with its way back, before it acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Machine
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.state import States
from bai_wizard.core.view import NodeView
from bai_wizard.engine.run.in_turn import InTurn
from bai_wizard.engine.run.journal import Entry, Journal
from bai_wizard.engine.run.settle import settle_one

# Primitives at a time where a step hands over several: they wait for the network and the disk more than they compute.
AT_ONCE = 4

# Called between the parts of every change, with the name of the part: where the tests cut the power.
Instant = Callable[[str], None]


def no_instant(name: str) -> None:
    """In production nothing happens between the parts."""


class JournalledNode:
    """Writes intent, inverse and backup, then acts, then writes what was really reached."""

    def __init__(
        self, machine: Machine, journal: Journal, step: str, log: Log, instant: Instant = no_instant
    ) -> None:
        self._machine = machine
        self._journal = journal
        self._step = step
        self._log = log
        self._instant = instant

    @property
    def view(self) -> NodeView:
        """The node as it is now."""
        return self._machine

    def do(self, primitive: Primitive) -> None:
        """Carries `primitive` out unless it holds already. Raises StepFailed; the journal tells how far it got."""
        self._carry_out(primitive, self._log)

    def do_together(self, primitives: Sequence[Primitive]) -> None:
        """Carries out primitives that have no key in common, some at a time, each with an intent of its own.

        After a failure none is begun any more, and those under way come to their end. Raises the first failure.
        """
        logs = InTurn(self._log, len(primitives))
        given_up = Event()

        def one(number: int) -> None:
            primitive = primitives[number]
            try:
                if given_up.is_set():
                    return
                if self._machine.should_stop():
                    raise StepFailed(f"{primitive.keys()[0].name}: not begun, for the run was asked to stop")
                self._carry_out(primitive, logs.of(number))
            except BaseException:
                given_up.set()
                raise
            finally:
                logs.end(number)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="together") as pool:
            pending = [pool.submit(one, number) for number in range(len(primitives))]
        for future in pending:
            future.result()

    def _carry_out(self, primitive: Primitive, log: Log) -> None:
        before = self._states(primitive)
        if primitive.holds(before):
            return
        self._instant("before intent")
        number = self._journal.intent(self._step, primitive, before, primitive.inverse(before))
        self._instant("after intent")
        try:
            self._machine.perform(primitive, log)
        except StepFailed:
            # A tool that failed may have got as far as one that was killed.
            attempt = Entry(number, self._step, primitive, before, primitive.after(before), primitive.inverse(before))
            settle_one(attempt, self._journal, self._machine)
            raise
        self._instant("after change")
        self._journal.settle(number, "done", self._states(primitive))
        self._instant("after done")

    def _states(self, primitive: Primitive) -> States:
        return {key: self._machine.state(key) for key in primitive.keys()}
