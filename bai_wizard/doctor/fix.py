"""A fix is a run whose steps are a finding's remedy; its settings name the check, so that `resume` asks it again."""

from __future__ import annotations

from collections.abc import Sequence

from bai_wizard.compose import wish_from_json
from bai_wizard.core.context import Context
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.doctor.remedy import plan_steps, steps_of
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.engine.run.directory import RunDirectory

BAD = ("problem", "warning")
# A check's id and what it finds after its fix.
Verdict = tuple[str, tuple[Finding, ...]]


def bad_findings(checks: Sequence[Check], machine: Machine, context: Context) -> list[Finding]:
    """What these checks find wrong now."""
    return [finding for finding in examine(checks, machine, context) if finding.result in BAD]


def plan_again(id: str, confirmed: Plan, machine: Machine, context: Context) -> Plan:
    """The plan of a fix that was cut: what the check asks for now, else what is left of the confirmed steps.

    The check may be content already while a later step (a restart, say) is still missing.
    """
    checks = [check for check in all_checks() if check.id == id]
    steps = steps_of(bad_findings(checks, machine, context)) or tuple(item.step for item in confirmed.steps)
    return plan_steps(steps, machine, machine.host)


def asked_again(run: RunDirectory, machine: Machine) -> Verdict | None:
    """What the check says whose fix this run was; None where the run was no fix. Raises WizardError."""
    if run.kind != "apply":
        return None
    wish = wish_from_json(run.settings())
    if not wish.fix:
        return None
    checks = [check for check in all_checks() if check.id == wish.fix]
    return wish.fix, tuple(examine(checks, machine, wish.context))
