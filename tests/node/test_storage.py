"""Volumes on a container node: a directory shown at a second place, mounted through systemd and taken back."""

from __future__ import annotations

from tests.node.container import ContainerNode
from tests.node.snapshot import difference
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
    assert difference(before, node.snapshot((*TOUCHED, "/srv"))) == []
