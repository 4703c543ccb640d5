"""`bai-wizard doctor`: find out what is wrong, and the safe way out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bai_wizard import compose
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.doctor.asked import Asked, asked, reasons, refuse_unknown
from bai_wizard.doctor.remedy import plan_steps, steps_of
from bai_wizard.exits import ExitCode
from bai_wizard.headless.allowed import require_root, words


def run(arguments: argparse.Namespace) -> ExitCode:
    """0 all well, 4 a problem, 6 only warnings; with --fix as a run, then 4 when the re-check still fails."""
    if arguments.from_bundle:
        from bai_wizard.commands.doctor_bundle import show

        return show(arguments)
    from bai_wizard.doctor.run import all_checks

    machine = compose.local_machine(arguments.root)
    if arguments.fix or arguments.bundle:
        require_root(machine, arguments)
    # Texts are asked for on standard input before anything is looked at.
    text = _error_text(arguments.error) if arguments.error is not None else ""
    about = asked(machine, compose.places(arguments.root), arguments.answers, arguments.ignore)
    checks = all_checks()
    only, skip = words(arguments.only), words(arguments.skip)
    ids = {check.id for check in checks}
    refuse_unknown([*only, *skip], sorted(ids | {check.page for check in checks}))
    # What an earlier run accepted may be the id of a check that is no more; what is asked for now has to be one.
    accepted = about.ignored if arguments.answers else reasons(arguments.ignore)
    refuse_unknown([*([arguments.fix] if arguments.fix else []), *accepted], sorted(ids))
    if arguments.fix:
        from bai_wizard.commands.doctor_fix import fix

        return fix(arguments, machine, about, [check for check in checks if check.id == arguments.fix])
    if arguments.error is not None:
        from bai_wizard.commands.doctor_error import search

        return search(arguments, machine, about, checks, text)
    return _examine(arguments, machine, about, checks, only, skip)


def _examine(
    arguments: argparse.Namespace,
    machine: Machine,
    about: Asked,
    checks: Sequence[Check],
    only: tuple[str, ...],
    skip: tuple[str, ...],
) -> ExitCode:
    from bai_wizard.doctor.run import chosen, examine, exit_code

    findings = examine(chosen(checks, only, skip), machine, about.wish.context, about.ignored)
    code = exit_code(findings)
    if arguments.bundle:
        from bai_wizard.commands.doctor_bundle import write

        return write(arguments, machine, about, findings)
    if arguments.report:
        from bai_wizard.doctor.report import write_report

        write_report(arguments.report, machine.host, findings, lambda finding: plan_of(finding, machine))
    tell(arguments, machine, findings, code, about)
    return code


def tell(
    arguments: argparse.Namespace, machine: Machine, findings: Sequence[Finding], code: ExitCode, about: Asked
) -> None:
    """Findings as text or as JSON lines."""
    import sys

    from bai_wizard.core.secret import redact

    if arguments.json:
        from bai_wizard.doctor.jsonl import write_findings

        write_findings(machine.host, findings, lambda finding: plan_of(finding, machine), code)
        return
    from bai_wizard.doctor.text import report_lines

    if about.origin:
        print(f"examined against {about.origin}", file=sys.stderr)
    if not machine.is_root:
        print("not root: some checks cannot tell; sudo bai-wizard doctor sees all", file=sys.stderr)
    for line in report_lines(machine.host, findings, lambda finding: plan_of(finding, machine)):
        print(redact(line))


def plan_of(finding: Finding, machine: Machine) -> Plan:
    """What a finding's remedy would change on this node as it is now."""
    return plan_steps(steps_of([finding]), machine, machine.host)


def _error_text(given: str) -> str:
    import sys

    return sys.stdin.read() if given == "-" else given
