"""`apply PLAN`: apply a plan file exactly as it was approved, or refuse and show how the plan differs now."""

from __future__ import annotations

import argparse
import os
from functools import partial

from bai_wizard import compose
from bai_wizard.commands.headless import (
    Shown,
    apply_shown,
    conditions_in,
    interrupted_by,
    prepare_to_apply,
    recovered,
)
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.step import Plan
from bai_wizard.engine.plan_file import PlanFile, read_plan_file, with_secrets, without_secrets
from bai_wizard.engine.recovery import records_of
from bai_wizard.engine.signature import APPROVERS, signer_of
from bai_wizard.exit_codes import ExitCode
from bai_wizard.session import local_session, machine_for
from bai_wizard.steps import load_all
from bai_wizard.ui.present import exact_differences
from bai_wizard.ui.text.output import output_for


def run(arguments: argparse.Namespace) -> ExitCode:
    """Plan again from the settings in the file; a plan that differs in any way is refused with 3."""
    node = machine_for(arguments)
    prepare_to_apply(node, arguments)
    load_all()
    file = read_plan_file(arguments.file, arguments.digest, partial(_signer, arguments))
    approved = file.shown_plan()
    _refuse_other_node(file, node)
    if file.settings.get("demo") and arguments.demo is None:
        raise PreflightError("nothing was changed: the plan is for a simulated node, and this is a real one")
    desired = compose.sourced(_desired(file, arguments, node))
    compose.refuse_untrusted(arguments.root, desired)
    output = output_for(arguments)
    arguments.overrides = ()
    session = None if arguments.demo is not None else local_session(arguments.root, node)
    planned_at = session.planned_at() if session else None
    machine = recovered(session, output, only_plan=True) if session else node
    machine = RememberingMachine(machine)
    plan = compose.plan(machine, desired)
    _refuse_difference(file, approved, plan)
    conditions = conditions_in(arguments)
    plan = compose.ordered(plan, machine, desired, conditions)
    disruptions = interrupted_by(machine, plan, arguments, output)
    output.plan(plan, {}, disruptions)
    approval = file.approval(arguments.approved_by, arguments.ticket)
    shown = Shown(machine, plan, desired, disruptions, planned_at, conditions)
    return apply_shown(arguments, output, session, node, shown, approval)


def _signer(arguments: argparse.Namespace, plan: bytes) -> str:
    """Who signed the plan: required where the node has a list of approvers; empty if nothing asks for a signature."""
    own = os.path.join(arguments.root, APPROVERS.lstrip("/"))
    is_required = arguments.demo is None and _may_exist(own)
    if is_required and arguments.approvers:
        raise PreflightError(f"the approvers of this node are in {own}; --approvers cannot replace them")
    if not (is_required or arguments.signature or arguments.approvers):
        return ""
    approvers = own if is_required else arguments.approvers
    if not approvers:
        raise PreflightError(
            f"--signature needs a list of approvers: create {APPROVERS}, or name one with --approvers"
        )
    return signer_of(plan, arguments.file, arguments.signature or f"{arguments.file}.sig", approvers)


def _may_exist(path: str) -> bool:
    """Whether there is something at a path, or that cannot be told: then a signature is required as well."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _refuse_other_node(file: PlanFile, node: Machine) -> None:
    here, host = records_of(node), file.settings.get("host")
    if host != node.host or file.machine != here:
        made = f"{host} ({file.machine.get('release')}, machine-id {file.machine.get('machine') or 'unknown'})"
        this = f"{node.host} ({here['release']}, machine-id {here['machine'] or 'unknown'})"
        raise PreflightError(f"nothing was changed: the plan is for {made}, and this node is {this}")


def _desired(file: PlanFile, arguments: argparse.Namespace, node: Machine) -> compose.DesiredState:
    """The settings in the plan file, with the values that it withholds taken from the answers."""
    from bai_wizard.answers.load import load
    from bai_wizard.answers.model import Answers

    settings = file.settings
    if file.withheld:
        name = arguments.answers or file.answers
        if not name:
            raise PreflightError(
                "the plan was made from standard input and withholds secrets: name the answers file with --answers"
            )
        answers = load(name, node.host, trusted_only=arguments.demo is None)
        settings = with_secrets(settings, file.withheld, compose.desired_from_answers(answers).to_json())
    desired = compose.desired_from_json(settings)
    compose.use_secrets_of(Answers(arguments.file, node.host, desired.settings))
    return desired


def _refuse_difference(file: PlanFile, approved: Plan, plan: Plan) -> None:
    if lines := exact_differences(approved, without_secrets(plan)):
        text = "\n".join(f"  {line}" for line in lines)
        raise PreflightError(
            f"nothing was changed: the plan of {file.planned} (-) differs from what would be done now (+):\n{text}"
        )
