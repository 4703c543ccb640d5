"""Text output on a terminal: colors, tables and progress; plain text everywhere else."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.core.display import VisibleStream
from bai_wizard.core.event import Event
from bai_wizard.core.secret import Secret
from bai_wizard.ui.text.console import Terminal as Rendered
from tests.tui.terminal import Terminal

ANSWERS = """\
version = 1
[account]
sudo = "no"
[tuning]
"""
EVIL = "[red]x[/red] :smile: \x1b[2J\u202e\ry"
COMMAND = (sys.executable, "-m", "bai_wizard")
# Prints whether rich was loaded, after the command.
PROBE = "import sys; from bai_wizard.cli import main; main(sys.argv[1:]); print('rich' in sys.modules)"


def on_terminal(*words: str, program: tuple[str, ...] = COMMAND, **environment: str) -> tuple[int, str]:
    terminal = Terminal([*program, *words], size=(100, 50), environment=environment)
    try:
        code = terminal.end()
        return code, terminal.raw().decode()
    finally:
        terminal.kill()


@pytest.fixture
def answers(tmp_path: Path) -> str:
    path = tmp_path / "answers.toml"
    path.write_text(ANSWERS)
    return str(path)


def test_a_plan_is_colored(answers: str) -> None:
    code, text = on_terminal("--demo", "bare", "--plan", "--diff", "--headless", answers)
    assert code == 0
    assert "\x1b[32m  + group bai  gid 1100\x1b[0m" in text
    assert "\x1b[1m[account]\x1b[0m" in text
    code, text = on_terminal("--demo", "bare", "--plan", "--headless", answers)
    assert code == 0
    assert "\x1b[1m[account]\x1b[0m create or adjust account bai" in text


def test_a_run_shows_its_progress(answers: str) -> None:
    code, text = on_terminal("--demo", "bare", "--headless", answers)
    assert code == 0
    assert "\x1b[2K" in text, "the progress is drawn again"
    assert "\x1b[?25l" not in text, "the cursor stays visible"
    steps = re.search(r"(\d+) of \d+ steps to apply", text)
    assert steps is not None
    assert f"/{steps[1]}" in text, "the steps of the plan"
    assert "\x1b[32m" in text
    last = text.rpartition("\x1b[2K")[2]
    assert "15 changed" in last, "nothing is left of the progress"


def test_tables_and_findings() -> None:
    code, text = on_terminal("--demo", "half", "detect")
    assert (code, "[node]" in text, "\x1b[1mKernel" in text) == (0, True, True)
    code, text = on_terminal("--demo", "broken", "doctor", "--only", "aliases")
    assert code == 4
    assert "\x1b[1;31mPROBLEM: " in text


@pytest.mark.parametrize(
    ("words", "environment"),
    [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--ascii",), {}), (("--plain",), {}), (("--serial",), {})],
)
def test_no_colors_where_they_are_not_wanted(words: tuple[str, ...], environment: dict[str, str]) -> None:
    code, text = on_terminal(*words, "--demo", "half", "detect", program=(sys.executable, "-c", PROBE), **environment)
    assert code == 0
    assert "\x1b" not in text
    assert text.splitlines()[-1] == "False", "rich is not even loaded"


def test_json_is_the_same_on_a_terminal(answers: str) -> None:
    words = ("--demo", "half", "detect", "--json")
    piped = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=True, timeout=60).stdout
    assert on_terminal(*words) == (0, piped.replace("\n", "\r\n"))


def test_output_into_a_pipe_is_plain(answers: str) -> None:
    argv = [sys.executable, "-c", PROBE, "--demo", "bare", "--headless", answers]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "False"


def test_foreign_text_is_escaped_and_no_markup() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    terminal = Rendered(VisibleStream(stream))
    secret = Secret("correct horse battery staple")
    terminal.print(EVIL + secret.reveal())
    terminal.table(EVIL, (), [(EVIL, EVIL)])
    event = Event(t="2026-01-01T00:00:00Z", run="r", id=1, kind="started", step="tuning.x", text=EVIL)
    terminal.event(event, EVIL)
    terminal.stop()
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    text = stream.buffer.getvalue().decode()
    assert text.count("[red]x[/red] :smile: \\x1b[2J\\u202e\\ry") >= 4
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert secret.reveal() not in text
