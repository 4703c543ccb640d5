"""The review: what will happen, what it disrupts, whether it can be undone; at 80×24, by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bai_wizard.core.page import Unsupported
from bai_wizard.core.state import Key
from bai_wizard.core.step import Step
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.screens.review import ReviewScreen
from bai_wizard.ui.tui.screens.runs import RunScreen
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.consequence_bar import ConsequenceBar, DetailsScreen
from bai_wizard.ui.tui.widgets.review_list import ReviewList
from tests.tui.app_driver import LARGE, SMALL, AppDriver, running_app
from tests.tui.fakes import FakeMachine, FakePages

ANSWERS: dict[str, dict[str, Any]] = {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}}


@asynccontextmanager
async def reviewing(directory: Path, demo: str = "half", size: tuple[int, int] = SMALL) -> AsyncIterator[AppDriver]:
    """The review of all pages of a demo node."""
    session = demo_session(demo, demo_machine(demo, delay=0), directory)
    draft = Draft(session.machine.host, {**ANSWERS, "accelerators": {"nvidia": {}}}, demo=True)
    async with running_app(session=session, loader=load, draft=draft, size=size) as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("steps · ")
        await driver.until("restarts Docker: ")
        yield driver


def rows(driver: AppDriver) -> list[str]:
    return [line.plain for line in driver.app.screen.query_one(ReviewList).lines()]


async def test_disruptions_come_first_and_pages_are_folded(tmp_path: Path) -> None:
    async with reviewing(tmp_path) as driver:
        lines = rows(driver)
        assert lines[1].startswith("[ ] Allow: Restarting Docker stops")
        titles = ["Account", "Docker", "Tuning", "Python", "Accelerators"]
        shown = [line.split()[2] for line in lines if line.startswith("[X] ▸")]
        assert [title for title in shown if title in titles] == titles
        assert driver.app.screen.query_one(ReviewList).cursor == 1, "one key allows the disruption"


async def test_steps_with_one_meaning_are_one_row(tmp_path: Path) -> None:
    async with reviewing(tmp_path) as driver:
        chosen = driver.app.screen.query_one(ReviewList)
        before = rows(driver)
        parameters = [item for item in chosen.steps if item.step.id.startswith("tuning.live.")]
        await driver.press("home", *["down"] * next(i for i, line in enumerate(before) if "Tuning" in line), "right")
        (line,) = [line for line in rows(driver) if "kernel parameters now" in line]
        assert f"set {len(parameters)} kernel parameters now" in line
        await driver.press(*["down"] * (rows(driver).index(line) - chosen.cursor), "space")
        await driver.until(lambda: {item.step.id for item in parameters} <= chosen.left_out)
        await driver.press("right", "down", "space")
        await driver.until(lambda: parameters[0].step.id not in chosen.left_out)
        await driver.until("[-] ▾ set")
        await driver.press("left", "left")
        assert not any("kernel parameters now" in line for line in rows(driver))


async def test_no_line_of_the_review_is_cut_at_80_columns(tmp_path: Path) -> None:
    """With every page and group unfolded; the notes tell what is slow, large, late and not undone."""
    async with reviewing(tmp_path) as driver:
        chosen = driver.app.screen.query_one(ReviewList)
        chosen._unfolded = {
            name for item in chosen.steps for name in (item.step.page, item.step.id.rsplit(".", 1)[0])
        }
        chosen.changed()
        assert [line for line in rows(driver) if len(line) > chosen.size.width] == []
        await driver.press("shift+tab", "shift+tab")
        await driver.press("tab", "tab")
        for note in ("Slow steps: ", "Takes effect at next login: ", "Kept by undo: packages stay installed"):
            assert any(line.startswith(note) for line in rows(driver)), note
        assert "…" not in driver.text()


async def test_the_notes_are_in_sight_when_apply_is_chosen(tmp_path: Path) -> None:
    async with reviewing(tmp_path) as driver:
        await driver.press("tab")
        assert isinstance(driver.app.focused, Actions)
        await driver.until("Kept by undo: packages stay installed")
        await driver.press("shift+tab", "home")
        await driver.until("Allow: Restarting Docker")
        await driver.press("end")
        await driver.until("Kept by undo: packages stay installed")


async def test_every_part_of_the_bar_opens_its_details(tmp_path: Path) -> None:
    async with reviewing(tmp_path) as driver:
        bar = driver.app.screen.query_one(ConsequenceBar)
        assert [part.kind for part in bar.parts] == [
            "steps",
            "time",
            "download",
            "disk",
            "disruption",
            "later",
            "undo",
        ]
        await driver.press("shift+tab")
        assert driver.app.focused is bar
        for part in bar.parts:
            await driver.press("enter")
            await driver.until(lambda: isinstance(driver.app.screen, DetailsScreen))
            await driver.until(part.text)
            await driver.until(" ".join((part.details or ("No details.",))[0].split(" ")[:4]))
            await driver.press("escape")
            await driver.until(lambda: isinstance(driver.app.screen, ReviewScreen))
            await driver.press("right")
        await driver.pilot.click(ConsequenceBar, offset=(2, 0))
        await driver.until(lambda: isinstance(driver.app.screen, DetailsScreen))


HOOKS = {"drain_hook": ["/usr/local/sbin/drain-node", "--wait"], "resume_hook": ["/usr/local/sbin/resume-node"]}


async def test_hooks_are_listed_as_long_as_a_disruptive_step_is_selected(tmp_path: Path) -> None:
    session = demo_session("half", demo_machine("half", delay=0), tmp_path)
    draft = Draft(session.machine.host, {**ANSWERS, "maintenance": HOOKS}, demo=True)
    async with running_app(session=session, loader=load, draft=draft) as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("restarts Docker: ")
        await driver.press("tab")
        await driver.until("drain hook, run as root")
        text = " ".join(driver.text().split())
        assert "/usr/local/sbin/drain-node --wait" in text
        assert "/usr/local/sbin/resume-node" in text
        chosen = driver.app.screen.query_one(ReviewList)
        chosen.left_out |= {item.step.id for item in chosen.steps if item.step.interrupts}
        driver.app.screen._turn()  # type: ignore[attr-defined]
        # The notes are shown again at the end, after what would be interrupted was read.
        await driver.until(lambda: not chosen.disruptions and any("Kept by undo" in line for line in rows(driver)))
        assert not any("hook" in line for line in rows(driver))
        assert any("[-]" in line for line in rows(driver)), "other steps are still selected"


class Blocking(FakePages):
    """The step of one page is blocked, and another page's file may not be written without it."""

    def _steps(self, name: str, settings: Any, context: Any) -> tuple[Step, ...]:
        steps = super()._steps(name, settings, context)
        if name == "docker":
            reason = "10.20.30.50 does not answer on port 2049"
            return (*steps, Unsupported(id="docker.mount", title="mount vol1", reason=reason))
        return steps


async def test_blocked_steps_are_excluded_by_one_key_and_the_rest_is_applied() -> None:
    machine = FakeMachine()
    async with running_app(machine=machine, loader=Blocking().load) as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("! mount vol1: 10.20.30.50 does not answer on port 2049")
        await driver.until("( Apply )")
        await driver.until("1 step is blocked. Press x")
        await driver.press("x")
        await driver.until("[ Apply ]")
        assert driver.app.screen.query_one(ReviewList).left_out == {"docker.mount"}
        await driver.press("end", "down", "enter")
        await driver.until("Done. All changes")
    assert machine.state(Key("file", "/etc/demo/docker.conf")) is not None
    assert machine.state(Key("file", "/etc/demo/tuning.conf")) is not None


async def test_a_blocked_step_leads_to_its_page() -> None:
    async with running_app(loader=Blocking().load) as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("! mount vol1")
        await driver.press("end", "g")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        await driver.until(lambda: getattr(driver.app.screen, "page", "") == "docker")


async def test_a_page_whose_form_is_incomplete_is_named_and_does_not_disable_the_others() -> None:
    answers = {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}, "docker": {"data_root": "relative"}}
    async with running_app(draft=Draft("gpu01", answers)) as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("Docker: not included, its form is incomplete")
        await driver.until("[ Apply ]")
        await driver.press("end", "g")
        await driver.until(lambda: getattr(driver.app.screen, "page", "") == "docker")


async def test_one_page_is_reviewed_in_a_dialog_above_it() -> None:
    async with running_app(size=LARGE) as driver:
        await driver.settled()
        await driver.to_page("tuning")
        await driver.press("a")
        await driver.until("Review: Tuning on gpu01")
        assert "What the page tuning is about." in driver.text(), "the page is still in sight"
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_the_footer_can_be_clicked_and_names_what_works_in_a_dialog() -> None:
    async with running_app() as driver:
        await driver.settled()
        assert "^p Commands" in driver.text()
        await driver.press("A")
        await driver.until(lambda: isinstance(driver.app.screen, ReviewScreen))
        await driver.until("[ Apply ]")
        last = driver.text().splitlines()[-1]
        assert "F1 Help" in last
        assert "q Quit" not in last
        await driver.pilot.click(Keys, offset=(last.index("d Diff"), 0))
        await driver.until("All changes")


async def test_enter_on_a_page_of_the_review_unfolds_it_and_excludes_nothing() -> None:
    async with running_app() as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("[ Apply ]")
        chosen = driver.app.screen.query_one(ReviewList)
        await driver.press("home", "enter")
        await driver.until("[X] ▾ Node")
        assert chosen.left_out == set()
        assert not isinstance(driver.app.screen, RunScreen)
