"""`bai-wizard doctor --bundle FILE` and `--from BUNDLE`: a support bundle made, and one looked at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.doctor.asked import Asked
from bai_wizard.exits import ExitCode


def write(arguments: argparse.Namespace, machine: Machine, about: Asked, findings: Sequence[Finding]) -> ExitCode:
    """Shows what would be in it, asks, writes. Nothing is ever sent anywhere."""
    from bai_wizard.doctor.bundle import listing, scan, write_bundle
    from bai_wizard.doctor.collect import collect

    _use_secrets(arguments)
    contents, _ = collect(machine, compose.places(arguments.root), about, findings)
    scan(contents)
    print("\n".join(listing(contents)), file=sys.stderr)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise PreflightError("nothing was written: look at the list above, then say --yes")
        print(f"Write this to {arguments.bundle}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise PreflightError("nothing was written: not confirmed")
    write_bundle(arguments.bundle, contents)
    print(arguments.bundle)
    print("It was not sent anywhere. Look at it: bai-wizard doctor --from " + arguments.bundle, file=sys.stderr)
    return ExitCode.OK


def _use_secrets(arguments: argparse.Namespace) -> None:
    """Secrets of the answers, where they can be had, so that the masking knows them."""
    if arguments.answers:
        from bai_wizard.answers.load import load
        from bai_wizard.core.errors import AnswersError

        try:
            compose.use_secrets_of(load(arguments.answers, compose.local_machine(arguments.root).host))
        except AnswersError as error:
            print(f"masking knows the forms of secrets, not all of the answers' own: {error}", file=sys.stderr)


def show(arguments: argparse.Namespace) -> ExitCode:
    """The findings of a bundle as if it were this node, and what else is in it."""
    from bai_wizard.doctor.bundle import read_bundle
    from bai_wizard.doctor.run import exit_code

    bundle = read_bundle(arguments.from_bundle)
    host = str(bundle.about.get("host", ""))
    code = exit_code(bundle.findings)
    if arguments.report:
        from bai_wizard.doctor.report import write_report

        write_report(arguments.report, host, bundle.findings, lambda _finding: Plan(""))
    if arguments.json:
        from bai_wizard.doctor.jsonl import write_findings

        write_findings(host, bundle.findings, lambda _finding: Plan(""), code)
        return code
    from bai_wizard.doctor.text import report_lines

    print(f"bundle of {bundle.about.get('made')}, bai-wizard {bundle.about.get('wizard')}")
    print("\n".join(report_lines(host, bundle.findings, lambda _finding: Plan(""))))
    remedies = [f"  {id}: {'; '.join(steps)}" for id, steps in bundle.remedies.items() if steps]
    print("\n".join(["", "Remedies that the node offered:", *remedies] if remedies else []))
    print("\n".join(["Files:", *(f"  {name}" for name in bundle.contents)]))
    return code
