"""`bai-wizard doctor`: diagnose, search by error message, fix, and write and read support bundles."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.core.consent import Consent, Disruptions, agree, names_of
from bai_wizard.core.display import visible
from bai_wizard.core.errors import AnswersError, PreflightError, Problem, WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Check, Finding
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Plan
from bai_wizard.doctor.drift import DoctorScope, plan_steps, reasons, refuse_unknown, remedy_steps, resolve_scope
from bai_wizard.doctor.report import (
    Planner,
    check_report,
    finding_json,
    finding_lines,
    report_lines,
    write_findings,
    write_jsonl,
    write_report,
)
from bai_wizard.doctor.run import (
    BAD_RESULTS,
    all_checks,
    bad_findings,
    chosen_checks,
    examine,
    exit_code,
    upgrade_checks,
)
from bai_wizard.doctor.search import Candidate, candidate_lines
from bai_wizard.doctor.search import search as find
from bai_wizard.engine.lock import moment
from bai_wizard.engine.recovery import damaged_runs
from bai_wizard.exit_codes import ExitCode
from bai_wizard.session import machine_for, session_for
from bai_wizard.ui.text.output import Output, agree_to, output_for, require_root, split_csv, watch

# How many bytes at the end of a log are examined.
LONGEST_LOG = 16 << 20


def run(arguments: argparse.Namespace) -> ExitCode:
    """0 if all is well, 4 for a problem, 6 for warnings only; --fix: the run's code, 4 if the check still fails."""
    refuse_combinations(arguments)
    if arguments.from_bundle:
        return show_support_bundle(arguments)

    machine = machine_for(arguments)
    if arguments.fix or arguments.bundle:
        require_root(machine, arguments)
    check_files(arguments)
    # Read the text from standard input before probing anything.
    text = _error_text(arguments.error) if arguments.error is not None else ""
    paths = compose.paths(arguments.root) if arguments.demo is None else None
    about = resolve_scope(machine, paths, arguments.answers, arguments.ignore)
    checks = known = all_checks(about.desired)
    is_upgrade = arguments.before_upgrade is not None or arguments.after_upgrade
    if is_upgrade or arguments.fix or arguments.error is not None or about.ignored:
        known = (*upgrade_checks(), *checks)
    if is_upgrade:
        from bai_wizard.doctor.upgrade import refuse_upgrade

        refuse_upgrade(machine, arguments.before_upgrade, after=arguments.after_upgrade)
        checks = known
    only, skip = split_csv(arguments.only), split_csv(arguments.skip)
    refuse_unknown([*only, *skip], checks, pages=True)
    # A check accepted by an earlier run may no longer exist; one requested now must exist.
    accepted = about.ignored if arguments.answers else reasons(arguments.ignore)
    refuse_unknown([*([arguments.fix] if arguments.fix else []), *accepted], known)
    if arguments.fix:
        return fix(arguments, machine, about, [check for check in known if check.is_among([arguments.fix])])
    if arguments.error is not None:
        return search_error(arguments, machine, about, known, text)
    if paths is not None and machine.is_root:
        for message in damaged_runs(paths):  # the findings do not name them: their changes are not fully known
            print(redact(message), file=sys.stderr)
    findings = examine(chosen_checks(checks, only, skip), machine, about.desired.context, about.ignored)
    if arguments.bundle:
        return write_support_bundle(arguments, machine, about, findings)
    notes = [f"compared with {about.origin or 'the defaults'}"]
    if not machine.is_root:
        notes.append("not running as root: some checks are incomplete; run: sudo bai-wizard doctor")
    return _present(arguments, machine.host, findings, partial(plan_of, machine=machine), notes)


def refuse_combinations(arguments: argparse.Namespace) -> None:
    """Raise AnswersError for the options of an upgrade where they would be ignored."""
    others = {"--from": arguments.from_bundle, "--error": arguments.error is not None, "--fix": arguments.fix}
    given = [name for name, value in others.items() if value]
    if given and (arguments.before_upgrade is not None or arguments.after_upgrade):
        option = "--after-upgrade" if arguments.after_upgrade else "--before-upgrade"
        raise AnswersError([Problem("command line", 0, 0, option, f"cannot be combined with {given[0]}")])


def check_files(arguments: argparse.Namespace) -> None:
    """Raise PreflightError if a requested file cannot be written, before anything is examined."""
    if arguments.bundle:
        from bai_wizard.node.user_files import check_requested_file

        check_requested_file(arguments.bundle, replace=False)
    if arguments.report:
        check_report(arguments.report)


def _present(
    arguments: argparse.Namespace, host: str, findings: Sequence[Finding], planner: Planner, notes: Sequence[str]
) -> ExitCode:
    """Write the report, if any, and print the findings: as JSON lines, or as text with `notes` beside it.

    `check_files` has passed: findings and exit code are kept even if writing the report fails now.
    """
    code = exit_code(findings)
    if arguments.report:
        try:
            write_report(arguments.report, host, findings, planner)
        except WizardError as error:
            print(f"bai-wizard: the report was not written: {error}", file=sys.stderr)
    if arguments.json:
        write_findings(host, findings, planner, code)
        return code
    for note in notes:
        print(note, file=sys.stderr)
    output_for(arguments).show("\n".join(report_lines(host, findings, planner)))
    return code


def plan_of(finding: Finding, machine: Machine) -> Plan:
    """What a finding's fix would change on the current node."""
    return plan_steps(remedy_steps([finding]), machine, machine.host)


def _error_text(given: str) -> str:
    """The text, or the end of standard input. Raises AnswersError if it is empty."""
    if given != "-":
        return given
    text = b""
    try:
        while chunk := sys.stdin.buffer.read(LONGEST_LOG):
            text = (text + chunk)[-LONGEST_LOG:]
    except (AttributeError, OSError, ValueError) as error:
        raise AnswersError([Problem("stdin", 0, 0, "", "cannot be read; pipe the text in")]) from error
    if not text.strip():
        raise AnswersError([Problem("stdin", 0, 0, "", "is empty; pipe the text in")])
    return text.decode(errors="replace")


def search_error(
    arguments: argparse.Namespace, machine: Machine, about: DoctorScope, checks: Sequence[Check], text: str
) -> ExitCode:
    """4 if a probe confirmed a problem or one that must be fixed first, 6 for a warning, otherwise 0."""
    candidates = find(text, machine, about.desired.context, checks)
    here = [finding for each in candidates if each.state in ("confirmed", "waits") for finding in each.findings]
    code = exit_code(here)
    if arguments.json:
        _tell_json(candidates, partial(plan_of, machine=machine), code)
        return code
    lines = candidate_lines(candidates, partial(plan_of, machine=machine))
    output_for(arguments).show("\n".join(lines))
    return code


def _tell_json(result: Sequence[Candidate], plan_of: Planner, code: ExitCode) -> None:
    for number, each in enumerate(result, start=1):
        failure = each.failure
        data = {
            "failure": failure.id,
            "state": each.state,
            "score": each.match.score,
            "line": each.match.line,
            "number": each.match.number,
            "cause": failure.cause,
            "remedy": failure.remedy,
            "risk": failure.risk,
            "owner": failure.owner,
            "findings": [finding_json(finding, plan_of) for finding in each.findings],
        }
        write_jsonl("finding", failure.title, data, page=failure.page, number=number)
    write_jsonl("summary", "", {"version": 1, "code": int(code)}, number=len(result) + 1)


def write_support_bundle(
    arguments: argparse.Namespace, machine: Machine, about: DoctorScope, findings: Sequence[Finding]
) -> ExitCode:
    """Show the contents, ask, write. Nothing is ever sent anywhere."""
    from bai_wizard.doctor.bundle import collect, listing, scan, write_bundle

    _use_secrets(arguments)
    contents, _ = collect(machine, compose.paths(arguments.root), about, findings)
    scan(contents)
    print("\n".join(listing(contents)), file=sys.stderr)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise PreflightError("nothing was written: review the list above, then repeat with --yes")
        if not _confirm(f"Write this to {arguments.bundle}?"):
            raise PreflightError("nothing was written: not confirmed")
    write_bundle(arguments.bundle, contents)
    print(arguments.bundle)
    print("It was not sent anywhere. View it with: bai-wizard doctor --from " + arguments.bundle, file=sys.stderr)
    return ExitCode.OK


def _use_secrets(arguments: argparse.Namespace) -> None:
    """Use the secrets of the answers, if available, so that they can be masked."""
    if arguments.answers:
        from bai_wizard.answers.load import load

        try:
            host = compose.local_machine(arguments.root).host
            compose.use_secrets_of(load(arguments.answers, host, trusted_only=True))
        except (AnswersError, PreflightError) as error:
            print(
                f"secrets are masked by their form only, because the answers cannot be used: {error}", file=sys.stderr
            )


def show_support_bundle(arguments: argparse.Namespace) -> ExitCode:
    """Show the findings of a bundle as if they were this node's, and its other files."""
    from bai_wizard.doctor.bundle import read_bundle

    check_files(arguments)
    bundle = read_bundle(arguments.from_bundle)
    host = visible(bundle.about.get("host", ""), lines=False)
    if not arguments.json:
        made, wizard = (visible(bundle.about.get(key, "?"), lines=False) for key in ("made", "wizard"))
        print(f"bundle of {made}, bai-wizard {wizard}")
    code = _present(arguments, host, bundle.findings, lambda _finding: Plan(""), ())
    if not arguments.json:
        remedies = [f"  {id}: {'; '.join(steps)}" for id, steps in bundle.remedies.items() if steps]
        print("\n".join(["", "Fixes offered on the node:", *remedies] if remedies else []))
        print("\n".join(["Files:", *(f"  {visible(name, lines=False)}" for name in bundle.contents)]))
    return code


def fix(arguments: argparse.Namespace, machine: Machine, about: DoctorScope, checks: Sequence[Check]) -> ExitCode:
    """The run's code; then 4 if the check still fails, 5 if it fails until the next reboot.

    Also 4 if the fix consists only of instructions: the operator has to act.
    """
    output = output_for(arguments)
    session = session_for(arguments, machine)
    if not session.demo:
        session.wait_for_package_tool(lambda text, **_: output.note(text))
    planned_at = session.planned_at()
    compose.use_secret_sources()
    desired = replace(about.desired, fix=checks[0].id)
    findings = examine(checks, machine, desired.context)
    bad = [finding for finding in findings if finding.result in BAD_RESULTS]
    if not bad:
        return _nothing_wrong(findings, output)
    plan = plan_steps(remedy_steps(bad), session.foreseen(), machine.host)
    for text in (recovered := session.to_recover()):
        output.note(f"recovered first: {text}")
    if plan.is_empty() and not plan.blocked():
        if not recovered:
            return _no_remedy(bad, output)
        output.note("This only needs the interrupted run to be recovered. Run: bai-wizard resume")
        return ExitCode.FAILED
    disruptions = compose.disruptions(machine, plan)
    output.plan(plan, {}, disruptions)
    compose.refuse_blocked(plan)
    consent = _confirmed(arguments, disruptions, output)
    run = session.begin(plan, desired, consent, planned_at)
    code, result = watch(session, run, output)
    if not session.demo:
        output.note(f"Undo with: bai-wizard undo {run.id}")
    waits = [step.step for step in result.waits_for("reboot")] if result else []
    if code not in (ExitCode.OK, ExitCode.OPTIONAL_FAILED):
        return code
    # Use a fresh machine, because the old one may cache reads. A simulated machine is its own only state.
    fresh = machine if arguments.demo is not None else compose.local_machine(arguments.root)
    still = _asked_again(checks, fresh, desired, output)
    if still is ExitCode.FAILED and waits:
        output.note(f"This is expected: {', '.join(waits)} takes effect at the next boot")
        return ExitCode.REBOOT
    return still


def _nothing_wrong(findings: Sequence[Finding], output: Output) -> ExitCode:
    for finding in findings:
        output.note(f"{finding.id}: {finding.result}{f': {finding.cause}' if finding.cause else ''}")
    unknown = any(finding.result in ("cannot-tell", "crashed") for finding in findings)
    return ExitCode.FAILED if unknown else ExitCode.OK


def _no_remedy(bad: Sequence[Finding], output: Output) -> ExitCode:
    for finding in bad:
        output.note("\n".join(finding_lines(finding, lambda each: Plan(""))))
    output.note("No automatic fix is available; follow the instructions above.")
    return ExitCode.FAILED


def _confirmed(arguments: argparse.Namespace, disruptions: Disruptions, output: Output) -> tuple[Consent, ...]:
    """The consent to interruptions. Raises PreflightError without confirmation."""
    if arguments.yes:
        return agree_to(disruptions, arguments.yes_interrupt, output)
    if not sys.stdin.isatty():
        raise PreflightError("nothing was changed: without a terminal, --yes is needed to apply the fix")
    seen = moment()
    for what, affected in disruptions.items():
        print(f"{what} interrupts {names_of(affected, 40)}", file=sys.stderr)
    if not _confirm("Apply this?"):
        raise PreflightError("nothing was changed: not confirmed")
    return agree(disruptions, disruptions, seen)


def _confirm(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _asked_again(
    checks: Sequence[Check], machine: Machine, desired: compose.DesiredState, output: Output
) -> ExitCode:
    still = bad_findings(checks, machine, desired.context)
    if not still:
        output.note(f"checked again: {checks[0].id}: ok")
        return ExitCode.OK
    for finding in still:
        output.note(f"checked again: not fixed: {finding.title}   [{finding.id}]")
    return ExitCode.FAILED
