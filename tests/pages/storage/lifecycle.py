"""The lifecycle of a page on a simulated node: plan, run, plan again, undo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Page
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.planner import PageWork, make_plan
from bai_wizard.engine.result import Result
from bai_wizard.node.simulated import SimulatedMachine
from tests.settings import settings_from


def plan_of(page: Page, table: Mapping[str, Any], machine: Machine, context: Context | None = None) -> Plan:
    """The plan of one page for a table of answers as written."""
    settings = settings_from(page.settings, dict(table))
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
    started = create_run(StatePaths(directory), plan, {})
    return started, execute(StatePaths(directory), started, plan.digest(), machine)


def undo(machine: SimulatedMachine, done: RunDirectory, directory: Path) -> Result:
    """Undo a run."""
    plan = Plan(machine.host)
    started = create_run(StatePaths(directory), plan, {}, kind="undo", undoes=done.id)
    started.begin_attempt(plan, dict(started.metadata))
    return execute(StatePaths(directory), started, plan.digest(), machine)


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
