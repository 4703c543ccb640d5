"""`--debug` writes a log of actions and durations that only its user can read and that contains no secrets."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bai_wizard import cli
from bai_wizard.cli import COMMANDS
from bai_wizard.commands.completion import SHELLS
from bai_wizard.core import debug_log
from bai_wizard.core.errors import ProgramMissing, TimedOut
from bai_wizard.core.secret import MASK, Secret
from bai_wizard.engine.events import EventLog
from bai_wizard.node.process import run
from bai_wizard.node.run_as import run_as
from tests.cache import CHECKOUT
from tests.tools import make_completions, make_man
from tests.waiting import PATIENCE

PASSWORD = 'correct horse "battery"'
ANSWERS = """version = 1
[account]
password = { env = "BAI_PW" }
[aliases]
own_name = "keep"
hosts = [{ ip = "10.20.30.10", names = ["bai-m1"] }]
"""
ENTRY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \d+ \S+ ")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A debug log of this process."""
    path = tmp_path / "debug.log"
    debug_log.start(str(path))
    yield path
    debug_log.stop()


def wizard(directory: Path, *words: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """One command line, and the debug logs that it printed the paths of."""
    (directory / "answers.toml").write_text(ANSWERS)
    (directory / "tmp").mkdir(exist_ok=True, mode=0o700)
    done = subprocess.run(
        [sys.executable, "-I", "-m", "bai_wizard", *words], cwd=directory, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=120, check=False,
        env={**os.environ, "TMPDIR": str(directory / "tmp"), "BAI_PW": PASSWORD, **variables},
    )  # fmt: skip
    return done, [Path(result) for result in re.findall(r"^bai-wizard: debug log: (.*)$", done.stderr, re.MULTILINE)]


def test_a_run_is_logged_without_its_secret(tmp_path: Path) -> None:
    words = ("--demo", "--headless", "answers.toml", "--yes-interrupt=docker.restart")
    done, (path,) = wizard(tmp_path, "--debug", *words)
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert path.parent == tmp_path / "tmp", "a demo writes to no directory of the node"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(ENTRY.match(line) or line.startswith("    ") for line in text.splitlines())
    assert "--yes-interrupt=docker.restart" in text
    assert re.search(r"page account: probed in \d+\.\d{3} s", text)
    assert re.search(r"step aliases\.hosts: pending: .*/etc/hosts.*, \d+\.\d{3} s", text)
    assert re.search(r"event \d+ finished aliases\.hosts changed", text)
    assert text.endswith("exit code 0\n")
    for form in (PASSWORD, PASSWORD.replace('"', '\\"'), PASSWORD.replace('"', "&quot;")):
        assert form not in text


def test_the_log_does_not_change_the_output(tmp_path: Path) -> None:
    words = ("--demo", "--headless", "answers.toml", "--plan", "--detailed-exitcode")
    plain, no_files = wizard(tmp_path, *words)
    logged, files = wizard(tmp_path, *words, "--debug")
    assert (plain.returncode, plain.stdout, no_files) == (logged.returncode, logged.stdout, [])
    assert logged.stderr.replace(f"bai-wizard: debug log: {files[0]}\n", "") == plain.stderr


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("0", False)])
def test_the_variable_starts_it_too(tmp_path: Path, value: str, is_on: bool) -> None:
    _, files = wizard(tmp_path, "check", "answers.toml", BAI_WIZARD_DEBUG=value)
    assert len(files) == is_on
    assert len(list((tmp_path / "tmp").iterdir())) == is_on


@pytest.mark.parametrize("words", [("--deb", "check", "answers.toml"), ("check", "--debug", "answers.toml")])
def test_the_option_is_accepted_before_and_after_a_command(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert len(wizard(tmp_path, *words)[1]) == 1


def test_a_failure_leaves_its_traceback(tmp_path: Path) -> None:
    done, (path,) = wizard(tmp_path, "--debug", "check", "missing.toml")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Traceback" in path.read_text()
    assert "AnswersError" in path.read_text()


@pytest.mark.needs_root
def test_the_executor_writes_its_own_log_into_the_run_directory(tmp_path: Path) -> None:
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/hosts").write_text("127.0.0.1 localhost\n")
    words = ("--headless", "answers.toml", "--only", "aliases", "--root", str(tmp_path / "tree"))
    done, (own, executors) = wizard(tmp_path, "--debug", *words)
    assert done.returncode == 0, done.stderr
    assert executors.name == "debug.log"
    assert executors.parent.parent == tmp_path / "tree/var/lib/bai-wizard/runs"
    assert stat.S_IMODE(executors.stat().st_mode) == 0o600
    assert "event 1 run" in executors.read_text()
    assert (executors.parent / "executor.log").read_text() == "", "only a bug of the executor is there"
    assert "_execute" in own.read_text()
    assert PASSWORD not in own.read_text() + executors.read_text()


def test_commands_are_logged_with_their_result(log: Path) -> None:
    run(["/bin/sh", "-c", "exit 3"], timeout=PATIENCE)
    with pytest.raises(TimedOut):
        run(["/bin/sleep", "60"], timeout=0.05)
    with pytest.raises(ProgramMissing):
        run(["no-such-program"], timeout=PATIENCE)
    first, second, third = log.read_text().splitlines()
    assert re.search(r"command \['/bin/sh', '-c', 'exit 3'\]: exit code 3, \d+\.\d{3} s$", first)
    assert "command ['/bin/sleep', '60']: /bin/sleep did not finish within 0.05 s" in second
    assert "command ['no-such-program']: no-such-program is not installed" in third


def test_a_secret_is_masked_wherever_it_comes_from(log: Path, tmp_path: Path) -> None:
    secret = Secret("hunter2-hunter2")
    text = secret.reveal()
    run(["/bin/true", text, f"--password={text}"], timeout=PATIENCE)
    EventLog(tmp_path / "events.jsonl", "run").emit("log", f"the password is {text}")
    debug_log.debug("%s %s https://bai:token-token@host/path", secret, text.encode().hex())
    try:
        raise ValueError(text)
    except ValueError:
        debug_log.debug_exception()
    assert log.read_text().count(MASK) >= 6
    assert text not in log.read_text()
    assert text.encode().hex() not in log.read_text()
    assert "token-token" not in log.read_text()


def test_text_of_others_cannot_forge_an_entry(log: Path) -> None:
    debug_log.debug("output: %s", "first\n2026-01-01T00:00:00.000Z 1 MainThread forged\x1b[2J")
    first, second = log.read_text().splitlines()
    assert ENTRY.match(first)
    assert second == "    2026-01-01T00:00:00.000Z 1 MainThread forged\\x1b[2J"


def test_a_child_of_an_account_never_writes_to_a_reused_descriptor(log: Path, tmp_path: Path) -> None:
    """It closes all descriptors, and the number of the log then belongs to a file that it opens."""
    before = log.read_text()
    files = [tmp_path / f"file{number}" for number in range(64)]

    def write() -> None:
        opened = [open(file, "w") for file in files]  # noqa: SIM115 - to take every number
        debug_log.debug("an entry")
        for file in opened:
            file.close()

    run_as(None, write)
    assert [file.read_text() for file in files] == [""] * len(files)
    assert log.read_text() == before


def test_a_full_disk_costs_entries_and_nothing_else() -> None:
    debug_log.start("/dev/full")
    debug_log.debug("an entry")
    assert debug_log.stop() == ("/dev/full",)


def test_a_log_that_cannot_be_created_refuses_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", fail)
    assert cli.main(["--debug", "schema"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "bai-wizard: the debug log cannot be written: no space left on device\n"
    assert captured.out == ""


def test_the_option_is_documented_everywhere() -> None:
    assert "BAI_WIZARD_DEBUG" in cli.parser().format_help()
    # The wizard itself and every command.
    assert make_man.man_page().count("\\fB\\-\\-debug\\fR") == len(COMMANDS) + 1
    for text in map(make_completions.completion, SHELLS):
        assert text.count("debug") >= len(COMMANDS) + 1
    for document in ("README.md", "docs/debugging.md"):
        text = (CHECKOUT / document).read_text()
        assert "--debug" in text
        assert "BAI_WIZARD_DEBUG" in text
