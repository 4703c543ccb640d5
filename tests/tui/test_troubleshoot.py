"""Guided troubleshooting by keys on the broken demo: symptom, checks, finding, fix, verification."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.events import Paste

from bai_wizard.core.machine import Machine
from bai_wizard.core.state import Key
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.screens.doctor import DoctorScreen
from bai_wizard.ui.tui.screens.finding import FindingScreen
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.review import ReviewScreen
from bai_wizard.ui.tui.widgets.findings import Findings
from bai_wizard.ui.tui.widgets.lines import Lines
from tests.tui.app_driver import LARGE, AppDriver, running_app
from tests.tui.test_screens_by_keys import opens

FILE = "/etc/sysctl.d/99-backend-ai.conf"
OTHER = "/etc/sysctl.d/50-other.conf"
QUOTED = 'net.ipv4.ip_local_port_range="10000 65000"'
# The message of systemd-sysctl, as typed by hand from a console.
SEEN = "Couldn't write '\"10000 65000\"' to 'net/ipv4/ip_local_port_range': Invalid argument"


@asynccontextmanager
async def broken(directory: Path, machine: Machine) -> AsyncIterator[AppDriver]:
    """A sitting at the broken demo, its pages looked at."""
    async with running_app(
        session=demo_session("broken", machine, directory), loader=load, draft=Draft("gpu03", {}, demo=True)
    ) as driver:
        await driver.settled()
        yield driver


async def to_doctor(driver: AppDriver) -> None:
    """From the pages to Troubleshoot, down the rail."""
    await driver.press("escape")
    await opens(driver, "DoctorScreen", ("end", "up", "up", "up", "up", "enter"))
    await driver.until("problems,")


async def to_finding(driver: AppDriver, title: str) -> None:
    """From a list of findings to one of them."""
    findings = driver.app.screen.query_one(Findings)
    at = [row.finding.title if row.finding else "" for row, _ in findings.rows].index(title)
    await driver.press("home", *["down"] * at)
    await opens(driver, "FindingScreen", ("enter",))


def text_of(machine: Machine) -> str:
    return machine.text(FILE) or ""


TITLE = "A kernel parameter is set with quotes, which the kernel rejects"


async def test_from_an_error_message_to_a_verified_fix(tmp_path: Path) -> None:
    machine = demo_machine("broken", delay=0)
    async with broken(tmp_path, machine) as driver:
        await to_doctor(driver)
        await driver.press("tab", "right", "enter")
        await driver.until("one line or a whole log")
        driver.app.post_message(Paste(f"line 1\nb\n\n{SEEN}\nyes\n"))
        await driver.until(lambda: SEEN in driver.app.screen.query_one(Lines).text)
        await opens(driver, "SearchScreen", ("tab", "enter"))
        await driver.until("Confirmed")
        await to_finding(driver, TITLE)
        for message in ("[tuning.sysctl-quoted-value]", FILE, "found:", "expected:", "Cause"):
            assert message in driver.text(), message
        await opens(driver, "ReviewScreen", ("enter",))
        await driver.until("1 step · ")
        await opens(driver, "DiffScreen", ("d",))
        await driver.until(f"-{QUOTED}")
        assert "+net.ipv4.ip_local_port_range = 10000 65000" in driver.text()
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, ReviewScreen))
        assert QUOTED in text_of(machine), "nothing happens before somebody says yes"
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await driver.until("tuning.sysctl-quoted-value is fixed.")
        assert QUOTED not in text_of(machine)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DoctorScreen))
        await driver.until("problems,")
        assert TITLE not in driver.text()


async def test_back_out_at_any_point(tmp_path: Path) -> None:
    machine = demo_machine("broken", delay=0)
    before = machine.snapshot()
    async with broken(tmp_path, machine) as driver:
        await to_doctor(driver)
        await to_finding(driver, TITLE)
        await opens(driver, "ReviewScreen", ("enter",))
        await driver.until("1 step · ")
        await opens(driver, "DiffScreen", ("d",))
        for screen in (ReviewScreen, FindingScreen, DoctorScreen, MainScreen):
            await driver.press("escape")
            await driver.until(lambda screen=screen: isinstance(driver.app.screen, screen))  # type: ignore[misc]
        await to_doctor(driver)
        await opens(driver, "PasteScreen", ("tab", "right", "enter"))
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DoctorScreen))
        await opens(driver, "PasteScreen", ("enter",))
        await driver.type("no such device")
        await opens(driver, "SearchScreen", ("tab", "enter"))
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DoctorScreen))
    assert machine.snapshot() == before


async def test_a_fix_without_effect_is_reported(tmp_path: Path) -> None:
    """Another program puts the quotes into a file of its own meanwhile."""
    machine = demo_machine("broken", delay=0)
    wrong = machine.state(Key("file", FILE))
    async with broken(tmp_path, machine) as driver:
        await to_doctor(driver)
        await to_finding(driver, TITLE)
        await opens(driver, "ReviewScreen", ("enter",))
        await driver.until("1 step · ")
        machine.fault = lambda operation, moment: machine.set_state(Key("file", OTHER), wrong)
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        assert machine.state(Key("file", OTHER)) == wrong, "the other program wrote during the run"
        await driver.until("Checked again: [tuning.sysctl-quoted-value] PROBLEM")


def lines_of(driver: AppDriver) -> list[str]:
    return [line.plain for line in driver.app.screen.query_one(Findings).lines()]


async def test_what_follows_from_a_problem_is_part_of_it(tmp_path: Path) -> None:
    async with broken(tmp_path, demo_machine("broken", delay=0)) as driver:
        await to_doctor(driver)
        lines = lines_of(driver)
        at = next(index for index, line in enumerate(lines) if "NVIDIA GPUs but no driver" in line)
        follows = [line for line in lines[at + 1 :] if line.startswith("  └ ")][:3]
        assert "CUDA runtime" in follows[0]
        assert "container toolkit" in follows[1] or "Docker cannot give GPUs" in follows[1]
        assert "checks wait for it" in "".join(lines[at + 1 :])
        assert not any(line.startswith("PROBLEM Backend.AI's agent cannot load") for line in lines)


async def test_no_finding_is_cut_and_unknowns_say_what_and_why(tmp_path: Path) -> None:
    async with broken(tmp_path, demo_machine("broken", delay=0)) as driver:
        await to_doctor(driver)
        width = driver.app.screen.query_one(Findings).size.width
        assert [line for line in lines_of(driver) if len(line) > width] == []
        lines = lines_of(driver)
        at = lines.index("  ? unknown: The clock is synchronized")
        assert lines[at + 1].startswith("      because: timedatectl is not installed")


async def test_findings_are_filtered_by_words_and_by_page(tmp_path: Path) -> None:
    async with broken(tmp_path, demo_machine("broken", delay=0)) as driver:
        await to_doctor(driver)
        everything = lines_of(driver)
        await driver.press("slash")
        await driver.type("nfs")
        await driver.until(lambda: 0 < len(lines_of(driver)) < len(everything) // 2)
        await driver.press("enter")
        assert isinstance(driver.app.focused, Findings)
        await driver.press("escape")
        await driver.until(lambda: lines_of(driver) == everything)
        await driver.press("p")
        await driver.until("page Node")
        assert all("GPU" not in line for line in lines_of(driver))
        await driver.press("escape")
        await driver.until(lambda: lines_of(driver) == everything)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_all_safe_fixes_are_reviewed_and_checked_together(tmp_path: Path) -> None:
    """A fix that interrupts something, or whose risk has to be weighed, is left out."""
    machine = demo_machine("broken", delay=0)
    async with broken(tmp_path, machine) as driver:
        await to_doctor(driver)
        screen = driver.app.screen
        assert isinstance(screen, DoctorScreen)
        safe = {finding.id for finding in screen._safe()}
        assert {"tuning.sysctl-quoted-value", "docker.users"} <= safe
        assert "storage.nfs-boot-hang" not in safe, "its fix has a risk"
        await opens(driver, "ReviewScreen", ("F",))
        await driver.until("steps · ")
        await driver.press("end", "down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await driver.until("Checked again:")
        await driver.until("are fixed.")
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, DoctorScreen))
        await driver.until("problems,")
        left = {row.finding.id for row, _ in driver.app.screen.query_one(Findings).rows if row.finding}
        assert not {"tuning.sysctl-quoted-value", "docker.users"} & left


async def test_one_check_is_made_again(tmp_path: Path) -> None:
    machine = demo_machine("broken", delay=0)
    async with broken(tmp_path, machine) as driver:
        await to_doctor(driver)
        findings = driver.app.screen.query_one(Findings)
        at = [row.finding.title if row.finding else "" for row, _ in findings.rows].index(TITLE)
        machine.set_state(Key("file", FILE), None)
        await driver.press("home", *["down"] * at, "r")
        await driver.until(lambda: not any("quotes" in line for line in lines_of(driver)))
        assert any("Checked again" in notice.message for notice in driver.app._notifications)
        assert any("NVIDIA GPUs but no driver" in line for line in lines_of(driver)), "the others stay"


async def test_details_are_beside_the_list_on_a_wide_screen(tmp_path: Path) -> None:
    session = demo_session("broken", demo_machine("broken", delay=0), tmp_path)
    draft = Draft("gpu03", {}, demo=True)
    async with running_app(session=session, loader=load, draft=draft, size=LARGE) as driver:
        await driver.settled()
        await to_doctor(driver)
        await driver.until("[node.dns-broken]")
        await driver.press("c")
        await driver.until(lambda: any("resolvectl status" in each.message for each in driver.app._notifications))
