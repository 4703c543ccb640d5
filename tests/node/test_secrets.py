"""Passwords from a systemd credential and from a program, in effect on a real node, and in none of its files."""

from __future__ import annotations

from tests.node.container import ContainerNode
from tests.node.reference_answers import ANSWERS, PASSWORD, assert_no_secret, prepare

FILE = '{ file = "/root/bai.password" }'
PROGRAM = "/usr/local/sbin/read-secret"
HEADLESS = ("--headless", "/root/answers.toml", "--only", "account")


def test_a_credential_and_then_a_program(node: ContainerNode) -> None:
    prepare(node, ANSWERS.replace(FILE, '{ credential = "bai" }'))
    refused = node.wizard(*HEADLESS)
    assert (refused.rc, "LoadCredential=bai:PATH" in refused.err) == (2, True), refused.err
    # As systemd does when a machine boots: otherwise units do not see the mounts of their credentials.
    node.run(["mount", "--make-rshared", "/"], check=True)
    unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--property=LoadCredential=bai:/root/bai.password"]
    done = node.run([*unit, "/usr/local/bin/bai-wizard", *HEADLESS], timeout=300)
    assert done.rc == 0, done.out + done.err
    assert node.ssh_login("bai", PASSWORD, "id -un").out.strip() == "bai"

    # The same password from a program: nothing to change. Another one is set.
    prepare(node, ANSWERS.replace(FILE, f'{{ command = ["{PROGRAM}", "bai"] }}'))
    script = "#!/bin/sh\ncat /root/$1.password\n"
    node.write(PROGRAM, script, 0o755)
    plan = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert plan.rc == 0, plan.out + plan.err
    node.write("/root/bai.password", "another correct horse\n", 0o600)
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert node.ssh_login("bai", "another correct horse", "id -un").out.strip() == "bai"
    assert node.ssh_login("bai", PASSWORD, "id -un").rc != 0

    node.write(PROGRAM, f"{script}exit 1\n", 0o755)
    failed = node.wizard(*HEADLESS)
    assert (failed.rc, f"{PROGRAM} exited with 1" in failed.err) == (2, True), failed.err
    assert "another correct horse" not in failed.out + failed.err
    node.run(["chmod", "777", PROGRAM], check=True)
    assert node.wizard(*HEADLESS).rc == 3
    assert_no_secret(node)
