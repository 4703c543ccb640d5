"""Selection of runs on a node with systemd: concurrent starts, an interrupted run, a clone, an upgrade."""

from __future__ import annotations

import json
from typing import Any

from tests.node.container import ContainerNode
from tests.node.reference_answers import TOUCHED, prepare
from tests.node.snapshot import assert_same

ALIASES = 'version = 1\n[aliases]\nown_name = "keep"\nhosts = [{{ ip = "10.0.0.1", names = ["{name}"] }}]\n'
# Exit codes of two commands that start at the same instant.
BOTH = """bai-wizard --headless /root/a.toml & first=$!
bai-wizard --headless /root/b.toml; second=$?
wait $first; echo $? $second"""
SLOW_USERADD = """#!/bin/sh
[ -e /run/waiting ] || { touch /run/waiting; sleep 600; }
exec /usr/sbin/useradd "$@"
"""


def runs(node: ContainerNode) -> list[dict[str, Any]]:
    return [json.loads(line) for line in node.wizard("runs", "--json").out.splitlines()]


def test_the_right_run_is_taken_and_none_of_another_machine(node: ContainerNode) -> None:
    for name in "ab":
        node.write(f"/root/{name}.toml", ALIASES.format(name=f"bai-{name}"))
    before = node.snapshot(TOUCHED)
    completed = node.run(["sh", "-c", BOTH])
    codes = sorted(completed.out.split()[-2:])
    assert codes in (["0", "3"], ["0", "0"]), completed.out + completed.err
    made = runs(node)
    assert len(made) == 2 - codes.count("3"), completed.err
    assert len(node.run(["ls", "/var/lib/bai-wizard/runs"]).out.split()) == len(made)

    # An interrupted run: the executor is killed while it adds the account, after its group.
    prepare(node)
    node.write("/usr/local/sbin/useradd", SLOW_USERADD, 0o755)
    node.run(["bai-wizard", "--headless", "/root/answers.toml", "--only", "account"], detach=True)
    node.wait_for(lambda: node.exists("/run/waiting"), 60, "the executor")
    node.kill(json.loads(node.read("/run/bai-wizard/current.json"))["pid"], "KILL")
    node.wait_for(lambda: runs(node)[-1]["state"] == "interrupted", 60, "the end of the executor")
    interrupted = runs(node)[-1]
    node.run(["rm", "/usr/local/sbin/useradd"], check=True)
    node.write("/root/c.toml", ALIASES.format(name="bai-c"))
    assert node.wizard("--headless", "/root/c.toml").rc == 0
    assert interrupted["run"] in node.wizard("resume", "--plan").err

    # A clone of the disk, and an upgrade of the distribution.
    for path, there in (("/etc/machine-id", "0123456789abcdef" * 2 + "\n"), ("/usr/lib/os-release", "ID=debian\n")):
        original = node.read(path)
        node.write(path, there)
        for command in ("undo", "resume"):
            refused = node.wizard(command)
            assert refused.rc == 3, refused.out + refused.err
            assert "another machine" in refused.err or "across releases" in refused.err, refused.err
        node.write(path, original)

    while (undone := node.wizard("undo")).out:
        assert undone.rc == 0, undone.out + undone.err
    assert "nothing is left to undo" in undone.err
    assert_same(before, node.snapshot(TOUCHED))
