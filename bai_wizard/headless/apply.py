"""Answers brought about without a screen: plan, show, carry out, tell."""

from __future__ import annotations

import argparse

from bai_wizard import compose
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.engine.proof.reads import NotingMachine
from bai_wizard.exits import ExitCode
from bai_wizard.headless.allowed import refuse_interrupts, require_root, words
from bai_wizard.headless.output import Output, output_for
from bai_wizard.headless.proving import keep_proof


def apply(arguments: argparse.Namespace) -> ExitCode:
    """Raises the errors that `cli.py` maps to exit codes."""
    from bai_wizard.answers.load import load

    node = compose.local_machine(arguments.root)
    machine = NotingMachine(node)
    answers = load(arguments.headless, machine.host)
    wish = compose.wish_of(answers, only=words(arguments.only), skip=words(arguments.skip))
    if arguments.bundle or "sources" in answers.tables:
        from bai_wizard.bundle.redirect import from_bundle

        wish = from_bundle(wish, arguments.bundle, arguments.bundle_digest)
    if not arguments.plan:
        require_root(machine, arguments)
    compose.use_secrets_of(answers)
    output = output_for(arguments.json)
    _look_at_cut_runs(node, output, arguments)
    plan = compose.plan(machine, wish)
    output.plan(plan, answers.origins if arguments.plan else {})
    if arguments.plan:
        compose.refuse_blocked(plan)
        return _detailed(plan) if arguments.detailed_exitcode else ExitCode.OK
    compose.refuse_blocked(plan)
    if plan.is_empty():
        code = _nothing_to_do(plan, wish, machine, output, arguments)
        keep_proof(arguments, answers, wish, plan, machine)
        return code
    consent = words(arguments.yes_interrupt)
    refuse_interrupts(compose.unconsented(machine, plan, consent))
    return _carry_out(plan, wish, consent, machine, output, arguments)


def _look_at_cut_runs(node: Machine, output: Output, arguments: argparse.Namespace) -> None:
    """A plan over halves would take them for what was there. `--plan` only tells of them."""
    if not node.is_root:
        return
    from bai_wizard.engine.run.cut import cut_runs, settle_cut_runs

    places = compose.places(arguments.root)
    if arguments.plan:
        for run in cut_runs(places):
            output.note(
                f"run {run.id} was cut in the middle of a change; continue it with: bai-wizard resume {run.id}"
            )
        return
    for told in settle_cut_runs(places, node):
        output.note(told)


def _carry_out(
    plan: Plan,
    wish: compose.Wish,
    consent: tuple[str, ...],
    machine: Machine,
    output: Output,
    arguments: argparse.Namespace,
) -> ExitCode:
    from bai_wizard.headless.watch import watch

    places = compose.places(arguments.root)
    run = compose.begin(places, plan, wish, consent)
    code, result = watch(places, run, output)
    if arguments.report and result is not None:
        from bai_wizard.headless.report import write_report

        write_report(arguments.report, machine, run.id, result, wish)
    return code


def _nothing_to_do(
    plan: Plan, wish: compose.Wish, machine: Machine, output: Output, arguments: argparse.Namespace
) -> ExitCode:
    from bai_wizard.engine.run.result import nothing_done

    result = nothing_done(plan)
    output.summary(result)
    if arguments.report:
        from bai_wizard.headless.report import write_report

        write_report(arguments.report, machine, "", result, wish)
    return result.code()


def _detailed(plan: Plan) -> ExitCode:
    """7 when there are changes to make; 6 when there are none, but an optional step is blocked."""
    from bai_wizard.engine.run.result import nothing_done

    return nothing_done(plan).code() if plan.is_empty() else ExitCode.CHANGES
