"""Undo of a tree (a venv, an interpreter, a clone) that was killed at any point is completed by the next undo."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.result import Result
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.trees import CloneRepository, RemoveTree, removed, staged
from tests.sampling import sampled

TREE = "/srv/agent/.venv"
# Every call by which a removal changes the disk.
CALLS = ("mkdir", "open", "rename", "unlink", "rmdir", "fsync")


class PowerCut(BaseException):
    """The executor ends here, at once."""


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (tmp_path / "srv/agent").mkdir(parents=True)
    (tmp_path / "srv/agent/other").write_text("stays\n")
    return LocalMachine(str(tmp_path))


def make_tree(tree: Path) -> None:
    for name in ("bin/python3", "lib/a/b.py", "lib/c.py", "lib/odd\nname", "pyvenv.cfg", "__pycache__/x.pyc"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "lib64").symlink_to("lib")
    (tree / "empty").mkdir()


@pytest.fixture
def made(tmp_path: Path, machine: LocalMachine) -> RunDirectory:
    """A finished run that made the tree."""
    run = create_run(StatePaths(tmp_path), Plan("test"), {})
    operation = CloneRepository(TREE, "https://git.example/x.git", "root")
    before = {key: machine.state(key) for key in operation.keys()}
    journal = journal_of(run)
    number = journal.intent("python.venvs", operation, before, operation.inverse(before))
    make_tree(tmp_path / TREE[1:])
    journal.finish(number, "done", {key: machine.state(key) for key in operation.keys()})
    journal.close()
    run.end(Result(()).to_json(), journal_of(run))
    return run


def undo(tmp_path: Path, run: RunDirectory, machine: LocalMachine, undoing: RunDirectory | None = None) -> Result:
    plan = Plan("test")
    undoing = undoing or create_run(StatePaths(tmp_path), plan, {}, kind="undo", undoes=run.id)
    return execute(StatePaths(tmp_path), undoing, plan.digest(), machine)


def cut_undo(
    tmp_path: Path, run: RunDirectory, machine: LocalMachine, number: int, patch: pytest.MonkeyPatch
) -> RunDirectory | None:
    """The undo run, killed at the given change below the account's directory; None if it came to its end."""
    undoing = create_run(StatePaths(tmp_path), Plan("test"), {}, kind="undo", undoes=run.id)
    calls = iter(range(1_000_000))

    def cutting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            is_ours = any(each in named for each in ("dir_fd", "src_dir_fd")) and "list" not in str(args[0])
            if (is_ours or real is os.__dict__["fsync"]) and next(calls) == number:
                raise PowerCut
            return real(*args, **named)

        return call

    with patch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, cutting(getattr(os, name)))
        try:
            undo(tmp_path, run, machine, undoing)
        except PowerCut:
            return undoing
    return None


def left_of(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "srv/agent"))


@pytest.mark.parametrize("again", ["resume", "new"])
def test_a_removal_killed_at_any_instant_is_finished(
    again: str, tmp_path: Path, machine: LocalMachine, made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = 0
    # The cut comes after the first fsyncs of the journal and at last where nothing is left to be cut.
    # The removal itself is in the second range.
    before = sampled(f"before the removal {again}", range(70), 2)
    for number in [*before, *sampled(f"removal {again}", range(70, 112), 6), 1000]:
        undoing = cut_undo(tmp_path, made, machine, number, monkeypatch)
        halves += left_of(tmp_path) not in (["other"], [".venv", "other"])
        wanted = plan_undo(made, machine)
        assert wanted.conflicts == (), number
        assert bool(wanted.changes) == (left_of(tmp_path) != ["other"]), number
        result = undo(tmp_path, made, machine, undoing if again == "resume" else None)
        assert (result.code(), left_of(tmp_path)) == (ExitCode.OK, ["other"]), (number, result)
        # The same tree once more, for the next instant.
        make_run_again(tmp_path, made, machine)
    assert undoing is None
    assert halves > 1


def half_removed(tmp_path: Path, run: RunDirectory, machine: LocalMachine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the rest of the tree is after a kill in the middle of the removal."""
    kept = tmp_path / removed(TREE)[1:] / ".venv"
    real = os.unlink

    def unlink(path: Any, *args: Any, **named: Any) -> None:
        if path == "b.py":
            raise PowerCut
        real(path, *args, **named)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(PowerCut):
        undo(tmp_path, run, machine)
    monkeypatch.setattr(os, "unlink", real)
    assert not (tmp_path / TREE[1:]).exists()
    assert (kept / "lib/a/b.py").exists()
    return kept


@pytest.mark.parametrize("where", ["lib/a/b.py", "lib/new.py", "new/x", "../beside", "lib/a/link", "bin/python3"])
def test_a_foreign_file_in_the_rest_stops_the_removal(
    where: str, tmp_path: Path, machine: LocalMachine, made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = half_removed(tmp_path, made, machine, monkeypatch)
    changed = kept / where
    changed.parent.mkdir(exist_ok=True)
    changed.symlink_to("/etc/passwd") if where.endswith("link") else changed.write_text("a stranger's")
    before = sorted(path.relative_to(kept) for path in kept.rglob("*"))
    result = undo(tmp_path, made, machine)
    assert result.code() is ExitCode.FAILED
    assert "contains other files" in result.steps[0].text
    assert changed.name in result.steps[0].text
    assert sorted(path.relative_to(kept) for path in kept.rglob("*")) == before
    changed.unlink()
    if where == "lib/a/b.py":
        return
    assert undo(tmp_path, made, machine).code() is ExitCode.OK
    assert left_of(tmp_path) == ["other"]


def test_a_file_added_to_the_whole_tree_still_stops_the_removal(
    tmp_path: Path, machine: LocalMachine, made: RunDirectory
) -> None:
    (tmp_path / TREE[1:] / "lib/added").write_text("a stranger's")
    assert len(plan_undo(made, machine).conflicts) == 1
    assert undo(tmp_path, made, machine).code() is ExitCode.FAILED
    assert left_of(tmp_path) == [".venv", "other"]


def test_a_tree_created_by_others_after_the_kill_is_kept(
    tmp_path: Path, machine: LocalMachine, made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_removed(tmp_path, made, machine, monkeypatch)
    (tmp_path / TREE[1:]).mkdir()
    (tmp_path / TREE[1:] / "theirs").write_text("new")
    assert undo(tmp_path, made, machine).code() is ExitCode.FAILED
    assert (tmp_path / TREE[1:] / "theirs").read_text() == "new"


@pytest.mark.parametrize("put", [lambda path: path.symlink_to("/etc"), lambda path: path.write_text("theirs")])
def test_a_path_that_is_not_a_tree_is_kept(put: Callable[[Path], Any], tmp_path: Path, machine: LocalMachine) -> None:
    put(tmp_path / TREE[1:])
    (tmp_path / staged(TREE)[1:]).mkdir()
    machine.apply(RemoveTree(TREE))
    assert left_of(tmp_path) == [".venv", "other"]


def make_run_again(tmp_path: Path, made: RunDirectory, machine: LocalMachine) -> None:
    make_tree(tmp_path / TREE[1:])
    operation = CloneRepository(TREE, "https://git.example/x.git", "root")
    before = dict.fromkeys(operation.keys())
    made.journal.unlink()
    (made.path / "result.json").unlink()
    journal = journal_of(made)
    number = journal.intent("python.venvs", operation, before, operation.inverse(before))
    journal.finish(number, "done", {key: machine.state(key) for key in operation.keys()})
    made.end(Result(()).to_json(), journal)
    journal.close()


def test_a_full_disk_does_not_keep_a_tree_from_being_removed(
    tmp_path: Path, machine: LocalMachine, made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bai_wizard.resources.trees_apply._write_list", full)
    assert undo(tmp_path, made, machine).code() is ExitCode.OK
    assert left_of(tmp_path) == ["other"]


def test_an_interrupted_removal_is_finished(
    tmp_path: Path, machine: LocalMachine, made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / TREE[1:]).rename(tmp_path / staged(TREE)[1:])
    made.journal.unlink()
    (made.path / "result.json").unlink()
    journal = journal_of(made)
    operation = CloneRepository(TREE, "https://git.example/x.git", "root")
    number = journal.intent("python.venvs", operation, dict.fromkeys(operation.keys()), RemoveTree(TREE))
    journal.finish(number, "failed", {key: machine.state(key) for key in operation.keys()})
    journal.close()
    monkeypatch.setattr(shutil, "rmtree", remove_half)
    with pytest.raises(PowerCut):
        undo(tmp_path, made, machine)
    monkeypatch.undo()
    assert left_of(tmp_path) == [removed(TREE).rpartition("/")[2], "other"]
    assert undo(tmp_path, made, machine).code() is ExitCode.OK
    assert left_of(tmp_path) == ["other"]


def remove_half(name: str, *, dir_fd: int) -> None:
    os.unlink(f"{name}/pyvenv.cfg", dir_fd=dir_fd)
    raise PowerCut
