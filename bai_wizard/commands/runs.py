"""`bai-wizard runs`: the runs on this node."""

from __future__ import annotations

import argparse
import json

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.run.directory import RunDirectory, all_runs
from bai_wizard.engine.run.places import Places
from bai_wizard.exits import ExitCode
from bai_wizard.headless.watch import is_alive


def run(arguments: argparse.Namespace) -> ExitCode:
    """Newest last, one line each."""
    places = compose.places(arguments.root)
    try:
        runs = all_runs(places)
    except PermissionError:
        raise PreflightError("the runs are root's to read: sudo bai-wizard runs") from None
    for each in runs:
        state = state_of(places, each)
        if getattr(arguments, "json", False):
            print(json.dumps({"run": each.id, "kind": each.kind, "state": state, **_counts(each)}))
        else:
            counts = ", ".join(
                f"{number} {name}" for name, number in _counts(each).get("counts", {}).items() if number
            )
            undoes = f" of {each.about['undoes']}" if each.kind == "undo" else ""
            print(f"{each.id}  {each.kind}{undoes}  {state}  {counts}".rstrip())
    if not runs and not getattr(arguments, "json", False):
        print("no runs yet")
    return ExitCode.OK


def state_of(places: Places, run: RunDirectory) -> str:
    """running, interrupted, or how it ended."""
    result = run.result()
    if result is not None:
        words = {0: "done", 4: "failed", 5: "waits for a reboot", 6: "optional steps failed", 130: "stopped"}
        return words.get(result["code"], f"ended with {result['code']}")
    return "running" if is_alive(places, run) else "interrupted"


def _counts(run: RunDirectory) -> dict[str, dict[str, int]]:
    result = run.result()
    return {"counts": result["counts"]} if result else {}
