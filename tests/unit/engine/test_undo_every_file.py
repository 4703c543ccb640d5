"""All eight pages on a simulated node: others edit every file of the run; undo leaves exactly their edits."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path

import pytest

from bai_wizard import compose
from bai_wizard.commands.wizard import _draft
from bai_wizard.core.state import Entry, Key, State
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.undo import plan_undo
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.files import WriteFile
from bai_wizard.steps import load_all

LINES = "# theirs, a comment\ntheirs = 1\n"
STANZA = "\nTypes: deb\nURIs: http://theirs\nSuites: x\nComponents: main\n"
# What stays because others use it, by sort of key.
IN_USE = {"file", "user", "group", "password"}
# What goes together with an account or a tree, and is not shown by itself.
PARTS = {"password", "venv", "distribution", "interpreter"}


def edited(path: str, content: bytes) -> bytes:
    """With something of others at the end, in the file's own format."""
    if path.endswith(".json"):
        return (json.dumps({**json.loads(content), "theirs": [1]}, indent=4) + "\n").encode()
    end = b"" if content.endswith(b"\n") or not content else b"\n"
    return content + end + (STANZA if path.endswith(".sources") else LINES).encode()


def ran(machine: SimulatedMachine, paths: StatePaths) -> RunDirectory:
    wanted = _draft(Namespace(answers="", handed_over="", demo="half"), machine.host).desired()
    plan = compose.plan(machine, wanted)
    assert not plan.blocked()
    run = create_run(paths, plan, {})
    execute(paths, run, plan.digest(), machine)
    return run


@pytest.mark.parametrize("force", [False, True])
def test_edits_of_others_in_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    load_all()
    paths, machine = StatePaths(tmp_path), demo_machine("bare", delay=0)
    before = machine.snapshot()
    run = ran(machine, paths)
    files = {entry.operation.path for entry in journal_of(run).entries() if isinstance(entry.operation, WriteFile)}
    written = sorted(path for path in files if machine.state(Key("file", path)) is not None)
    assert len(written) > 10
    for path in written:
        there = machine.state(Key("file", path))
        assert isinstance(there, Entry)
        content = edited(path, there.content or b"")
        machine.set_state(Key("file", path), Entry("file", there.uid, there.gid, 0o646, content))
    middle = machine.snapshot()
    planned = plan_undo(run, machine, force=force)
    assert planned.conflicts == ()
    plan = Plan("test")
    undo = create_run(paths, plan, {}, kind="undo", undoes=run.id)
    undo.begin_attempt(plan, {**undo.metadata, "force": force})
    result = execute(paths, undo, plan.digest(), machine)
    assert result.code() == 0, result.steps[0].text
    after = machine.snapshot()
    for path in written:
        state, old = after[Key("file", path)], before.get(Key("file", path))
        assert isinstance(state, Entry)
        assert state.mode == 0o646, path
        if path.endswith(".json"):
            known = json.loads(old.content or b"{}") if isinstance(old, Entry) else {}
            assert json.loads(state.content or b"") == {**known, "theirs": [1]}, path
            continue
        wanted = edited(path, (old.content or b"") if isinstance(old, Entry) else b"")
        lines = [line for line in (state.content or b"").splitlines() if not line.startswith(b"[")]
        assert lines == [line for line in wanted.splitlines() if not line.startswith(b"[")], path
    lasting = {key for entry in journal_of(run).entries() if entry.inverse is None for key in entry.operation.keys()}
    rest: dict[Key, tuple[State | None, State | None]] = {
        key: (before.get(key), after.get(key))
        for key in {*before, *after}
        if before.get(key) != after.get(key)
        and key not in lasting
        and not (key.kind == "file" and key.name in written)
    }
    brought = {key for key in rest if key in after and key.kind in ("unit", "group", "file") and key in middle}
    assert {key.kind for key in rest if key not in brought} <= IN_USE, rest
    shown = {change.key for _, change in planned.changes}
    changed = {key for key in {*middle, *after} if middle.get(key) != after.get(key)}
    assert {key for key in changed if key.kind not in PARTS} <= shown
