"""Where the wizard works: a node, the place of its runs, and how a run is started there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from bai_wizard import compose
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import RunDirectory, create_run, find_run
from bai_wizard.engine.run.lock import current, held, is_held
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result
from bai_wizard.wizard.sources import sourced

Starter = Callable[[RunDirectory, str], None]
Stopper = Callable[[RunDirectory], None]
# The handover report of a run, as text; front ends do not know how it is made.
Reporter = Callable[[Machine, str, Result, compose.Wish], str]


def _plainly(_machine: Machine, run: str, result: Result, _wish: compose.Wish) -> str:
    return f"{run}\n" + "\n".join(f"{step.step}: {step.outcome} {step.text}" for step in result.steps) + "\n"


def _nothing() -> None:
    """A simulated node restarts in no time."""


@dataclass(frozen=True)
class Desk:
    """`start` carries a made run out, apart from this process or, for a simulated node, in a thread of it.
    `stop` asks a run to end after the step that it is at.

    `reboot` restarts the node. `demo` is the name of the simulated node; empty on a real one.
    """

    machine: Machine
    places: Places
    start: Starter
    stop: Stopper
    demo: str = ""
    reporter: Reporter = _plainly
    reboot: Callable[[], None] = _nothing

    def begin(self, plan: Plan, wish: compose.Wish, consent: Collection[str] = ()) -> RunDirectory:
        """Makes a run of a confirmed plan and starts it. Raises LockHeld, PreflightError."""
        if is_held(self.places):
            raise held(self.places)
        wish = sourced(wish)
        run = create_run(self.places, plan, wish.to_json(), consent=tuple(consent))
        self._lend(plan, wish)
        self.start(run, plan.digest())
        return run

    def _lend(self, plan: Plan, wish: compose.Wish) -> None:
        """What the executor needs in clear; a simulated node logs in nowhere."""
        if not self.demo:
            compose.lend_secrets(self.places, plan, wish)

    def begin_undo(self, undone: RunDirectory, consent: Collection[str] = ()) -> RunDirectory:
        """Makes the run that takes another one back and starts it. Raises LockHeld, PreflightError."""
        if is_held(self.places):
            raise held(self.places)
        plan = Plan(self.machine.host)
        settings, allowed = undone.settings(), tuple(consent)
        run = create_run(self.places, plan, settings, kind="undo", undoes=undone.id, consent=allowed)
        self.start(run, plan.digest())
        return run

    def report(self, run: str, result: Result, wish: compose.Wish) -> str:
        """The handover report of a run."""
        return self.reporter(self.machine, run, result, wish)

    def running(self) -> RunDirectory | None:
        """The run that is in progress on this node, if there is one and it may be read."""
        notice = current(self.places)
        if notice is None or not is_held(self.places) or not self.machine.is_root:
            return None
        return find_run(self.places, str(notice.get("run", "")))

    def is_alive(self, run: RunDirectory) -> bool:
        """True while the executor of this very run holds the lock."""
        notice = current(self.places)
        return notice is not None and notice.get("run") == run.id and is_held(self.places)

    def settle(self, run: RunDirectory) -> None:
        """Under the lock, gives every open intent of a cut run its end. Raises LockHeld."""
        from bai_wizard.engine.run.lock import hold_lock
        from bai_wizard.engine.run.settle import settle
        from bai_wizard.engine.run.undo import journal_of

        with hold_lock(self.places, {"run": run.id, "unit": "", "page": "", "since": ""}):
            settle(journal_of(run), self.machine)

    def begin_again(self, run: RunDirectory, plan: Plan, consent: Collection[str] = ()) -> None:
        """Starts a further attempt of the same run. Raises LockHeld, PreflightError."""
        if is_held(self.places):
            raise held(self.places)
        run.begin_attempt(plan, {**run.about, "consent": sorted({*run.about["consent"], *consent})})
        if run.kind == "apply":
            self._lend(plan, compose.wish_from_json(run.settings()))
        self.start(run, plan.digest())


def real_desk(root: str = "/", reporter: Reporter = _plainly) -> Desk:
    """The node that this process runs on."""
    from bai_wizard.engine.launch.unit import start_executor
    from bai_wizard.machine.reboot import reboot

    places = compose.places(root)

    def stop(run: RunDirectory) -> None:
        notice = current(places)
        if notice is not None and notice.get("run") == run.id and is_held(places):
            os.kill(int(notice["pid"]), signal.SIGTERM)

    return Desk(
        compose.local_machine(root),
        places,
        lambda run, digest: start_executor(run, digest, places),
        stop,
        reporter=reporter,
        reboot=reboot,
    )


def demo_desk(name: str, machine: Machine, directory: Path) -> Desk:
    """A simulated node whose runs lie in a temporary directory and are carried out in a thread."""
    from bai_wizard.engine.run.execute import execute

    places = Places(directory)
    asked: set[str] = set()

    def start(run: RunDirectory, digest: str) -> None:
        from bai_wizard.steps import load_all

        load_all()
        asked.discard(run.id)

        def carry_out() -> None:
            execute(places, run, digest, machine, should_stop=lambda: run.id in asked)

        threading.Thread(target=carry_out, daemon=True).start()

    return Desk(machine, places, start, lambda run: asked.add(run.id), demo=name)
