"""`--headless FILE`: plan, show, apply and report without a screen."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from bai_wizard import compose
from bai_wizard.core.consent import Affected, Disruptions, Interrupt
from bai_wizard.core.errors import AnswersError, Problem, StateUnknown, WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.step import Plan
from bai_wizard.engine.result import nothing_done
from bai_wizard.exit_codes import ExitCode
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.session import PlannedAt, Session, local_session, machine_for, session_for
from bai_wizard.ui.present import unset_lines
from bai_wizard.ui.text.output import Output, agree_to, output_for, require_root, split_csv, watch

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.engine.maintenance import Conditions
    from bai_wizard.engine.result import Result


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises the errors that `cli.py` maps to exit codes."""
    from bai_wizard.answers.load import load
    from bai_wizard.answers.model import OVERRIDE

    machine = node = machine_for(arguments)
    demo = arguments.demo is not None
    _refuse_output_without_plan(arguments)
    answers = load(arguments.headless, machine.host, trusted_only=not demo)
    desired = _desired(arguments, answers)
    if not arguments.plan:
        prepare_to_apply(machine, arguments)
    compose.refuse_untrusted(arguments.root, desired)
    compose.use_secrets_of(answers)
    output = output_for(arguments)
    arguments.overrides = tuple(key for key, origin in answers.origins.items() if OVERRIDE.search(origin))
    session = None if demo else local_session(arguments.root, node)
    planned_at = session.planned_at() if session else None
    if session:
        machine = recovered(session, output, only_plan=arguments.plan)
    machine = RememberingMachine(machine)
    conditions = conditions_in(arguments)
    made = compose.plan(machine, desired)
    plan = compose.ordered(made, machine, desired, conditions)
    disruptions = interrupted_by(machine, plan, arguments, output)
    output.plan(plan, answers.origins if arguments.plan else {}, disruptions)
    if arguments.plan:
        compose.refuse_blocked(plan, to_show=not machine.is_root and not arguments.output)
        if arguments.output:
            # `apply` compares plans before it orders the steps for its own conditions.
            _write_plan_file(arguments, output, machine, compose.with_notes(made, desired), desired)
        return _detailed(plan) if arguments.detailed_exitcode else ExitCode.OK
    shown = Shown(machine, plan, desired, disruptions, planned_at, conditions)
    return apply_shown(arguments, output, session, node, shown)


def _refuse_output_without_plan(arguments: argparse.Namespace) -> None:
    if arguments.output and not arguments.plan:
        reason = "it names the file for the plan: add --plan, or use `bai-wizard apply PLAN` to apply a plan file"
        raise AnswersError([Problem("command line", 0, 0, "-o", reason)])


def _write_plan_file(
    arguments: argparse.Namespace, output: Output, machine: Machine, plan: Plan, desired: compose.DesiredState
) -> None:
    from bai_wizard.engine.plan_file import make_plan_file
    from bai_wizard.node.user_files import write_requested_file

    answers = "" if arguments.headless == "-" else os.path.abspath(arguments.headless)
    data, digest = make_plan_file(plan, compose.sourced(desired).to_json(), machine, answers)
    write_requested_file(arguments.output, data)
    output.plan_file(arguments.output, digest)


def prepare_to_apply(machine: Machine, arguments: argparse.Namespace) -> None:
    """Become root, and refuse a report that could not be written."""
    require_root(machine, arguments)
    if arguments.report:
        from bai_wizard.ui.text.report import check_report

        check_report(arguments.report)


class Shown(Struct, frozen=True):
    """A plan that was shown, with what it would interrupt and when, and the run counter from before planning.

    `machine` remembers what was read for the plan: without changes, the report describes the same state.
    """

    machine: RememberingMachine
    plan: Plan
    desired: compose.DesiredState
    disruptions: dict[Interrupt, tuple[Affected, ...]]
    planned_at: PlannedAt
    conditions: Conditions | None


def conditions_in(arguments: argparse.Namespace) -> Conditions | None:
    """When disruptive steps may run, according to the command line; None without such options."""
    if arguments.window is None and arguments.wait_idle is None:
        return None
    from bai_wizard.engine.maintenance import Conditions

    return Conditions(arguments.window or "", arguments.wait_idle)


def apply_shown(
    arguments: argparse.Namespace,
    output: Output,
    session: Session | None,
    node: Machine,
    shown: Shown,
    approval: Mapping[str, Any] | None = None,
) -> ExitCode:
    """Apply a plan, watch the run, and report. Without `session`, `node` is a simulated one."""
    plan, desired = shown.plan, shown.desired
    compose.refuse_blocked(plan)
    if plan.is_empty():
        result = nothing_done(plan)
        for message in session.drained() if session else ():
            output.note(message)
        output.summary(result)
        _finish(arguments, output, shown.machine, desired, "", result, others_lines(desired), approval, {})
        return result.code()
    conditions = shown.conditions
    needed = compose.needing_consent(shown.disruptions, desired, conditions)
    # Waiting for sessions or draining the node would be in vain if consent covered the sessions.
    consent = agree_to(needed, arguments.yes_interrupt, output, conditions)
    session = session or session_for(arguments, node)
    run = session.begin(plan, desired, consent, shown.planned_at, approval, conditions)
    code, end = watch(session, run, output)
    if end is not None:
        undo = [] if session.demo else [f"run {run.id}; undo it with: bai-wizard undo {run.id}"]
        lines = [*unset_lines(plan), *others_lines(desired), *undo]
        _finish(arguments, output, node, desired, run.id, end, lines, approval, shown.disruptions, plan.notes)
    return code


def _desired(arguments: argparse.Namespace, answers: Answers) -> compose.DesiredState:
    """The desired state of the pages that were asked for, taken from a bundle if one is given."""
    only, skip = split_csv(arguments.only), split_csv(arguments.skip)
    desired = compose.desired_from_answers(answers, only=only, skip=skip, demo=arguments.demo is not None)
    if not (arguments.bundle or arguments.bundle_digest or "sources" in answers.tables):
        return desired
    from bai_wizard.offline.use_bundle import from_bundle

    return from_bundle(desired, arguments.bundle, arguments.bundle_digest, log=_narrate)


def _narrate(
    text: str, *, stream: str = "", level: str = "info", done: int | None = None, total: int | None = None
) -> None:
    """Print a line of a download, without the progress within a file."""
    if done is None:
        print(text, file=sys.stderr)


def interrupted_by(
    machine: Machine, plan: Plan, arguments: argparse.Namespace, output: Output
) -> dict[Interrupt, tuple[Affected, ...]]:
    """What the plan would interrupt. Without root, `--plan` only reports that it cannot be determined."""
    try:
        return compose.disruptions(machine, plan)
    except StateUnknown as error:
        if not arguments.plan:
            raise
        output.note(f"what would be interrupted cannot be determined: {error}")
        return {}


def recovered(session: Session, output: Output, *, only_plan: bool) -> Machine:
    """The node to plan over, with interrupted runs recovered.

    Otherwise a half-done change would be mistaken for the original state. `--plan` recovers nothing and returns the
    predicted node.
    """
    if not session.machine.is_root:
        return session.machine
    session.wait_for_package_tool(lambda text, **_: output.note(text))
    messages = session.warnings() if only_plan else session.recover()
    messages += [f"recovered first: {message}" for message in (session.to_recover() if only_plan else ())]
    for message in messages:
        output.note(message)
    return session.foreseen() if only_plan else session.machine


def _finish(
    arguments: argparse.Namespace,
    output: Output,
    machine: Machine,
    desired: compose.DesiredState,
    run: str,
    result: Result,
    lines: Iterable[str],
    approval: Mapping[str, Any] | None,
    disruptions: Disruptions,
    notes: tuple[str, ...] = (),
) -> None:
    """Say what is open, and write the report.

    Only people need these lines: programs get this from the plan and the report, and the summary stays the last
    event. The report was writable before the run; if writing it fails now, the run's own exit code is kept.
    """
    if not arguments.json:
        for line in lines:
            output.note(line)
    if arguments.report:
        from bai_wizard.ui.text.report import write_report

        try:
            write_report(
                arguments.report, machine, run, result, desired, arguments.overrides, approval, disruptions, notes
            )
        except WizardError as error:
            print(f"bai-wizard: the report was not written: {error}", file=sys.stderr)


def others_lines(desired: compose.DesiredState) -> list[str]:
    """One line naming the pages that were not part of this run; empty if all were."""
    others = [TITLES[page] for page in ORDER if page not in desired.pages]
    return [f"not part of this run: {', '.join(others)}"] if others and not desired.fix else []


def _detailed(plan: Plan) -> ExitCode:
    """7 if there are, or may be, changes to make; 6 if there are none, but an optional step is blocked."""
    if not plan.is_empty() or plan.undetermined():
        return ExitCode.CHANGES
    return nothing_done(plan).code()
