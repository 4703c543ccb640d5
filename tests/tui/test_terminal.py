"""The wizard on real terminals: output, clean-up on exit, cursor position."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bai_wizard.ui.tui.plan_model import SERIAL_PAUSE
from tests.tui.terminal import Terminal, planned

REPOSITORY = str(Path(__file__).parents[2])
DEMO = [sys.executable, "-m", "bai_wizard", "--demo", "bare"]


@contextmanager
def terminal(
    *words: str, size: tuple[int, int] = (80, 24), environment: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """The demo on a terminal."""
    one = Terminal([*DEMO, *words], size=size, environment=environment, directory=REPOSITORY)
    try:
        yield one
    finally:
        one.kill()


def test_the_cursor_is_on_the_selected_row() -> None:
    with terminal() as one:
        one.until(planned(one.text))
        one.until(lambda: "  Node" in one.row())
        assert not one.screen.cursor.hidden
        one.press("down")
        one.until(lambda: "1 Account" in one.row())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(number: signal.Signals) -> None:
    with terminal() as one:
        before = one.modes()
        one.until(planned(one.text))
        assert one.modes() != before
        assert one.end(number) == 128 + number
        assert one.modes() == before
        assert one.raw().rindex(b"\x1b[?1049l") > one.raw().rindex(b"\x1b[?1049h")
        assert one.raw().rindex(b"\x1b[?25h") > one.raw().rindex(b"\x1b[?25l")


def test_a_closed_terminal_ends_the_wizard() -> None:
    """The program that showed it is gone: nothing can be written, and nothing restored."""
    with terminal() as one:
        one.until(planned(one.text))
        one.hang_up()
        assert one.end() == 128 + signal.SIGHUP


def test_ctrl_c_and_q_quit() -> None:
    for key in ("ctrl+c", "q"):
        with terminal() as one:
            one.until(planned(one.text))
            one.press(key)
            assert one.end() == 0


@pytest.mark.parametrize("name", ["utf-8", "kitty", "resize", "mouse"])
def test_bytes_that_no_parser_knows_are_dropped(name: str) -> None:
    """Each of these ended the thread that reads the keyboard, and the wizard with it."""
    bad = {
        "utf-8": b"\xff\xfe\xe4\xed\xa0\x80",
        "kitty": b"\x1b[9999999999u\x1b[1114112u",
        "resize": b"\x1b[48;0;0;0;0t\x1b[<0;5;5M\x1b[<0;5;5m",
        "mouse": b"\x1b[<0;" + b"9" * 30 + b";1M",
    }[name]
    with terminal() as one:
        one.until(planned(one.text))
        os.write(one._fd, bad)
        one.settle()
        one.press("down")
        one.until("Account")
        one.press("ctrl+c")
        assert one.end() == 0


def test_ascii_on_the_linux_console() -> None:
    with terminal(environment={"TERM": "linux", "LANG": "ko_KR.UTF-8", "LC_ALL": ""}) as one:
        one.until(planned(one.text))
        assert one.raw().isascii()
        assert "Docker" in one.text()


def test_no_colours_when_none_are_wanted() -> None:
    with terminal(environment={"NO_COLOR": "1"}) as one:
        one.until(planned(one.text))
        assert b"\x1b[38;" not in one.raw()
        assert b";38;" not in one.raw()


def test_sixteen_colors_without_truecolor() -> None:
    with terminal(environment={"TERM": "xterm", "COLORTERM": ""}) as one:
        one.until(planned(one.text))
        assert b"38;2;" not in one.raw()
        assert b"38;5;" not in one.raw()


def test_a_slow_line_gets_few_bytes() -> None:
    with terminal("--serial") as one:
        one.until(planned(one.text))
        one.until("Apply page")
        # Each page that answers is drawn; what is counted is the silence after the last.
        one.until(lambda: "checking" not in one.text())
        one.settle(2 * SERIAL_PAUSE)
        assert one.raw().isascii()
        assert len(one.raw()) < 25_000
        before = len(one.raw())
        for _ in range(20):
            one.read(0.1)
        assert len(one.raw()) - before < 200


def test_a_dumb_terminal_gets_line_prompts() -> None:
    with terminal(environment={"TERM": "dumb"}) as one:
        one.until("Choose a page or action:")
        assert b"\x1b" not in one.raw()
        one.press("q", "enter")
        assert one.end() == 0


def test_without_a_terminal_it_explains_and_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bai_wizard"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "--headless" in ended.stderr
    assert "textual" not in ended.stderr.lower()
    assert ended.stdout == ""


def test_a_crash_shows_no_local_variables() -> None:
    code = (
        "from bai_wizard.ui.tui.screens.main import MainScreen\n"
        "def crash(self):\n    password = 'hunter2hunter2'\n    raise RuntimeError('on purpose')\n"
        "MainScreen.action_diff = crash\n"
        "from bai_wizard.cli import main\nimport sys\nsys.exit(main(['--demo', 'bare']))\n"
    )
    one = Terminal([sys.executable, "-c", code], directory=REPOSITORY)
    try:
        one.until(planned(one.text))
        before = len(one.raw())
        one.press("d")
        assert one.end() == 1
        message = one.raw()[before:].decode()
        assert "on purpose" in message
        assert "hunter2" not in message.replace("password = 'hunter2hunter2'", "")
        assert "locals" not in message
    finally:
        one.kill()


def test_the_whole_way_at_80x24_in_tmux(tmp_path: Path) -> None:
    socket = str(tmp_path / "tmux")
    tmux = ["tmux", "-S", socket, "-f", "/dev/null"]
    command = f"cd {REPOSITORY} && LC_ALL=C.UTF-8 {' '.join(DEMO)}; echo ended with $?; sleep 30"

    def run(*words: str) -> str:
        return subprocess.run([*tmux, *words], capture_output=True, text=True, check=True, timeout=60).stdout

    def until(text: str) -> str:
        for _ in range(400):
            shown = run("capture-pane", "-p")
            if text in shown:
                return shown
            os.sched_yield()
            subprocess.run(["sleep", "0.1"], check=True)
        raise AssertionError(f"never came: {text}\n{shown}")

    if subprocess.run(["which", "tmux"], capture_output=True, check=False).returncode:
        pytest.skip("tmux is not installed")
    run("new-session", "-d", "-x", "80", "-y", "24", command)
    try:
        until("3 Tuning        15 changes")
        # The page opens at what it requires.
        run("send-keys", "Right", "26.4")
        until("• Backend.AI")
        run("send-keys", "Escape")
        run("send-keys", "Down", "Right")
        until("! requires a password")
        # The cursor is at what needs an answer.
        run("send-keys", "Space")
        until("Account   4 changes")
        run("send-keys", "a")
        until("4 steps · ")
        run("send-keys", "End", "Down", "Enter")
        until("Done. All changes")
        run("send-keys", "Escape")  # alone: with the next key it would be another one
        until("1 Account       up to date")
        # The release on the node's page is entered and not applied: leaving asks.
        run("send-keys", "q")
        until("> Quit without saving")
        run("send-keys", "Down", "Enter")
        until("ended with 0")
    finally:
        run("kill-server")
