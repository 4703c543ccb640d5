"""Undo on a real node after others edited every file of the run, and while the account is active."""

from __future__ import annotations

import pytest

from tests.node.container import ContainerNode
from tests.node.reference_answers import prepare
from tests.sampling import sampled

ANSWERS = """
version = 1
[account]
sudo = "nopasswd"
groups = ["adm"]
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example"]
[tuning]
[aliases]
own_name = "keep"
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"] }, { ip = "10.20.30.20", names = ["bai-a01"] } ]
[[storage.volumes]]
name = "bound"
type = "bind"
source = "/srv/vol"
owner = "set"
guard = false
"""
HEADLESS = ("--headless", "/root/answers.toml")
# What others append to each file, in its own grammar.
THEIRS = {
    "/etc/hosts": "192.0.2.7 printer",
    "/etc/fstab": "tmpfs /mnt tmpfs noauto 0 0",
    "/etc/sudoers.d/90-bai-wizard-bai": "games ALL=(ALL) ALL",
    "/etc/security/limits.d/99-backendai.conf": "games soft nproc 100",
    "/home/bai/.ssh/authorized_keys": f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'J' * 42} x@y",
    "/home/bai/.bashrc": "alias ll='ls -l'",
}
STATE = "cd / && find var/lib/bai-wizard run/bai-wizard etc home vfroot -printf '%p %m %U %s %T@\\n' | sort; mount"


@pytest.fixture
def applied(node: ContainerNode) -> ContainerNode:
    node.own_hosts_file()
    prepare(node, ANSWERS)
    node.run(["mkdir", "-p", "/srv/vol"], check=True)
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    return node


def state(node: ContainerNode) -> str:
    return node.run(["sh", "-c", STATE], check=True).out


# An ordinary run has the edits of test_eight_pages.py, in the files of all pages.
@pytest.mark.soak
@pytest.mark.parametrize("force", sampled("undo parts", [(), ("--force",)], 1))
def test_edits_of_others_stay(applied: ContainerNode, force: tuple[str, ...]) -> None:
    node = applied
    sysctl = node.run(["sh", "-c", "ls /etc/sysctl.d/*bai* /etc/sysctl.d/*backendai*"]).out.split()
    theirs = {**THEIRS, **dict.fromkeys(sysctl, "net.ipv4.tcp_sack = 1")}
    for path, line in theirs.items():
        assert node.run(["test", "-f", path]).rc == 0, path
        node.run(["tee", "-a", path], input=line + "\n", check=True)
    node.run(["chmod", "0640", "/etc/fstab"], check=True)
    node.run(["usermod", "-s", "/bin/sh", "bai"], check=True)
    before = state(node)
    planned = node.wizard("undo", "--plan", *force)
    assert planned.rc == 0, planned.out + planned.err
    assert state(node) == before, "the plan changed something"
    undone = node.wizard("undo", *force)
    assert undone.rc == 0, undone.out + undone.err
    for path, line in theirs.items():
        text = node.read(path).decode()
        assert line in text.splitlines(), path
        assert not any(word in text for word in ("bai-wizard", "Backend.AI", "10.20.30", "/vfroot", "nofile")), text
    assert node.run(["stat", "-c", "%a", "/etc/fstab"]).out.strip() == "640"
    assert node.run(["visudo", "-c"]).rc == 0
    assert node.run(["findmnt", "--verify"]).rc == 0
    assert node.run(["findmnt", "/vfroot/bound"]).rc != 0
    assert (node.run(["id", "bai"]).rc == 0) == (not force), "an account stays as long as its home"


def test_busy_resources_are_reported_first_and_kept_entirely(applied: ContainerNode) -> None:
    """The review's S2-2."""
    node = applied
    node.run(["chown", "bai:", "/vfroot/bound"], check=True)
    node.run(["touch", "/srv/vol/data"], check=True)
    job = ["systemd-run", "--unit=job", "--uid=bai", "--working-directory=/vfroot/bound", "sleep", "600"]
    node.run(job, check=True)
    before = state(node)
    planned = node.wizard("undo", "--plan")
    assert planned.rc == 4, planned.out + planned.err
    assert "bai runs sleep" in planned.out
    assert "/vfroot/bound is in use by sleep" in planned.out
    assert state(node) == before, "the plan changed something"
    undone = node.wizard("undo")
    assert undone.rc == 4, undone.out + undone.err
    assert node.run(["id", "bai"]).rc == 0
    assert node.run(["test", "-f", "/home/bai/.bashrc"]).rc == 0
    assert node.run(["findmnt", "/vfroot/bound"]).rc == 0
    assert b"/vfroot/bound" in node.read("/etc/fstab")
    assert b"10.20.30" not in node.read("/etc/hosts")
    node.run(["systemctl", "stop", "job"], check=True)
    again = node.wizard("undo")
    assert again.rc == 0, again.out + again.err
    assert node.run(["id", "bai"]).rc != 0
    assert node.run(["test", "-e", "/home/bai"]).rc != 0
    assert b"/vfroot" not in node.read("/etc/fstab")
    assert node.run(["test", "-f", "/srv/vol/data"]).rc == 0
