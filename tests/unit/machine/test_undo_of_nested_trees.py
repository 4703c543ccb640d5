"""Undo of nested trees such as pyenv's: what undo itself removes does not count as an edit by others."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from bai_wizard.core.operation import Operation
from bai_wizard.core.state import tree_key
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.resources.files import MakeDirectory, MakeLink, WriteFile
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.trees import CloneRepository
from tests.sampling import sampled

ROOT = "/srv/pyenv"
PLUGIN = f"{ROOT}/plugins/virtualenv"
PYTHON = f"{ROOT}/versions/3.13.7"
VENV = f"{PYTHON}/envs/agent"
FILES = {ROOT: "bin/pyenv", PLUGIN: "bin/virtualenv", PYTHON: "lib/os.py", VENV: "lib/pip.py"}
OPERATIONS: tuple[Operation, ...] = (
    *(CloneRepository(path, "https://git.example/x.git", "root") for path in (ROOT, PLUGIN, PYTHON)),
    MakeDirectory(f"{PYTHON}/envs"),
    CloneRepository(VENV, "https://git.example/x.git", "root"),
    MakeLink(f"{ROOT}/versions/agent", VENV),
    WriteFile(f"{ROOT}/version", b"agent\n"),
)
# What others leave in a tree: whether it keeps the tree.
ADDED = {
    "lib/theirs.py": True,
    "bin/theirs": True,
    ".hidden": True,
    "deep/er/theirs": True,
    "lib/__pycache__/os.pyc": False,
    "shims/python": False,
    ".git/index": False,
}


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (tmp_path / "srv").mkdir()
    return LocalMachine(str(tmp_path))


@pytest.fixture
def made(tmp_path: Path, machine: LocalMachine) -> RunDirectory:
    """A finished run that made the trees one in another."""
    run = create_run(StatePaths(tmp_path), Plan("test"), {})
    journal = journal_of(run)
    for operation in OPERATIONS:
        before = {key: machine.state(key) for key in operation.keys()}
        number = journal.intent("python.x", operation, before, operation.inverse(before))
        if isinstance(operation, CloneRepository):
            put(tmp_path, operation.path, FILES[operation.path])
        else:
            machine.apply(operation)
        journal.finish(number, "done", {key: machine.state(key) for key in operation.keys()})
    journal.close()
    return run


def put(root: Path, tree: str, name: str) -> None:
    path = root / tree[1:] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{tree} {name}")


@pytest.mark.parametrize(("edited", "name"), [("", ""), *sampled("nested trees", [*product(FILES, ADDED)], 7)])
def test_a_tree_is_kept_by_edits_of_others_and_by_nothing_that_undo_removes_first(
    tmp_path: Path, machine: LocalMachine, made: RunDirectory, edited: str, name: str
) -> None:
    if edited:
        put(tmp_path, edited, name)
    # A kept tree keeps the trees that contain it.
    stay = {tree for tree in FILES if edited and ADDED[name] and f"{edited}/".startswith(f"{tree}/")}
    planned = plan_undo(made, machine)
    undoing = create_run(StatePaths(tmp_path), Plan("test"), {}, kind="undo", undoes=made.id)
    result = execute(StatePaths(tmp_path), undoing, Plan("test").digest(), machine)
    assert result.code() is (ExitCode.FAILED if stay else ExitCode.OK)
    assert {tree for tree in FILES if (tmp_path / tree[1:]).exists()} == stay
    predicted = {change.key.name for _, change in planned.changes if change.key and change.key.kind == "tree"}
    assert predicted == set(FILES) - stay
    assert len(planned.conflicts) == len(stay)
    for tree in stay:
        assert any(tree in conflict for conflict in planned.conflicts)
        assert tree in result.steps[0].text


@pytest.mark.parametrize("location", FILES)
def test_a_tree_without_parts_is_the_tree_before_they_were_made(
    tmp_path: Path, machine: LocalMachine, location: str
) -> None:
    put(tmp_path, ROOT, FILES[ROOT])
    parts = tuple(f"{location}/{name}" for name in ("new", "new.py", "odd\nname", "deep"))
    put(tmp_path, location, FILES[location])
    before = machine.state(tree_key(ROOT))
    for part in (*parts[:-1], f"{parts[-1]}/er/file"):
        put(tmp_path, location, part.removeprefix(f"{location}/"))
    (tmp_path / location[1:] / "deep/link").symlink_to("er")
    assert machine.state(tree_key(ROOT)) != before
    assert machine.tree_without(ROOT, parts) == before
    assert machine.tree_without(ROOT, parts[:-1]) != before
    assert machine.tree_without(f"{ROOT}/none", parts) is None
