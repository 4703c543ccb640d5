"""Remove old run directories that no command needs any more: 500 runs take 70 MB and make every list of runs slow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import time

from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.choose import held_by
from bai_wizard.engine.directory import RunDirectory, all_runs, damage_of
from bai_wizard.engine.lock import StatePaths

# A run is kept as long as it is among this many newest ones, or ended less than this many days ago.
NEWEST = 50
DAYS = 90
SECONDS_PER_DAY = 86400


def prune_runs(paths: StatePaths) -> list[str]:
    """Remove the runs that `outdated_runs` names, and the former cache of empty plans; returns warnings.

    Call it under the lock. A directory is renamed before it is removed: a half-removed run would look damaged.
    """
    from shutil import rmtree

    above = paths.runs.parent
    removed = above / "removed"
    try:
        rmtree(above / "proofs", ignore_errors=True)
        rmtree(removed, ignore_errors=True)
        for run in list(outdated_runs(paths)):
            removed.mkdir(mode=0o700, exist_ok=True)
            os.rename(run.path, removed / run.id)
        rmtree(removed, ignore_errors=True)
    except (OSError, PreflightError) as error:
        return [f"old runs were not removed: {error}"]
    return []


def outdated_runs(paths: StatePaths) -> Iterator[RunDirectory]:
    """Old runs that ended, oldest first. Never one that can be undone or resumed, or whose records are damaged."""
    runs = all_runs(paths)
    applied = [run.id for run in runs if _is_done(run) and run.kind == "apply"]
    gone: set[str] = set()
    for run in runs[:-NEWEST]:
        # The newest complete run says what the node is compared with.
        if not _is_done(run) or run.id in applied[-1:] or not _is_old(run.path / "result.json"):
            continue
        if run.kind == "undo":
            # It says that the other run was undone, as long as that one exists.
            undone = str(run.metadata["undoes"])
            if undone not in gone and (paths.runs / undone).exists():
                continue
        elif held_by(run):
            continue
        gone.add(run.id)
        yield run


def _is_done(run: RunDirectory) -> bool:
    return not damage_of(run) and (run.result() or {}).get("code") in (0, 6)


def _is_old(path: Path) -> bool:
    return path.stat().st_mtime < time() - DAYS * SECONDS_PER_DAY
