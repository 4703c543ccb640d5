"""Input is never lost or taken as a command, and no closed screen receives it."""

from __future__ import annotations

import ast
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual import events
from textual.command import CommandList
from textual.geometry import Region
from textual.screen import Screen
from textual.widgets import Input

from bai_wizard import pages
from bai_wizard.answers.save import render
from bai_wizard.ui.tui.base import Dialogue
from bai_wizard.ui.tui.commands import Palette
from bai_wizard.ui.tui.screens.dialogs import LineQuestion, PasswordQuestion, PasteScreen, Question
from bai_wizard.ui.tui.screens.help import HelpScreen
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.typeahead import BURST, as_paste, plain
from bai_wizard.ui.tui.widgets.form import EditRowScreen
from bai_wizard.ui.tui.widgets.lines import Lines
from bai_wizard.ui.tui.widgets.sidebar import Sidebar
from tests.sampling import sampled
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.terminal import Terminal, planned

REPOSITORY = Path(__file__).parents[2]
TUI = REPOSITORY / "bai_wizard" / "ui" / "tui"
# Where a callback goes to something that outlives every screen.
LASTING = {"app.py", "background.py", "keeper.py", "startup.py", "runs.py", "plan_model.py", "terminal.py"}
LASTING |= {"typeahead.py"}
LATER = {"call_after_refresh", "call_later", "call_next", "set_timer", "set_interval", "subscribe"}


def marked(tree: ast.AST) -> set[str]:
    """The methods that do nothing when their widget has been removed."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(isinstance(each, ast.Name) and each.id == "while_mounted" for each in node.decorator_list)
    }


def test_delayed_calls_check_that_their_widget_still_exists() -> None:
    wrong = []
    for file in sorted(TUI.rglob("*.py")):
        if file.name in LASTING and file.parent == TUI:
            continue
        tree = ast.parse(file.read_text())
        known = marked(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LATER:
                names = {each.attr for each in node.args if isinstance(each, ast.Attribute)}
                if not names & known:
                    wrong.append(f"{file.name}:{node.lineno} {ast.unparse(node)}")
    assert not wrong, "mark the callback with `while_mounted`"


def test_no_widget_waits_for_a_screen() -> None:
    """A worker of a widget that is removed is cancelled, and the screen that it waits for cannot close any more."""
    assert not [file for file in TUI.rglob("*.py") if "push_screen_wait" in file.read_text()]


def test_every_screen_closes_once_only() -> None:
    import importlib

    for file in (TUI / "screens").glob("*.py"):
        importlib.import_module(f"bai_wizard.ui.tui.screens.{file.stem}")

    def below(kind: type) -> set[type]:
        result: set[type] = {kind}
        inners: list[type] = type.__subclasses__(kind)
        for inner in inners:
            result |= below(inner)
        return result

    ours = {kind for kind in below(Screen) if kind.__module__.startswith("bai_wizard")}
    assert len(ours) > 12
    assert not [kind for kind in ours if "SafeScreen" not in [each.__name__ for each in kind.__mro__]]


async def test_closing_twice_or_from_below_is_not_an_error() -> None:
    async with running_app() as driver:
        answers: list[str | None] = []
        question = Question("?", "", {"yes": "Yes", "": "No"})
        driver.app.show(question, answers.append)
        await driver.until(lambda: driver.app.screen is question)
        above = LineQuestion("?", "")
        driver.app.show(above)
        await driver.until(lambda: driver.app.screen is above)
        question.dismiss("yes")
        await driver.pilot.pause()
        assert driver.app.screen is above
        above.dismiss(None)
        above.dismiss(None)
        question.dismiss("yes")
        question.dismiss("yes")
        driver.app.screen.dismiss(None)
        await driver.until(lambda: answers == ["yes"])
        assert isinstance(driver.app.screen, MainScreen)
        driver.app.screen.dismiss(None)
        assert len(driver.app.screen_stack) == 1


async def test_a_removed_widget_is_not_found_under_the_mouse() -> None:
    async with running_app() as driver:
        await driver.settled()
        screen = driver.app.screen
        widget, region = screen.get_widget_at(40, 3)
        assert widget is not screen
        removed = widget.remove()
        assert screen.get_widget_at(region.x, region.y)[0] is screen
        assert screen.get_hover_widgets_at(region.x, region.y).mouse_over[0] is screen
        assert screen.get_widget_and_offset_at(region.x, region.y) == (None, None)
        await removed
        assert screen.get_widget_at(500, 500)[0] is screen


async def test_the_palette_pages_in_a_terminal_without_room() -> None:
    async with running_app(size=(5, 2)) as driver:
        await driver.press("ctrl+p")
        await driver.until(lambda: isinstance(driver.app.screen, Palette))
        await driver.press("pageup", "pagedown", "down", "pageup", "pagedown")
        for size in ((1, 1), (80, 24), (3, 40), (120, 1)):
            await driver.pilot.resize_terminal(*size)
            await driver.press("pageup", "pagedown")
        assert isinstance(driver.app.screen, Palette)


async def test_a_search_after_its_list_is_gone_is_not_an_error() -> None:
    async with running_app() as driver:
        await driver.press("ctrl+p")
        await driver.until(lambda: bool(driver.app.screen.query(CommandList)))
        palette = driver.app.screen
        assert isinstance(palette, Palette)
        await palette.query_one(CommandList).remove()
        worker: Any = palette._gather_commands("help")
        await worker.wait()
        assert worker.error is None


async def test_a_click_on_a_filtered_command_is_not_an_error() -> None:
    async with running_app() as driver:
        await driver.press("ctrl+p")
        await driver.until(lambda: bool(driver.app.screen.query(CommandList)))
        commands = driver.app.screen.query_one(CommandList)
        await driver.until(lambda: commands.option_count > 5)
        style = Style.from_meta({"option": 5})
        commands.clear_options()
        commands.post_message(events.Click(commands, 1, 1, 0, 0, 1, False, False, False, style=style))
        await driver.pilot.pause()
        # The click is beside the palette as well, which closes it.
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_input_that_comes_while_the_wizard_closes_is_ignored() -> None:
    """On a busy machine, the screens are gone before the event has its turn."""
    async with running_app() as driver:
        app = driver.app
    assert app.screen_stack == []
    await app.on_event(events.MouseMove(None, 1, 1, 0, 0, 0, False, False, False))
    await app.on_event(events.Key("down", None))


def notes(driver: AppDriver) -> list[str]:
    """What the wizard says in notices from now on; a test's screen shows none."""
    lines: list[str] = []

    def tell(text: str, severity: str = "") -> None:
        lines.append(text)

    driver.app.tell = tell  # type: ignore[method-assign]
    return lines


def post(driver: AppDriver, *keys: str) -> None:
    """Keys that come in one go, as a terminal without bracketed paste sends a paste."""
    for key in keys:
        driver.app.post_message(
            events.Key({"\n": "enter", " ": "space"}.get(key, key), key if len(key) == 1 else None)
        )


@pytest.mark.parametrize("text", ["management node", "quit", "Ad\nlsq", "dddd", "aA\nq\n"])
async def test_text_typed_outside_a_field_is_not_a_command(text: str) -> None:
    assert len(text.strip()) >= BURST
    async with running_app() as driver:
        await driver.settled()
        assert isinstance(driver.app.focused, Sidebar)
        lines = notes(driver)
        post(driver, *text)
        await driver.until(lambda: len(lines) == 1)
        assert isinstance(driver.app.screen, MainScreen)
        driver.app.post_message(events.Paste(text))
        await driver.until(lambda: len(lines) == 2)
        assert "The pasted text was ignored" in lines[-1]
        assert isinstance(driver.app.screen, MainScreen)
        assert not driver.app.plan_model.draft.is_unsaved


async def test_letters_after_an_unbound_one_are_not_commands() -> None:
    async with running_app() as driver:
        await driver.settled()
        lines = notes(driver)
        for character in "management":
            post(driver, character)
            await driver.pilot.pause(0.05)
        await driver.until(lambda: bool(lines))
        assert "What you typed was ignored" in lines[0]
        assert isinstance(driver.app.screen, MainScreen)


@pytest.mark.parametrize("bracketed", [True, False])
async def test_text_in_a_field_is_text(bracketed: bool) -> None:
    async with running_app(loader=pages.load) as driver:
        await driver.settled()
        await driver.to_page("account")
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.press("end", "ctrl+u")
        lines = notes(driver)
        if bracketed:
            driver.app.post_message(events.Paste("quad\x1b[31m\x00\nsecond"))
            await driver.until(lambda: any("Only the first line was pasted" in text for text in lines))
        else:
            post(driver, *"quad[31m")
        await driver.until(lambda: driver.app.plan_model.draft.value("account", ("username",)) == "quad[31m")


def test_input_typed_by_programs_stays_a_line_and_enter() -> None:
    def keys(text: str) -> list[events.Key]:
        names = {"\n": "enter", "\t": "tab"}
        return [events.Key(names.get(character, character), character) for character in text]

    def result(text: str) -> list[str]:
        return [each.text if isinstance(each, events.Paste) else f"<{each.key}>" for each in as_paste(keys(text))]

    assert result("secret\n") == ["secret", "<enter>"]
    assert result("one\ntwo\n") == ["one\ntwo\n"]
    assert result("one\ntwo") == ["one\ntwo"]
    assert result("\n\n") == ["<enter>", "<enter>"]
    # As a slow line delivers what was typed: a name, then Tab to the button, then Enter.
    assert result("bai-m1\t\t\n") == ["bai-m1", "<tab>", "<tab>", "<enter>"]
    assert result("bai-m1\t") == ["bai-m1", "<tab>"]
    assert result("\t\t\n") == ["<tab>", "<tab>", "<enter>"]
    assert result("10.20.30.10\tbai-m1\n") == ["10.20.30.10\tbai-m1", "<enter>"]
    assert result("one\t\ntwo\t\n") == ["one\t\ntwo\t\n"]
    assert plain("a\r\nb\rc\td\x1b\x9b\x00") == "a\nb\nc\td"


async def opened_row(driver: AppDriver) -> EditRowScreen:
    await driver.settled()
    await driver.to_page("aliases")
    await driver.press("enter")
    await driver.until(lambda: isinstance(driver.app.screen, EditRowScreen))
    screen = driver.app.screen
    assert isinstance(screen, EditRowScreen)
    return screen


async def test_a_changed_row_asks_before_it_is_discarded() -> None:
    async with running_app(loader=pages.load) as driver:
        row = await opened_row(driver)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        row = await opened_row(driver)
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.type("10.0.0.9")
        await driver.until(lambda: row.holds_input)
        await driver.press("escape")
        await driver.until("Keep the changes?")
        await driver.press("escape")
        await driver.until(lambda: driver.app.screen is row)
        assert "10.0.0.9" in driver.text()
        # Leaving asks as well, and the palette offers no way around the dialog.
        await driver.press("ctrl+c")
        await driver.until("An open dialog contains unsaved changes")
        await driver.press("escape", "escape")
        await driver.until("Discard the changes")
        await driver.press("down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        assert not driver.app.plan_model.draft.is_unsaved


async def test_a_run_that_begins_does_not_close_a_dialog_with_input() -> None:
    async with running_app(loader=pages.load) as driver:
        row = await opened_row(driver)
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.type("10.0.0.9")
        await driver.until(lambda: row.holds_input)
        driver.app.to_pages()
        assert driver.app.screen is row


@pytest.mark.parametrize("kind", ["row", "line", "password", "paste", "question"])
async def test_f1_explains_every_dialog(kind: str) -> None:
    dialogs: dict[str, Callable[[], Dialogue[Any]]] = {
        "line": lambda: LineQuestion("?", ""),
        "password": lambda: PasswordQuestion("?", lambda _text: ""),
        "paste": lambda: PasteScreen("?", "", "Take"),
        "question": lambda: Question("?", "", {"": "No"}),
    }
    async with running_app(loader=pages.load) as driver:
        if kind == "row":
            dialog: Dialogue[Any] = await opened_row(driver)
        else:
            dialog = dialogs[kind]()
            driver.app.show(dialog)
            await driver.until(lambda: driver.app.screen is dialog)
        await driver.press("f1")
        await driver.until(lambda: isinstance(driver.app.screen, HelpScreen))
        await driver.press("escape")
        await driver.until(lambda: driver.app.screen is dialog)


async def test_either_password_can_be_corrected() -> None:
    async with running_app() as driver:
        got: list[str | None] = []
        driver.app.show(PasswordQuestion("Password", lambda text: "too short" if len(text) < 4 else ""), got.append)
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.type("abc")
        await driver.press("enter")
        await driver.until("! too short")
        await driver.type("d")
        await driver.press("enter")
        await driver.type("abcx")
        await driver.press("enter")
        await driver.until("Passwords do not match")
        assert [each.value for each in driver.app.screen.query(Input)] == ["abcd", ""]
        await driver.press("up", "backspace")
        await driver.type("x")
        await driver.press("enter")
        await driver.type("abcx")
        await driver.press("enter")
        await driver.until(lambda: got == ["abcx"])


async def test_leaving_with_unsaved_answers_asks() -> None:
    async with running_app(loader=pages.load) as driver:
        await driver.settled()
        driver.app.plan_model.draft.put("account", ("uid",), 2000)
        for key in ("q", "ctrl+c", "ctrl+q"):
            await driver.press(key)
            await driver.until("You have unsaved answers.")
            await driver.press("ctrl+c", "ctrl+q")
            assert len(driver.app.screen_stack) == 2
            await driver.press("escape")
            await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
            assert driver.app.is_running
        driver.app.plan_model.draft.mark_saved()
        await driver.press("q")
        await driver.until(lambda: driver.app.return_value == 0)


REAL = (
    "import sys\n"
    "from bai_wizard.commands import wizard\n"
    "from bai_wizard.session import demo_session\n"
    "from msgspec.structs import replace\n"
    "opening = wizard._opening\n"
    "def real(*given):\n    desk, draft = opening(*given)\n    return replace(desk, demo=''), draft\n"
    "wizard._opening = real\n"
    "from bai_wizard.cli import main\n"
    "sys.exit(main(['--demo', 'bare']))\n"
)


def on_terminal(directory: Path) -> Terminal:
    """The simulated node as if it were a real one, for a demo keeps no draft."""
    environment = {"XDG_STATE_HOME": str(directory), "PYTHONPATH": str(REPOSITORY), "HOME": str(directory)}
    return Terminal([sys.executable, "-c", REAL], environment=environment, directory=str(directory))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_lost_terminal_loses_nothing(number: signal.Signals, tmp_path: Path) -> None:
    one = on_terminal(tmp_path)
    try:
        one.until(planned(one.text))
        one.press("down", "right")
        one.until("User name")
        # The page opens at what needs an answer.
        one.press("up", "up", "up", "end", "x")
        one.until("baix")
        one.until("• User name")
        if number == signal.SIGKILL:
            one.until(lambda: bool(list(tmp_path.glob("bai-wizard/draft-*.json"))))
        one.end(number)
    finally:
        one.kill()
    (file,) = tmp_path.glob("bai-wizard/draft-*.json")
    assert file.stat().st_mode & 0o7777 == 0o600
    assert json.loads(file.read_text())["draft"]["tables"]["account"]["username"] == "baix"
    two = on_terminal(tmp_path)
    try:
        two.until("Continue where you left off?")
        two.until("Pages:")
        two.press("enter")
        two.until(lambda: "Continue where" not in two.text())
        two.press("q")
        two.until("Quit without saving")
        two.press("down", "enter")
        assert two.end() == 0
    finally:
        two.kill()
    (kept,) = tmp_path.glob("bai-wizard/draft-*.json")
    assert kept.name != file.name
    assert json.loads(kept.read_text())["draft"]["tables"]["account"]["username"] == "baix"


async def test_an_editor_without_its_styles_is_drawn_blank() -> None:
    async with running_app():
        editor = Lines("one")
        editor._component_styles.clear()
        assert {strip.text for strip in editor.render_lines(Region(0, 0, 5, 2))} == {" " * 5}


WORDS = ("apply", "diff", "resume", "log", "save", "All", "quit", "qqq", "sq", "axq")


@pytest.mark.parametrize("word", sampled("slowly typed", WORDS, 2))
async def test_slowly_typed_text_that_begins_with_a_command_loses_nothing(word: str) -> None:
    """Fingers, not a paste: the first letter opens what it stands for; no answer changes, and nothing begins."""
    async with running_app(loader=pages.load) as driver:
        await driver.settled()
        await driver.to_page("account")
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.press("end", "ctrl+u", *"work", "escape", "escape")
        await driver.until(lambda: driver.app.plan_model.draft.value("account", ("username",)) == "work")
        before = render(driver.app.plan_model.draft.to_save())
        for character in word:
            post(driver, character)
            await driver.pilot.pause(0.2)
        assert driver.app.is_running
        assert driver.app.plan_model.draft.is_unsaved
        assert render(driver.app.plan_model.draft.to_save()) == before
        assert not driver.app.watcher.is_running
        for _ in range(4):
            await driver.press("escape")
        assert isinstance(driver.app.screen, MainScreen)
        assert driver.app.plan_model.draft.value("account", ("username",)) == "work"
