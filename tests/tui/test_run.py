"""From the review to the end of a run, on a fake node."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.consent import Affected
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Key, Venv, venv_key
from bai_wizard.engine.directory import RunDirectory, all_runs
from bai_wizard.engine.undo import UndoPlan
from bai_wizard.session import Starter
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.resume_undo import UndoScreen, lines_of
from bai_wizard.ui.tui.screens.review import ReviewScreen
from bai_wizard.ui.tui.screens.runs import RunScreen
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.review_list import ReviewList
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.fakes import FakeMachine, FakePages, fake_session


class Failing(FakeMachine):
    """Fails to write the file of one page until it is fixed."""

    broken = "docker"

    def apply(self, operation: Operation, log: Log = silent) -> None:
        if self.broken and any(self.broken in key.name for key in operation.keys()):
            raise StepFailed("No space left on device: /etc is full; free some room and try again")
        super().apply(operation, log)


async def review(driver: AppDriver) -> None:
    """From the pages to the review of everything."""
    await driver.settled()
    await driver.press("A")
    await driver.until(
        lambda: isinstance(driver.app.screen, ReviewScreen) and bool(driver.app.screen.query("ReviewList"))
    )
    await driver.until(" on gpu01")


async def apply(driver: AppDriver) -> None:
    """From the review to the run, by arrows and Enter."""
    await driver.press("end", "down", "enter")
    await driver.until(lambda: isinstance(driver.app.screen, RunScreen | ResultScreen))


async def apply_page(driver: AppDriver) -> None:
    """From the review of one page to its run, which is docked in the page, and from there to its result."""
    await driver.press("end", "down", "enter")
    await driver.until(lambda: any("Press o" in notice.message for notice in driver.app._notifications))
    assert isinstance(driver.app.screen, MainScreen)
    await driver.press("escape", "o")
    await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))


async def test_apply_all_then_undo() -> None:
    machine = FakeMachine()
    async with running_app(machine=machine) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await driver.until("7 changed")
        assert machine.state(Key("file", "/etc/demo/tuning.conf")) is not None
        await driver.press("escape")
        await driver.until("9 of 9 up to date")
        await driver.app.run_action("runs")
        await driver.until("done")
        await driver.press("enter")
        await driver.until("Undo")
        await driver.press("end", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, UndoScreen))
        await driver.until("7 changes will be undone")
        await driver.press("left", "enter")
        await driver.until("Undone.")
        assert machine.state(Key("file", "/etc/demo/tuning.conf")) is None


async def test_one_page_alone() -> None:
    machine = FakeMachine()
    async with running_app(machine=machine) as driver:
        await driver.settled()
        await driver.to_page("tuning")
        await driver.press("a")
        await driver.until("1 step · ")
        await apply_page(driver)
        assert [str(key) for key in machine.states_by_key] == ["file:/etc/demo/tuning.conf"]


async def test_cleared_steps_are_excluded() -> None:
    machine = FakeMachine()
    async with running_app(machine=machine) as driver:
        await review(driver)
        chosen = driver.app.screen.query_one(ReviewList)
        await driver.press("home", "space")
        await driver.until("6 steps · ")
        assert chosen.left_out == {"node.file"}
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        assert Key("file", "/etc/demo/node.conf") not in machine.states_by_key
        assert Key("file", "/etc/demo/docker.conf") in machine.states_by_key


async def test_a_failure_is_reported_and_the_run_continues_after_it_was_fixed() -> None:
    machine = Failing()
    async with running_app(machine=machine) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        assert "No space left on device" in driver.text()
        assert "A step failed" in driver.text()
        run = driver.app.watcher.run
        machine.broken = ""
        await driver.press("home", "enter")
        await driver.until("[ Resume ]")
        await driver.press("left", "enter")
        await driver.until("Done. All changes")
        assert driver.app.watcher.run is not None
        assert run is not None
        assert driver.app.watcher.run.id == run.id


async def test_a_failed_optional_step_can_be_excluded() -> None:
    async with running_app(machine=Failing(), loader=FakePages(optional=("docker",)).load) as driver:
        await review(driver)
        await apply(driver)
        await driver.until("Done, but optional steps failed")
        await driver.until("Resume without: /etc/demo/docker.conf: what docker wants")
        await driver.press("home", "down", "enter")
        await driver.until("[ Resume ]")
        await driver.press("left", "enter")
        await driver.until("Done. All changes")


async def test_with_every_step_cleared_nothing_is_reported_as_applied() -> None:
    async with running_app() as driver:
        await review(driver)
        chosen = driver.app.screen.query_one(ReviewList)
        await driver.press("home")
        while len(chosen.left_out) < len(chosen.steps):
            await driver.press("space", "down")
        await driver.until("No steps are selected.")
        assert "No changes needed" not in driver.text()
        assert not driver.app.screen.query_one(Actions).is_enabled("apply")
        await driver.press("up", "home", "space")
        await driver.until("1 step · ")


async def test_when_all_is_in_effect_it_is_reported() -> None:
    machine = FakeMachine()
    async with running_app(machine=machine) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await driver.press("escape")
        await driver.until("9 of 9 up to date")
        await driver.press("A")
        await driver.until("No changes needed.")
        assert "selected" not in driver.text()


async def test_required_steps_cannot_be_excluded() -> None:
    async with running_app(machine=Failing()) as driver:
        await review(driver)
        await apply(driver)
        await driver.until("A step failed")
        assert "Resume without" not in driver.text()
        for choice in ("Resume", "Troubleshoot", "Undo this run", "Quit"):
            assert choice in driver.text()


async def test_a_failure_shows_its_likely_cause() -> None:
    async with running_app(machine=Failing(), size=(120, 40)) as driver:
        await review(driver)
        await apply(driver)
        await driver.until("Likely cause")


async def test_a_missing_bundle_is_reported_before_planning() -> None:
    answers = {"account": {"sudo": "nopasswd"}, "sources": {"bundle": "/nowhere/bundle"}}
    async with running_app(draft=Draft("gpu01", answers)) as driver:
        await driver.until("unknown")
        await driver.press("A")
        await driver.until("/nowhere/bundle")
        await driver.until("( Apply )")


async def test_quitting_reports_that_the_run_continues() -> None:
    async with running_app(machine=FakeMachine(delay=0.6)) as driver:
        await review(driver)
        await apply(driver)
        await driver.press("q")
        await driver.until("its run ends when you quit")
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, RunScreen))
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        await driver.until("running")
        await driver.until(lambda: any("Press o" in notice.message for notice in driver.app._notifications))
        assert isinstance(driver.app.screen, MainScreen), "the keyboard stays where it is"
        await driver.press("o")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))


async def test_a_run_in_progress_is_attached_to() -> None:
    async with running_app(machine=FakeMachine(delay=1.0)) as driver:
        await review(driver)
        await apply(driver)
        session = driver.app.session
        assert driver.app.watcher.is_running
        async with running_app(session=session) as other:
            await other.until(lambda: isinstance(other.app.screen, RunScreen))
            assert other.app.watcher.run is not None
            assert driver.app.watcher.run is not None
            assert other.app.watcher.run.id == driver.app.watcher.run.id
            await other.press("x")
            await other.until("Stopped as requested")


async def test_an_interruption_has_to_be_allowed() -> None:
    machine = FakeMachine()
    machine.affected = {"docker.restart": ("web", "db")}
    async with running_app(machine=machine, loader=FakePages(interrupting=("docker",)).load) as driver:
        await review(driver)
        await driver.until("restarts Docker: 2 containers")
        await driver.until("web, db")
        assert "( Apply )" in driver.text()
        # The cursor is on the disruption: one key allows it.
        await driver.press("space")
        await driver.until("[ Apply ]")
        await driver.press("end", "down", "enter")
        await driver.until("Done. All changes")


async def test_containers_started_during_the_review_are_not_interrupted() -> None:
    """Before the run begins, and once it has begun; going on shows the larger set and agrees to it."""
    machine = FakeMachine()
    machine.affected = {"docker.restart": ("web",)}
    async with running_app(machine=machine, loader=FakePages(interrupting=("docker",)).load) as driver:
        await review(driver)
        await driver.until("stops web")
        await driver.press("space")
        await driver.until("[ Apply ]")
        machine.affected = {"docker.restart": ("web", "session-1")}
        await driver.press("end", "down", "enter")
        await driver.until("[ ] Allow: Restarting Docker stops web, session-1")
        assert "( Apply )" in driver.text()
        assert not all_runs(driver.app.session.paths)
        driver.app.session = replace(driver.app.session, start=started_late(machine, driver.app.session.start))
        await driver.press("shift+tab", "home", "down", "space")
        await driver.until("[ Apply ]")
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        assert agreed_to(driver) == ["web", "session-1"]
        await driver.press("home", "enter")
        await driver.until("! Restarting Docker stops web, session-1, session-2")
        await driver.press("left", "enter")
        await driver.until("Done")
        assert agreed_to(driver) == ["web", "session-1", "session-2"]


def agreed_to(driver: AppDriver) -> list[str]:
    (run,) = all_runs(driver.app.session.paths)
    (consent,) = run.consents()
    return [item.name for item in consent.affected]


def started_late(machine: FakeMachine, start: Starter) -> Starter:
    """Starts a run after one more session has begun."""

    def started(run: RunDirectory, digest: str) -> None:
        machine.affected = {"docker.restart": ("web", "session-1", "session-2")}
        start(run, digest)

    return started


async def test_without_root_the_review_is_shown_and_apply_offers_sudo() -> None:
    async with running_app(machine=FakeMachine(root=False)) as driver:
        await review(driver)
        await driver.press("end", "down", "enter")
        await driver.until("Root required")


async def test_the_result_shows_applied_pending_and_next_steps() -> None:
    machine = Failing()
    machine.states_by_key[venv_key("/home/bai/agent/.venv")] = Venv("3.13.7", "/usr/bin")
    async with running_app(machine=machine) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        assert "Applied: Node, Account\n" in driver.text()
        assert "Not applied: Docker, Tuning, Python" in driver.text()
        await driver.until("Still pending: Docker (1 change), Tuning (1 change)")
        assert "Next," not in driver.text()
        driver.app.session.machine.broken = ""  # type: ignore[attr-defined]
        await driver.press("home", "enter")
        await driver.until("[ Resume ]")
        await driver.press("left", "enter")
        await driver.until("Done. All changes")
        assert "Not applied" not in driver.text()
        await driver.until("backend.ai-agent~=26.4.0")
        await driver.until("All pages are up to date.")


@pytest.mark.parametrize("wanted", ["ask", "never"])
async def test_a_reboot_is_offered_where_it_is_to_be_asked_for(wanted: str, tmp_path: Path) -> None:
    ordered: list[str] = []
    session = replace(fake_session(tmp_path, FakeMachine()), reboot=lambda: ordered.append("now"))
    draft = Draft("gpu01", {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4", "reboot": wanted}})
    async with running_app(session=session, draft=draft, loader=FakePages(rebooting=("tuning",)).load) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await driver.until("Takes effect after a reboot: /etc/demo/tuning.conf: what tuning wants")
        assert ("> Reboot this node" in driver.text()) is (wanted == "ask")
        if wanted == "ask":
            await driver.press("home", "enter")
            await driver.until("This stops everything that runs on this node.")
            await driver.press("enter")
            await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
            assert not ordered
            driver.app.runs.show_end()
            await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
            await driver.press("home", "enter")
            await driver.until("This stops everything that runs on this node.")
            await driver.press("down", "enter")
            await driver.until(lambda: ordered == ["now"])


def test_undo_first_reports_what_it_interrupts() -> None:
    message = lines_of(
        UndoPlan((), (), (), {"docker.restart": (Affected("1", "sleeper"), Affected("2", "db"))})
    ).plain
    assert message.startswith("! Restarting Docker stops sleeper, db")
