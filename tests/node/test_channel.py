"""Commands by way of the agent behave as those of `docker exec`; the agent runs on this machine here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.node.channel import KILLED, Channel
from tests.waiting import until

# Not a multiple of what is read or written at once, and more than a pipe holds.
LARGE = os.urandom(3_000_001)


@pytest.fixture
def channel() -> Iterator[Channel]:
    opened = Channel([sys.executable], {"PATH": os.environ["PATH"], "OF_THE_NODE": "1"})
    yield opened
    opened.close()


def run(
    channel: Channel, *argv: str, data: bytes = b"", timeout: float = 60, env: Mapping[str, str] | None = None,
    user: str | None = None, detach: bool = False,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    return channel.run(argv, data, timeout, user, env or {}, detach)


def test_streams_and_codes(channel: Channel) -> None:
    assert run(channel, "cat", data=LARGE).stdout == LARGE
    both = run(channel, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (both.returncode, both.stdout, both.stderr) == (7, b"out\n", b"err\n")
    assert run(channel, "cat").stdout == b"", "standard input is closed"
    assert run(channel, "sh", "-c", "kill -9 $$").returncode == 137
    assert run(channel, "true", data=LARGE).returncode == 0, "input that is not read"
    assert run(channel, "/no/such/program").returncode == 127
    assert run(channel, "/etc").returncode == 126
    assert run(channel, "printf", "%s", "\udcff\n'\"").stdout == b"\xff\n'\""


def test_environment_and_place(channel: Channel) -> None:
    result = run(channel, sys.executable, "-I", "-S", "-c", "print(open('/proc/self/environ').read(), end='')")
    entries = set(result.stdout.decode().rstrip("\0").split("\0"))
    assert entries == {f"PATH={os.environ['PATH']}", "OF_THE_NODE=1"}
    assert run(channel, "sh", "-c", "echo $A $OF_THE_NODE; pwd", env={"A": "b"}).stdout == b"b 1\n/\n"


@pytest.mark.needs_root
def test_another_user(channel: Channel) -> None:
    assert run(channel, "id", user="nobody").stdout == subprocess.check_output(["id", "nobody"])
    assert run(channel, "sh", "-c", "echo $HOME", user="nobody").stdout == b"/nonexistent\n"
    assert run(channel, "id", user="no-such-user").returncode == 126


def test_commands_run_side_by_side(channel: Channel, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    result: list[bytes] = []
    reader = threading.Thread(target=lambda: result.append(run(channel, "cat", str(fifo)).stdout))
    reader.start()
    assert run(channel, "sh", "-c", 'echo through >"$1"', "sh", str(fifo)).returncode == 0
    reader.join()
    assert result == [b"through\n"]


def test_the_end_is_that_of_the_command_not_of_its_children(channel: Channel, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert run(channel, "sh", "-c", 'echo begun; cat "$1" &', "sh", str(fifo), timeout=20).stdout == b"begun\n"
    fifo.write_bytes(b"now the child ends")


def test_a_detached_command_leaves_no_zombie(channel: Channel, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    assert run(channel, "sh", "-c", 'echo $$ >"$1"', "sh", str(pid), detach=True).returncode == 0
    until(
        lambda: pid.exists() and pid.read_text() and not Path("/proc", pid.read_text().strip()).exists(),
        "the end of the zombie",
    )


def test_too_late_is_an_error_and_the_next_command_works(channel: Channel) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(channel, "sleep", "1", timeout=0.01)
    assert run(channel, "echo", "next").stdout == b"next\n"


def test_a_command_whose_node_goes_down_is_killed(channel: Channel) -> None:
    assert run(channel, "sh", "-c", "kill -9 $PPID; exec sleep 5").returncode == KILLED
    assert run(channel, "true").returncode == KILLED
    assert not channel.is_open
