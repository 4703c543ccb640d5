"""A session: one node and its runs, which are planned, started, followed, stopped, resumed, undone and recovered."""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from bai_wizard import compose
from bai_wizard.core.consent import Consent, Disruptions, Moment, refusal, uncovered
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.event import Event, Log
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import allow_programs
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, contents_of, counter, create_run, find_run, journal_of
from bai_wizard.engine.lock import StatePaths, current, hold_lock, is_held, is_running, moment, refuse_held
from bai_wizard.engine.recovery import (
    damaged_runs,
    interrupted_runs,
    predict_recovery,
    recover,
    recover_interrupted_runs,
    refuse_foreign,
    settle_other_runs,
)
from bai_wizard.engine.recovery import refusal as foreign_run
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode
from bai_wizard.steps import load_all

if TYPE_CHECKING:
    from bai_wizard.engine.maintenance import Conditions
    from bai_wizard.engine.undo import UndoPlan

Starter = Callable[[RunDirectory, str], None]
Stopper = Callable[[RunDirectory], None]
# Makes the plan of a desired state.
Planner = Callable[[compose.DesiredState], Plan]
# The counter of runs before planning: a different one later means that another run may have outdated the plan.
PlannedAt = tuple[int, int] | None
# The handover report of a run, as text; front ends do not know how it is created.
Reporter = Callable[[Machine, str, Result, compose.DesiredState], str]


class OpenRun(Struct, frozen=True):
    """A run in progress, or one that was interrupted and not resumed. Users other than root get None as `run`."""

    id: str
    is_running: bool
    run: RunDirectory | None = None


class Attempt(Struct, frozen=True):
    """Another attempt at a run, as planned now.

    `seen` is when `disruptions` were read. `messages`: what is recovered first, how the plan differs from the
    confirmed one, and what is damaged. `undo`: for an undo run, the run that it undoes and what is left to do.
    """

    plan: Plan
    disruptions: Disruptions
    seen: Moment
    planned_at: PlannedAt
    messages: tuple[str, ...] = ()
    undo: tuple[RunDirectory, UndoPlan] | None = None


def _plainly(_machine: Machine, run: str, result: Result, _desired: compose.DesiredState) -> str:
    return f"{run}\n" + "\n".join(f"{step.step}: {step.outcome} {step.text}" for step in result.steps) + "\n"


def _nothing() -> None:
    """A simulated node reboots instantly."""


class Session(Struct, frozen=True):
    """`start` executes a prepared run: in its own process, or in a thread for a simulated node.

    `stop` makes a run end after its current step. `reboot` restarts the node. `demo` is the name of the simulated
    node; empty on a real one.
    """

    machine: Machine
    paths: StatePaths
    start: Starter
    stop: Stopper
    demo: str = ""
    reporter: Reporter = _plainly
    reboot: Callable[[], None] = _nothing

    def planned_at(self) -> PlannedAt:
        """Call before probing the node for a plan, and pass the result when starting that plan."""
        return counter(self.paths) if self.machine.is_root else None

    def begin(
        self,
        plan: Plan,
        desired: compose.DesiredState,
        consent: Collection[Consent] = (),
        planned_at: PlannedAt = None,
        approval: Mapping[str, Any] | None = None,
        conditions: Conditions | None = None,
    ) -> RunDirectory:
        """Create a run of a confirmed plan and start it; `approval` is recorded, `conditions` are for its executor.

        Raises LockHeld, PlanOutdated, PreflightError.
        """
        refuse_held(self.paths)
        disruptions = compose.disruptions(self.machine, plan)
        self._refuse_unseen(compose.needing_consent(disruptions, desired, conditions), consent)
        desired = compose.sourced(desired)
        self._refuse_untrusted(desired)

        def make() -> RunDirectory:
            recorded = conditions.to_json() if conditions else None
            origin = {"actor": self._actor(), "approval": approval, "conditions": recorded}
            return create_run(self.paths, plan, desired.to_json(), consent=consent, origin=origin)

        return self._begin(make, plan, desired, planned_at)

    def begin_again(
        self, run: RunDirectory, plan: Plan, consent: Collection[Consent] = (), planned_at: PlannedAt = None
    ) -> None:
        """Start another attempt at the same run. Raises LockHeld, PlanOutdated, PreflightError."""
        refuse_held(self.paths)
        refuse_foreign(run, self.machine, "resume")
        if run.kind == "undo":
            desired, disruptions = None, self._left_to_undo(run)[1].disruptions
        else:
            desired = compose.desired_from_json(run.settings())
            disruptions = compose.disruptions(self.machine, plan)
            disruptions = compose.needing_consent(disruptions, desired, compose.conditions_of(run))
            self._refuse_untrusted(desired)
        self._refuse_unseen(disruptions, consent)

        def make() -> RunDirectory:
            run.begin_again(plan, consent, self._actor())
            return run

        self._begin(make, plan, desired, planned_at)

    def begin_undo(
        self,
        undone: RunDirectory,
        consent: Collection[Consent] = (),
        planned_at: PlannedAt = None,
        *,
        force: bool = False,
    ) -> RunDirectory:
        """Create the run that undoes another one and start it. Raises LockHeld, PlanOutdated, PreflightError."""
        from bai_wizard.engine.undo import plan_undo, settings_of

        refuse_held(self.paths)
        refuse_foreign(undone, self.machine, "undo", force=force)
        self._refuse_unseen(plan_undo(undone, self.machine, force=force).disruptions, consent)
        plan, settings = Plan(self.machine.host), settings_of(undone)

        def make() -> RunDirectory:
            undoes, origin = undone.id, {"actor": self._actor()}
            return create_run(
                self.paths, plan, settings, kind="undo", undoes=undoes, consent=consent, force=force, origin=origin
            )

        return self._begin(make, plan, None, planned_at)

    def _actor(self) -> dict[str, Any]:
        from bai_wizard.node.actor import current_actor

        return current_actor(self.machine).to_json()

    def _begin(
        self,
        make: Callable[[], RunDirectory],
        plan: Plan,
        desired: compose.DesiredState | None,
        planned_at: PlannedAt,
    ) -> RunDirectory:
        """Start what `make` prepares. `desired`: whose secrets the run needs; an undo needs none."""
        from bai_wizard.engine.launch import begin_run

        def launch(run: RunDirectory) -> None:
            with compose.runtime_secrets_published(self.paths, plan, None if self.demo else desired):
                self.start(run, plan.digest())

        return begin_run(self.paths, make, launch, planned_at)

    def _refuse_untrusted(self, desired: compose.DesiredState) -> None:
        if not self.demo:
            compose.refuse_untrusted(self.paths.root, desired)

    def _refuse_unseen(self, disruptions: Disruptions, consent: Collection[Consent]) -> None:
        """Raise PreflightError, before a run is created, if more would be interrupted than was agreed to."""
        now = moment()
        left = uncovered(disruptions, consent, now, now)
        if left:
            raise PreflightError(f"nothing was changed: {refusal(left, consent, now, now)}. Review the plan again")

    def plan_undo(self, undone: RunDirectory, *, force: bool = False) -> UndoPlan:
        """What the undo of a run would do. Changes nothing. Raises LockHeld."""
        from bai_wizard.engine.undo import plan_undo

        refuse_held(self.paths)
        return plan_undo(undone, self.machine, force=force)

    def plan_resume(
        self,
        run: RunDirectory,
        planner: Planner | None = None,
        *,
        excluded: Collection[str] = (),
        recover: bool = False,
        log: Log | None = None,
    ) -> Attempt:
        """What another attempt at a run would do.

        Plans against the node as it will be after recovery; with `recover`, recovers it first. `planner` plans an
        apply run if the caller probes the node itself. `excluded`: steps to leave out. Raises LockHeld, StateUnknown,
        and PreflightError for a run of another machine or release.
        """
        from bai_wizard.ui.present import differences

        # The plan may contain step types that no page of these answers has imported, such as a fix's.
        load_all()
        planned_at = self.planned_at()
        refuse_foreign(run, self.machine, "resume")
        refuse_held(self.paths)
        self.wait_for_package_tool(log)
        machine, recovered = (self.machine, self.recover(run)) if recover else self._predicted()
        if run.kind == "undo":
            undo = self._left_to_undo(run, machine)
            return Attempt(run.plan(), undo[1].disruptions, moment(), planned_at, tuple(recovered), undo)
        desired = compose.desired_from_json(run.settings())
        self._refuse_untrusted(desired)
        if desired.fix:
            from bai_wizard.doctor.run import plan_again

            plan = plan_again(desired, run.plan(), machine)
        else:
            plan = planner(desired) if planner else compose.plan(machine, desired)
        if excluded:
            from bai_wizard.ui.plans import without_steps

            plan = without_steps(plan, excluded, machine)
        conditions = compose.conditions_of(run)
        plan = compose.ordered(plan, machine, desired, conditions)
        if run.metadata.get("approval"):
            _refuse_unapproved(run.plan(), plan)
        messages = recovered + differences(run.plan(), plan)
        messages += [f"run {run.id} is damaged: {text}" for text in contents_of(run, journal_of(run)).damages]
        seen = moment()
        disruptions = compose.needing_consent(compose.disruptions(self.machine, plan), desired, conditions)
        return Attempt(plan, disruptions, seen, planned_at, tuple(messages))

    def _left_to_undo(self, run: RunDirectory, machine: Machine | None = None) -> tuple[RunDirectory, UndoPlan]:
        """The run that an undo run reverts, and the changes that it has not undone yet."""
        from bai_wizard.engine.undo import plan_undo

        undone = find_run(self.paths, run.metadata["undoes"])
        return undone, plan_undo(undone, machine or self.machine, force=bool(run.metadata.get("force")))

    def report(self, run: str, result: Result, desired: compose.DesiredState) -> str:
        """The handover report of a run."""
        return self.reporter(self.machine, run, result, desired)

    def running(self) -> RunDirectory | None:
        """The run in progress on this node, if there is one and it is readable."""
        notice = current(self.paths)
        if notice is None or not notice["run"] or not is_held(self.paths) or not self.machine.is_root:
            return None
        return find_run(self.paths, notice["run"])

    def open_run(self) -> OpenRun | None:
        """The run in progress on this node, otherwise the run that `resume` would select if it was interrupted."""
        from bai_wizard.engine.choose import choose_resume

        notice = current(self.paths)
        if not self.machine.is_root:
            return None if notice is None else OpenRun(str(notice["run"]), is_held(self.paths))
        run = self.running()
        if run is not None:
            return OpenRun(run.id, True, run)
        if self.demo or not self.paths.runs.is_dir():
            return None
        try:
            run = choose_resume(self.paths, self.machine).run
        except PreflightError:
            # Nothing to resume: no run, or only runs of another machine.
            return None
        return OpenRun(run.id, False, run) if run is not None and run.result() is None else None

    def exit_code_of(self, id: str) -> int | None:
        """The exit code of a run, None while it runs; "interrupted" if nothing (else) is known of its end.

        The same if the run was undone: its answers are not in effect any more.
        """
        from bai_wizard.engine.choose import held_by

        try:
            run = find_run(self.paths, id)
            result = run.result()
        except PreflightError:
            return ExitCode.INTERRUPTED
        if result is not None:
            return int(result["code"]) if held_by(run) else ExitCode.INTERRUPTED
        return None if self.is_alive(run) else ExitCode.INTERRUPTED

    def is_alive(self, run: RunDirectory) -> bool:
        """Whether the executor of this particular run holds the lock."""
        return is_running(self.paths, run.id)

    def follow(
        self,
        run: RunDirectory,
        *,
        offset: int = 0,
        started: bool = False,
        detached: Callable[[], bool] = lambda: False,
        wait: Callable[[float], object] | None = None,
        newest: int | None = None,
    ) -> Iterator[list[Event]]:
        """Like `engine.events.follow`."""
        from bai_wizard.engine.events import follow

        alive = partial(self.is_alive, run)
        return follow(run, alive, offset=offset, started=started, detached=detached, wait=wait, newest=newest)

    def foreseen(self) -> Machine:
        """The predicted node after interrupted runs are recovered; plans are made over it. Changes nothing."""
        return self._predicted()[0]

    def to_recover(self) -> list[str]:
        """Messages on what the next run will recover of interrupted runs before anything else. Changes nothing."""
        return self._predicted()[1]

    def _predicted(self) -> tuple[Machine, list[str]]:
        if not self.machine.is_root:
            return self.machine, []
        return predict_recovery(self.paths, self.machine)

    def recover(self, run: RunDirectory | None = None) -> list[str]:
        """Recover interrupted runs under the lock, so that planning sees a recovered node; returns messages.

        `run`: about to be resumed or undone, so its interrupted changes are recovered in any case.
        """
        if run is None:
            return recover_interrupted_runs(self.paths, self.machine)
        with hold_lock(self.paths, run.id):
            return [*settle_other_runs(self.paths, run, self.machine), *recover(journal_of(run), self.machine)]

    def wait_for_package_tool(self, log: Log | None = None) -> None:
        """Wait for a package tool whose executor is gone; a live executor waits for its own."""
        if not is_held(self.paths):
            self.machine.wait_for_package_tool(*([log] if log else []))

    def drained(self) -> list[str]:
        """A line if a run has drained this node and no resume hook has succeeded since. Needs root."""
        if not self.paths.drained.exists():
            return []
        return [
            "a run has drained this node and has not made it available again: resume that run,"
            f" or run the resume hook by hand and remove {self.paths.drained}"
        ]

    def warnings(self) -> list[str]:
        """A line for each run with damaged records, each interrupted run, and a drained node. Empty without root."""
        if self.demo or not self.machine.is_root:
            return []
        lines = [*damaged_runs(self.paths), *self.drained()]
        for run in interrupted_runs(self.paths):
            todo = foreign_run(run, self.machine, "resume") or f"resume it with: bai-wizard resume {run.id}"
            lines.append(f"run {run.id} was interrupted; {todo}")
        return lines


def _refuse_unapproved(approved: Plan, plan: Plan) -> None:
    """Raise PreflightError if another attempt would do more than was approved, or something else."""
    from bai_wizard.engine.plan_file import with_less, without_secrets
    from bai_wizard.ui.present import exact_differences

    before, now = without_secrets(approved), without_secrets(plan)
    if changed := exact_differences(with_less(before, now), now):
        text = "\n".join(f"  {line}" for line in changed)
        raise PreflightError(f"the plan differs from the approved one, so another plan has to be approved:\n{text}")


def machine_for(arguments: Namespace, delay: float = 0.0) -> Machine:
    """The machine that a command line is about: the simulated one of `--demo`, otherwise the one below `--root`.

    `delay` is how long each change of a simulated node takes, in seconds. Raises AnswersError for an unknown demo.
    """
    allow_programs(arguments.demo is None)
    if arguments.demo is None:
        return compose.local_machine(arguments.root)
    from bai_wizard.node.demo import demo_machine

    return demo_machine(arguments.demo, delay=delay)


def session_for(arguments: Namespace, machine: Machine, reporter: Reporter = _plainly) -> Session:
    """The session for a command that runs something on the machine from `machine_for`.

    A demo keeps its runs in a directory that is removed at exit, also after SIGTERM or when the terminal is closed.
    """
    if arguments.demo is None:
        return local_session(arguments.root, machine, reporter)
    import atexit
    from tempfile import mkdtemp

    # Block signals until the removal of the directory is registered; `mkdtemp` may create a file to find a writable
    # place.
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    try:
        directory = mkdtemp(prefix="bai-wizard-demo-")
        atexit.register(_remove, directory)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    return demo_session(arguments.demo, machine, Path(directory))


def _remove(directory: str) -> None:
    """Remove the runs of a demo; one that is still in progress may write between two attempts."""
    from shutil import rmtree

    for _ in range(10):
        rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            return


def local_session(root: str = "/", machine: Machine | None = None, reporter: Reporter = _plainly) -> Session:
    """The node that this process runs on; `machine` if it was already created."""
    paths = compose.paths(root)

    def start(run: RunDirectory, digest: str) -> None:
        from bai_wizard.engine.launch import start_executor

        start_executor(run, digest, paths)

    def reboot() -> None:
        from bai_wizard.node.process import reboot

        reboot()

    def stop(run: RunDirectory) -> None:
        notice = current(paths)
        if notice is not None and is_running(paths, run.id):
            os.kill(notice["pid"], signal.SIGTERM)

    return Session(
        machine or compose.local_machine(root),
        paths,
        start,
        stop,
        reporter=reporter,
        reboot=reboot,
    )


def demo_session(name: str, machine: Machine, directory: Path) -> Session:
    """A simulated node whose runs are stored in a temporary directory and executed in a thread."""
    from bai_wizard.engine.executor import execute

    paths = StatePaths(directory)
    asked: set[str] = set()

    def start(run: RunDirectory, digest: str) -> None:
        load_all()
        asked.discard(run.id)

        def run_executor() -> None:
            execute(paths, run, digest, machine, should_stop=lambda: run.id in asked)

        threading.Thread(target=run_executor, daemon=True).start()

    return Session(machine, paths, start, lambda run: asked.add(run.id), demo=name)
