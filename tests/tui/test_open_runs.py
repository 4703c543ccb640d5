"""The wizard opens with the node's open run: in progress, interrupted, of another version, or root's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.consent import TO_DISRUPT, Affected
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.lock import StatePaths, hold_lock
from bai_wizard.engine.maintenance import Conditions
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.saving import Autosave, default_directory
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.resume_undo import ResumeScreen
from bai_wizard.ui.tui.screens.runs import RunScreen
from tests.sampling import sampled
from tests.tui.app_driver import AppDriver, good_draft, running_app
from tests.tui.fakes import FakeMachine, FakePages, fake_session
from tests.tui.terminal import Terminal
from tests.tui.test_run import Failing, review
from tests.unit.test_released_fixtures import on_a_node

REPOSITORY = str(Path(__file__).parents[2])


@pytest.fixture
def node(tmp_path: Path) -> Path:
    for name, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/group": "root:x:0:\n",
        "etc/hostname": "gpu01\n",
        "etc/os-release": 'ID=debian\nVERSION_ID="13"\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run_of(node: Path, name: str) -> RunDirectory:
    """A run of an earlier version; nothing of it is half done."""
    _, (run,) = on_a_node(node, "0.1.0", name)
    lines = run.journal.read_text().splitlines(keepends=True)
    ended = {json.loads(line)["n"] for line in lines if json.loads(line)["what"] != "intent"}
    run.journal.write_text("".join(line for line in lines if json.loads(line)["n"] in ended))
    return run


@contextmanager
def wizard(node: Path, *words: str, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    environment = {"HOME": str(node), "XDG_STATE_HOME": str(node / "state"), "PYTHONPATH": REPOSITORY}
    argv = [sys.executable, "-m", "bai_wizard", "--root", str(node), *words]
    terminal = Terminal(argv, size=size, environment=environment, directory=str(node))
    try:
        yield terminal
        if terminal.status is None:
            terminal.end(15)
    finally:
        terminal.kill()


@contextmanager
def in_progress(node: Path, run: RunDirectory) -> Iterator[EventLog]:
    """This process holds the lock and tells what it does, as the executor does."""
    (run.path / "result.json").unlink(missing_ok=True)
    run.events.unlink(missing_ok=True)
    paths = StatePaths(node)
    with hold_lock(paths, run.id, since="2026-11-28T00:00:00Z"):
        event_log = EventLog(run.events, run.id)
        event_log.emit("run", "apply begins", data={"pending": 3, "kind": "apply"})
        event_log.emit("started", "create the account bai", step="account.user")
        yield event_log
        event_log.close()


def edited(name: str, change: Callable[[dict[str, object]], None]) -> Callable[[RunDirectory], None]:
    def edit(run: RunDirectory) -> None:
        value = json.loads((run.path / name).read_text())
        change(value)
        (run.path / name).write_text(json.dumps(value))

    return edit


def unknown_kind(plan: dict[str, object]) -> None:
    steps = plan["steps"]
    assert isinstance(steps, list)
    steps[0]["step"]["kind"] = "a-kind-of-2030"


# How the run's directory differs from one of this version.
VERSIONS: dict[str, Callable[[RunDirectory], object]] = {
    "this version": lambda run: None,
    "later plan": edited("plan.json", lambda plan: plan.update(version=99)),
    "unknown kind of step": edited("plan.json", unknown_kind),
    "no plan": lambda run: (run.path / "plan.json").unlink(),
    "damaged plan": lambda run: (run.path / "plan.json").write_bytes(b'{"steps": [\0'),
    "later run.json": edited("run.json", lambda about: about.update(versions={"plan": 99}, future=True)),
    "damaged run.json": lambda run: (run.path / "run.json").write_text("{"),
}


@pytest.mark.parametrize("version", sampled("in progress", [*VERSIONS], 2))
def test_a_run_in_progress_is_shown(version: str, node: Path) -> None:
    run = run_of(node, "killed")
    VERSIONS[version](run)
    with in_progress(node, run) as event_log, wizard(node) as terminal:
        terminal.until(f"Run {run.id}")
        terminal.until("create the account bai")
        event_log.emit("log", "a line that comes later", step="account.user")
        terminal.until("a line that comes later")
        terminal.press("escape")
        terminal.until("Review and apply")


def test_a_run_that_ends_while_it_is_watched_shows_its_end(node: Path) -> None:
    run = run_of(node, "applied")
    result = json.loads((run.path / "result.json").read_text())
    with wizard(node) as terminal:
        terminal.until("Review and apply")
    with in_progress(node, run) as event_log, wizard(node) as terminal:
        terminal.until("create the account bai")
        event_log.emit("summary", data=result)
        terminal.until("Done. All changes of this run are in effect.")


@pytest.mark.parametrize("version", sampled("finished", [*VERSIONS], 2))
def test_a_finished_run_is_opened_from_the_past_runs(version: str, node: Path) -> None:
    run = run_of(node, "applied")
    VERSIONS[version](run)
    with wizard(node) as terminal:
        terminal.until("Review and apply")
        terminal.press("end", "up", "up", "up", "enter")
        terminal.until(run.id)
        terminal.press("enter")
        terminal.until("View with log")
        terminal.press("enter")
        terminal.until(f"Run {run.id}")
        terminal.until("17 of 17" if version == "this version" else "changed")


# Whether answers are offered that the run of the other wizard was to apply, by the state of that run.
STATES = {"applied": False, "in progress": False, "killed": True, "damaged": True, "gone": True}


@pytest.mark.parametrize("state", STATES)
def test_answers_in_effect_are_not_offered_again(state: str, node: Path) -> None:
    run = run_of(node, state if state in ("applied", "killed") else "applied")
    autosave = Autosave("gpu01", str(node / "state/bai-wizard"))
    draft = Draft("gpu01", {"account": {"uid": 1234}})
    autosave.save(draft.handed_over(), ["account"], "20260101T000000Z-0000" if state == "gone" else run.id)
    # As a process that has ended leaves it.
    left = Path(autosave.directory, autosave.name).rename(Path(autosave.directory, "draft-gpu01-4194305-77.json"))
    if state == "damaged":
        (run.path / "result.json").write_text("{")
    with in_progress(node, run) if state == "in progress" else nullcontext(), wizard(node) as terminal:
        terminal.until(f"Run {run.id}" if state == "in progress" else "not set up")
        if STATES[state]:
            terminal.until("Continue where you left off?")
        elif state == "applied":
            terminal.until(lambda: not left.exists())
        assert ("Continue where" in terminal.text()) is STATES[state]
    assert left.exists() is (state != "applied")


async def test_a_draft_names_the_run_that_applies_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs() -> list[str]:
        return [json.loads(file.read_text())["run"] for file in drafts.glob("draft-*.json")]

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    drafts = Path(default_directory())
    draft = good_draft()
    session = replace(fake_session(tmp_path, FakeMachine(delay=600.0)), demo="")
    async with running_app(session=session, draft=draft) as driver:
        await driver.settled()
        draft.put("account", ("uid",), 1234)
        driver.app.plan_model.edited()
        await driver.until(lambda: runs() == [""])
        await review(driver)
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, RunScreen))
        run = driver.app.watcher.run
        assert run is not None
        await driver.until(lambda: runs() == [run.id])
        draft.put("account", ("uid",), 1235)
        driver.app.plan_model.edited()
        await driver.until(lambda: runs() == [""])


async def test_answers_of_excluded_steps_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not in effect, although the run succeeds."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    session = replace(fake_session(tmp_path, FakeMachine()), demo="")
    async with running_app(session=session, draft=good_draft()) as driver:
        await driver.settled()
        driver.app.plan_model.draft.put("account", ("uid",), 1234)
        driver.app.plan_model.edited()
        await review(driver)
        await driver.press("home", "space")
        await driver.until("6 steps · ")
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        assert driver.app.plan_model.draft.is_unsaved
        drafts = Path(default_directory())
        await driver.until(lambda: any(drafts.glob("draft-*.json")))
        (file,) = drafts.glob("draft-*.json")
        assert json.loads(file.read_text())["run"] == ""


async def test_a_draft_names_no_run_that_continues_without_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs() -> list[str]:
        return [json.loads(file.read_text())["run"] for file in drafts.glob("draft-*.json")]

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    drafts = Path(default_directory())
    session = replace(fake_session(tmp_path, Failing()), demo="")
    pages = FakePages(optional=("docker",))
    async with running_app(session=session, loader=pages.load, draft=good_draft()) as driver:
        await driver.settled()
        driver.app.plan_model.draft.put("account", ("uid",), 1234)
        driver.app.plan_model.edited()
        await review(driver)
        await driver.press("end", "down", "enter")
        await driver.until("Done, but optional steps failed")
        run = driver.app.watcher.run
        assert run is not None
        await driver.until(lambda: runs() == [run.id])
        await driver.press("home", "down", "enter")
        await driver.until("[ Resume ]")
        await driver.until(lambda: runs() == [""])


@pytest.mark.parametrize("version", sampled("interrupted", [*VERSIONS], 2))
def test_an_interrupted_run_is_reported_and_resumed_by_the_key_shown(version: str, node: Path) -> None:
    run = run_of(node, "killed")
    VERSIONS[version](run)
    with wizard(node) as terminal:
        if version == "damaged run.json":
            # It may be a run of any kind: it is told as damaged, not as interrupted.
            terminal.until("Review and apply")
            return
        terminal.until(f"Run {run.id} was interrupted. Press r to resume it.")
        terminal.press("r")
        terminal.until(f"Resume run {run.id}")
        terminal.until(lambda: "planning…" not in terminal.text())
        terminal.press("escape")
        terminal.until("Press r to resume it.")


def test_no_note_without_an_interrupted_run(node: Path) -> None:
    run_of(node, "applied")
    with wizard(node) as terminal:
        terminal.until("not set up")
        assert "interrupted" not in terminal.text()
        terminal.press("r")
        terminal.until("Review and apply")


@pytest.mark.parametrize("is_running", [True, False])
async def test_without_read_access_the_command_to_type_is_shown(is_running: bool, tmp_path: Path) -> None:
    session = fake_session(tmp_path, FakeMachine(root=False))
    run = run_of(tmp_path, "killed")
    with in_progress(tmp_path, run):
        if is_running:
            async with running_app(session=session) as seat:
                await seat.until("is in progress; to watch: sudo bai-wizard attach")
                await seat.press("r")
                await seat.until(lambda: "to watch: sudo bai-wizard attach" in told(seat))
        else:
            notice = session.paths.current.read_text()
    if not is_running:
        session.paths.current.write_text(notice)  # as a killed executor leaves it
        async with running_app(session=session) as driver:
            await driver.until("was interrupted; to resume: sudo bai-wizard resume")
            await driver.press("r")
            await driver.until(lambda: "was interrupted; to resume: sudo bai-wizard resume" in told(driver))


def told(driver: AppDriver) -> str:
    return "\n".join(notice.message for notice in driver.app._notifications)


def test_line_prompts_tell_of_an_interrupted_run(node: Path) -> None:
    run = run_of(node, "killed")
    with wizard(node, "--plain") as terminal:
        terminal.until("Choose a page")
        assert f"Run {run.id} was interrupted;" in " ".join(terminal.text().split())
        terminal.press("q", "enter")


def test_line_prompts_show_a_run_in_progress(node: Path) -> None:
    run = run_of(node, "killed")
    VERSIONS["unknown kind of step"](run)
    with in_progress(node, run), wizard(node, "--plain") as terminal:
        terminal.until("create the account bai")


@pytest.mark.parametrize("window", ["", "00:00-23:59+UTC"])
def test_consent_to_another_attempt_lasts_until_its_window_has_closed(tmp_path: Path, window: str) -> None:
    paths, conditions = StatePaths(tmp_path), Conditions(window) if window else None
    run = create_run(paths, Plan("gpu01"), {}, origin={"conditions": conditions.to_json() if conditions else None})
    screen = ResumeScreen(run)
    screen._disruptions = {"docker.restart": (Affected("container:a", "a"),)}
    (consent,) = screen.consent()
    assert (consent.lasts > TO_DISRUPT) is bool(window)
