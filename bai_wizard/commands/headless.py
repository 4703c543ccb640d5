"""`--headless FILE`: plan, show, apply and report without a screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bai_wizard import compose
from bai_wizard.core.consent import Disruptions
from bai_wizard.core.errors import StateUnknown, WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Plan
from bai_wizard.engine.result import nothing_done
from bai_wizard.exit_codes import ExitCode
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.session import Session, local_session, machine_for, session_for
from bai_wizard.ui.fleet.compare import OVERRIDE
from bai_wizard.ui.present import unset_lines
from bai_wizard.ui.text.output import Output, agree_to, output_for, require_root, split_csv, watch

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.engine.result import Result


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises the errors that `cli.py` maps to exit codes."""
    from bai_wizard.answers.load import load

    machine = node = machine_for(arguments)
    demo = arguments.demo is not None
    answers = load(arguments.headless, machine.host, trusted_only=not demo)
    desired = _desired(arguments, answers)
    if not arguments.plan:
        require_root(machine, arguments)
        if arguments.report:
            from bai_wizard.ui.text.report import check_report

            check_report(arguments.report)
    compose.refuse_untrusted(arguments.root, desired)
    compose.use_secrets_of(answers)
    output = output_for(arguments)
    arguments.overrides = tuple(key for key, origin in answers.origins.items() if OVERRIDE.search(origin))
    session = None if demo else local_session(arguments.root, node)
    planned_at = session.planned_at() if session else None
    if session:
        machine = _recovered(session, output, only_plan=arguments.plan)
    plan = compose.plan(machine, desired)
    disruptions = _hits(machine, plan, arguments, output)
    output.plan(plan, answers.origins if arguments.plan else {}, disruptions)
    if arguments.plan:
        compose.refuse_blocked(plan, to_show=not machine.is_root)
        return _detailed(plan) if arguments.detailed_exitcode else ExitCode.OK
    compose.refuse_blocked(plan)
    if plan.is_empty():
        result = nothing_done(plan)
        output.summary(result)
        _finish(arguments, output, machine, desired, "", result, others_lines(desired))
        return result.code()
    consent = agree_to(disruptions, arguments.yes_interrupt, output)
    session = session or session_for(arguments, node)
    run = session.begin(plan, desired, consent, planned_at)
    code, end = watch(session, run, output)
    if end is not None:
        undo = [] if demo else [f"run {run.id}; undo it with: bai-wizard undo {run.id}"]
        lines = [*unset_lines(plan), *others_lines(desired), *undo]
        _finish(arguments, output, machine, desired, run.id, end, lines)
    return code


def _desired(arguments: argparse.Namespace, answers: Answers) -> compose.DesiredState:
    """The desired state of the pages that were asked for, taken from a bundle if one is given."""
    only, skip = split_csv(arguments.only), split_csv(arguments.skip)
    desired = compose.desired_from_answers(answers, only=only, skip=skip, demo=arguments.demo is not None)
    if not (arguments.bundle or arguments.bundle_digest or "sources" in answers.tables):
        return desired
    from bai_wizard.offline.use_bundle import from_bundle

    return from_bundle(desired, arguments.bundle, arguments.bundle_digest)


def _hits(machine: Machine, plan: Plan, arguments: argparse.Namespace, output: Output) -> Disruptions:
    """What the plan would interrupt. Without root, `--plan` only reports that it cannot be determined."""
    try:
        return compose.disruptions(machine, plan)
    except StateUnknown as error:
        if not arguments.plan:
            raise
        output.note(f"what would be interrupted cannot be determined: {error}")
        return {}


def _recovered(session: Session, output: Output, *, only_plan: bool) -> Machine:
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
) -> None:
    """Say what is open, and write the report.

    The lines are for people only: programs get this from the plan and the report, and the summary stays the last
    event. The report was writable before the run; if writing it fails now, the run's own exit code is kept.
    """
    if not arguments.json:
        for line in lines:
            output.note(line)
    if arguments.report:
        from bai_wizard.ui.text.report import write_report

        try:
            write_report(arguments.report, machine, run, result, desired, arguments.overrides)
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
