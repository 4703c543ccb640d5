"""What a node is compared with, its differences from the answers, and the plans of fixes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.core.errors import AnswersError, PreflightError, Problem, WizardError
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Change
from bai_wizard.core.page import Check, Context, Evidence, Finding, Unsupported
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.secret import Secret
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Step, dry_run
from bai_wizard.engine.lock import StatePaths
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.pages.check import Outcome, check, check_texts, not_applicable, ok, problem, unknown, warning

if TYPE_CHECKING:
    from bai_wizard.compose import DesiredState
    from bai_wizard.engine.directory import RunDirectory


# The maximum number of unknown names to report, each with the closest known name, and the maximum length of a name.
MAX_UNKNOWN = 20
LONGEST_ID = 64


class DoctorScope(Struct, frozen=True):
    """The desired state that supplies the checks' context, the ids to demote with reasons, and the origin of both."""

    desired: DesiredState
    ignored: Mapping[str, str]
    origin: str = ""


def resolve_scope(
    machine: Machine, paths: StatePaths | None, answers: str | None, ignore: Sequence[str]
) -> DoctorScope:
    """Resolve what to examine against; a simulated node has no `paths`, and therefore no earlier run.

    Raises AnswersError for an invalid file, or an `--ignore` without a reason.
    """
    if answers:
        from bai_wizard.answers.load import load

        demo = paths is None
        desired = compose.desired_from_answers(load(answers, machine.host, trusted_only=not demo), demo=demo)
        origin = answers
    else:
        last, origin = _last_run(machine, paths) if paths is not None else (None, "")
        desired = last or compose.DesiredState({}, (), Context(host=machine.host, demo=paths is None))
    table = desired.settings.get("doctor")
    return DoctorScope(desired, {**(table.ignore if table else {}), **reasons(ignore)}, origin)


def _last_run(machine: Machine, paths: StatePaths) -> tuple[DesiredState | None, str]:
    """The newest run that was not undone and can be read; only root can read run directories."""
    from bai_wizard.engine.directory import all_runs

    if not machine.is_root:
        return None, ""
    runs = all_runs(paths)
    undone = {run.metadata["undoes"] for run in runs if _is_undo(run)}
    for run in reversed(runs):
        try:
            if run.kind == "apply" and run.id not in undone:
                return replace(compose.desired_from_json(run.settings()), fix=""), f"run {run.id}"
        except (OSError, ValueError, KeyError, json.JSONDecodeError, PreflightError):
            # Interrupted while it was created, or written by another version: an older run may do.
            continue
    return None, ""


def _is_undo(run: RunDirectory) -> bool:
    try:
        return run.kind == "undo"
    except PreflightError:
        return False


def reasons(ignore: Sequence[str]) -> dict[str, str]:
    """Parse each `ID=REASON`. Raises AnswersError if either part is missing."""
    result = {}
    for text in ignore:
        name, _, reason = text.partition("=")
        if not name.strip() or not reason.strip():
            problem = Problem("command line", 0, 0, "--ignore", f"{text!r}: expected a check and a reason, ID=REASON")
            raise AnswersError([problem])
        result[name.strip()] = reason.strip()
    return result


def refuse_unknown(ids: Sequence[str], checks: Sequence[Check], *, pages: bool = False) -> None:
    """Raise AnswersError for ids that no check has or had, with the closest match; `pages` allows page names."""
    from difflib import get_close_matches

    current = {check.formerly: check.id for check in checks if check.formerly}
    known = sorted({*current, *(check.id for check in checks), *(check.page for check in checks if pages)})
    unknown = [name for name in dict.fromkeys(ids) if name not in known]
    problems = []
    for name in unknown[:MAX_UNKNOWN]:
        near = get_close_matches(name, known, 1) if len(name) <= LONGEST_ID else []
        known_id = f"did you mean {current.get(near[0], near[0])!r}?" if near else "see `bai-wizard doctor --json`"
        problems.append(Problem("command line", 0, 0, name[:LONGEST_ID], f"unknown check; {known_id}"))
    if more := len(unknown[MAX_UNKNOWN:]):
        problems.append(Problem("command line", 0, 0, "", f"{more} more unknown checks"))
    if problems:
        raise AnswersError(problems)


def remedy_steps(findings: Iterable[Finding]) -> tuple[Step, ...]:
    """Return the steps of these findings' fixes in order, without duplicates."""
    seen: dict[str, Step] = {}
    for finding in findings:
        for step in finding.remedy:
            seen.setdefault(step.id, step)
    return tuple(seen.values())


def plan_steps(steps: Sequence[Step], view: NodeView, host: str) -> Plan:
    """Plan these steps on this node, each on the state that the earlier ones predict."""
    predicted = PredictedNode(view)
    return Plan(host, tuple(PlannedStep(step, dry_run(step, predicted)) for step in steps))


def remedy_json(planned: PlannedStep) -> dict[str, Any]:
    """Return a step of a fix with its changes as JSON."""
    verdict = planned.verdict
    body: dict[str, Any] = {
        "id": planned.step.id,
        "describe": planned.step.describe(),
        "effect": planned.step.effect,
        "interrupts": list(planned.step.interrupts),
        "state": verdict.kind,
    }
    if isinstance(verdict, Pending):
        body["changes"] = [{"change": change.headline(), "diff": change.diff()} for change in verdict.changes]
    elif isinstance(verdict, Blocked):
        body["reason"] = verdict.explain()
    return body


# Seconds per page. Registries, shares and package sources may be queried, each with a shorter timeout.
DEADLINE = 20.0
# Steps that are not differences from the answers, and the check that reports what they repair.
COVERED = {"packages-completed": "node.dpkg-interrupted"}
# If the engine is not running, its content cannot be determined.
ENGINE = "docker.not-running"
NO_ANSWERS = "there are no answers to compare the node with: pass --answers FILE, or apply answers first"


def drift_id(page: str) -> str:
    """Return the id of the check that compares a page's answers with the node."""
    return f"{page}.drift"


def drift_checks(desired: DesiredState | None) -> tuple[Check, ...]:
    """Return one check per page; without answers they are not applicable.

    One child process plans the pages in order, each on the state that the earlier ones predict, exactly as `--plan`
    does.
    """
    comparison = Comparison(desired)

    def of_page(page: str) -> Check:
        def matches_answers(machine: Machine, context: Context) -> Outcome:
            return comparison.outcome(page, machine)

        return check(drift_id(page), deadline=DEADLINE, cost="shared", group="drift")(matches_answers)

    return tuple(map(of_page, ORDER))


class Comparison:
    """The plan of the answers, built page by page as the checks need it."""

    def __init__(self, desired: DesiredState | None) -> None:
        self._desired = desired
        self._machine: Machine | None = None
        self._pages: Iterator[tuple[str, list[PlannedStep]]] = iter(())
        self._planned: dict[str, list[PlannedStep]] = {}
        self._missing: dict[str, str] = {}

    def outcome(self, page: str, machine: Machine) -> Outcome:
        """Return what the plan would change or refuse on this page. Raises WizardError if no plan can be made."""
        if self._desired is None or not self._desired.pages:
            return not_applicable(NO_ANSWERS)
        if page not in self._desired.pages:
            return not_applicable("the answers do not include this page")
        return outcome_of(page, self._steps(page, machine), machine, self._missing)

    def _steps(self, page: str, machine: Machine) -> list[PlannedStep]:
        # A simulated node is examined in this process, and again after each fix; a real one in a short-lived child
        # process.
        if self._machine is not machine or page in self._planned:
            self._begin(machine)
        for name, planned in self._pages:
            self._planned[name] = planned
            if name == page:
                break
        return self._planned.get(page, [])

    def _begin(self, machine: Machine) -> None:
        assert self._desired is not None
        if not self._desired.context.demo:
            self._missing = use_available_secrets()
        self._machine, self._planned = machine, {}
        self._pages = compose.plan_by_page(machine, self._desired)


def use_available_secrets() -> dict[str, str]:
    """Resolve secrets when a page asks for them; what has to be typed or no longer exists is not compared.

    Returns a dictionary that is filled with the names of these secrets, each with the reason.
    """
    from bai_wizard.answers.secrets import resolve

    missing: dict[str, str] = {}

    def look_up(name: str, source: Any) -> Secret | None:
        try:
            return resolve(name, source)
        except WizardError as error:
            missing[name] = str(error)
            return None

    compose.use_secret_sources(look_up)
    return missing


def outcome_of(page: str, steps: Sequence[PlannedStep], machine: Machine, missing: Collection[str]) -> Outcome:
    """Summarize the planned steps of a page. `missing` are the names of secrets that are not available."""
    steps = [item for item in steps if item.step.kind not in COVERED]
    pending = [item for item in steps if isinstance(item.verdict, Pending)]
    blocked: list[tuple[Step, Blocked]] = []
    undetermined: list[str] = []
    for step, verdict in ((item.step, item.verdict) for item in steps):
        if not isinstance(verdict, Blocked):
            continue
        # Without the password it is unknown whether it matches, a user other than root cannot read everything, and a
        # node that is too busy to respond in time has not changed.
        excused = not machine.is_root or (step.kind == "password" and missing) or verdict.timed_out
        # What only depends on another blocked step adds nothing to that step's finding. An image archive is needed to
        # load its images only.
        is_gone = isinstance(step, Unsupported) and step.source_is_gone
        if verdict.depends_on or is_gone or (verdict.undetermined and excused):
            undetermined.append(verdict.explain())
        else:
            blocked.append((step, verdict))
    evidence = [*_pending_evidence(pending), *_blocked_evidence(blocked)]
    if not evidence:
        return unknown("; ".join(undetermined)) if undetermined else ok()
    is_obstructed = any(not step.optional for step, _ in blocked)
    remedy = () if is_obstructed else tuple(item.step for item in pending)
    conclude = problem if is_obstructed or any(not item.step.optional for item in pending) else warning
    variant = "" if remedy else "obstructed" if pending else "refused"
    return conclude(*evidence, variant=variant, remedy=remedy, page=TITLES[page])


def _pending_evidence(pending: Iterable[PlannedStep]) -> Iterator[Evidence]:
    for item in pending:
        assert isinstance(item.verdict, Pending)
        for change in item.verdict.changes:
            yield _change_evidence(item.step, change)
        if not item.verdict.changes:
            after = item.verdict.known_after or "the next boot"
            about = f"step {item.step.id} {_digest(item.step)}"
            yield Evidence(item.step.describe(), item.step.id, f"known after {after}", "in effect", about)


def _digest(value: object) -> str:
    from hashlib import sha256

    return sha256(repr(value).encode(errors="surrogatepass")).hexdigest()


def _change_evidence(step: Step, change: Change) -> Evidence:
    name = change.key.name if change.key is not None else step.id
    if change.verb == "run":
        result, expected = "not done", change.attributes or "done"
    elif change.verb == "create":
        result, expected = "missing", _side(change, change.after) or "present"
    elif change.verb == "remove":
        result, expected = _side(change, change.before) or "present", "absent"
    else:
        result = _side(change, change.before) or "different"
        expected = _side(change, change.after) or "see the fix"
    # The same change of the same thing, regardless of how it is displayed.
    about = f"change {change.key or step.id} {_digest(replace(change, subject=''))}"
    return Evidence(step.describe(), name, result, expected, about)


def _side(change: Change, text: str | None) -> str:
    """A value that fits on one line, or the attributes if only those change; the fix's diff shows longer texts."""
    if text is None or not change.is_short():
        return change.attributes
    return text


def _blocked_evidence(blocked: Iterable[tuple[Step, Blocked]]) -> Iterator[Evidence]:
    for step, verdict in blocked:
        about = _refusal(step.id) if isinstance(step, Unsupported) else f"blocked {step.id}"
        yield Evidence(step.describe(), step.id, verdict.explain(), "in effect", about)


def _refusal(id: str) -> str:
    """Identify what a page refuses without planning it."""
    return f"refusal {id}"


def without_covered(findings: Sequence[Finding], machine: Machine) -> list[Finding]:
    """Remove from drift findings the differences that another finding reports or that its fix removes.

    A fix removes a difference if it makes exactly the same change to the same thing. A finding that only mentions the
    thing does not explain a difference: something else may be wrong with it as well.
    """
    bad = [each for each in findings if each.result in ("problem", "warning") and not each.ignored]
    drifts = [each for each in bad if is_drift(each)]
    if not drifts:
        return list(findings)
    covered: dict[str, str] = {}
    for each in bad:
        if is_drift(each):
            continue
        # A page's plan refuses what its check finds, under the id of that check.
        covered.setdefault(_refusal(f"{each.page}.{each.id.removeprefix(f'{each.page}.')}"), each.id)
        for evidence in _pending_evidence(plan_steps(each.remedy, machine, machine.host).pending()):
            covered.setdefault(evidence.about, each.id)
    if ENGINE in {each.id for each in bad}:
        images = [evidence.about for each in drifts if each.page == "images" for evidence in each.evidence]
        # Refusals without planning do not depend on the engine: archives, free space.
        covered |= {about: ENGINE for about in images if not about.startswith(_refusal(""))}
    return [_uncovered(each, covered) if each in drifts else each for each in findings]


def is_drift(finding: Finding) -> bool:
    """Whether a finding is the comparison of a page with its answers."""
    return finding.id == drift_id(finding.page)


def _uncovered(finding: Finding, covered: dict[str, str]) -> Finding:
    left = tuple(each for each in finding.evidence if each.about not in covered)
    if left:
        return replace(finding, evidence=left)
    cause = covered[finding.evidence[0].about]
    return replace(
        finding,
        result="not-applicable",
        title=check_texts()[finding.id].title,
        evidence=(),
        cause=f"explained by {cause}",
        guidance="",
        suppressed_by=cause,
        remedy=(),
    )
