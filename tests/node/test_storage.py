"""Volumes on a container node: a directory shown at a second place, mounted through systemd and taken back."""

from __future__ import annotations

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.snapshot import assert_same
from tests.node.spine import TOUCHED

ANSWERS = """
version = 1
[account]
sudo = "no"
[[storage.volumes]]
name = "bound"
type = "bind"
source = "/srv/vendor/vol"
owner = "set"
version_file = "if-empty"
guard = false
"""
HEADLESS = ("--headless", "/root/answers.toml")


def test_a_bound_directory(node: ContainerNode) -> None:
    node.write("/root/answers.toml", ANSWERS, 0o600)
    missing = node.wizard(*HEADLESS)
    assert missing.rc == 3, missing.out + missing.err
    assert "/srv/vendor/vol is no directory" in missing.out + missing.err
    node.run(["mkdir", "-p", "/srv/vendor/vol"], check=True)
    before = node.snapshot((*TOUCHED, "/srv"))
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert node.read("/srv/vendor/vol/version.txt") == b"3\n"
    assert node.run(["findmnt", "--mountpoint", "/vfroot/bound"]).rc == 0
    again = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    # Somebody unmounts it by hand: the plan sees it, and the directory is empty again.
    node.run(["umount", "/vfroot/bound"], check=True)
    drifted = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert drifted.rc == 7
    assert "mount /vfroot/bound" in drifted.out
    node.run(["mount", "/vfroot/bound"], check=True)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot((*TOUCHED, "/srv")))


TWO = """
version = 1
[account]
sudo = "no"
[storage]
volumes = [
  { name = "vendor", type = "existing" },
  { name = "guarded", type = "bind", source = "/srv/vendor/vol" },
]
"""
AGENT = "[container]\nkernel-uid = 1500\nkernel-gid = 1500\n"


def test_what_a_vendor_mounts_is_looked_at_and_containers_can_write(node_factory: NodeFactory) -> None:
    node = node_factory(tmpfs={"/srv/vendor": "mode=0755"})
    node.write("/root/answers.toml", TWO, 0o600)
    node.run(["mkdir", "-p", "/srv/vendor/vol", "/etc/backend.ai"], check=True)
    node.run(["chown", "1100:1100", "/srv/vendor/vol"], check=True)
    absent = node.wizard(*HEADLESS)
    assert absent.rc == 3, absent.out + absent.err
    assert "nothing is mounted at /vfroot/vendor" in absent.out + absent.err
    node.run(["mkdir", "-p", "/vfroot/vendor"], check=True)
    node.run(["mount", "-t", "tmpfs", "vendor", "/vfroot/vendor"], check=True)

    # The agent's containers have another uid than the account, and the directory is the account's alone.
    node.write("/etc/backend.ai/agent.toml", AGENT)
    fstab = node.read("/etc/fstab") if node.exists("/etc/fstab") else b""
    closed = node.wizard(*HEADLESS)
    assert closed.rc == 4, closed.out + closed.err
    assert "1500:1500 (1500:1500) cannot write to /vfroot/guarded" in closed.out + closed.err
    assert (node.read("/etc/fstab") if node.exists("/etc/fstab") else b"") == fstab
    assert node.run(["findmnt", "--mountpoint", "/vfroot/guarded"]).rc != 0

    node.run(["chmod", "1777", "/srv/vendor/vol"], check=True)
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert "/vfroot/vendor belongs to 0:0, not to bai" in done.out
    assert node.run(["ls", "-A", "/srv/vendor/vol"]).out == "", "what was tried is gone again"
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    node.run(["umount", "/vfroot/guarded"], check=True)
    assert node.run(["touch", "/vfroot/guarded/lost"]).rc != 0, "the guard keeps the root disk clean"
