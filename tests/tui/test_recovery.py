"""The screens plan for the node after recovery of an interrupted run and describe the recovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bai_wizard.core.page import Finding
from bai_wizard.core.state import Key
from bai_wizard.core.step import Plan, Step
from bai_wizard.engine.directory import all_runs, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.session import Session
from bai_wizard.ui.tui.screens.finding import FindingScreen
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.review import ReviewScreen
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.fakes import FakePages, fake_session
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_plans_change_nothing import ACCOUNT
from tests.unit.engine.test_recovery_reported import SAID, USER
from tests.unit.engine.test_run import PowerCut, cut_at
from tests.unit.engine.test_run_selection import FIRST, SECOND


class Pages(FakePages):
    """The account page creates an account; the tuning page writes a file."""

    def _steps(self, name: str, settings: object, context: object) -> tuple[Step, ...]:
        return {"account": (ACCOUNT,), "tuning": (FIRST,)}.get(name, ())


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A node on which a run was killed while it created an account."""
    machine = SimulatedMachine(STATES)
    session = fake_session(tmp_path, machine)
    plan = plan_of(machine, (ACCOUNT,))
    with suppress(PowerCut):
        execute(session.paths, create_run(session.paths, plan, {}), plan.digest(), machine, checkpoint=cut_at(6))
    assert machine.state(USER) is not None
    assert [SAID in text for text in session.to_recover()] == [True]
    return session


@asynccontextmanager
async def reviewing(session: Session) -> AsyncIterator[AppDriver]:
    async with running_app(session=session, loader=Pages().load, size=(100, 40)) as driver:
        await driver.settled()
        await driver.press("A")
        await driver.until("account.user")
        await driver.until("2 steps · ")
        yield driver


def planned(driver: AppDriver) -> Plan:
    assert isinstance(driver.app.screen, ReviewScreen)
    plan = driver.app.screen._plan
    assert plan is not None
    return plan


async def ended(driver: AppDriver, session: Session) -> None:
    await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
    run = all_runs(session.paths)[-1]
    assert (run.result() or {})["code"] == 0
    assert [SAID in line for line in run.events.read_text().splitlines()].count(True) == 1
    assert session.machine.state(USER) is not None


async def test_leaving_a_step_out_judges_the_others_on_the_recovered_node(session: Session) -> None:
    """On the node as it is, the account seems to exist, and its step would silently be dropped."""
    async with reviewing(session) as driver:
        await driver.until("Recovered first:")
        await driver.until("new was incomplete when")
        await driver.press("home", "down", "space")
        await driver.until("1 step · ")
        assert [item.step.id for item in planned(driver).pending()] == ["account.user"]
        await driver.press("end", "down", "enter")
        await ended(driver, session)
    assert session.machine.state(Key("file", "/etc/first.conf")) is None


async def test_a_remedy_is_planned_on_the_recovered_node(session: Session) -> None:
    finding = Finding("planted", "problem", "Planted", "account", remedy=(ACCOUNT, SECOND))
    async with running_app(session=session, loader=Pages().load, size=(100, 40)) as driver:
        await driver.settled()
        driver.app.show(FindingScreen(finding))
        await driver.until("Show fix")
        await driver.press("enter")
        await driver.until("Recovered first:")
        await driver.until("2 steps · ")
        assert [item.step.id for item in planned(driver).pending()] == ["account.user", "tuning.second"]
        await driver.press("end", "down", "enter")
        await ended(driver, session)


async def test_a_review_that_another_run_has_outdated_is_planned_again(session: Session) -> None:
    """What was left out stays left out; the second Apply begins."""
    async with reviewing(session) as driver:
        await driver.press("home", "space")
        await driver.until("1 step · ")
        between = plan_of(session.machine, (SECOND,))
        execute(session.paths, create_run(session.paths, between, {}), between.digest(), session.machine)
        runs = len(all_runs(session.paths))
        await driver.press("end", "down", "enter")
        await driver.until(lambda: any("run has started" in each.message for each in driver.app._notifications))
        await driver.until(lambda: "Recovered first" not in driver.text())
        await driver.until("1 step · ")
        assert [item.step.id for item in planned(driver).pending()] == ["tuning.first"]
        assert len(all_runs(session.paths)) == runs
        assert session.machine.state(Key("file", "/etc/first.conf")) is None
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
    assert session.machine.state(Key("file", "/etc/first.conf")) is not None
    assert session.machine.state(USER) is None


async def test_a_run_that_continues_is_not_undone_meanwhile(session: Session) -> None:
    """Its open changes would be taken for those of an interrupted run."""
    from bai_wizard.core.errors import LockHeld
    from bai_wizard.engine.lock import hold_lock

    (run,) = all_runs(session.paths)
    with hold_lock(session.paths, run.id), pytest.raises(LockHeld):
        session.plan_undo(run)
