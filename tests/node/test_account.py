"""The account on a real node as seen by other tools, and an account that plants links to root's files."""

from __future__ import annotations

import pytest

from tests.node.container import ContainerNode
from tests.node.snapshot import assert_same
from tests.sampling import sampled

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example"
ANSWERS = f"""version = 1
[account]
sudo = "nopasswd"
groups = ["adm"]
password = {{ file = "/root/password" }}
authorized_keys = ["{KEY}"]
"""
PASSWORD = "the clear text ÄÖ 42"
RUN = ("--headless", "/root/answers.toml")
TOUCHED = ("/etc", "/home", "/root")
VICTIM = "/root/victim"


@pytest.fixture
def ready(node: ContainerNode) -> ContainerNode:
    """A node with answers, and a directory of root that must not change."""
    node.write("/root/answers.toml", ANSWERS, 0o600)
    node.write("/root/password", PASSWORD + "\n", 0o600)
    node.write(f"{VICTIM}/authorized_keys", "root's own\n", 0o600)
    return node


def adopt(node: ContainerNode) -> None:
    """An account that was created by hand."""
    node.run(["groupadd", "--gid", "1100", "bai"], check=True)
    node.run(["useradd", "--uid", "1100", "--gid", "1100", "-m", "-s", "/bin/bash", "bai"], check=True)


def victim(node: ContainerNode) -> str:
    return node.run(["sh", "-c", f"ls -lan --time-style=full-iso {VICTIM}; cat {VICTIM}/*"], check=True).out


def test_made_then_nothing_then_undone(ready: ContainerNode) -> None:
    node = ready
    before = node.snapshot(TOUCHED)
    done = node.wizard(*RUN)
    assert done.rc == 0, done.out + done.err
    assert node.run(["id", "bai"]).out.strip() == "uid=1100(bai) gid=1100(bai) groups=1100(bai),4(adm),27(sudo)"
    assert node.run(["sudo", "-n", "id", "-u"], user="bai").out.strip() == "0"
    assert node.run(["visudo", "-c"]).rc == 0
    assert node.run(["stat", "-c", "%U:%G %a", "/home/bai", "/home/bai/.bashrc", "/home/bai/.ssh"]).out.split() == [
        "bai:bai", "700", "bai:bai", "644", "bai:bai", "700",
    ]  # fmt: skip
    assert node.ssh_login("bai", PASSWORD, "id -un").out.strip() == "bai"
    again = node.wizard(*RUN, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    node.run(["loginctl", "terminate-user", "bai"])
    node.wait_for(lambda: node.run(["pgrep", "-u", "bai"]).rc != 0, 20, "the end of the session")
    node.run(["sh", "-c", "rm -rf /home/bai/.cache /home/bai/.bash_history /home/bai/.sudo_as_admin_successful"])
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert "user root" not in undone.out + undone.err, "root is not in the group for a moment either"
    assert_same(before, node.snapshot(TOUCHED))


def test_undo_restores_an_adopted_account(ready: ContainerNode) -> None:
    node = ready
    adopt(node)
    node.run(["chpasswd"], input="bai:another one", check=True)
    before = node.snapshot(TOUCHED)
    done = node.wizard(*RUN)
    assert done.rc == 0, done.out + done.err
    assert node.wizard("undo").rc == 0
    assert_same(before, node.snapshot(TOUCHED))


PLANTED = (
    f"ln -s {VICTIM} /home/bai/.ssh",
    f"mkdir /home/bai/.ssh; ln -s {VICTIM}/authorized_keys /home/bai/.ssh/authorized_keys",
    f"rm ~/.bashrc ~/.profile ~/.bash_logout; ln -s {VICTIM}/authorized_keys /home/bai/.bashrc",
    "mkdir /home/bai/.ssh; mkfifo /home/bai/.ssh/authorized_keys",
)


@pytest.mark.parametrize("plant", sampled("planted links", PLANTED, 2))
def test_links_seeded_before_a_run_lead_nowhere(ready: ContainerNode, plant: str) -> None:
    node = ready
    adopt(node)
    node.run(["sh", "-c", plant], user="bai", env={"HOME": "/home/bai"}, check=True)
    before = victim(node)
    done = node.wizard(*RUN)
    assert done.rc in (0, 3), done.out + done.err
    assert victim(node) == before
    node.wizard("undo")
    assert victim(node) == before


def test_directories_swapped_during_runs_and_before_undo(ready: ContainerNode) -> None:
    """The account swaps its ~/.ssh for a link to root's directory, hundreds of times while the wizard works."""
    node = ready
    adopt(node)
    swap = (
        "mkdir -p /home/bai/real; cd /home/bai; while :; do"
        f" rm -rf .ssh; ln -s {VICTIM} .ssh; rm -f .ssh; mkdir .ssh; done"
    )
    before = victim(node)
    node.run(["sh", "-c", swap], user="bai", detach=True)
    outcomes = []
    for _ in range(4):
        outcomes.append(node.wizard(*RUN).rc)
        assert victim(node) == before
        node.wizard("undo")
        assert victim(node) == before
    assert set(outcomes) <= {0, 3, 4}
    node.run(["pkill", "-KILL", "-u", "bai"])
    node.run(["sh", "-c", "rm -rf /home/bai/.ssh"])
    assert node.wizard(*RUN).rc == 0
    node.run(["sh", "-c", f"rm -rf /home/bai/.ssh; ln -s {VICTIM} /home/bai/.ssh"], user="bai", check=True)
    assert node.wizard("undo").rc == 4, "what is no longer ours is left alone and told"
    assert victim(node) == before


DIRECTORY = """version = 1
[account]
source = "directory"
sudo = "nopasswd"
groups = ["adm"]
"""


def test_a_directorys_account_is_distinguished_and_never_shadowed(ready: ContainerNode) -> None:
    """A name service of its own (libnss-extrausers) stands for LDAP and SSSD: its users are in no local file."""
    node = ready
    node.run(["apt-get", "-qq", "update"], timeout=120, check=True)
    node.run(["apt-get", "-qq", "install", "--yes", "libnss-extrausers"], timeout=120, check=True)
    node.run(
        ["sed", "-i", "-E", "s/^(passwd|group|shadow):.*/\\1: files extrausers/", "/etc/nsswitch.conf"], check=True
    )
    node.write("/var/lib/extrausers/group", "bai:x:1100:\n")
    node.write("/var/lib/extrausers/shadow", "bai:*:20000:0:99999:7:::\n", 0o640, "root:shadow")
    node.write("/var/lib/extrausers/passwd", "bai:x:1100:1100::/home/bai:/bin/bash\n")
    node.run(["install", "-d", "-o", "1100", "-g", "1100", "-m", "0700", "/home/bai"], check=True)
    before = node.snapshot(TOUCHED)
    shadowing = node.wizard(*RUN)
    assert shadowing.rc == 3, shadowing.out
    assert "comes from a directory" in shadowing.err
    node.write("/root/other.toml", 'version = 1\n[account]\nusername = "other"\nsudo = "no"\n')
    taken = node.wizard("--headless", "/root/other.toml")
    assert taken.rc == 3, taken.out
    assert "belongs to the account 'bai'" in taken.err
    node.run(["rm", "/root/other.toml"], check=True)
    assert_same(before, node.snapshot(TOUCHED))
    node.write("/root/answers.toml", DIRECTORY, 0o600)
    before = node.snapshot(TOUCHED)
    done = node.wizard(*RUN)
    assert done.rc == 0, done.out + done.err
    assert node.run(["id", "bai"]).out.strip() == "uid=1100(bai) gid=1100(bai) groups=1100(bai),4(adm),27(sudo)"
    assert node.run(["runuser", "-u", "bai", "--", "sudo", "-n", "id", "-u"]).out.strip() == "0"
    assert b"bai:x:1100" not in node.read("/etc/passwd") + node.read("/etc/group")
    assert node.wizard(*RUN, "--plan", "--detailed-exitcode").rc == 0
    node.run(["rm", "-f", "/home/bai/.sudo_as_admin_successful"], check=True)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))


def test_a_node_without_sudo_gets_it_before_the_rule(ready: ContainerNode) -> None:
    node = ready
    purged = node.run(["apt-get", "-qq", "purge", "--yes", "sudo"], env={"SUDO_FORCE_REMOVE": "yes"}, timeout=120)
    assert purged.rc == 0, purged.err
    node.run(["sh", "-c", "rm -rf /etc/sudoers /etc/sudoers.d"], check=True)
    done = node.wizard(*RUN)
    assert done.rc == 0, done.out + done.err
    assert node.run(["sudo", "-n", "id", "-u"], user="bai").out.strip() == "0"
    assert node.run(["sudo", "-l", "-U", "nobody"]).out.count("not allowed") == 1
    assert node.wizard(*RUN, "--plan", "--detailed-exitcode").rc == 0


def test_sudo_rs_reads_the_rule_too(ready: ContainerNode) -> None:
    """Ubuntu 26.04 has it instead of sudo; Debian packages it under another name."""
    node = ready
    adopt(node)
    node.run(["sh", "-c", "apt-get -qq update && apt-get -qq install --yes sudo-rs"], timeout=300, check=True)
    assert node.wizard(*RUN).rc == 0
    # The name is what counts for sudo-rs's PAM service and its own file of rules.
    node.run(["sh", "-c", "test -e /etc/sudoers-rs || ln -s /etc/sudoers /etc/sudoers-rs"], check=True)
    completed = node.run(["sudo-rs", "-n", "id", "-u"], user="bai")
    assert completed.out.strip() == "0", completed.err
    assert node.run(["sudo-rs", "-n", "id", "-u"], user="daemon").rc != 0
