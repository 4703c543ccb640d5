"""`drift`: what differs on this node from the answers or the settings of a finished run, and possible causes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping

from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.core.errors import PlanOutdated, PreflightError, WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.doctor.causes import causes_of
from bai_wizard.doctor.differences import Comparison, differences_of, where_to_look
from bai_wizard.doctor.drift import use_available_secrets
from bai_wizard.engine.choose import choose_in_effect, not_in_effect
from bai_wizard.engine.directory import RunDirectory, find_run
from bai_wizard.engine.lock import refuse_held
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.user_files import check_requested_file, write_requested_file
from bai_wizard.session import Session, local_session, machine_for
from bai_wizard.ui.text.drift import drift_lines, metrics_text, write_json
from bai_wizard.ui.text.output import Output, output_for, require_root


def run(arguments: argparse.Namespace) -> ExitCode:
    """0 without drift, 7 with. Changes nothing except the file of `--metrics`."""
    machine = machine_for(arguments)
    require_root(machine, arguments)
    if arguments.metrics:
        check_requested_file(arguments.metrics)
    output = output_for(arguments)
    try:
        result = _compare(arguments, machine, output)
    except Exception:
        _write_metrics(arguments.metrics, {}, is_complete=False)
        raise
    _write_metrics(arguments.metrics, result.drifted(), is_complete=not result.not_compared())
    if arguments.json:
        write_json(result)
    else:
        output.show("\n".join(drift_lines(result, diff=arguments.diff)))
    return result.code()


def _write_metrics(path: str, drifted: Mapping[str, int], *, is_complete: bool) -> None:
    """The file could be written before the check: if writing it fails now, the check's own exit code is kept."""
    if path:
        text = metrics_text(drifted, time.time(), is_complete=is_complete)
        try:
            # The collector runs as another user.
            write_requested_file(path, text.encode(), mode=0o644)
        except WizardError as error:
            print(f"bai-wizard: the metrics were not written: {error}", file=sys.stderr)


def _compare(arguments: argparse.Namespace, node: Machine, output: Output) -> Comparison:
    session = None if arguments.demo is not None else local_session(arguments.root, node)
    if session:
        refuse_held(session.paths)
        session.wait_for_package_tool(lambda text, **_: output.note(text))
        for message in session.warnings():
            output.note(message)
    planned_at = session.planned_at() if session else None
    desired, origin, run = _desired(arguments, node, session)
    since = (run.path / "result.json").stat().st_mtime if run else 0.0
    compose.refuse_untrusted(arguments.root, desired)
    missing = use_available_secrets()
    machine = RememberingMachine(node)
    plan = compose.plan(machine, desired)
    differences = [each for item in plan.steps for each in differences_of(item, missing, _not_applied(run))]
    subjects = [where_to_look(each, machine) for each in differences]
    causes, unread = causes_of(machine, subjects, since) if differences else ([], ())
    if session:
        refuse_held(session.paths)
        if session.planned_at() != planned_at:
            raise PlanOutdated
    for reason in missing.values():
        output.note(f"not compared: {reason}")
    for reason in unread:
        output.note(reason)
    explained = tuple(replace(each, causes=found) for each, found in zip(differences, causes, strict=True))
    return Comparison(node.host, origin, since, desired.pages, explained)


def _desired(
    arguments: argparse.Namespace, node: Machine, session: Session | None
) -> tuple[compose.DesiredState, str, RunDirectory | None]:
    """The desired state, where it comes from, and the run since which changes are looked for."""
    run: RunDirectory | None
    if arguments.run:
        assert session is not None, "refused: a simulated node has no runs"
        run = find_run(session.paths, arguments.run, kind="apply")
        if why := not_in_effect(session.paths, run, node):
            raise PreflightError(why)
    else:
        run = choose_in_effect(session.paths, node) if session else None
    if arguments.answers:
        from bai_wizard.answers.load import load

        answers = load(arguments.answers, node.host, trusted_only=session is not None)
        name = arguments.answers if arguments.answers == "-" else os.path.abspath(arguments.answers)
        desired = compose.desired_from_answers(answers, demo=session is None)
        return desired, name, run
    if run is None:
        raise PreflightError("this node has no finished run to compare with: pass --answers FILE")
    return compose.desired_from_json(run.settings()), f"run {run.id}", run


def _not_applied(run: RunDirectory | None) -> set[str]:
    """The steps that could not be applied by a run, which has finished: they were optional."""
    steps = (run.result() or {}).get("steps", []) if run else []
    return {step["step"] for step in steps if step["outcome"] == "failed"}
