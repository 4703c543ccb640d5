"""Guided troubleshooting by keys on the broken demo: what is seen, the probes, the finding, its fix, the proof."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.events import Paste

from bai_wizard.core.machine import Machine
from bai_wizard.core.state import Key
from bai_wizard.machine.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.tui.screens.doctor import DoctorScreen, FindingScreen
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.main import MainScreen
from bai_wizard.tui.screens.review import ReviewScreen
from bai_wizard.tui.widgets.findings import Findings
from bai_wizard.tui.widgets.lines import Lines
from bai_wizard.wizard.desk import demo_desk
from bai_wizard.wizard.draft import Draft
from tests.tui.sitting import Sitting, sitting
from tests.tui.test_screens_by_keys import opens

FILE = "/etc/sysctl.d/99-backend-ai.conf"
OTHER = "/etc/sysctl.d/50-other.conf"
QUOTED = 'net.ipv4.ip_local_port_range="10000 65000"'
# What systemd-sysctl says of it, as somebody would type it off a console.
SEEN = "Couldn't write '\"10000 65000\"' to 'net/ipv4/ip_local_port_range': Invalid argument"


@asynccontextmanager
async def broken(directory: Path, machine: Machine) -> AsyncIterator[Sitting]:
    """A sitting at the broken demo, its pages looked at."""
    async with sitting(desk=demo_desk("broken", machine, directory), loader=load, draft=Draft("gpu03", {})) as seat:
        await seat.settled()
        yield seat


async def to_doctor(seat: Sitting) -> None:
    """From the pages to Troubleshoot, down the rail."""
    await seat.press("escape")
    await opens(seat, "DoctorScreen", ("end", "up", "up", "up", "up", "enter"))
    await seat.until("problems,")


async def to_finding(seat: Sitting, title: str) -> None:
    """From a list of findings to one of them."""
    findings = seat.app.screen.query_one(Findings)
    at = [each.title for each in findings.findings].index(title)
    await seat.press("home", *["down"] * at)
    await opens(seat, "FindingScreen", ("enter",))


def text_of(machine: Machine) -> str:
    return machine.text(FILE) or ""


TITLE = "A kernel parameter is written with quotes, which the kernel refuses"


async def test_from_what_is_seen_to_a_fix_that_is_verified(tmp_path: Path) -> None:
    machine = demo_machine("broken", delay=0)
    async with broken(tmp_path, machine) as seat:
        await to_doctor(seat)
        await seat.press("tab", "right", "right", "enter")
        await seat.until("a line or a whole log")
        seat.app.post_message(Paste(f"line 1\nb\n\n{SEEN}\nyes\n"))
        await seat.until(lambda: SEEN in seat.app.screen.query_one(Lines).text)
        await opens(seat, "SearchScreen", ("tab", "enter"))
        await seat.until("It is this one")
        await to_finding(seat, TITLE)
        for told in ("[sysctl-quoted-value]", FILE, "found:", "expected:", "Cause"):
            assert told in seat.text(), told
        await opens(seat, "ReviewScreen", ("enter",))
        await seat.until("Steps on gpu03, page by page: 1")
        await opens(seat, "DiffScreen", ("d",))
        await seat.until(f"-{QUOTED}")
        assert "+net.ipv4.ip_local_port_range = 10000 65000" in seat.text()
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, ReviewScreen))
        assert QUOTED in text_of(machine), "nothing happens before somebody says yes"
        await seat.press("end", "down", "enter")
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await seat.until("sysctl-quoted-value is well now.")
        assert QUOTED not in text_of(machine)
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))
        await to_doctor(seat)
        assert TITLE not in seat.text()


async def test_back_out_at_any_point(tmp_path: Path) -> None:
    machine = demo_machine("broken", delay=0)
    before = machine.snapshot()
    async with broken(tmp_path, machine) as seat:
        await to_doctor(seat)
        await to_finding(seat, TITLE)
        await opens(seat, "ReviewScreen", ("enter",))
        await seat.until("Steps on gpu03, page by page: 1")
        await opens(seat, "DiffScreen", ("d",))
        for screen in (ReviewScreen, FindingScreen, DoctorScreen, MainScreen):
            await seat.press("escape")
            await seat.until(lambda screen=screen: isinstance(seat.app.screen, screen))  # type: ignore[misc]
        await to_doctor(seat)
        await opens(seat, "PasteScreen", ("tab", "right", "right", "enter"))
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, DoctorScreen))
        await opens(seat, "PasteScreen", ("enter",))
        await seat.type("no such device")
        await opens(seat, "SearchScreen", ("tab", "enter"))
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, DoctorScreen))
    assert machine.snapshot() == before


async def test_a_fix_that_does_not_help_is_said_to_be_none(tmp_path: Path) -> None:
    """Another program puts the quotes into a file of its own meanwhile."""
    machine = demo_machine("broken", delay=0)
    wrong = machine.state(Key("file", FILE))
    async with broken(tmp_path, machine) as seat:
        await to_doctor(seat)
        await to_finding(seat, TITLE)
        await opens(seat, "ReviewScreen", ("enter",))
        await seat.until("Steps on gpu03, page by page: 1")
        machine.fault = lambda primitive, moment: machine.set_state(Key("file", OTHER), wrong)
        await seat.press("end", "down", "enter")
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await seat.until("Checked again: [sysctl-quoted-value] PROBLEM")
