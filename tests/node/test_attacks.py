"""The account plants links and swaps directories before, during and after a run and before undo."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.node.container import ContainerNode
from tests.node.reference_answers import ANSWERS, prepare
from tests.node.snapshot import assert_same

ATTACKER = Path(__file__).with_name("attacker.py").read_text()
MARK = "the prize is not for the account"
OUTSIDE = ("/var/prize", "/root/keep")


def with_attacker(node: ContainerNode) -> None:
    """An account that is there already, a prize that is root's, and a process that wants it."""
    prepare(node, ANSWERS + NETWORK)
    node.run(["groupadd", "-g", "1100", "bai"], check=True)
    node.run(["useradd", "-m", "-u", "1100", "-g", "1100", "-s", "/bin/bash", "bai"], check=True)
    node.run(["install", "-d", "-o", "bai", "-g", "bai", "/vfroot", "/vfroot/local"], check=True)
    node.run(["install", "-d", "-m", "0700", "/var/prize", "/root/keep"], check=True)
    for name in ("authorized_keys", "file", "version.txt", ".bashrc"):
        node.write(f"/var/prize/{name}", MARK + "\n", 0o600)
    node.write("/usr/local/lib/attacker.py", ATTACKER)


# The optional steps of a page: a run in which nothing else failed ends with 6.
OPTIONAL = {"storage": {"storage.local.layout"}}
NETWORK = '[network]\nproxy = { http = "http://127.0.0.1:9" }\n'


@pytest.mark.parametrize("page", ["account", "storage", "tuning", "node,aliases"])
def test_nothing_outside_is_read_written_or_deleted(node: ContainerNode, page: str) -> None:
    with_attacker(node)
    before = node.snapshot(OUTSIDE)
    node.run(["python3", "/usr/local/lib/attacker.py"], user="bai", detach=True)
    node.wait_for(lambda: node.exists("/home/bai/.ssh"), 30, "the attacker's first link")
    message = ""
    for words in (
        ("--headless", "/root/answers.toml", "--only", page, "--plan"),
        ("--headless", "/root/answers.toml", "--only", page),
        ("--headless", "/root/answers.toml", "--only", page),
        ("undo",),
    ):
        done = node.wizard(*words)
        message += done.out + done.err
        # It may refuse or fail while links move; it must not crash or obey them.
        assert done.rc in (0, 3, 4, 6), done.out + done.err
        if done.rc == 6:
            assert set(re.findall(r"(?m)^failed: (\S+):", done.out)) == OPTIONAL.get(page), done.out + done.err
        assert "Traceback" not in message, message
    assert MARK not in message
    assert_same(before, node.snapshot(OUTSIDE))
    assert node.run(["grep", "-rl", MARK, "/home/bai", "/vfroot", "/var/lib/bai-wizard"]).out == ""


def test_links_seeded_beforehand_block_with_the_reason(node: ContainerNode) -> None:
    with_attacker(node)
    node.run(["ln", "-s", "/var/prize", "/home/bai/.ssh"], user="bai", check=True)
    node.run(["ln", "-s", "/var/prize/file", "/vfroot/local/version.txt"], user="bai", check=True)
    before = node.snapshot(OUTSIDE)
    refused = node.wizard("--headless", "/root/answers.toml")
    assert refused.rc in (3, 4), refused.out + refused.err
    assert "link" in refused.err + refused.out
    assert_same(before, node.snapshot(OUTSIDE))


def test_links_planted_before_undo_are_not_followed(node: ContainerNode) -> None:
    prepare(node)
    assert node.wizard("--headless", "/root/answers.toml").rc == 0
    node.run(["install", "-d", "-m", "0700", "/var/prize", "/root/keep"], check=True)
    node.write("/var/prize/authorized_keys", MARK + "\n", 0o600)
    node.run(["mv", "/home/bai/.ssh", "/home/bai/.ssh-real"], user="bai", check=True)
    node.run(["ln", "-s", "/var/prize", "/home/bai/.ssh"], user="bai", check=True)
    before = node.snapshot(OUTSIDE)
    undone = node.wizard("undo")
    assert undone.rc == 4, undone.out
    assert_same(before, node.snapshot(OUTSIDE))
    assert node.exists("/home/bai/.ssh-real/authorized_keys")
