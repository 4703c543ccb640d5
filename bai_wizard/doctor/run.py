"""Run the checks in worker processes with deadlines, put root causes first, and check again after a fix."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from glob import glob

from msgspec import Struct, field
from msgspec.structs import replace

from bai_wizard.compose import DesiredState, desired_from_json
from bai_wizard.core.debug_log import debug, debug_exception
from bai_wizard.core.errors import WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.page import Check, Context, Finding, Result
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Plan
from bai_wizard.doctor.drift import drift_checks, is_drift, plan_steps, remedy_steps, without_covered
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.deadline import ready
from bai_wizard.pages import ORDER, load

_left_behind: set[int] = set()


def kill_process_tree(child: int) -> None:
    """Kill the child's process group and those of its descendants: programs it started have their own sessions."""
    for process in [*_descendants(child), child]:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    _left_behind.add(child)
    for each in list(_left_behind):
        with suppress(ChildProcessError):
            if os.waitpid(each, os.WNOHANG)[0] == 0:
                continue
        _left_behind.discard(each)


def _is_runnable(child: int) -> bool:
    """Whether the child or a program that it started computes, or would if a processor were free."""
    for process in [child, *_descendants(child)]:
        for name in glob(f"/proc/{process}/task/*/stat"):
            with suppress(OSError), open(name, "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] == b"R":
                    return True
    return False


def _descendants(process: int) -> list[int]:
    """The descendants, deepest first. Empty if the kernel was built without that list."""
    result: list[int] = []
    for name in glob(f"/proc/{process}/task/*/children"):
        with suppress(OSError), open(name, encoding="ascii") as file:
            for child in map(int, file.read().split()):
                result += [*_descendants(child), child]
    return result


# A check that waits for something after so many seconds no longer holds up the others of its group. One that computes
# does: on a busy node, more children would only compete with it, and repeat what it has read.
PATIENCE = 0.5

Answer = tuple[Check, tuple[Finding, ...]]


class _Group(Struct):
    """Checks that one child runs in sequence. Times are from the monotonic clock."""

    checks: list[Check]
    child: int = 0
    reader: int = -1
    buffer: bytes = b""
    begun: float = 0.0
    patient_until: float = 0.0
    ended: bool = False
    answers: list[Answer] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """When the running check times out."""
        return self.begun + self.checks[0].deadline if self.checks else self.begun

    @property
    def may_be_overtaken(self) -> bool:
        """Whether other checks are waiting for the running one without depending on its result."""
        return len(self.checks) > 1 and self.checks[0].cost != "shared"

    @property
    def next_wakeup(self) -> float:
        """When this group needs attention again."""
        return min(self.limit, self.patient_until) if self.may_be_overtaken else self.limit

    def begin(self) -> None:
        """Start the clock of the first of its checks."""
        self.begun = time.monotonic()
        self.patient_until = self.begun + PATIENCE

    def split(self) -> list[list[Check]]:
        """Split off the checks after the running one, which keeps its child and its deadline.

        Those that need others of the group are apart, and wait for them; the rest in halves: several checks may hang.
        """
        behind = self.checks[1:]
        names = {check.id for check in self.checks}
        self.checks = self.checks[:1]
        free = [check for check in behind if not names.intersection(check.needs)]
        bound = [check for check in behind if check not in free]
        middle = (len(free) + 1) // 2
        return [part for part in (free[:middle], free[middle:], bound) if part]

    def time_out(self) -> None:
        """Report the running check as unanswered, and with it the checks that share what it looks up."""
        silent = len(self.checks) if self.checks[0].cost == "shared" else 1
        self.answers += _timed_out(self.checks[:silent])
        self.checks = self.checks[silent:]
        self.ended = True


def _timed_out(checks: Sequence[Check]) -> list[Answer]:
    return [(check, (_plain(check, "cannot-tell", f"no response within {check.deadline:g} s"),)) for check in checks]


class CheckWorkers:
    """Child processes that run checks. `close` kills running ones, and leaves those that cannot be killed."""

    def __init__(self, machine: Machine, context: Context) -> None:
        self._machine, self._context = machine, context
        self._selector = selectors.DefaultSelector()
        self._overtaken: list[list[Check]] = []

    def start(self, checks: Sequence[Check]) -> None:
        """Run these checks in sequence, concurrently with the groups already running."""
        self._start(_Group(list(checks)))

    @property
    def at_work(self) -> bool:
        """Whether a result may still arrive."""
        return bool(self._selector.get_map())

    def answers(self, until: float) -> Iterator[Answer]:
        """Wait for results until `until` at most. A check over its deadline only gets the result "cannot-tell"."""
        groups: list[_Group] = [key.data for key in self._selector.get_map().values()]
        wait = min([until, *(group.next_wakeup for group in groups)]) - time.monotonic()
        for key, _ in ready(self._selector, wait):
            _read(key.data)
        for group in groups:
            now = time.monotonic()
            if group.checks and not group.answers and now > group.limit:
                group.time_out()
            yield from group.answers
            group.answers = []
            if group.may_be_overtaken and not group.ended and now > group.patient_until:
                if _is_runnable(group.child):
                    group.patient_until = now + PATIENCE
                else:
                    self._overtaken += group.split()
            if group.ended or not group.checks:
                self._end(group)
                self._start(group)

    def overtaken(self) -> list[list[Check]]:
        """Return the groups of checks that were waiting behind a slow one; they must be restarted."""
        result, self._overtaken = self._overtaken, []
        return result

    def time_out(self) -> Iterator[Answer]:
        """Time out all checks that have not finished, and report them as such."""
        for key, _ in self._selector.select(0):
            _read(key.data)
        for group in [key.data for key in self._selector.get_map().values()]:
            yield from (*group.answers, *_timed_out(group.checks))
            self._end(group)

    def close(self) -> None:
        """End all running checks."""
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
        group.begin()
        self._selector.register(reader, selectors.EVENT_READ, group)

    def _end(self, group: _Group) -> None:
        self._selector.unregister(group.reader)
        os.close(group.reader)
        kill_process_tree(group.child)


class Inline:
    """Runs the checks of a simulated node, which cannot hang, in this process without a child."""

    def __init__(self, machine: Machine, context: Context) -> None:
        self._machine, self._context = RememberingMachine(machine), context
        self._answers: list[Answer] = []

    def start(self, checks: Sequence[Check]) -> None:
        """Run these checks."""
        self._answers += [(check, run_check(check, self._machine, self._context)) for check in checks]

    @property
    def at_work(self) -> bool:
        """Whether there are results to return."""
        return bool(self._answers)

    def answers(self, until: float) -> Iterator[Answer]:
        """Return the results so far."""
        result, self._answers = self._answers, []
        yield from result

    def overtaken(self) -> list[list[Check]]:
        """Return nothing: each check has ended when the next one starts."""
        return []

    def time_out(self) -> Iterator[Answer]:
        """Return the results at the timeout."""
        return self.answers(0)

    def close(self) -> None:
        """Do nothing: no check is running."""


def _be_child(checks: Sequence[Check], machine: Machine, context: Context, writer: int) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        machine = RememberingMachine(machine)
        with machine.helpers():
            for check in checks:
                findings = run_check(check, machine, context)
                line = json.dumps([finding.to_wire() for finding in findings]).encode() + b"\n"
                while line:
                    line = line[os.write(writer, line) :]
    finally:
        os._exit(0)


def run_check(check: Check, machine: Machine, context: Context) -> tuple[Finding, ...]:
    """Run one check in this process; no result becomes "cannot-tell", an exception becomes "crashed"."""
    if check.needs_root and not machine.is_root:
        return (_plain(check, "cannot-tell", "needs root"),)
    begun = time.monotonic()
    try:
        finding = check.run(machine, context)
        debug("check %s: %.3f s", check.id, time.monotonic() - begun)
    except WizardError as error:
        debug("check %s: %s", check.id, error)
        return (_plain(check, "cannot-tell", str(error)),)
    except Exception as error:  # noqa: BLE001 - becomes a finding of its own: the other checks continue
        debug_exception()
        return (_plain(check, "crashed", redact(f"{type(error).__name__}: {error}")),)
    return finding if isinstance(finding, tuple) else (finding,)


def _plain(check: Check, result: Result, cause: str) -> Finding:
    return Finding(check.id, result, check.title, check.page, cause=cause, owner=check.owner)


def _read(group: _Group) -> None:
    data = os.read(group.reader, 1 << 16)
    group.buffer += data
    *lines, group.buffer = group.buffer.split(b"\n")
    for line in lines:
        if not group.checks:
            # The child continued with checks that others have taken over.
            break
        items = json.loads(line)
        if any(item["remedy"] for item in items):
            # The child may have imported kinds of steps that this process has not imported.
            from bai_wizard.steps import load_all

            load_all()
        group.answers.append((group.checks.pop(0), tuple(Finding.from_wire(item) for item in items)))
        group.begin()
    group.ended = not data
    if group.ended and group.checks:
        check = group.checks.pop(0)
        group.answers.append((check, (_plain(check, "crashed", "the check's process exited unexpectedly"),)))


def run_checks(checks: Sequence[Check], machine: Machine, context: Context) -> Iterator[Finding]:
    """Yield findings as they arrive; a check that needs one with a problem is skipped, and its finding says so.

    Even if checks hang, this takes no longer than the longest deadline of these checks.
    """
    end = time.monotonic() + max((check.deadline for check in checks), default=0.0)
    waiting, root_causes = check_groups(checks), _RootCauses(checks)
    workers = Inline(machine, context) if context.demo else CheckWorkers(machine, context)
    try:
        while True:
            ready = [group for group in waiting if root_causes.is_answered(group)]
            waiting = [group for group in waiting if group not in ready]
            for group in ready:
                yield from root_causes.suppressed(group)
                workers.start([check for check in group if not root_causes.cause_of(check)])
            if ready:
                continue
            if not workers.at_work:
                break
            answers = workers.answers(end) if time.monotonic() < end else workers.time_out()
            for check, findings in answers:
                yield from root_causes.take(check, findings)
            waiting += workers.overtaken()
    finally:
        workers.close()


def check_groups(checks: Sequence[Check]) -> list[list[Check]]:
    """Group the checks by child process: cheap ones share one, and so every read that they make.

    An expensive check gets its own child; shared ones stay together. Each group is in dependency order. Cheap checks
    that need one of another group are in a second group, so that no two groups wait for each other.
    """
    depths, levels = _depths(checks), _levels(checks)
    made: dict[str, list[Check]] = {}
    for check in sorted(checks, key=lambda check: (check.cost != "expensive", depths[check.id])):
        names = {
            "cheap": f"cheap, {levels[check.id]}",
            "expensive": check.id,
            "shared": _lookup(check),
        }
        made.setdefault(names[check.cost], []).append(check)
    return list(made.values())


def _levels(checks: Sequence[Check]) -> dict[str, int]:
    """For each check, how many groups of expensive and shared checks must finish one by one before it runs."""
    levels = {check.id: 0 for check in checks}
    groups = {
        check.id: {"cheap": "", "expensive": check.id, "shared": _lookup(check)}[check.cost] for check in checks
    }
    for _ in checks:
        before = dict(levels)
        for check in checks:
            needed = [
                levels[name] + (groups[name] not in ("", groups[check.id])) for name in check.needs if name in levels
            ]
            levels[check.id] = max([levels[check.id], *needed])
        for check in checks:
            if check.cost == "shared":
                levels[check.id] = max(levels[id] for id, group in groups.items() if group == groups[check.id])
        if levels == before:
            break
    return levels


def _lookup(check: Check) -> str:
    """The name of the lookup that shared checks use."""
    return f"{check.group or check.page}, shared"


def _depths(checks: Sequence[Check]) -> dict[str, int]:
    """The dependency depth of each check; needs that are not part of this examination are ignored."""
    depths = {check.id: 0 for check in checks}
    for _ in checks:
        for check in checks:
            depths[check.id] = max((1 + depths[name] for name in check.needs if name in depths), default=0)
        if all(depths[check.id] > depths[name] for check in checks for name in check.needs if name in depths):
            break
    return depths


class _RootCauses:
    """Tracks which checks have finished, and the root cause behind those whose results cannot be trusted."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._open = {check.id for check in checks}
        self._causes: dict[str, str] = {}

    def take(self, check: Check, findings: Sequence[Finding]) -> Sequence[Finding]:
        """Record a result; it is discarded if a check that it needs, run by the same child, has a problem."""
        self._open.discard(check.id)
        if suppressed := tuple(self.suppressed([check])):
            return suppressed
        if any(finding.result == "problem" for finding in findings):
            self._causes[check.id] = check.id
        return findings

    def is_answered(self, group: Sequence[Check]) -> bool:
        """Whether all checks that these need from other groups have finished."""
        own = {check.id for check in group}
        return not any(name in self._open and name not in own for check in group for name in check.needs)

    def cause_of(self, check: Check) -> str:
        """The id of the root cause that also explains this check, or an empty string."""
        return next((self._causes[name] for name in check.needs if name in self._causes), "")

    def suppressed(self, group: Sequence[Check]) -> Iterator[Finding]:
        """The findings of checks that are skipped."""
        for check in group:
            if cause := self.cause_of(check):
                self._open.discard(check.id)
                self._causes[check.id] = cause
                skipped = _plain(check, "not-applicable", f"not checked because of {cause}")
                yield replace(skipped, suppressed_by=cause)


def all_checks(desired: DesiredState | None = None) -> tuple[Check, ...]:
    """Return the checks of every page in the wizard's order, then the comparisons with the desired state."""
    return (*(check for name in ORDER for check in load(name).checks()), *drift_checks(desired))


def upgrade_checks() -> tuple[Check, ...]:
    """Return the checks that run only before and after an upgrade of the distribution."""
    from bai_wizard.doctor.upgrade_checks import UPGRADE_CHECKS

    return UPGRADE_CHECKS


def known_checks(desired: DesiredState | None = None) -> tuple[Check, ...]:
    """Return all checks, with those of an upgrade."""
    return (*upgrade_checks(), *all_checks(desired))


def chosen_checks(
    checks: Iterable[Check], only: Collection[str] = (), skip: Collection[str] = ()
) -> tuple[Check, ...]:
    """Return the selected checks. A page's name selects all of its checks."""
    return tuple(
        check
        for check in checks
        if (not only or check.is_among(only) or check.page in only)
        and not (check.is_among(skip) or check.page in skip)
    )


def examine(
    checks: Iterable[Check], machine: Machine, context: Context, ignored: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return all findings: problems, crashed checks, warnings, unknown results, then the rest.

    `ignored` maps ids to reasons: such a check still runs, but its finding is demoted and shows the reason.
    """
    wanted = tuple(checks)
    current = {check.formerly: check.id for check in wanted if check.formerly}
    reasons = {current.get(id, id): reason for id, reason in (ignored or {}).items()}
    findings = [_demoted(finding, reasons) for finding in run_checks(wanted, machine, context)]
    return _sorted(without_covered(findings, machine), wanted)


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """4 for a problem, 6 for warnings only, else 0. Unknown results count as neither."""
    results = {finding.result for finding in findings if not finding.ignored}
    if "problem" in results:
        return ExitCode.FAILED
    return ExitCode.OPTIONAL_FAILED if "warning" in results or "crashed" in results else ExitCode.OK


def _demoted(finding: Finding, ignored: Mapping[str, str]) -> Finding:
    reason = ignored.get(finding.id, "")
    return replace(finding, ignored=reason) if reason and finding.result in ("problem", "warning") else finding


_ORDER = ("problem", "crashed", "warning", "cannot-tell", "ok", "not-applicable")


def _sorted(findings: list[Finding], checks: Sequence[Check]) -> list[Finding]:
    """Sort by severity; among equals, root causes come first, then the order of the pages.

    Comparisons with the answers come after every finding that says more precisely what is wrong.
    """
    order = {check.id: (not check.root_cause, index) for index, check in enumerate(checks)}

    def rank(finding: Finding) -> tuple[object, ...]:
        is_general = finding.result == "problem" and is_drift(finding)
        severity = _ORDER.index("warning" if is_general else finding.result)
        return bool(finding.ignored), severity, is_general, order.get(finding.id, (True, len(order)))

    return sorted(findings, key=rank)


BAD_RESULTS = ("problem", "warning")
# A check's id and what it finds after its fix.
Verdict = tuple[str, tuple[Finding, ...]]


def bad_findings(checks: Sequence[Check], machine: Machine, context: Context) -> list[Finding]:
    """Return the problems and warnings that these checks find now."""
    return [finding for finding in examine(checks, machine, context) if finding.result in BAD_RESULTS]


def _checks_of_fix(desired: DesiredState) -> list[Check]:
    return [check for check in known_checks(desired) if check.is_among(desired.fix.split(","))]


def plan_again(desired: DesiredState, confirmed: Plan, machine: Machine) -> Plan:
    """Return the plan of an interrupted fix: what the check asks for now, else the rest of the confirmed steps.

    The check may already pass while a later step, such as a restart, is still missing.
    """
    bad = bad_findings(_checks_of_fix(desired), machine, desired.context)
    steps = remedy_steps(bad) or tuple(item.step for item in confirmed.steps)
    return plan_steps(steps, machine, machine.host)


def recheck(run: RunDirectory, machine: Machine) -> Verdict | None:
    """Run the check that this run was to fix; None if the run was not a fix. Raises WizardError."""
    if run.kind != "apply":
        return None
    desired = desired_from_json(run.settings())
    if not desired.fix:
        return None
    return desired.fix.replace(",", ", "), tuple(examine(_checks_of_fix(desired), machine, desired.context))
