"""A page's whole cycle over a simulated node: plan, run, plan again, undo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bai_wizard.core.context import Context
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Page
from bai_wizard.core.plan import Plan
from bai_wizard.engine.plan.planner import PageWork, make_plan
from bai_wizard.engine.run.directory import RunDirectory, create_run
from bai_wizard.engine.run.execute import execute
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result
from bai_wizard.machine.simulated import SimulatedMachine


def plan_of(page: Page, table: Mapping[str, Any], machine: Machine, context: Context | None = None) -> Plan:
    """The plan of one page for a table of answers as written."""
    settings = page.settings.model_validate(dict(table))  # type: ignore[attr-defined]
    known = context or Context(host=machine.host)
    return make_plan((PageWork(page, settings, page.probe(machine, settings, known)),), machine, known)


def shown(plan: Plan) -> str:
    """What an operator would read: each step with its verdict's differences."""
    lines = []
    for item in plan.steps:
        lines.append(f"{item.step.id}: {type(item.verdict).__name__}")
        lines += [change.diff().rstrip("\n") for change in getattr(item.verdict, "changes", ())]
        lines += [text for name in ("reason", "note", "known_after") if (text := getattr(item.verdict, name, ""))]
    return "\n".join(lines)


def run(machine: SimulatedMachine, plan: Plan, directory: Path) -> tuple[RunDirectory, Result]:
    """Carries the plan out."""
    started = create_run(Places(directory), plan, {})
    return started, execute(Places(directory), started, plan.digest(), machine)


def undo(machine: SimulatedMachine, done: RunDirectory, directory: Path) -> Result:
    """Takes a run back."""
    plan = Plan(machine.host)
    started = create_run(Places(directory), plan, {}, kind="undo", undoes=done.id)
    started.begin_attempt(plan, dict(started.about))
    return execute(Places(directory), started, plan.digest(), machine)


def assert_cycle(page: Page, table: Mapping[str, Any], machine: SimulatedMachine, directory: Path) -> Plan:
    """Apply gives 0, a second plan is empty, undo gives the node of before. Returns the first plan."""
    before = machine.snapshot()
    plan = plan_of(page, table, machine)
    assert not plan.blocked(), shown(plan)
    done, result = run(machine, plan, directory)
    assert result.code() == 0, result
    again = plan_of(page, table, machine)
    assert again.is_empty(), shown(again)
    assert undo(machine, done, directory).code() == 0
    assert machine.snapshot() == before
    return plan
