"""The executor's work: under the lock, one attempt of one run, from its directory to its result."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.engine.run.apply import Carrier
from bai_wizard.engine.run.directory import RunDirectory, find_run
from bai_wizard.engine.run.lock import hold_lock
from bai_wizard.engine.run.narrator import Narrator
from bai_wizard.engine.run.node import Instant, no_instant
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result
from bai_wizard.engine.run.settle import settle
from bai_wizard.engine.run.undo import journal_of, settle_cut_undos, undo


def execute(
    places: Places,
    run: RunDirectory,
    digest: str,
    machine: Machine,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    unit: str = "",
    instant: Instant = no_instant,
) -> Result:
    """One attempt. Raises LockHeld, or PreflightError when the plan is not the one that was confirmed."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with hold_lock(places, {"run": run.id, "unit": unit, "page": "", "since": since}):
        plan = run.plan()
        if plan.digest() != digest or run.about["digest"] != digest:
            raise PreflightError(f"run {run.id}: the plan on disk is not the one that was confirmed")
        machine.should_stop = should_stop
        narrator = Narrator(run.events, run.id)
        journal = journal_of(run)
        narrator.tell("run", f"{run.kind} begins", data={"pending": len(plan.pending()), "kind": run.kind})
        for told in settle(journal, machine):
            narrator.tell("log", told, level="warning")
        consent = frozenset(run.about["consent"])
        if run.kind == "undo":
            undoes = find_run(places, run.about["undoes"])
            settle_cut_undos(places, undoes.id, machine)
            force = bool(run.about.get("force"))
            result = undo(undoes, journal, machine, narrator, force=force, consent=consent, instant=instant)
        else:
            result = Carrier(machine, journal, narrator, should_stop, consent, instant).carry_out(plan)
        journal.close()
        run.end(result.to_json())
        narrator.tell("summary", data=result.to_json())
        narrator.close()
        return result


class StopRequest:
    """SIGTERM means «stop after this step»; a hang-up means nothing, for nobody is listening any more."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Installs the handlers; call it in the executor's main thread."""
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def __call__(self) -> bool:
        return self.asked

    def _ask(self, _number: int, _frame: Any) -> None:
        self.asked = True
