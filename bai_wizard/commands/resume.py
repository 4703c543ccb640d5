"""`bai-wizard resume [RUN]`: continue a run that was cut, stopped, failed, or waits for a reboot."""

from __future__ import annotations

import argparse

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import RunDirectory, find_run
from bai_wizard.engine.run.places import Places
from bai_wizard.exits import ExitCode
from bai_wizard.headless.allowed import refuse_interrupts, require_root
from bai_wizard.headless.output import output_for


def run(arguments: argparse.Namespace) -> ExitCode:
    """A further attempt of the same run: settled, planned again, shown, carried out."""
    from bai_wizard.engine.launch.unit import start_executor
    from bai_wizard.engine.run.follow import size_of_events
    from bai_wizard.headless.watch import watch
    from bai_wizard.steps import load_all

    machine = compose.local_machine(arguments.root)
    require_root(machine, arguments)
    places = compose.places(arguments.root)
    run = find_run(places, arguments.run)
    output = output_for(getattr(arguments, "json", False))
    # The plan may hold a kind of step that no page of these answers has brought along: a remedy's.
    load_all()
    settle_cut(places, run, arguments.root)
    if run.kind == "undo":
        plan = run.plan()
    else:
        compose.use_secret_sources()
        wish = compose.wish_from_json(run.settings())
        plan = plan_again(machine, wish, run)
        for line in differences(run.plan(), plan):
            output.note(line)
        output.plan(plan, {})
        compose.refuse_blocked(plan)
        refuse_interrupts(compose.unconsented(machine, plan, run.about["consent"]))
    if getattr(arguments, "plan", False):
        return ExitCode.OK
    run.begin_attempt(plan, run.about)
    if run.kind != "undo":
        compose.lend_secrets(places, plan, wish)
    offset = size_of_events(run)
    start_executor(run, plan.digest(), places)
    code, _ = watch(places, run, output, offset=offset)
    return code


def plan_again(machine: Machine, wish: compose.Wish, run: RunDirectory) -> Plan:
    """The plan of the run's settings on the node as it is now; for a fix, what its check asks for."""
    if not wish.fix:
        return compose.plan(machine, wish)
    from bai_wizard.doctor.fix import plan_again as plan_fix
    from bai_wizard.steps import load_all

    load_all()
    return plan_fix(wish.fix, run.plan(), machine, wish.context)


def settle_cut(places: Places, run: RunDirectory, root: str) -> None:
    """Under the lock, gives every open intent of a cut run its end, so that planning sees a settled node."""
    from bai_wizard.engine.run.lock import hold_lock
    from bai_wizard.engine.run.settle import settle
    from bai_wizard.engine.run.undo import journal_of

    with hold_lock(places, {"run": run.id, "unit": "", "page": "", "since": ""}):
        settle(journal_of(run), compose.local_machine(root))


def differences(old: Plan, new: Plan) -> list[str]:
    """What is new or gone since the plan that was confirmed, beyond what has been done meanwhile."""
    before = {item.step.id: item for item in old.steps}
    told = []
    for item in new.pending():
        known = before.get(item.step.id)
        if known is None or not known.is_pending:
            told.append(f"not in the confirmed plan: {item.step.id}: {item.step.describe()}")
    now = {item.step.id for item in new.steps}
    told += [f"no longer planned: {name}" for name in before if name not in now]
    return told


def refuse_running(places: Places) -> None:
    """Raises LockHeld while an executor lives."""
    from bai_wizard.engine.run.lock import held, is_held

    if is_held(places):
        raise held(places)
    if not places.runs.is_dir():
        raise PreflightError("there is no run on this node yet")
