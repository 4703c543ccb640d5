"""The executor with a bundle: verified under the run's lock, refused before the first change, removed at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bai_wizard import compose
from bai_wizard.cli import main
from bai_wizard.commands import execute
from bai_wizard.commands.execute import StopRequest
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.lock import is_held
from bai_wizard.exit_codes import ExitCode
from bai_wizard.offline.manifest import copy_held
from tests.unit.bundle.test_contents import HARM, bundle, settings_of

__all__ = ["bundle"]


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the executor sets for itself must not be left to the other tests."""
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)
    monkeypatch.setattr(StopRequest, "listen", lambda _self: None)


def run_of(bundle: Path, root: Path) -> RunDirectory:
    return create_run(compose.paths(str(root)), Plan("a01"), {**settings_of(bundle), "pages": []})


def executed(run: RunDirectory, root: Path) -> tuple[int, list[dict[str, object]]]:
    """The exit code and the events."""
    code = main(["_execute", run.id, "--digest", run.plan().digest(), "--root", str(root)])
    return code, [json.loads(line) for line in run.events.read_text().splitlines()]


@pytest.mark.needs_root
def test_a_bundle_is_compared_while_the_lock_is_held(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparing takes minutes; a follower takes a run without a lock and without an end for an interrupted one."""
    root = tmp_path / "root"
    root.mkdir()
    run = run_of(bundle, root)
    held: list[bool] = []

    def noted(*words: object) -> str:
        held.append(is_held(compose.paths(str(root))))
        return copy_held(*words)  # type: ignore[arg-type]

    monkeypatch.setattr("bai_wizard.offline.use_bundle.copy_held", noted)
    code, events = executed(run, root)
    assert (code, events[-1]["kind"]) == (ExitCode.OK, "summary")
    assert held
    assert all(held)
    assert list((root / "var/cache/bai-wizard/bundles").iterdir()) == []


@pytest.mark.needs_root
@pytest.mark.parametrize("harm", ["an index with by-hash", "a FIFO", "another one"])
def test_a_bundle_that_changed_since_the_plan_ends_the_run_with_one_event(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    run = run_of(bundle, root)
    if harm == "another one":
        (bundle / "manifest.json").write_text((bundle / "manifest.json").read_text() + " ")
    else:
        HARM[harm](bundle)
    lines: list[bool] = []
    tell = execute._tell_end

    def noted(*words: object) -> None:
        lines.append(is_held(compose.paths(str(root))))
        tell(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "_tell_end", noted)
    code, events = executed(run, root)
    assert code == ExitCode.PREFLIGHT
    assert [event["kind"] for event in events] == ["summary"]
    assert events[0]["data"] == {"version": 1, "code": 3}
    assert str(bundle) in str(events[0]["text"])
    assert lines == [True], "the end is told once, while the lock is held"
