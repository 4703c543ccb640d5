"""Homes that root cannot create, with real file systems, and an account that is to have no sudo access."""

from __future__ import annotations

import json

from tests.node.container import ContainerNode

RUN = ("--headless", "/root/answers.toml")


def test_a_home_that_cannot_be_created_and_no_sudo(node: ContainerNode) -> None:
    node.write("/root/answers.toml", 'version = 1\n[account]\nsudo = "no"\n', 0o600)
    for options, cause in (("ro,mode=755", "mounted read-only"), ("mode=1777", "all users can write to /home")):
        node.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "/home"], check=True)
        refused = node.wizard(*RUN)
        assert refused.rc == 3, refused.out
        assert cause in refused.out + refused.err
        assert node.run(["id", "bai"]).rc != 0, "nothing was changed"
        node.run(["umount", "/home"], check=True)
    done = node.wizard(*RUN)
    assert done.rc == 0, done.out + done.err
    doctor = node.wizard("doctor", "--only", "account", "--json")
    lines = [json.loads(line) for line in doctor.out.splitlines()]
    text = [str(line) for line in lines if "account.sudo-missing" in str(line)]
    assert lines
    assert not [line for line in text if "warning" in line], text
