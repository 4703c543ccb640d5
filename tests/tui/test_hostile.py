"""Hostile text on the screens is escaped in every widget, ours and Textual's; new widgets cannot bypass it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Button, DataTable, Input, Label, Log, OptionList, TextArea
from textual.widgets import Static as TextualStatic

import bai_wizard.ui.tui
from bai_wizard.core.event import Log as EventLog
from bai_wizard.core.event import silent
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Context, Page, ReferenceTable
from bai_wizard.core.step import Step
from bai_wizard.steps.files import DropIn
from bai_wizard.ui.console import Console
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.base import shown
from bai_wizard.ui.tui.screens.dialogs import Question
from bai_wizard.ui.tui.terminal import VISIBLE
from tests.hostile import HARMLESS, dangerous, everything
from tests.tui.app_driver import LARGE, AppDriver, running_app
from tests.tui.fakes import FakeMachine, FakePages
from tests.tui.test_run import apply_page

EVIL = everything()
# What a file and its path can hold.
ENCODABLE = EVIL.replace("\udce9", "").replace("\x00", "")
FOLDER = Path(bai_wizard.ui.tui.__file__).parent
# Textual's widgets that are used as they are: editors, whose text `VisibleFilter` escapes while it is drawn.
EDITORS = {"Input", "TextArea"}


def modules() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text())) for path in sorted(FOLDER.rglob("*.py"))]


def test_only_editors_come_from_textual_directly() -> None:
    """Every other widget is one of ours, whose text goes through `shown`."""
    allowed = {"base.py": {"widgets"}, "log.py": {"Log"}}
    for path, tree in modules():
        taken = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual.widgets"):
                taken |= {name.name for name in node.names}
            if isinstance(node, ast.ImportFrom) and node.module == "textual":
                taken |= {name.name for name in node.names} & {"widgets"}
            if isinstance(node, ast.Import):
                taken |= {name.name for name in node.names if name.name.startswith("textual.widgets")}
        assert taken <= EDITORS | allowed.get(path.name, set()), path


def test_everything_that_a_widget_renders_is_escaped() -> None:
    """What draws whole lines may only pass on those of Textual's editor, or leave them blank."""
    allowed = {"render": ("shown(", "super().render("), "render_lines": ("super().render_lines(", "[Strip.blank(")}
    renders = 0
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith(("render", "get_content_width")):
                renders += 1
                assert node.name in allowed, f"{path}: {node.name} draws by itself"
                for each in ast.walk(node):
                    if isinstance(each, ast.Return):
                        call = ast.unparse(each.value) if each.value else ""
                        assert call.startswith(allowed[node.name]), f"{path}:{each.lineno} {call}"
    assert renders > 5


def test_notices_go_through_one_place() -> None:
    for path, tree in modules():
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in ("notify", "tooltip", "border_title", "sub_title")
        ]
        assert not calls or path.name == "app.py", path


def test_styles_stay_on_their_words() -> None:
    content = Content.assemble("\x1b[2J", ("red", "bold"), "\u202e", ("blue", "dim"))
    safe = shown(content)
    assert safe.plain == "\\x1b[2Jred\\u202eblue"
    assert [(safe.plain[span.start : span.end], span.style) for span in safe.spans] == [
        ("red", "bold"),
        ("blue", "dim"),
    ]
    untouched = Content.styled(HARMLESS[1], "bold")
    assert shown(untouched) is untouched


class Strange(Screen[None]):
    """Textual's own widgets, given hostile text without `shown`."""

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = EVIL
            yield Label(EVIL, markup=False)
            yield TextualStatic(Content(EVIL))
            yield Button(Content(EVIL))
            yield Input(EVIL, placeholder=EVIL)
            yield TextArea(EVIL)
            yield OptionList(Content(EVIL), Content(HARMLESS[1]))
            yield Log()
            yield DataTable[Any]()

    def on_mount(self) -> None:
        self.query_one(Log).write_line(EVIL)
        table = self.query_one(DataTable)
        table.add_columns("a", "b")
        table.add_row(Content(EVIL).plain, "x")
        self.notify(EVIL, markup=False)


@pytest.mark.parametrize("ascii", [False, True])
async def test_textuals_own_widgets_cannot_leak(ascii: bool) -> None:
    console = Console("screen", theme="wizard-dark", ascii=ascii)
    async with running_app(size=(100, 60), console=console) as driver:
        assert driver.app.get_line_filters()[0] is VISIBLE
        driver.app.push_screen(Strange())
        await driver.until("\\x1b[2J")
        await driver.pilot.pause(0.1)
        assert not dangerous(driver.text())
        widths = {strip.cell_length for strip in driver.app.screen._compositor.render_strips()}
        assert widths == {100}
        if not ascii:
            assert "한국어" in driver.text()


class HostilePages(FakePages):
    """Facts, titles of tables, reasons and file names of strangers."""

    def load(self, name: str) -> Page:
        page = super().load(name)
        sheet = ReferenceTable(
            "sheet " + EVIL, ("a", "b" + EVIL), ((EVIL, "2"), ("3", EVIL)), 0, (("more " + EVIL, EVIL),)
        )
        return replace(
            page,
            now=lambda facts: ((EVIL, EVIL), ("one\ntwo", EVIL)),
            reference_table=(lambda settings, facts, context: sheet) if name == "docker" else None,
        )

    def _steps(self, name: str, settings: Any, context: Context) -> tuple[Step, ...]:
        if name != "account":
            return super()._steps(name, settings, context)
        return (
            DropIn(id="account.file", path="/etc/demo/account.conf", text=ENCODABLE + "\n", why=ENCODABLE),
            DropIn(id="account.two", path=f"/etc/demo/{ENCODABLE}", text="x\n", why="w"),
        )


class HostileMachine(FakeMachine):
    """Tools that say anything."""

    @property
    def host(self) -> str:
        return "gpu01" + ENCODABLE

    def apply(self, operation: Operation, log: EventLog = silent) -> None:
        log(ENCODABLE, stream="stdout")
        log("half " + ENCODABLE, done=1, total=2)
        super().apply(operation, log)


def clean(driver: AppDriver) -> str:
    text = driver.text()
    assert not dangerous(text), sorted(map(ascii, dangerous(text)))
    return text


async def test_no_screen_shows_a_control_character() -> None:
    answers: dict[str, dict[str, Any]] = {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}}
    wrong = {**answers, "account": {"sudo": "nopasswd", "name": EVIL}}
    draft = Draft("gpu01" + ENCODABLE, wrong)
    async with running_app(size=LARGE, draft=draft, loader=HostilePages().load, machine=HostileMachine()) as seat:
        await seat.to_page("account")
        assert "\\x1b" in clean(seat)
        await seat.press("tab")
        clean(seat)
    draft = Draft("gpu01" + ENCODABLE, answers)
    async with running_app(size=LARGE, draft=draft, loader=HostilePages().load, machine=HostileMachine()) as driver:
        await driver.settled()
        await driver.to_page("docker")
        clean(driver)
        await driver.to_page("account")
        assert "\\x1b" in clean(driver)
        driver.app.tell(EVIL)
        await driver.pilot.pause()
        clean(driver)
        await driver.press("escape", "d")
        await driver.pilot.pause()
        clean(driver)
        await driver.press("escape", "a")
        await driver.until("2 steps")
        await driver.pilot.pause()
        clean(driver)
        await apply_page(driver)
        clean(driver)
        await driver.press("escape", "l")
        await driver.pilot.pause(0.1)
        assert "\\x1b" in clean(driver)
        driver.app.show(Question(EVIL, EVIL, {"a": EVIL, "b": "one\ntwo"}))
        await driver.pilot.pause(0.1)
        clean(driver)
