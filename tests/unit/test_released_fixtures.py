"""Files of released versions (tests/fixtures/released) are still read completely."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import basename
from typing import Any

import pytest

from bai_wizard.cli import main
from bai_wizard.compose import desired_from_json, with_current_labels, with_former_labels
from bai_wizard.core.codec import KEPT, SHOWN
from bai_wizard.core.event import Event
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Finding
from bai_wizard.core.state import State
from bai_wizard.core.step import Pending, Plan
from bai_wizard.engine.directory import RunDirectory, create_run, find_run, journal_of
from bai_wizard.engine.events import EventReader
from bai_wizard.engine.executor import execute
from bai_wizard.engine.journal import Entry
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.recovery import interrupted_runs
from bai_wizard.engine.result import Result
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources import load_operations
from bai_wizard.steps import load_all
from bai_wizard.ui.fleet.compare import compare, read_reports
from tests.cache import CHECKOUT

RELEASED = CHECKOUT / "tests/fixtures/released"
VERSIONS = sorted(path.name for path in RELEASED.iterdir() if path.is_dir())
MODULE = CHECKOUT / "integrations/ansible/ansible_collections/bai/wizard/plugins/modules/node.py"
# What Ansible itself adds to the result of a task.
OF_ANSIBLE = {"changed", "diff", "failed", "msg", "attempts", "rc", "stderr", "stdout"}

# Run: kind, exit code (None: no result), why it stopped, steps by outcome, journal entries by fate.
RUNS: dict[str, tuple[str, int | None, str, dict[str, int], dict[str, int]]] = {
    "applied": ("apply", 0, "", {"changed": 17, "unchanged": 6, "skipped": 4}, {"done": 23}),
    "undone": ("undo", 0, "", {"changed": 1}, {"done": 1}),
    "undo-left-alone": ("undo", 4, "", {"failed": 1}, {"done": 22}),
    "failed": ("apply", 4, "failed", {"unchanged": 10, "skipped": 16, "failed": 1}, {"done": 1, "void": 1}),
    "resumed": ("apply", 0, "", {"changed": 17, "unchanged": 6, "skipped": 4}, {"done": 23, "void": 1}),
    "killed": ("apply", None, "", {}, {"done": 10, "open": 1}),
    "stopped": ("apply", 130, "interrupted", {"changed": 1, "unchanged": 10, "skipped": 16}, {"done": 2}),
    "docker-applied": ("apply", 0, "", {"changed": 8, "unchanged": 5}, {"done": 14}),
    "docker-undone": ("undo", 0, "", {"changed": 1}, {"done": 12}),
    "every-kind": (
        "apply",
        4,
        "reboot",
        {"changed": 37, "unchanged": 37, "skipped": 37, "failed": 36},
        # One has no end although the run has: how it ended is lost, and undo treats it as done.
        {"done": 31, "failed": 1, "void": 1, "undone": 1, "left": 1},
    ),
}  # fmt: skip
# Kinds of primitives when the version was released; kinds that were added since need no fixture here.
KINDS = {"0.1.0": (63, 35)}


def runs() -> list[tuple[str, str]]:
    return [(version, path.name) for version in VERSIONS for path in sorted((RELEASED / version / "runs").iterdir())]


def outputs(pattern: str) -> list[Path]:
    return sorted(path for version in VERSIONS for path in (RELEASED / version / "outputs").glob(pattern))


def on_a_node(root: Path, version: str, *names: str) -> tuple[StatePaths, list[RunDirectory]]:
    """The runs below `root`, each under its own id, as on the node that they come from."""
    paths = StatePaths(root)
    paths.make()
    result = []
    for name in names:
        source = RELEASED / version / "runs" / name
        target = paths.runs / json.loads((source / "run.json").read_text())["run"]
        shutil.copytree(source, target)
        (target / "backup").mkdir(exist_ok=True)
        result.append(RunDirectory(target))
    return paths, result


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def lost(written: Any, read: Any) -> list[tuple[str, Any]]:
    """Values of a fixture that reading and writing again does not give back: a field that is silently ignored."""
    kept = dict(leaves(read))
    return [(path, value) for path, value in leaves(written) if kept.get(path, KeyError) != value]


@pytest.fixture(autouse=True)
def every_kind_of_step() -> None:
    load_all()


@pytest.mark.parametrize(("version", "name"), runs())
def test_a_run_directory_is_read_whole(tmp_path: Path, version: str, name: str) -> None:
    _, (run,) = on_a_node(tmp_path, version, name)
    kind, code, stopped, outcomes, statuses = RUNS[name]
    assert (run.kind, run.metadata["wizard"]) == (kind, version)
    plan = run.plan()
    assert plan.digest() == run.metadata["digest"]
    assert lost(json.loads((run.path / "plan.json").read_text()), plan.to_json(KEPT)) == []
    desired = desired_from_json(run.settings())
    assert lost(run.settings(), desired.to_json()) == []
    written = run.result()
    if code is None:
        assert written is None
    else:
        assert written is not None
        result = Result.from_json(written)
        assert lost(written, result.to_json()) == []
        assert (int(result.code()), result.stopped) == (code, stopped)
        assert Counter(step.outcome for step in result.steps) == outcomes
        if kind == "apply":
            assert [step.step for step in result.steps] == [planned.step.id for planned in plan.steps]
    entries = journal_of(run).entries()
    assert Counter(entry.status for entry in entries) == statuses
    for record, entry in zip(intents(run), entries, strict=True):
        codec = journal_of(run)._codec
        assert lost(record["primitive"], codec.encode(entry.operation)) == []
        assert lost(record["inverse"], codec.encode(entry.inverse)) == []
        assert len(record["before"]) >= len(entry.before)
        # Since then, the removal of a tree has one more key: the place where a killed removal left the rest.
        keys = [key for key in entry.operation.keys() if not basename(key.name).startswith(".bai-wizard.removed.")]
        assert len(record["after"]) == len(entry.after) == len(keys)
    if run.events.exists():
        lines = run.events.read_text().splitlines()
        events = EventReader(run).more()
        assert [event.to_json() for event in events] == [json.loads(line) for line in lines]
        assert (events[-1].kind == "summary") is (code is not None)


def intents(run: RunDirectory) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in run.journal.read_text().splitlines()]
    return [record for record in records if record["what"] == "intent"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_of_that_version_is_included(tmp_path: Path, version: str) -> None:
    _, (run,) = on_a_node(tmp_path, version, "every-kind")
    kinds = {type(planned.step).kind for planned in run.plan().steps}
    operations = {type(entry.operation).__name__ for entry in journal_of(run).entries()}
    verdicts = {type(planned.verdict).__name__ for planned in run.plan().steps}
    assert (len(kinds), len(operations)) == KINDS[version]
    load_operations()
    assert operations <= {each.__name__ for each in Operation.kinds.values()}
    assert verdicts == {"Unchanged", "Pending", "Blocked"}
    assert any(isinstance(item.verdict, Pending) and item.verdict.known_after for item in run.plan().steps)


def left_by(entries: list[Entry]) -> dict[Any, State]:
    """The node as those entries left it: the last state of every key."""
    states: dict[Any, Any] = {}
    for entry in entries:
        states.update(entry.after)
    return {key: state for key, state in states.items() if state is not None}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "changes"), [("applied", 23), ("docker-applied", 12), ("resumed", 23)])
def test_such_a_run_is_undone_today(tmp_path: Path, version: str, name: str, changes: int) -> None:
    paths, (run,) = on_a_node(tmp_path, version, name)
    machine = SimulatedMachine(left_by(journal_of(run).entries()))
    planned = plan_undo(run, machine)
    assert planned.conflicts == ()
    assert len(planned.changes) == changes
    undo = create_run(paths, Plan(machine.host), run.settings(), kind="undo", undoes=run.id)
    result = execute(paths, undo, undo.plan().digest(), machine)
    assert [step.outcome for step in result.steps] == ["changed"], result
    for entry in journal_of(run).entries():
        assert entry.status in ({"undone", "void"} if entry.inverse is not None else {"done", "left"}), entry


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_that_was_killed_is_found_and_the_newest_run_as_well(tmp_path: Path, version: str) -> None:
    paths, (_, killed, _) = on_a_node(tmp_path, version, "applied", "killed", "undone")
    assert [run.id for run in interrupted_runs(paths)] == [killed.id]
    assert find_run(paths, kind="apply").id == killed.id


@pytest.mark.parametrize("path", outputs("*.jsonl"), ids=lambda path: path.name)
def test_json_lines(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    if path.name.startswith("runs"):
        assert {run["state"] for run in lines} & {"done", "failed", "interrupted"}
        assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", run["run"]) for run in lines)
        return
    assert lines
    for line in lines:
        event = Event.from_json({"run": "", **line})
        assert event.to_json() == line
        data = event.data
        if event.kind == "plan":
            assert data is not None
            assert lost({**data, "origins": {}}, {**Plan.from_json(data, SHOWN).to_json(), "origins": {}}) == []
        elif event.kind == "finding":
            assert data is not None
            finding = Finding.from_wire({**data, "remedy": []})
            assert lost({**data, "remedy": []}, finding.to_json()) == []
        elif event.kind == "summary" and "steps" in (data or {}):
            assert data is not None
            assert lost(data, Result.from_json(data).to_json()) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_reports_are_compared_today(version: str) -> None:
    directory = RELEASED / version / "outputs"
    for name in ("report.json", "report-nothing.json", "report-failed.json"):
        reports = read_reports([str(directory / name)])
        (host,) = reports
        assert compare(reports).hosts == (host,)
        assert Result.from_json(reports[host]["result"]).steps
    assert json.loads((directory / "detect.json").read_text())["pages"].keys() >= {"node", "account", "tuning"}


def pages_in(value: Any) -> Iterator[dict[str, dict[str, str]]]:
    """Every table of detected values by page within a JSON value."""
    if isinstance(value, dict) and {"hardware", "tuning"} <= value.keys():
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from pages_in(each)


def kinds_of_labels(files: Iterable[Any]) -> set[tuple[str, str]]:
    """The labels by page, without paths and images; of disks and networks, only the kind."""
    return {
        (page, re.sub(r"^(Disk|Network) .*|.*( is)$", r"\1\2", label))
        for value in files
        for pages in pages_in(value)
        for page, rows in pages.items()
        for label in rows
        if not re.match(r"/|.*/.*:", label)
    }


def test_labels_used_as_keys_are_still_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """In the output of `detect --json`, in reports and in what the Ansible module returns."""
    released = [json.loads(path.read_text()) for path in RELEASED.glob("*/*/*.json")]
    old = kinds_of_labels(released)
    assert {("node", "Runs in"), ("account", "Ids"), ("node", "Disk")} <= old
    for words in ([], *(["--demo", name] for name in ("bare", "half", "broken", "finished"))):
        assert main([*words, "detect", "--json"]) == ExitCode.OK
    today = kinds_of_labels(json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert old - today == set()


def test_former_labels_are_for_programs_only() -> None:
    rows = (("Uptime", "1 h"), ("AMD missing", "a driver"), ("Kernel", "6.8"))
    both = with_former_labels(rows)
    assert both == {**dict(rows), "Up for": "1 h", "AMD lacks": "a driver"}
    assert with_current_labels(both) == dict(rows)
    assert with_current_labels({"Up for": "1 h"}) == {"Uptime": "1 h"}


@pytest.mark.parametrize("version", VERSIONS)
def test_values_used_by_playbooks_are_still_returned(version: str) -> None:
    """Each key that the Ansible module returned then is one that it documents as returned today."""
    text = MODULE.read_text().partition('RETURN = r"""')[2].partition('"""')[0]
    documented = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    results = [
        result
        for path in sorted((RELEASED / version / "ansible").glob("results.json"))
        for result in json.loads(path.read_text())
    ]
    returned = {key for result in results for key in result if not key.startswith("_ansible")}
    assert {"run", "code", "steps", "ended", "ansible_facts"} <= returned
    assert returned - OF_ANSIBLE - {"invocation"} <= documented
