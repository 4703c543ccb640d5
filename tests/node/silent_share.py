"""Shares whose server never responds: a FUSE program in its place sleeps.

Acts like a share of a dead file server, without the kernel's NFS client, which not every machine has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.node.api import Node

FUSE = Path("/dev/fuse")
PROGRAM = f"""
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
for point in sys.argv[1:]:
    device = os.open("{FUSE}", os.O_RDWR)
    options = f"fd={{device}},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead:/vol2", point.encode(), b"fuse.sshfs", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
signal.pause()
"""


def mount_silent_shares(node: Node, points: Sequence[str]) -> None:
    """Mount one at each of these directories. The node needs /dev/fuse."""
    node.run(["mkdir", "-p", *points], check=True)
    node.write("/root/share.py", PROGRAM)
    node.run(["python3", "/root/share.py", *points], detach=True, check=True)
    node.wait_for(
        lambda: all(f" {point} " in node.read("/proc/self/mounts").decode() for point in points),
        what="the silent shares",
    )
