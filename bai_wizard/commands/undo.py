"""`bai-wizard undo [RUN]`: take a run back, newest change first."""

from __future__ import annotations

import argparse

from bai_wizard import compose
from bai_wizard.commands.resume import refuse_running, settle_cut
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import create_run, find_run
from bai_wizard.engine.run.undo import UndoPlan, plan_undo
from bai_wizard.exits import ExitCode
from bai_wizard.headless.allowed import refuse_interrupts, require_root, words
from bai_wizard.headless.output import output_for


def run(arguments: argparse.Namespace) -> ExitCode:
    """4 when something had to be left alone because somebody changed it since."""
    from bai_wizard.engine.launch.unit import start_executor
    from bai_wizard.engine.run.durable import write_json
    from bai_wizard.headless.watch import watch

    machine = compose.local_machine(arguments.root)
    require_root(machine, arguments)
    places = compose.places(arguments.root)
    refuse_running(places)
    undone = find_run(places, arguments.run, kind="apply")
    settle_cut(places, undone, arguments.root)
    wanted = plan_undo(undone, machine)
    print("\n".join(undo_lines(undone.id, wanted)))
    if getattr(arguments, "plan", False):
        return ExitCode.FAILED if wanted.conflicts and not arguments.force else ExitCode.OK
    if not wanted.changes and not wanted.conflicts:
        return ExitCode.OK
    consent = words(arguments.yes_interrupt)
    refuse_interrupts({what: hit for what, hit in wanted.hits.items() if what not in consent})
    plan = Plan(machine.host)
    run = create_run(places, plan, undone.settings(), kind="undo", undoes=undone.id, consent=consent)
    if arguments.force:
        write_json(run.path / "run.json", {**run.about, "force": True})
    start_executor(run, run.plan().digest(), places)
    code, _ = watch(places, run, output_for(getattr(arguments, "json", False)))
    return code


def undo_lines(run: str, wanted: UndoPlan) -> list[str]:
    """What an undo would do, as text."""
    lines = [f"take back run {run}: {len(wanted.changes)} changes"]
    for step, change in wanted.changes:
        lines += [f"{step}:", *("  " + line for line in change.diff().rstrip("\n").split("\n"))]
    lines += [
        f"left alone, because it was changed since (--force takes it back too): {text}" for text in wanted.conflicts
    ]
    lines += [f"would hit {', '.join(hit)} ({what})" for what, hit in wanted.hits.items()]
    lines += [f"not taken back: {text}" for text in wanted.lasting]
    return lines
