"""Volumes on a container node: a directory shown at a second place, mounted through systemd and taken back; what a
vendor mounts; and the wizard on a node whose shares do not answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from bai_wizard.pages import ORDER, load
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.silent_share import FUSE, mount_silent_shares
from tests.node.snapshot import assert_same
from tests.node.spine import TOUCHED
from tests.node.test_screen import screen
from tests.tui.terminal import Terminal

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


SHARES = ("a", "b", "c")
FOUR = """
version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
sudo = "no"
[docker]
[tuning]
[aliases]
own_name = "keep"
[storage]
volumes = [
  { name = "local", type = "local" },
  { name = "a", type = "existing" },
  { name = "b", type = "existing" },
  { name = "c", type = "existing" },
]
"""
# Seconds that silent shares may cost a screen, and the wizard's start.
USABLE = 1.0


def walk(one: Terminal) -> list[float]:
    """Seconds until the first page stands, and from a key to each further one: its own summary on the screen."""
    summaries = [load(name).summary[:40] for name in ORDER]
    times = []
    for number, summary in enumerate(summaries):
        begun = time.monotonic()
        if number:
            one.press("down")
        one.until(summary)
        times.append(time.monotonic() - begun)
    return times


def looked(node: ContainerNode, told: Sequence[str]) -> list[float]:
    """The screen from its start through every page, and that the storage page tells what it has to."""
    with screen(node, "--answers", "/root/answers.toml") as one:
        begun = time.monotonic()
        one.until("Storage")
        one.press("home")
        times = [time.monotonic() - begun, *walk(one)]
        one.press("up", "up")
        one.until("Volumes under /vfroot")
        for text in told:
            one.until(text)
    return times


def test_silent_shares_cost_their_own_facts_and_no_screen(node_factory: NodeFactory) -> None:
    """Every screen is as usable as without them; plan and doctor wait for one deadline, however many there are."""
    if not FUSE.exists():
        pytest.skip(f"this machine has no {FUSE}")
    node = node_factory(devices=(str(FUSE),))
    node.write("/root/answers.toml", FOUR, 0o600)
    points = [f"/vfroot/{name}" for name in SHARES]
    for point in points:
        node.run(["mkdir", "-p", point], check=True)
        node.run(["mount", "-t", "tmpfs", "vendor", point], check=True)
    usual = looked(node, ("tmpfs vendor, owner 0:0",))
    begun = time.monotonic()
    assert node.wizard(*HEADLESS, "--plan", "--only", "account,storage", timeout=120).rc == 0
    usual_plan = time.monotonic() - begun

    node.run(["umount", *points], check=True)
    mount_silent_shares(node, points)
    silent = looked(node, ("/vfroot/a", "mounted, but it does not answer", "/vfroot/local"))
    print(f"screens: usual {max(usual):.2f} s, with silent shares {max(silent):.2f} s")
    for page, before, after in zip(("start", *ORDER), usual, silent, strict=True):
        assert after < max(before, USABLE) + USABLE, f"{page}: {after:.2f} s, usually {before:.2f} s"
    begun = time.monotonic()
    plan = node.wizard(*HEADLESS, "--plan", "--only", "account,storage", timeout=120)
    taken = time.monotonic() - begun
    assert plan.rc == 3, plan.out + plan.err
    assert plan.out.count("does not answer") + plan.err.count("does not answer") >= len(SHARES)
    # The plan of everything else is there, and the silent ones cost a read and its end (5 s and 4 s) together.
    assert "/vfroot/local/" in plan.out
    assert taken < usual_plan + 12, f"{taken:.1f} s, usually {usual_plan:.1f} s"
    begun = time.monotonic()
    doctor = node.wizard("doctor", "--only", "nfs-hung", timeout=120)
    assert doctor.rc == 4
    assert all(point in doctor.out for point in points), doctor.out
    assert time.monotonic() - begun < usual_plan + 12
