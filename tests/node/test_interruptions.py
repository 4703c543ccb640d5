"""Interrupted runs: executor killed, disk full, two runs at once, Ctrl-C, files edited in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.reference_answers import TOUCHED, assert_manual_holds, assert_no_secret, log_out, prepare
from tests.node.snapshot import assert_same
from tests.sampling import sampled

HEADLESS = ("--headless", "/root/answers.toml")
KILLER = Path(__file__).with_name("killer.py").read_text()


# Every record of the journal; an ordinary run has the kills of test_kills.py, on all eight pages.
@pytest.mark.soak
@pytest.mark.parametrize("lines", sampled("kill", range(1, 60), 1))
def test_killed_executor_is_resumed_and_undone(node: ContainerNode, lines: int) -> None:
    prepare(node)
    before = node.snapshot(TOUCHED)
    node.write("/root/killer.py", KILLER)
    node.run(["python3", "/root/killer.py", str(lines)], detach=True)
    cut = node.wizard(*HEADLESS)
    if cut.rc != 0:
        assert "resume" in cut.err
        assert "interrupted" in node.wizard("runs").out
        resumed = node.wizard("resume")
        assert resumed.rc == 0, resumed.out + resumed.err
    assert_manual_holds(node, host_kernel=True)
    assert_no_secret(node)
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    log_out(node)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))


@pytest.mark.soak
@pytest.mark.parametrize("lines", sampled("kill-undo", range(1, 50), 1))
def test_killed_undo_is_resumed_by_the_same_command(node: ContainerNode, lines: int) -> None:
    prepare(node)
    before = node.snapshot(TOUCHED)
    assert node.wizard(*HEADLESS).rc == 0
    run = json.loads(node.wizard("runs", "--json").out.splitlines()[-1])["run"]
    node.write("/root/killer.py", KILLER)
    node.run(["python3", "/root/killer.py", str(lines)], detach=True)
    node.wizard("undo", run)
    undone = node.wizard("undo", run)
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))


def test_no_space_left_keeps_the_old_file(node_factory: NodeFactory) -> None:
    node = node_factory(tmpfs={"/etc/sysctl.d": "size=16k,mode=0755", "/var/lib/bai-wizard": "size=1m,mode=0700"})
    node.write("/etc/sysctl.d/99-backendai.conf", "# ours of long ago\n")
    node.run(["sh", "-c", "head -c 100000 /dev/zero > /etc/sysctl.d/ballast"])
    prepare(node)
    node.run(["sh", "-c", "head -c 2000000 /dev/zero > /var/lib/bai-wizard/ballast"])
    refused = node.wizard(*HEADLESS, "--only", "tuning,account")
    assert refused.rc == 3, refused.out + refused.err
    assert "no space left" in refused.err
    assert text_of(node, "ls", "-A", "/var/lib/bai-wizard/runs") == ""
    assert node.run(["id", "bai"]).rc == 1
    node.run(["rm", "/var/lib/bai-wizard/ballast"], check=True)
    failed = node.wizard(*HEADLESS, "--only", "tuning,account")
    assert failed.rc == 4, failed.out + failed.err
    assert "space" in failed.out
    assert node.read("/etc/sysctl.d/99-backendai.conf") == b"# ours of long ago\n"
    assert text_of(node, "ls", "-A", "/etc/sysctl.d").split() == ["99-backendai.conf", "ballast"]
    node.run(["rm", "/etc/sysctl.d/ballast"], check=True)
    resumed = node.wizard("resume")
    assert resumed.rc == 0, resumed.out + resumed.err
    node.run(["sh", "-c", "head -c 2000000 /dev/zero > /var/lib/bai-wizard/ballast"])
    nothing = node.wizard(*HEADLESS, "--only", "tuning,account")
    assert nothing.rc == 0, nothing.out + nothing.err


def text_of(node: ContainerNode, *argv: str) -> str:
    return node.run(list(argv), check=True).out


def test_two_runs_at_once(node: ContainerNode) -> None:
    prepare(node)
    holder = (
        "import fcntl, json, os, time\n"
        "os.makedirs('/run/bai-wizard', exist_ok=True)\n"
        "lock = os.open('/run/bai-wizard/lock', os.O_RDWR | os.O_CREAT, 0o600)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "open('/run/bai-wizard/current.json', 'w').write(json.dumps({'run': '20260101T000000Z-abcd', 'pid': 1}))\n"
        "open('/run/ready', 'w')\n"
        "time.sleep(600)\n"
    )
    node.write("/root/holder.py", holder)
    node.run(["python3", "/root/holder.py"], detach=True)
    node.wait_for(lambda: node.exists("/run/ready"), 30, "the holder of the lock")
    second = node.wizard(*HEADLESS)
    assert second.rc == 3, second.out + second.err
    assert "20260101T000000Z-abcd" in second.err
    assert node.wizard(*HEADLESS, "--plan").rc == 0, "looking takes no lock"


SLOW_USERADD = """#!/bin/sh
touch /run/waiting
while [ ! -e /run/go ]; do sleep 0.05; done
exec /usr/sbin/useradd "$@"
"""


def test_ctrl_c_ends_after_the_step_and_resume_continues(node: ContainerNode) -> None:
    prepare(node)
    node.write("/usr/local/sbin/useradd", SLOW_USERADD, 0o755)
    front = "bai-wizard --headless /root/answers.toml >/root/out 2>&1; echo $? >/root/rc"
    node.run(["sh", "-c", front], detach=True)
    node.wait_for(lambda: node.exists("/run/waiting"), 60, "the step that makes the account")
    node.wait_for(
        lambda: b"apply started" in node.read_or_empty("/root/out"), 30, "the front end that follows the run"
    )
    node.run(["pkill", "-INT", "-f", "bai_wizard --headless"], check=True)
    node.wait_for(
        lambda: b"stopping after the current step" in node.read_or_empty("/root/out"), 30, "the answer to Ctrl-C"
    )
    node.write("/run/go", "")
    node.wait_for(lambda: node.read_or_empty("/root/rc"), 60, "the end")
    message = node.read("/root/out").decode()
    assert node.read("/root/rc") == b"130\n", message
    assert "bai-wizard resume" in message
    assert "1 changed" in message, "the step that had begun was finished, and no other was begun"
    assert node.run(["id", "bai"]).rc == 0
    assert not node.exists("/home/bai")
    resumed = node.wizard("resume")
    assert resumed.rc == 0, resumed.out + resumed.err
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0


NOTE = b"# a note of ours\n"


def test_undo_keeps_our_edited_line_and_other_lines(node: ContainerNode) -> None:
    prepare(node)
    assert node.wizard(*HEADLESS).rc == 0
    run = json.loads(node.wizard("runs", "--json").out.splitlines()[-1])["run"]
    path = "/etc/security/limits.d/99-backendai.conf"
    ours = node.read(path)
    line = next(line for line in ours.splitlines(keepends=True) if b"nofile" in line and not line.startswith(b"#"))
    edited = line.replace(line.split()[-1], b"1234")
    node.write(path, ours.replace(line, edited) + NOTE)
    undone = node.wizard("undo", run)
    assert undone.rc == 4, undone.out + undone.err
    assert f"{path}: a line was edited: {edited.decode().strip()}" in undone.out
    assert f"--- {path}" in undone.out, "the diff of what is undone of it"
    left = node.read(path).splitlines(keepends=True)
    assert left == [edited, NOTE]
    assert not node.exists("/etc/sysctl.d/99-backendai.conf"), "everything else was undone"
    node.write(path, ours + NOTE)
    undone = node.wizard("undo", run)
    assert undone.rc == 0, undone.out + undone.err
    assert node.read(path) == NOTE


def test_closed_stdin_and_no_terminal_never_hang(node: ContainerNode) -> None:
    alone = node.wizard(timeout=30)
    assert alone.rc == 2
    assert "--headless" in alone.err
