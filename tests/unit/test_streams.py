"""Every command with a closed, full or unread stream, in a deleted directory, and with unusual paths."""

from __future__ import annotations

import errno
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.cli import COMMANDS, _answered
from bai_wizard.core.display import VisibleStream
from tests.cache import CHECKOUT
from tests.sampling import sampled

ANSWERS = 'version = 1\n[aliases]\n[[aliases.hosts]]\nnames = ["m1"]\nip = "10.0.0.1"\n'
# Words, and the exit code with nothing wrong.
LINES: dict[str, tuple[str, int]] = {
    "check": ("check {w}/a.toml", 0),
    "schema": ("schema", 0),
    "answers": ("answers", 0),
    "answers of the node": ("answers --from-node", 0),
    "detect": ("detect", 0),
    "detect json": ("detect --json", 0),
    "doctor": ("doctor --only node.hostname", 0),
    "doctor json": ("doctor --only node.hostname --json", 0),
    "runs": ("runs", 0),
    "drift": ("drift --answers {w}/a.toml", 7),
    "drift of no run": ("drift", 3),
    "attach": ("attach", 3),
    "resume": ("resume", 3),
    "undo": ("undo", 3),
    "undo plan": ("undo --plan", 3),
    "bundle": ("bundle {w}/a.toml -o {w}/out", 0),
    "compare": ("compare {w}/r.json", 2),
    "fleet": ("fleet plan {w}/r.json", 2),
    "plan": ("--headless {w}/a.toml --plan --detailed-exitcode", 7),
    "plan of a bundle": (f"--headless {{w}}/a.toml --plan --bundle there --bundle-digest {'a' * 64}", 3),
    "plan file": ("--headless {w}/a.toml --plan -o {w}/plan.json", 0),
    "apply plan": ("apply {w}/plan.json", 3),
    "plan json": ("--headless {w}/a.toml --plan --json", 0),
    "apply": ("--headless {w}/a.toml", 0),
    "wizard": ("", 2),
    "line prompts": ("--plain", 2),
    "version": ("--version", 0),
    "help": ("--help", 0),
    "usage": ("--nonsense", 2),
}
OUTSIDE = ("version", "help", "usage")
# How it is started: a shell's words around the command.
STARTS: dict[str, str] = {
    "deleted directory": "mkdir gone && cd gone && rmdir ../gone && exec {c}",
    "stdin closed": "exec {c} <&-",
    "stdout closed": "exec {c} >&-",
    "stderr closed": "exec {c} 2>&-",
    "all closed": "exec {c} <&- >&- 2>&-",
    "stdout full": "exec {c} >/dev/full",
    "stderr full": "exec {c} 2>/dev/full",
    "both full": "exec {c} >/dev/full 2>&1",
    "reader gone": "set -o pipefail; {c} | true",
}
LOSE = ("stdout full", "both full", "reader gone")


def is_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def is_link(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/nonexistent")


PLACES: dict[str, Callable[[Path], object]] = {
    "/run is a file": lambda node: is_file(node / "run"),
    "/run/bai-wizard is a link": lambda node: is_link(node / "run/bai-wizard"),
    "the lock is a link": lambda node: is_link(node / "run/bai-wizard/lock"),
    "the lock is a directory": lambda node: (node / "run/bai-wizard/lock").mkdir(parents=True),
    "the notice is a directory": lambda node: (node / "run/bai-wizard/current.json").mkdir(parents=True),
    "the state directory is a file": lambda node: is_file(node / "var/lib/bai-wizard"),
    "the state directory is a link": lambda node: is_link(node / "var/lib/bai-wizard"),
    "the runs are a file": lambda node: is_file(node / "var/lib/bai-wizard/runs"),
}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    for name, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/group": "root:x:0:\n",
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/os-release": 'ID=debian\nVERSION_ID="13"\n',
        "w/a.toml": ANSWERS,
        "w/r.json": "{}",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def started(node: Path, name: str, start: str = "exec {c}") -> subprocess.CompletedProcess[str]:
    words = LINES[name][0].format(w=node / "w").split()
    words += [] if name in OUTSIDE else ["--root", str(node)]
    command = shlex.join([sys.executable, "-m", "bai_wizard", *words])
    return subprocess.run(
        ["bash", "-c", start.format(c=command)],
        cwd=node / "w",
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "HOME": str(node)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_no_traceback(done: subprocess.CompletedProcess[str]) -> None:
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert "bug in the wizard" not in output, output
    assert "Exception ignored" not in output, output


def test_every_command_is_in_the_table() -> None:
    assert set(COMMANDS) <= {words.split()[0] for words, _ in LINES.values() if words}


CASES = [(name, start) for name in LINES for start in STARTS]


@pytest.mark.parametrize(("name", "start"), sampled("streams", CASES, 12))
def test_a_stream_that_is_gone_changes_no_exit_code_but_its_own(name: str, start: str, node: Path) -> None:
    done = started(node, name, STARTS[start])
    assert_no_traceback(done)
    code = LINES[name][1]
    prints = name not in (
        "attach",
        "resume",
        "undo",
        "undo plan",
        "drift of no run",
        "plan of a bundle",
        "compare",
        "fleet",
        "wizard",
        "line prompts",
        "usage",
    )
    if start in LOSE and prints:
        # argparse drops a help text that cannot be written. A short answer may reach the pipe before its reader ends.
        lost = 130 if start == "reader gone" else 3
        assert done.returncode == lost or ((name == "help" or start == "reader gone") and done.returncode == code)
        if start == "stdout full" and name != "help":
            assert done.stderr.splitlines()[-1] == (
                "bai-wizard: standard output cannot be written: no space left on device"
            )
    else:
        assert done.returncode == code, done.stderr
    if start in LOSE and name == "apply":
        assert (node / "etc/hosts").read_text() == "127.0.0.1 localhost\n"


ODD = [(name, place) for name in ("apply", "plan", "runs", "attach", "resume", "undo", "doctor") for place in PLACES]


@pytest.mark.parametrize(("name", "location"), sampled("places", ODD, 8))
def test_an_odd_place_gives_a_sentence(name: str, location: str, node: Path) -> None:
    PLACES[location](node)
    done = started(node, name)
    assert_no_traceback(done)
    assert done.returncode in (3, LINES[name][1]), done.stderr
    if done.returncode == 3:
        assert "bai-wizard: " in done.stderr.splitlines()[-1]
        assert (node / "etc/hosts").read_text() == "127.0.0.1 localhost\n"


def test_output_that_python_could_not_write_is_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python 3.13 tries the unwritten rest again at every flush."""

    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = Full()
    monkeypatch.setattr(sys, "stdout", VisibleStream(full))
    assert _answered(full.flush, full) == 3
    assert capsys.readouterr().err == "bai-wizard: standard output cannot be written: no space left on device\n"
