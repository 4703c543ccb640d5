"""The full screen on a real node: filled in, applied, the terminal lost midway, attached again, undone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.node.container import ContainerNode
from tests.node.snapshot import difference
from tests.tui.terminal import Terminal, planned
from tests.tui.tmux import Tmux

# A terminal of either sort, opened for some words of the command line.
Opens = Callable[..., AbstractContextManager[Terminal | Tmux]]

ANSWERS = """\
version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
sudo = "nopasswd"
[tuning]
[aliases]
own_name = "keep"
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"] } ]
[storage]
"""


def command(node: ContainerNode, words: tuple[str, ...], user: str) -> list[str]:
    """The wizard on a terminal of the node, as over ssh."""
    terminal = ["exec", "-it", "-u", user, "-e", "TERM=xterm-256color", "-e", "LC_ALL=C.UTF-8"]
    return ["docker", *terminal, node.hostname, "bai-wizard", *words]


@contextmanager
def screen(node: ContainerNode, *words: str, user: str = "root") -> Iterator[Terminal]:
    """On a pseudo-terminal, which is killed at the end as when a connection is lost."""
    one = Terminal(command(node, words, user), environment=node.docker.environment)
    try:
        yield one
    finally:
        one.kill()


@pytest.fixture(params=["pty", "tmux"])
def opens(request: pytest.FixtureRequest, tmp_path: Path, node: ContainerNode) -> Opens:
    """The wizard on the node, on a pseudo-terminal or in a tmux of this machine, killed at the end of each."""

    @contextmanager
    def in_tmux(*words: str) -> Iterator[Tmux]:
        one = Tmux(command(node, words, "root"), tmp_path, environment=node.docker.environment)
        try:
            yield one
        finally:
            one.kill()

    return in_tmux if request.param == "tmux" else lambda *words: screen(node, *words)


def add_a_volume(one: Terminal | Tmux) -> None:
    """From the rail: the storage page, a row, its name."""
    one.press("home", *["down"] * 6, "right")
    one.until("+ add")
    to_line(one, "+ add")
    one.press("enter")
    one.until("[ Save ]")
    # Past the types.
    to_line(one, "  Name  ")
    one.press("local")
    one.until(lambda: re.search(r"Name +local", one.text()) is not None)
    to_line(one, "[ Save ]")
    one.press("enter")
    one.until(lambda: "[ Save ]" not in one.text())
    one.press("escape")


def to_line(one: Terminal | Tmux, text: str) -> None:
    """Goes down until the cursor stands on the line that says so."""
    one.settle()
    for _ in range(60):
        if text in one.row():
            return
        one.step("down")
    raise AssertionError(f"the cursor never came to {text}\n{one.text()}")


def open_line(one: Terminal | Tmux, text: str) -> None:
    """From the rail: the action of the list that says so."""
    one.press("end")
    one.settle()
    for _ in range(20):
        if text in one.row():
            one.press("enter")
            return
        one.step("up")
    raise AssertionError(f"the list has no {text}\n{one.text()}")


def undo(one: Terminal | Tmux, run: str) -> None:
    """From the rail: the run in the list of past runs, and what to do with it."""
    open_line(one, "Past runs")
    one.until(run)
    one.press("enter")
    one.until("Undo")
    one.press("end", "enter")
    one.until("will be undone")
    one.press("left", "enter")
    one.until("Undone")


def run_ids(node: ContainerNode) -> list[str]:
    """The runs that the node knows of."""
    lines = node.wizard("runs", "--json").out.splitlines()
    return [str(json.loads(line)["run"]) for line in lines]


def test_the_terminal_is_lost_in_the_middle(node: ContainerNode, opens: Opens) -> None:
    node.write("/root/answers.toml", ANSWERS)
    before = node.snapshot()
    with opens("--answers", "/root/answers.toml") as one:
        one.until(planned(one.text))
        add_a_volume(one)
        one.until("6 Storage       2 changes")
        one.press("A")
        one.until(" on node-")
        to_line(one, "[ Apply ]")
        one.press("enter")
        one.until("Run 20")
        one.until("done")
    with opens() as other:
        # Attached to the running job or, on a fast machine, to its result.
        other.until(lambda: "Run 20" in other.text() or planned(other.text)())
        if "Run 20" in other.text():
            other.until("Done. All changes")
            other.press("escape")
    assert "uid=1100(bai) gid=1100(bai)" in node.run(["id", "bai"], check=True).out
    assert node.run(["stat", "-c", "%U", "/vfroot/local"], check=True).out.strip() == "bai"
    (run,) = run_ids(node)
    with opens() as third:
        third.until(planned(third.text))
        undo(third, run)
    # The draft of what was entered is gone, its directory stays.
    left = [line for line in difference(before, node.snapshot()) if not line.startswith("+ /root/.local")]
    assert not left


def test_one_page_is_applied_and_the_terminal_lost(node: ContainerNode) -> None:
    before = node.snapshot()
    with screen(node) as one:
        one.until(planned(one.text))
        # What is missing first, the release; then the alias, and only its page is applied.
        one.press("n")
        one.until("e.g. 26.4")
        one.press("26.4")
        one.until("• Backend.AI")
        one.press("escape")
        # A terminal sends Esc and a key that follows at once as one key with Alt.
        one.until("Review and apply")
        one.press("5")
        one.until("+ paste lines")
        one.press("enter")
        one.until("[ Save ]")
        # Text and the keys around it that are read at once are taken for a paste of two lines.
        one.press("10.20.30.10", "enter")
        one.until("10.20.30.10")
        one.until("Its names, the")
        one.press("bai-m1")
        one.until("bai-m1")
        one.press("tab", "tab", "tab", "enter")
        one.until("Aliases   1 change")
        one.press("a")
        one.until("[ Apply ]")
        to_line(one, "[ Apply ]")
        one.press("enter")
        one.until("Run 20")
    # As the kernel does when the connection of a login is lost; docker's client leaves the terminal open.
    node.run(["pkill", "-HUP", "-t", "pts/0"], check=True)
    (run,) = run_ids(node)
    with screen(node) as other:
        offer = "Continue where you left off?"
        other.until(lambda: offer in other.text() or "Run 20" in other.text())
        if "Run 20" in other.text():
            other.until("Done. All changes")
            other.press("escape")
        # The release was entered and not applied.
        other.until(offer)
        other.press("enter")
        other.until("5 Aliases       up to date")
        assert "bai-m1" in node.run(["getent", "hosts", "10.20.30.10"], check=True).out
        other.press("0")
        other.until("26.4")
        other.press("escape")
        undo(other, run)
    left = [line for line in difference(before, node.snapshot()) if not line.startswith("+ /root/.local")]
    assert not left


def test_without_root_everything_but_applying_and_then_by_sudo(node: ContainerNode) -> None:
    node.run(["useradd", "-m", "worker"], check=True)
    node.write("/etc/sudoers.d/worker", "worker ALL=(ALL) NOPASSWD: ALL\n")
    with screen(node, user="worker") as one:
        one.until(planned(one.text))
        # Something that goes along: the release, on the first page.
        one.press("home", "right")
        one.until("Item ")
        to_line(one, "  Backend.AI  ")
        one.press("26.4")
        one.until("26.4")
        one.press("escape")
        one.until("Review and apply")
        one.press(*["down"] * 3, "a")
        one.until(" on node-")
        to_line(one, "[ Apply ]")
        one.press("enter")
        one.until("Root required")
        one.press("escape")
        one.until(lambda: "Root required" not in one.text())
        to_line(one, "[ Apply ]")
        one.press("enter")
        one.until("Root required")
        one.press("enter")
        one.until("Your answers are kept in")
        one.until(planned(one.text))
        one.press("home", "right")
        one.until("26.4")
        one.press("escape")
        one.until("3 Tuning")
        assert not run_ids(node)
        one.press("home", *["down"] * 3, "a")
        one.until(" on node-")
        to_line(one, "[ Apply ]")
        one.press("enter")
        one.until("Done. All changes")
        one.press("escape")
        one.until(lambda: "Done. All changes" not in one.text())
        one.press("q")
        one.until("Quit without saving")
        one.press("down", "enter")
        assert one.end() == 0
    assert len(run_ids(node)) == 1
    # What was handed over lies around no more.
    assert not node.run(["sh", "-c", "ls /tmp/bai-wizard-*.json"]).out
