"""Child processes: output, privileges, limits, and what they never inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bai_wizard.core.errors import ProgramMissing, StateUnknown, TimedOut
from bai_wizard.core.secret import Secret
from bai_wizard.node import deadline
from bai_wizard.node import process as runner
from bai_wizard.node.process import background_process, run
from bai_wizard.node.run_as import child_environment
from tests.waiting import PATIENCE, ends, until


def script(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


def lines_of(argv: list[str], **more: object) -> list[tuple[str, str]]:
    result: list[tuple[str, str]] = []
    run(argv, timeout=PATIENCE, on_line=lambda text, stream: result.append((text, stream)), **more)  # type: ignore[arg-type]
    return result


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_exit_code_and_both_streams() -> None:
    completed = run(script("echo out; echo err >&2; exit 3"), timeout=PATIENCE)
    assert (completed.code, completed.out, completed.err) == (3, "out\n", "err\n")


def test_lines_come_while_the_child_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = threading.Event()

    def tell(text: str, stream: str) -> None:
        if text == "first":
            first.set()

    def open_gate() -> None:
        assert first.wait(PATIENCE)
        gate.write_text("go\n")

    opener = threading.Thread(target=open_gate)
    opener.start()
    completed = run(script(f"echo first; read x < {gate}; echo second"), timeout=PATIENCE, on_line=tell)
    opener.join()
    assert completed.out == "first\nsecond\n"


def test_progress_bars_and_broken_text_become_lines() -> None:
    result = lines_of(
        [sys.executable, "-c", r"import os; os.write(1, b'10%\r50%\r100%\r\nd\xc3\xa9j\xc3\xa0 \xff\nlast')"]
    )
    assert [text for text, _ in result] == ["10%", "50%", "100%", "déjà �", "last"]


def test_no_terminal_no_stdin_own_session_plain_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAI_SECRET", "do not pass me on")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    text = "cat; echo $LC_ALL; env; ps -o sid= -p $$; echo $$; test -t 0 && echo TTY; true"
    completed = run(script(text), timeout=PATIENCE)
    assert completed.out.startswith("C.UTF-8\n")
    assert "do not pass me on" not in completed.out
    assert "https_proxy=http://proxy:3128" in completed.out
    session, pid = completed.out.split()[-2:]
    assert session == pid


def test_every_child_gets_the_fixed_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/opt/somebody/bin:relative:.::/bin")
    assert child_environment()["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.needs_root
def test_roots_children_read_roots_own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME of another user (`sudo -E`, `su -m`) would let git, pip and Docker read that user's files as root."""
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "/home/eve")
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    environment = child_environment()
    assert [environment[name] for name in ("HOME", "USER", "LOGNAME")] == ["/root", "root", "root"]
    assert "DOCKER_HOST" not in environment


def test_input_arrives_and_is_not_passed_as_an_argument() -> None:
    secret = Secret("correct horse battery staple")
    program = "import sys, os; data = sys.stdin.read(); print(len(data), data in open('/proc/self/cmdline').read())"
    completed = run([sys.executable, "-c", program], timeout=PATIENCE, input=secret)
    assert completed.out == "28 False\n"


def test_a_secret_is_redacted_in_lines_and_in_the_result() -> None:
    secret = Secret("s3cr3t-of-the-node")
    result: list[str] = []
    argv = [sys.executable, "-c", f"print('it is {secret.reveal()}!' + 'x' * 200000 + '{secret.reveal()}')"]
    completed = run(argv, timeout=PATIENCE, on_line=lambda text, _stream: result.append(text))
    assert secret.reveal() not in completed.out
    assert secret.reveal() not in "".join(result)
    assert "***" in result[0]


def test_a_secret_over_the_seam_of_two_pieces_is_redacted() -> None:
    assert Secret("seam-" * 40)  # registered from now on
    result: list[str] = []
    for before in (65400, 65500, 65535, 65536, 61440, 61500):
        argv = [sys.executable, "-c", f"import sys; sys.stdout.write('y' * {before} + 'seam-' * 40 + 'z' * 70000)"]
        run(argv, timeout=PATIENCE, on_line=lambda text, _stream: result.append(text))
    assert "seam-" not in "".join(result)


def test_memory_is_bounded_and_the_end_is_kept() -> None:
    completed = run(script("yes | head -c 20000000; echo the end"), timeout=PATIENCE, keep=1000)
    assert len(completed.out) <= 1000
    assert completed.out.endswith("the end\n")


def test_the_whole_group_is_killed_at_the_deadline(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"trap '' TERM; sleep 1000 & echo $! > {pids}; echo $$ >> {pids}; wait; sleep 1000"
    with ends("the group"), pytest.raises(TimedOut, match=r"/bin/sh did not finish within 0\.5 s"):
        run(script(text), timeout=0.5)
    until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


def test_finish_is_never_killed_and_reports_that_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SILENCE", 0.3)
    result = lines_of(script("sleep 1; echo done"), on_timeout="finish")
    assert result[-1] == ("done", "stdout")
    assert ("printed nothing for" in result[0][0], result[0][1]) == (True, "")
    assert run(script("sleep 0.6; echo done"), timeout=0.1, on_timeout="finish").out == "done\n"


def test_abandon_leaves_the_child_behind(tmp_path: Path) -> None:
    done, go = tmp_path / "done", tmp_path / "go"
    with pytest.raises(TimedOut, match="still running as process"):
        run(script(f"while [ ! -e {go} ]; do sleep 0.05; done; touch {done}"), timeout=0.2, on_timeout="abandon")
    assert not done.exists()
    go.touch()
    until(done.exists)


def test_a_daemon_that_keeps_the_pipe_open_does_not_hold_us(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with ends("the daemon"):
        completed = run(script(f"setsid sleep 1000 & echo $! > {pid}; echo done"), timeout=2 * PATIENCE)
    assert completed.out == "done\n"
    os.kill(int(pid.read_text()), 9)


def test_a_missing_program_and_a_missing_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="no-such-program is not installed"):
        run(["no-such-program"], timeout=PATIENCE)
    with pytest.raises(Exception, match=f"{tmp_path}/none does not exist"):
        run(["true"], timeout=PATIENCE, directory=f"{tmp_path}/none")


STOPPED = """
import sys
from bai_wizard.node.run_as import run_as
from bai_wizard.node.deadline import with_deadline
from bai_wizard.node.process import background_process, run
import time
how, mark = sys.argv[1:]
def slow(path):
    open(path, "w").close()
    time.sleep(0.4)
    return "done"
shell = ["/bin/sh", "-c", f"touch {mark}; sleep 0.4; echo done"]
if how == "runner":
    said = run(shell, timeout=2.0).out.strip()
elif how == "lines":
    said = run(["/bin/sh", "-c", f"touch {mark}; sleep 0.4; yes | head -c 300000; echo done"], timeout=2.0).out[-5:]
elif how == "background_process":
    with background_process(["/bin/sh", "-c", f"touch {mark}; sleep 0.4; cat"], timeout=2.0):
        said = "done"
elif how == "account":
    said = run_as(None, slow, mark, answer=str, deadline=2.0)
else:
    said = with_deadline(2.0, "x", lambda: slow(mark))
print(said.strip())
"""


@pytest.mark.parametrize("how", ["runner", "lines", "background_process", "account", "within"])
def test_an_answer_that_came_while_we_were_stopped_is_taken(how: str, tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    with subprocess.Popen([sys.executable, "-c", STOPPED, how, str(mark)], stdout=subprocess.PIPE) as process:
        until(mark.exists)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(2.2)  # beyond the deadline; the child ends meanwhile, or has more to say than the pipe holds
        os.kill(process.pid, signal.SIGCONT)
        assert process.communicate(timeout=PATIENCE)[0] == b"done\n"


def test_time_in_which_nothing_ran_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was suspended for an hour: the clock jumps, and the child has its time still."""
    real, jumps = time.monotonic, iter(range(1_000_000))
    monkeypatch.setattr(time, "monotonic", lambda: real() + (3600 if next(jumps) >= 2 else 0))
    assert run(script("sleep 1; echo done"), timeout=PATIENCE).out == "done\n"
    assert (
        deadline.with_deadline(10, "x", lambda: run(script("sleep 0.3; echo done"), timeout=PATIENCE).out) == "done\n"
    )


@pytest.mark.parametrize("step", [-1e9, -3600.0, 3600.0, 1e9])
def test_a_wall_clock_that_is_set_does_not_matter(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    assert run(script("sleep 0.1; echo done"), timeout=PATIENCE).out == "done\n"
    with pytest.raises(TimedOut):
        run(["sleep", "9"], timeout=0.2)


def test_a_chatty_child_is_late_all_the_same() -> None:
    with ends("the child"), pytest.raises(TimedOut):
        run(["yes"], timeout=0.3, keep=1000)


@pytest.mark.needs_root
def test_as_an_account_with_its_groups_in_its_directory(tmp_path: Path) -> None:
    completed = run(
        ["sh", "-c", "id -u; id -g; id -G; pwd"], timeout=PATIENCE, account=(64001, 64002, (64003,)), directory="/usr"
    )
    assert completed.out.split("\n")[:4] == ["64001", "64002", "64002 64003", "/usr"]


@pytest.mark.needs_root
def test_an_account_cannot_enter_forbidden_directories(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    completed = run(["pwd"], timeout=PATIENCE, account=(64001, 64001, ()), directory=str(closed))
    assert completed.code != 0
    assert "ermission denied" in completed.err


def test_an_interrupted_front_end_leaves_no_child_of_the_kind_kill(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt(_text: str, _stream: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(script(f"echo $$ > {pid}; echo go; sleep 1000"), timeout=60, on_line=interrupt)
    assert not is_alive(int(pid.read_text()))


def test_alongside_lives_as_long_as_the_block(tmp_path: Path) -> None:
    name = tmp_path / "pid"
    with background_process(script(f"echo $$ >{name}; exec cat"), timeout=PATIENCE):
        assert is_alive(int(name.read_text()))
    assert not is_alive(int(name.read_text()))


def test_a_background_process_ends_with_its_parent(tmp_path: Path) -> None:
    name = tmp_path / "pid"
    code = (
        "import os; from bai_wizard.node.process import background_process\n"
        f"with background_process(['/bin/sh', '-c', 'echo $$ >{name}; exec cat'], timeout=120): "
        f"os.kill(os.getpid(), 9)"
    )
    assert run([sys.executable, "-c", code], timeout=PATIENCE).code == -9
    until(lambda: not is_alive(int(name.read_text())))


@pytest.mark.parametrize(
    "argv, timeout, output",
    [
        (script("echo no such bus >&2; exit 1"), 10.0, "no such bus"),
        (["sleep", "60"], 0.1, "not ready"),
        (["/nowhere/program"], 10.0, "cannot be started"),
    ],
)
def test_a_background_process_reports_why_it_is_not_running(argv: list[str], timeout: float, output: str) -> None:
    begun = False
    with pytest.raises(StateUnknown, match=output), background_process(argv, timeout=timeout):
        begun = True
    assert not begun
