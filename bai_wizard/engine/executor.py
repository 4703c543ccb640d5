"""Execute one attempt of a run under the lock: each step is re-inspected, applied and verified.

Each operation is journaled with its inverse before it is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from bai_wizard.core.consent import Consent, Interrupt, Moment, affected_by, refusal, uncovered
from bai_wizard.core.errors import (
    KnownAfterApply,
    PreflightError,
    RebootNeeded,
    RunCancelled,
    StateUnknown,
    StepBlocked,
    StepFailed,
)
from bai_wizard.core.event import Level, Log, Outcome
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.operation import Change, Operation, Scope, admits, refuse_outside
from bai_wizard.core.state import States
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Step, StepStatus, Unchanged
from bai_wizard.engine.audit import Audit, Record, discard
from bai_wizard.engine.directory import RunDirectory, contents_of, count_attempt, find_run, journal_of
from bai_wizard.engine.events import EventLog, OrderedLogs, StepLog
from bai_wizard.engine.journal import Entry, Journal
from bai_wizard.engine.lock import StatePaths, hold_lock, moment
from bai_wizard.engine.prune import prune_runs
from bai_wizard.engine.recovery import records_of, recover, recover_entry, refuse_foreign, settle_other_runs
from bai_wizard.engine.result import Result, StepResult
from bai_wizard.engine.undo import declared_interrupts, others_of, rollback, shared_with
from bai_wizard.resources.files import PathOperation

if TYPE_CHECKING:
    from bai_wizard.engine.maintenance import Maintenance

# How many operations run at once when a step passes several: they are bound by network and disk, not by CPU.
AT_ONCE = 4

# Called between the parts of every change with the name of the part; tests simulate power cuts there.
Checkpoint = Callable[[str], None]


def no_checkpoint(name: str) -> None:
    """Do nothing: the checkpoint in production."""


class JournalledNode(Struct):
    """Write intent, inverse and backup, then apply the operation and record the actual state.

    Every operation of a step has to stay within the step's `scope`. Undo has none: the journal decides what it does.
    `guard` raises StepBlocked if the step must not interrupt what is running. It is called before each operation
    until one that may interrupt something has been applied; after that, a rollback must stay possible.
    """

    machine: Machine
    journal: Journal
    step: str
    log: Log
    checkpoint: Checkpoint = no_checkpoint
    scope: Sequence[Scope] | None = None
    guard: Callable[[], None] | None = None
    # The numbers of intents that were recorded before their operation's turn.
    intents: dict[Operation, int] = field(default_factory=dict)

    @property
    def view(self) -> NodeView:
        """The current node."""
        return self.machine

    def do(self, operation: Operation) -> None:
        """Apply `operation` unless it is already satisfied. Raises StepFailed; the journal records how far it got."""
        self._execute(operation, self.log)

    def do_together(self, operations: Sequence[Operation]) -> None:
        """Apply operations that have no key in common, several at a time, each with its own intent.

        After a failure no new operation is started; running ones are allowed to finish. Raises the first failure.
        """
        logs = OrderedLogs(self.log, len(operations))
        given_up = Event()

        def one(number: int) -> None:
            operation = operations[number]
            try:
                if given_up.is_set():
                    return
                if self.machine.should_stop():
                    raise StepFailed(f"{operation.keys()[0].name}: not started: the run was cancelled")
                self._execute(operation, logs.of(number))
            except BaseException:
                given_up.set()
                raise
            finally:
                logs.end(number)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="together") as pool:
            pending = [pool.submit(one, number) for number in range(len(operations))]
        for future in pending:
            future.result()

    @contextmanager
    def announced(self, operations: Iterable[Operation]) -> Iterator[None]:
        """Record the intents of operations that are not satisfied; settle those that are not executed then."""
        before = {each: states for each in operations if not each.is_satisfied(states := self._states(each))}
        for operation, states in before.items():
            self.intents[operation] = self._intend(operation, states)
        try:
            yield
        except Exception:
            self._settle(before)
            raise
        self._settle(before)

    def _settle(self, before: Mapping[Operation, States]) -> None:
        """Find out how far announced operations got that were not executed."""
        while self.intents:
            operation, number = self.intents.popitem()
            states = before[operation]
            attempt = Entry(number, self.step, operation, states, operation.after(states), operation.inverse(states))
            if message := recover_entry(attempt, self.journal.finish, self.machine, failed=True):
                self.log(message, level="warning")

    def _intend(self, operation: Operation, before: States) -> int:
        if self.scope is not None:
            refuse_outside(self.scope, operation, before)
        self.checkpoint("before intent")
        number = self.journal.intent(self.step, operation, before, operation.inverse(before))
        self.checkpoint("after intent")
        return number

    def _execute(self, operation: Operation, log: Log) -> None:
        before = self._states(operation)
        if operation.is_satisfied(before):
            return
        if self.guard is not None:
            self.guard()
            if not isinstance(operation, PathOperation):
                self.guard = None
        number = self.intents.pop(operation, None)
        if number is None:
            number = self._intend(operation, before)
        try:
            self.machine.apply(operation, log)
        except StepFailed:
            # A tool that failed may have made partial changes, like one that was killed.
            attempt = Entry(number, self.step, operation, before, operation.after(before), operation.inverse(before))
            if message := recover_entry(attempt, self.journal.finish, self.machine, failed=True):
                log(message, level="warning")
            raise
        self.checkpoint("after change")
        self.journal.finish(number, "done", self._states(operation))
        self.checkpoint("after done")

    def _states(self, operation: Operation) -> States:
        return {key: self.machine.state(key) for key in operation.keys()}


class Executor(Struct, frozen=True):
    """What applying a plan needs: the node, where to record, when to stop, what may be interrupted."""

    machine: Machine
    journal: Journal
    event_log: EventLog
    should_stop: Callable[[], bool] = lambda: False
    consent: tuple[Consent, ...] = ()
    checkpoint: Checkpoint = no_checkpoint
    # The command that resumes this run, for messages.
    again: str = "bai-wizard resume"
    clock: Callable[[], Moment] = moment
    begun: Moment = field(default_factory=moment)
    maintenance: Maintenance | None = None

    def run(self, plan: Plan) -> Result:
        """Run pending steps in order; stop at the first failure of a required step."""
        results: list[StepResult] = []
        lasting: list[str] = []
        stopped = ""
        for planned in plan.steps:
            if not stopped and self.should_stop():
                stopped = "interrupted"
            if stopped:
                results.append(self._left_out(planned, stopped))
                continue
            try:
                result = self._one(planned)
            except RebootNeeded as error:
                stopped = "reboot"
                results.append(_result(planned.step, "skipped", str(error)))
                continue
            except RunCancelled as error:
                stopped = "interrupted"
                results.append(_result(planned.step, "skipped", f"not started: {error}"))
                continue
            results.append(result)
            if result.outcome == "changed" and isinstance(planned.verdict, Pending):
                lasting += planned.verdict.lasting
            if result.outcome == "failed" and not planned.step.optional:
                stopped = "interrupted" if self.should_stop() else "failed"
        return Result(tuple(results), stopped, tuple(dict.fromkeys(lasting)))

    def _left_out(self, planned: PlannedStep, stopped: str) -> StepResult:
        if not planned.is_pending:
            return _result(planned.step, "unchanged")
        reasons = {
            "interrupted": "not started: the run was cancelled",
            "reboot": "not started: waiting for the reboot",
            "failed": "not started: an earlier step failed",
        }
        return _result(planned.step, "skipped", reasons[stopped])

    def _one(self, planned: PlannedStep) -> StepResult:
        step = planned.step
        if isinstance(planned.verdict, Unchanged):
            outcome: Outcome = "skipped" if planned.verdict.skipped else "unchanged"
            return _result(step, outcome, planned.verdict.note)
        if isinstance(planned.verdict, Blocked):
            return _result(step, "failed", planned.verdict.explain())
        opened = self.event_log.emit("started", step.describe(), step=step.id)
        log = StepLog(self.event_log, step.id, opened)
        for warning in step.warnings():
            log(f"please check: {warning}", level="warning")
        mark = self.journal.last_number()
        try:
            result = self._apply(planned, log)
        except (StepFailed, StepBlocked, StateUnknown, KnownAfterApply) as error:
            result = _result(step, "failed", str(error))
        if result.outcome == "failed" and step.undo_on_failure:
            result = self._restore(step, mark, result, log)
        log.close()
        self.event_log.emit(
            "finished",
            result.text,
            step=step.id,
            parent=opened,
            outcome=result.outcome,
            level="error" if result.outcome == "failed" else "info",
        )
        return result

    def _apply(self, planned: PlannedStep, log: StepLog) -> StepResult:
        step = planned.step
        assert isinstance(planned.verdict, Pending)
        now = self._inspect(step)
        may_wait = bool(step.interrupts) and isinstance(now, Pending)
        if self.maintenance is not None and may_wait and self.maintenance.enter(step.interrupts, log):
            now = self._inspect(step)
        if isinstance(now, Unchanged):
            return _result(step, "unchanged", now.note)
        if isinstance(now, Blocked):
            return _result(step, "failed", now.explain())
        refusal = refuse_change(step, planned.verdict, now)
        if refusal:
            return _result(step, "failed", refusal)
        if planned.verdict.is_partial:
            for change in now.changes:
                log(change.diff().rstrip("\n"))
        self._refuse_to_interrupt(step.interrupts)
        guard = partial(self._refuse_to_interrupt, step.interrupts) if step.interrupts else None
        node = JournalledNode(self.machine, self.journal, step.id, log, self.checkpoint, step.scope(), guard)
        step.apply(node)
        with self.machine.helpers():
            missing = step.verify(RememberingMachine(self.machine))
        if missing:
            return _result(step, "failed", f"applied, but verification failed: {missing}")
        return _result(step, "changed")

    def _inspect(self, step: Step) -> StepStatus:
        with self.machine.helpers():
            return step.inspect(RememberingMachine(self.machine))

    def _refuse_to_interrupt(self, interrupts: Collection[Interrupt]) -> None:
        """Raise StepBlocked, with the command that gives consent, if something would be interrupted without it.

        Not StepFailed: a step that cleans up after a failed operation must not mistake this for one.
        """
        now = self.clock()
        left = uncovered(affected_by(self.machine, interrupts), self.consent, self.begun, now)
        if left:
            message = refusal(left, self.consent, self.begun, now)
            if self.maintenance is not None and self.maintenance.spares(left):
                raise StepBlocked(
                    f"{message}. Nothing was interrupted. Drain the node, or wait until the sessions have ended, "
                    f"then run: {self.again}"
                )
            raise StepBlocked(
                f"{message}. Nothing was interrupted. "
                f"To allow this, run: {self.again} --yes-interrupt={','.join(left)}"
            )

    def _restore(self, step: Step, mark: int, result: StepResult, log: StepLog) -> StepResult:
        mine = [entry for entry in self.journal.entries() if entry.number > mark]
        left = rollback(mine, self.journal, self.machine, log).left
        tail = f"; left unchanged: {'; '.join(left)}" if left else "; the step's changes were rolled back"
        return _result(step, "failed", result.text + tail)

    def undo(self, undone: RunDirectory, *, force: bool) -> Result:
        """Undo a run; `journal` is that of the undo run.

        The result is a failure if something could not be undone, or if records of the run are damaged or missing.
        `force`: later edits by others are undone as well.
        """
        theirs = journal_of(undone)
        for message in recover(theirs, self.machine):
            self.event_log.emit("log", message)
        opened = self.event_log.emit("started", f"undo run {undone.id}", step="undo")
        log = StepLog(self.event_log, "undo", opened)
        contents = contents_of(undone, theirs)
        result = rollback(
            contents.entries,
            theirs,
            self.machine,
            log,
            node=JournalledNode(self.machine, self.journal, "undo", log, self.checkpoint),
            force=force,
            refuse=partial(self._refusal_to_undo, declared_interrupts(undone)),
            shared=shared_with(others_of(undone)),
        )
        if not contents.damages:
            try:
                undone.end_again(theirs)
            except StepFailed as error:
                log(str(error), level="warning")
        theirs.close()
        problems = [f"damaged record of run {undone.id}: {text}" for text in contents.damages]
        problems += [f"kept: {text}" for text in result.left]
        log.close()
        outcome: Outcome = "failed" if problems else "changed" if result.undone else "unchanged"
        text = "; ".join(problems)
        self.event_log.emit("finished", text, step="undo", parent=opened, outcome=outcome)
        step = StepResult("undo", f"undo run {undone.id}", outcome, text=text)
        return Result((step,), "", tuple(dict.fromkeys(result.lasting)), result.changes, len(result.left))

    def _refusal_to_undo(self, declared: Mapping[str, Sequence[Interrupt]], inverse: Operation, step: str) -> str:
        """Why an inverse must not be applied: it would interrupt something without consent."""
        try:
            self._refuse_to_interrupt(inverse.interrupts(declared.get(step, ())))
        except (StepBlocked, StateUnknown) as error:
            return str(error)
        return ""


def refuse_change(step: Step, planned: Pending, now: Pending) -> str:
    """Why the changes to be made now differ from those confirmed; empty if they do not."""
    if planned.is_partial:
        outside = [change.subject for change in now.changes if not _inside(step, change, planned)]
        return (
            f"changed since review: it would change {', '.join(outside)}, which is outside the scope of this step"
            if outside
            else ""
        )
    if now.is_partial:
        return f"changed since review: part of it is known only after {now.known_after or 'a reboot'}"
    if now.changes != planned.changes:
        differing = [change for change in now.changes if change not in planned.changes]
        message = "; ".join(change.headline() for change in differing) or "some planned changes are no longer needed"
        return f"changed since review, nothing written: {message}. Plan again to see the current changes"
    return ""


def _inside(step: Step, change: Change, planned: Pending) -> bool:
    """Whether a change was confirmed or is within the step's scope. A change without a key is in no scope."""
    if change in planned.changes:
        return True
    return change.key is not None and admits(step.scope(), change.key, creates=change.verb == "create")


def _result(step: Step, outcome: Outcome, text: str = "") -> StepResult:
    return StepResult(step.id, step.describe(), outcome, step.effect, step.optional, text)


def execute(
    paths: StatePaths,
    run: RunDirectory,
    digest: str,
    machine: Machine,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    unit: str = "",
    checkpoint: Checkpoint = no_checkpoint,
    clock: Callable[[], Moment] = moment,
    sources: Callable[[], AbstractContextManager[object]] = nullcontext,
    record: Record = discard,
) -> Result:
    """Run one attempt inside `sources`, which provides what the run takes from a bundle while the lock is held.

    `record` writes to the audit trail.

    Raises LockHeld, PreflightError if the plan is not the one that was confirmed, and whatever `sources` raises.
    """
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with hold_lock(paths, run.id, unit=unit, since=since), ExitStack() as kept:
        undoes = _refuse_other(paths, run, digest, machine)
        event_log = EventLog(run.events, run.id)
        kept.callback(event_log.close)
        # A package tool left by a killed attempt may still use what `sources` replaces, and may change the node.
        machine.wait_for_package_tool(partial(_note, event_log), taken=True)
        kept.enter_context(sources())
        journal = _begin(paths, run, machine, event_log)
        kept.callback(journal.close)
        audit = Audit(run, record)
        audit.begin()
        kept.callback(audit.end)
        machine.should_stop = should_stop
        again = f"bai-wizard resume {run.id}"
        maintenance = maintenance_of(paths, run, machine, should_stop) if undoes is None else None
        executor = Executor(
            machine, journal, event_log, should_stop, run.consents(), checkpoint, again, clock, clock(), maintenance
        )
        if undoes is not None:
            result = executor.undo(undoes, force=bool(run.metadata.get("force")))
        else:
            result = executor.run(run.plan())
            if maintenance is not None:
                result = _resumed(result, maintenance, event_log)
            if damages := contents_of(run, journal).damages:
                result = _with_damages(result, damages, event_log, run.id)
        try:
            machine.clear_caches()
        except (StepFailed, StateUnknown) as error:
            event_log.emit("log", f"a cache was not removed: {error}", level="warning")
        run.end(result.to_json(), journal)
        for message in prune_runs(paths):
            event_log.emit("log", message, level="warning")
        audit.result = result
        event_log.emit("summary", data=result.to_json())
        return result


def _refuse_other(paths: StatePaths, run: RunDirectory, digest: str, machine: Machine) -> RunDirectory | None:
    """The run that `run` undoes, if any.

    Raises PreflightError for a plan that was not confirmed, and for a run of another machine or release.
    """
    if run.plan().digest() != digest or run.metadata["digest"] != digest:
        raise PreflightError(f"run {run.id}: the plan on disk is not the one that was confirmed")
    undoes = find_run(paths, run.metadata["undoes"]) if run.kind == "undo" else None
    for each in (run, undoes):
        if each is not None:
            force = bool(run.metadata.get("force"))
            refuse_foreign(each, machine, "undo" if undoes is not None else "resume", force=force)
    return undoes


def _begin(paths: StatePaths, run: RunDirectory, machine: Machine, event_log: EventLog) -> Journal:
    """Count and record the attempt, and recover what interrupted attempts and other runs left; opens the journal."""
    number, problem = count_attempt(paths, run)
    journal = journal_of(run)
    run.take_over(number, records_of(machine), journal)
    data = {"pending": len(run.plan().pending()), "kind": run.kind, "number": run.number}
    event_log.emit("run", f"{run.kind} started", data=data)
    if problem:
        event_log.emit("log", problem, level="warning")
    for message in (*settle_other_runs(paths, run, machine), *recover(journal, machine)):
        event_log.emit("log", message, level="warning")
    return journal


def maintenance_of(
    paths: StatePaths, run: RunDirectory, machine: Machine, should_stop: Callable[[], bool]
) -> Maintenance | None:
    """The conditions and hooks of a run; None without any."""
    from bai_wizard.engine.maintenance import Maintenance, conditions_from_json, hooks_of

    conditions, hooks = conditions_from_json(run.metadata.get("conditions")), hooks_of(run.settings())
    if not (conditions or hooks.drain):
        return None
    return Maintenance(machine, conditions, hooks, paths.drained, should_stop)


def _resumed(result: Result, maintenance: Maintenance, event_log: EventLog) -> Result:
    """The result after the resume hook, which is run whether steps have failed or not."""
    if not maintenance.is_drained:
        return result
    title = "make the node available for sessions again"
    opened = event_log.emit("started", title, step="maintenance.resume")
    log = StepLog(event_log, "maintenance.resume", opened)
    problem = maintenance.leave(log)
    log.close()
    outcome: Outcome = "failed" if problem else "changed"
    level: Level = "error" if problem else "info"
    event_log.emit("finished", problem, step="maintenance.resume", parent=opened, outcome=outcome, level=level)
    if not problem:
        return result
    return replace(result, steps=(*result.steps, StepResult("maintenance.resume", title, "failed", text=problem)))


def _with_damages(result: Result, damages: Sequence[str], event_log: EventLog, run: str) -> Result:
    """The result of an attempt whose run has damaged earlier records: undo will not know all of its changes."""
    title, text = f"records of run {run}", f"damaged: {'; '.join(damages)}"
    opened = event_log.emit("started", title, step="journal")
    event_log.emit("finished", text, step="journal", parent=opened, outcome="failed", level="error")
    return replace(result, steps=(*result.steps, StepResult("journal", title, "failed", text=text)))


def _note(event_log: EventLog, text: str, *, level: Level = "info", stream: str = "", **_: object) -> None:
    event_log.emit("log", text, level=level, stream=stream)
