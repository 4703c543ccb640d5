"""`bai-wizard --headless FILE`: plan, show, carry out, tell."""

from __future__ import annotations

import argparse

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.exits import ExitCode
from bai_wizard.headless.output import Output, output_for


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises the errors that `cli.py` maps to exit codes."""
    from bai_wizard.answers.load import load

    machine = compose.local_machine(arguments.root)
    answers = load(arguments.headless, machine.host)
    wish = compose.wish_of(answers, only=_list(arguments.only), skip=_list(arguments.skip))
    if arguments.bundle or "sources" in answers.tables:
        from bai_wizard.bundle.redirect import from_bundle

        wish = from_bundle(wish, arguments.bundle)
    if not arguments.plan:
        require_root(machine, arguments)
    compose.use_secrets_of(answers)
    plan = compose.plan(machine, wish)
    output = output_for(arguments.json)
    output.plan(plan, answers.origins if arguments.plan else {})
    if arguments.plan:
        compose.refuse_blocked(plan)
        return _detailed(plan) if arguments.detailed_exitcode else ExitCode.OK
    compose.refuse_blocked(plan)
    if plan.is_empty():
        return _nothing_to_do(plan, wish, machine, output, arguments)
    consent = _list(arguments.yes_interrupt)
    refuse_interrupts(compose.unconsented(machine, plan, consent))
    return _carry_out(plan, wish, consent, machine, output, arguments)


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


def refuse_interrupts(hit: dict[str, tuple[str, ...]]) -> None:
    """Raises PreflightError naming what would be hit and the words that allow it."""
    if hit:
        told = [f"  {what} would hit {', '.join(names[:8])}" for what, names in hit.items()]
        allow = f"allow it with --yes-interrupt={','.join(hit)}"
        raise PreflightError("nothing was touched, because:\n" + "\n".join(told) + f"\n  {allow}")


def require_root(machine: Machine, arguments: argparse.Namespace) -> None:
    """Starts this command again under sudo when it is not root; without a way to be root: PreflightError."""
    if machine.is_root:
        return
    if machine.look(["sudo", "-n", "true"]).code != 0:
        raise PreflightError("this needs root, and sudo would ask for a password; run it as root or with sudo")
    from bai_wizard.engine.launch.elevate import elevate

    elevate(arguments.words, ask=False)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
