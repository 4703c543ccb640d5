"""From the review to the end of a run, on a fake node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.state import Key
from bai_wizard.engine.run.undo import UndoPlan
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.main import MainScreen
from bai_wizard.tui.screens.review import ReviewScreen
from bai_wizard.tui.screens.run import RunScreen
from bai_wizard.tui.screens.undo import UndoScreen, lines_of
from bai_wizard.tui.widgets.chosen import Chosen
from bai_wizard.wizard.draft import Draft
from tests.tui.fakes import FakeMachine, FakePages, fake_desk
from tests.tui.sitting import Sitting, sitting


class Failing(FakeMachine):
    """Fails to write one page's file until somebody mends it."""

    broken = "docker"

    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        if self.broken and any(self.broken in key.name for key in primitive.keys()):
            raise StepFailed("No space left on device: /etc is full; free some room and try again")
        super().perform(primitive, log)


async def review(seat: Sitting) -> None:
    """From the pages to the review of everything."""
    await seat.settled()
    await seat.press("A")
    await seat.until(lambda: isinstance(seat.app.screen, ReviewScreen) and bool(seat.app.screen.query("Chosen")))
    await seat.until("Steps on gpu01")


async def apply(seat: Sitting) -> None:
    """From the review to the run, by arrows and Enter."""
    await seat.press("end", "down", "enter")
    await seat.until(lambda: isinstance(seat.app.screen, RunScreen | EndScreen))


async def test_apply_all_then_everything_is_ready_then_take_it_back() -> None:
    machine = FakeMachine()
    async with sitting(machine=machine) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert "7 changed" in seat.text()
        assert machine.state(Key("file", "/etc/demo/tuning.conf")) is not None
        await seat.press("escape")
        await seat.until("9 of 9 ready")
        await seat.app.run_action("runs")
        await seat.until("done")
        await seat.press("enter")
        await seat.until("Take it back")
        await seat.press("end", "enter")
        await seat.until(lambda: isinstance(seat.app.screen, UndoScreen))
        await seat.until("7 changes would be taken back")
        await seat.press("left", "enter")
        await seat.until("Taken back.")
        assert machine.state(Key("file", "/etc/demo/tuning.conf")) is None


async def test_one_page_alone() -> None:
    machine = FakeMachine()
    async with sitting(machine=machine) as seat:
        await seat.settled()
        await seat.to_page("tuning")
        await seat.press("a")
        await seat.until("Steps on gpu01, page by page: 1")
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert [str(key) for key in machine.states_by_key] == ["file:/etc/demo/tuning.conf"]


async def test_unticked_steps_are_left_out() -> None:
    machine = FakeMachine()
    async with sitting(machine=machine) as seat:
        await review(seat)
        chosen = seat.app.screen.query_one(Chosen)
        await seat.press("home", "space")
        await seat.until("Steps on gpu01, page by page: 6")
        assert chosen.left_out == {"node.file"}
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert Key("file", "/etc/demo/node.conf") not in machine.states_by_key
        assert Key("file", "/etc/demo/docker.conf") in machine.states_by_key


async def test_a_failure_is_told_and_the_run_goes_on_after_it_was_mended() -> None:
    machine = Failing()
    async with sitting(machine=machine) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert "No space left on device" in seat.text()
        assert "A step failed" in seat.text()
        run = seat.app.watcher.run
        machine.broken = ""
        await seat.press("home", "enter")
        await seat.until("[ Go on ]")
        await seat.press("left", "enter")
        await seat.until("Done: everything")
        assert seat.app.watcher.run is not None
        assert run is not None
        assert seat.app.watcher.run.id == run.id


async def test_an_optional_step_that_failed_can_be_left_out() -> None:
    async with sitting(machine=Failing(), loader=FakePages(optional=("docker",)).load) as seat:
        await review(seat)
        await apply(seat)
        await seat.until("Done, but optional steps failed")
        await seat.until("Leave it out: docker.file")
        await seat.press("home", "down", "enter")
        await seat.until("[ Go on ]")
        await seat.press("left", "enter")
        await seat.until("Done: everything")


async def test_what_is_not_optional_cannot_be_left_out_behind_the_back_of_the_answers() -> None:
    async with sitting(machine=Failing()) as seat:
        await review(seat)
        await apply(seat)
        await seat.until("A step failed")
        assert "Leave it out" not in seat.text()
        for choice in ("Go on: try again", "Find out why", "Take this run back", "Quit"):
            assert choice in seat.text()


async def test_a_failure_says_its_likely_cause() -> None:
    async with sitting(machine=Failing(), size=(120, 40)) as seat:
        await review(seat)
        await apply(seat)
        await seat.until("Likely cause")


async def test_a_bundle_that_is_not_there_is_told_before_anything_is_planned() -> None:
    answers = {"account": {"sudo": "nopasswd"}, "sources": {"bundle": "/nowhere/bundle"}}
    async with sitting(draft=Draft("gpu01", answers)) as seat:
        await seat.until("no answer")
        await seat.press("A")
        await seat.until("/nowhere/bundle")
        await seat.until("( Apply )")


async def test_quitting_says_that_the_run_goes_on() -> None:
    async with sitting(machine=FakeMachine(delay=0.6)) as seat:
        await review(seat)
        await apply(seat)
        await seat.press("q")
        await seat.until("its run ends with this screen")
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, RunScreen))
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))
        await seat.until("running")
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))


async def test_a_run_in_progress_is_attached_to() -> None:
    async with sitting(machine=FakeMachine(delay=1.0)) as seat:
        await review(seat)
        await apply(seat)
        desk = seat.app.desk
        assert seat.app.watcher.is_running
        async with sitting(desk=desk) as other:
            await other.until(lambda: isinstance(other.app.screen, RunScreen))
            assert other.app.watcher.run is not None
            assert seat.app.watcher.run is not None
            assert other.app.watcher.run.id == seat.app.watcher.run.id
            await other.press("x")
            await other.until("Stopped, as was asked")


async def test_an_interruption_has_to_be_allowed() -> None:
    machine = FakeMachine()
    machine.hit = {"docker.restart": ("web", "db")}
    async with sitting(machine=machine, loader=FakePages(interrupting=("docker",)).load) as seat:
        await review(seat)
        await seat.until("web, db")
        assert "( Apply )" in seat.text()
        await seat.press("end", "down", "space")
        await seat.until("[ Apply ]")
        await seat.press("down", "enter")
        await seat.until("Done: everything")


async def test_without_root_the_review_is_there_and_apply_offers_sudo() -> None:
    async with sitting(machine=FakeMachine(root=False)) as seat:
        await review(seat)
        await seat.press("end", "down", "enter")
        await seat.until("This needs root")


async def test_the_end_says_what_is_ready_and_what_comes_next() -> None:
    async with sitting(machine=Failing()) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert "Ready: Node, Account\n" in seat.text()
        assert "Not ready: Docker, Tuning, Python" in seat.text()
        assert "Next," not in seat.text()
        seat.app.desk.machine.broken = ""  # type: ignore[attr-defined]
        await seat.press("home", "enter")
        await seat.until("[ Go on ]")
        await seat.press("left", "enter")
        await seat.until("Done: everything")
        assert "Not ready" not in seat.text()
        assert "backend.ai-agent==26.4" in seat.text()


@pytest.mark.parametrize("wanted", ["ask", "never"])
async def test_a_reboot_is_offered_where_it_is_to_be_asked_for(wanted: str, tmp_path: Path) -> None:
    ordered: list[str] = []
    desk = replace(fake_desk(tmp_path, FakeMachine()), reboot=lambda: ordered.append("now"))
    draft = Draft("gpu01", {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4", "reboot": wanted}})
    async with sitting(desk=desk, draft=draft, loader=FakePages(rebooting=("tuning",)).load) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert "In effect after a reboot: tuning.file" in seat.text()
        assert ("> Reboot this node" in seat.text()) is (wanted == "ask")
        if wanted == "ask":
            await seat.press("home", "enter")
            await seat.until("Everything that runs on this node ends.")
            await seat.press("enter")
            await seat.until(lambda: isinstance(seat.app.screen, MainScreen))
            assert not ordered
            seat.app.runs.show_end()
            await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
            await seat.press("home", "enter")
            await seat.until("Everything that runs on this node ends.")
            await seat.press("down", "enter")
            await seat.until(lambda: ordered == ["now"])


def test_taking_back_tells_first_what_it_would_hit() -> None:
    told = lines_of(UndoPlan((), (), (), {"docker.restart": ("sleeper", "db")})).plain
    assert told.startswith("! Docker is restarted, which stops sleeper, db")
