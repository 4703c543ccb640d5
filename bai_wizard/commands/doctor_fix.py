"""`bai-wizard doctor --fix ID`: the remedy shown, confirmed, carried out as a run, and the check asked again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.doctor.asked import Asked
from bai_wizard.doctor.fix import BAD, bad_findings
from bai_wizard.doctor.remedy import plan_steps, steps_of
from bai_wizard.exits import ExitCode
from bai_wizard.headless.allowed import words
from bai_wizard.headless.output import Output, output_for


def fix(arguments: argparse.Namespace, machine: Machine, about: Asked, checks: Sequence[Check]) -> ExitCode:
    """As a run; then 4 when the check still finds it, 5 where it will until the next boot.

    Guidance only is 4 too: somebody has to act.
    """
    from bai_wizard.doctor.run import examine

    output = output_for(arguments.json)
    wish = replace(about.wish, fix=checks[0].id)
    findings = examine(checks, machine, wish.context)
    bad = [finding for finding in findings if finding.result in BAD]
    if not bad:
        return _nothing_wrong(findings, output)
    plan = plan_steps(steps_of(bad), machine, machine.host)
    if plan.is_empty() and not plan.blocked():
        return _no_remedy(bad, output)
    output.plan(plan, {})
    compose.refuse_blocked(plan)
    consent = _confirmed(arguments, machine, plan, words(arguments.yes_interrupt))
    code, waits = _carry_out(arguments, plan, wish, consent, output)
    if code not in (ExitCode.OK, ExitCode.OPTIONAL_FAILED):
        return code
    # A fresh machine: what the old one has read may be remembered.
    still = _asked_again(checks, compose.local_machine(arguments.root), wish, output)
    if still is ExitCode.FAILED and waits:
        output.note(f"that is to be expected: {', '.join(waits)} takes effect at the next boot")
        return ExitCode.REBOOT
    return still


def _nothing_wrong(findings: Sequence[Finding], output: Output) -> ExitCode:
    for finding in findings:
        output.note(f"{finding.id}: {finding.result}{f': {finding.cause}' if finding.cause else ''}")
    unknown = any(finding.result in ("cannot-tell", "crashed") for finding in findings)
    return ExitCode.FAILED if unknown else ExitCode.OK


def _no_remedy(bad: Sequence[Finding], output: Output) -> ExitCode:
    from bai_wizard.doctor.text import finding_lines

    for finding in bad:
        output.note("\n".join(finding_lines(finding, lambda each: Plan(""))))
    output.note("There is no remedy that a program could carry out; a person has to decide.")
    return ExitCode.FAILED


def _confirmed(
    arguments: argparse.Namespace, machine: Machine, plan: Plan, consent: tuple[str, ...]
) -> tuple[str, ...]:
    """What may be interrupted. Raises PreflightError where nobody says yes."""
    hit = compose.unconsented(machine, plan, consent)
    told = [f"this interrupts {', '.join(names[:8])} ({what})" for what, names in hit.items()]
    if arguments.yes:
        from bai_wizard.headless.allowed import refuse_interrupts

        refuse_interrupts(hit)
        return consent
    if not sys.stdin.isatty():
        raise PreflightError("nothing was touched: without a terminal, --yes says that the remedy may be applied")
    for line in told:
        print(line, file=sys.stderr)
    print("Apply this? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PreflightError("nothing was touched: not confirmed")
    return (*consent, *hit)


def _carry_out(
    arguments: argparse.Namespace, plan: Plan, wish: compose.Wish, consent: Sequence[str], output: Output
) -> tuple[ExitCode, Sequence[str]]:
    """The run's code, and the steps that wait for a reboot."""
    from bai_wizard.headless.watch import watch

    places = compose.places(arguments.root)
    run = compose.begin(places, plan, wish, consent)
    code, result = watch(places, run, output)
    output.note(f"bai-wizard undo {run.id} takes this back")
    return code, [step.step for step in result.waits_for("reboot")] if result else ()


def _asked_again(checks: Sequence[Check], machine: Machine, wish: compose.Wish, output: Output) -> ExitCode:
    still = bad_findings(checks, machine, wish.context)
    if not still:
        output.note(f"checked again: {checks[0].id}: ok")
        return ExitCode.OK
    for finding in still:
        output.note(f"checked again: still there: {finding.title}   [{finding.id}]")
    return ExitCode.FAILED
