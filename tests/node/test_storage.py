"""Volumes on a container node: a bind mount, mounted by systemd and undone; what a
vendor mounts; and the wizard on a node whose shares do not answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from bai_wizard.pages import ORDER, load
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.doctor_output import findings_of
from tests.node.drifts import guard
from tests.node.reference_answers import TOUCHED
from tests.node.silent_share import FUSE, mount_silent_shares
from tests.node.snapshot import assert_same
from tests.node.test_screen import screen, to_line
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
HOLDER = "[Unit]\nRequiresMountsFor=/vfroot/bound\n[Service]\nExecStart=/bin/sleep infinity\n"
HEADLESS = ("--headless", "/root/answers.toml")


def test_a_bound_directory(node: ContainerNode) -> None:
    node.write("/root/answers.toml", ANSWERS, 0o600)
    missing = node.wizard(*HEADLESS)
    assert missing.rc == 3, missing.out + missing.err
    assert "/srv/vendor/vol is not a directory on this node" in missing.out + missing.err
    node.run(["mkdir", "-p", "/srv/vendor/vol"], check=True)
    before = node.snapshot((*TOUCHED, "/srv"))
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert node.read("/srv/vendor/vol/version.txt") == b"3\n"
    assert node.run(["findmnt", "--mountpoint", "/vfroot/bound"]).rc == 0
    again = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    # It is unmounted by hand: the plan detects that, and the directory is empty again.
    node.run(["umount", "/vfroot/bound"], check=True)
    drifted = node.wizard(*HEADLESS, "--plan", "--diff", "--detailed-exitcode")
    assert drifted.rc == 7
    assert "mount /vfroot/bound" in drifted.out
    node.run(["mount", "/vfroot/bound"], check=True)
    _refused_while_required(node)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot((*TOUCHED, "/srv")))


def _refused_while_required(node: ContainerNode) -> None:
    """systemd would stop a service together with the mount that it requires: no consent makes undo do that."""
    node.write("/run/systemd/system/holder.service", HOLDER, 0o644)
    node.run(["systemctl", "daemon-reload"], check=True)
    node.run(["systemctl", "start", "holder.service"], check=True)
    for words in (("--plan",), (), ("--force", "--yes-interrupt=umount")):
        refused = node.wizard("undo", *words)
        assert refused.rc == 4, refused.out + refused.err
        assert "/vfroot/bound is required by holder.service" in refused.out + refused.err
        assert node.run(["systemctl", "is-active", "holder.service"]).out.strip() == "active"
        assert node.run(["findmnt", "--mountpoint", "/vfroot/bound"]).rc == 0
    node.run(["systemctl", "stop", "holder.service"], check=True)
    node.run(["rm", "/run/systemd/system/holder.service"], check=True)
    node.run(["systemctl", "daemon-reload"], check=True)


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


def test_a_vendors_mount_is_checked_and_containers_can_write(node_factory: NodeFactory) -> None:
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
    refused = node.wizard(*HEADLESS)
    assert refused.rc == 3, refused.out + refused.err
    assert "1500:1500 (1500:1500) cannot write to /srv/vendor/vol" in refused.out + refused.err
    assert (node.read("/etc/fstab") if node.exists("/etc/fstab") else b"") == fstab
    assert node.run(["getent", "passwd", "bai"]).rc != 0, "nothing was done"

    # Group bits may be the mask of an access control list, so only the test after mounting can tell.
    node.run(["chmod", "0775", "/srv/vendor/vol"], check=True)
    closed = node.wizard(*HEADLESS)
    assert closed.rc == 4, closed.out + closed.err
    assert "1500:1500 (1500:1500) cannot write to /vfroot/guarded" in closed.out + closed.err
    assert (node.read("/etc/fstab") if node.exists("/etc/fstab") else b"") == fstab
    assert node.run(["findmnt", "--mountpoint", "/vfroot/guarded"]).rc != 0

    node.run(["chmod", "1777", "/srv/vendor/vol"], check=True)
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert "/vfroot/vendor is owned by 0:0, not by bai" in done.out
    assert node.run(["ls", "-A", "/srv/vendor/vol"]).out == "", "what was tried is gone again"
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    # The guard is lost beneath the volume: seen while that stays mounted and in use, and set again there.
    lost = f"umount /vfroot/guarded; {guard('/vfroot/guarded', 'clear')}; mount /vfroot/guarded"
    node.run(["sh", "-ec", lost], check=True)
    node.run(["sh", "-c", "cd /vfroot/guarded && exec sleep 1000"], detach=True)
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 7
    assert "storage.drift" in findings_of(node, "--answers", "/root/answers.toml", "--only", "storage.drift")
    repaired = node.wizard(*HEADLESS)
    assert repaired.rc == 0, repaired.out + repaired.err
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    node.run(["pkill", "-x", "sleep"], check=True)
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
# Rows without a change are behind this line.
FOLDED = "already right"


def to_sidebar(one: Terminal) -> None:
    """From a page that is drawn to its end. A digit that is read together with Esc would be another key."""
    one.settle()
    one.press("escape")
    one.until("Review and apply")


def walk(one: Terminal) -> list[float]:
    """Seconds from a key to each page: its own title on the screen."""
    times = []
    for number, name in enumerate(ORDER):
        if number:
            to_sidebar(one)
        begun, title = time.monotonic(), f" {load(name).title}   "
        one.press(str(number))
        one.until(lambda title=title: one.text().splitlines()[1].startswith(title))  # type: ignore[misc]
        times.append(time.monotonic() - begun)
    return times


def looked(node: ContainerNode, lines: Sequence[str]) -> list[float]:
    """The screen from its start through every page, and that the storage page tells what it has to."""
    with screen(node, "--answers", "/root/answers.toml") as one:
        begun = time.monotonic()
        one.until("Storage")
        one.press("home")
        times = [time.monotonic() - begun, *walk(one)]
        to_sidebar(one)
        one.press(str(ORDER.index("storage")))
        for text in lines:
            one.until(text)
            if text == FOLDED:
                to_line(one, text)
                one.press("enter")
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
    usual = looked(node, (FOLDED, "tmpfs vendor,"))
    begun = time.monotonic()
    assert node.wizard(*HEADLESS, "--plan", "--only", "account,storage", timeout=120).rc == 0
    usual_plan = time.monotonic() - begun

    node.run(["umount", *points], check=True)
    mount_silent_shares(node, points)
    silent = looked(node, ("/vfroot/a", "mounted, but", "/vfroot/local"))
    print(f"screens: usual {max(usual):.2f} s, with silent shares {max(silent):.2f} s")
    for page, before, after in zip(("start", *ORDER), usual, silent, strict=True):
        assert after < 3 * max(before, USABLE), f"{page}: {after:.2f} s, usually {before:.2f} s"
    begun = time.monotonic()
    plan = node.wizard(*HEADLESS, "--plan", "--diff", "--only", "account,storage", timeout=120)
    taken = time.monotonic() - begun
    assert plan.rc == 3, plan.out + plan.err
    assert plan.out.count("does not respond") + plan.err.count("does not respond") >= len(SHARES)
    # The plan of everything else is there, and the silent ones cost a read and its end (5 s and 4 s) together.
    assert "/vfroot/local/" in plan.out
    assert taken < 3 * usual_plan + 12, f"{taken:.1f} s, usually {usual_plan:.1f} s"
    begun = time.monotonic()
    doctor = node.wizard("doctor", "--only", "storage.nfs-hung", timeout=120)
    assert doctor.rc == 4
    assert all(point in doctor.out for point in points), doctor.out
    assert time.monotonic() - begun < 3 * usual_plan + 12
