"""Who keeps a mount point busy: by open files, and by mount namespaces that have a part of it for themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.machine.readers.usage import users_of_mount

OURS = """\
20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 20 0:50 / /vfroot/vol1 rw shared:2 - nfs4 10.0.0.1:/e rw
31 20 8:17 / /vfroot/disk rw shared:3 - xfs /dev/sdb1 rw
32 20 8:1 /srv/vol /vfroot/bound rw shared:1 - ext4 /dev/sda1 rw
"""
ROOT = "40 1 0:60 / / rw - overlay overlay rw\n"


def proc(root: Path, mounts: str, files: tuple[str, ...] = ()) -> str:
    """A /proc with ourselves and process 4711, which has mounts of its own."""
    for pid, namespace, text in (("self", "mnt:[1]", OURS), ("4711", "mnt:[2]", mounts)):
        directory = root / "proc" / pid
        (directory / "ns").mkdir(parents=True)
        (directory / "fd").mkdir()
        (directory / "ns/mnt").symlink_to(namespace)
        (directory / "mountinfo").write_text(text)
    (root / "proc/4711/comm").write_text("python3\n")
    for number, path in enumerate(files):
        (root / f"proc/4711/fd/{number}").symlink_to(path)
    return str(root)


@pytest.mark.parametrize(
    "line,used",
    [
        # A folder of the volume as Docker shows it in a container: private.
        ("41 40 0:50 / /home/lab/data rw - nfs4 10.0.0.1:/e/user/data rw", "/vfroot/vol1"),
        ("41 40 8:17 /user/data /home/lab/data rw - xfs /dev/sdb1 rw", "/vfroot/disk"),
        ("41 40 8:1 /srv/vol/user /home/lab/data rw - ext4 /dev/sda1 rw", "/vfroot/bound"),
        # A service with a mount namespace of its own, which unmounting here reaches too.
        ("41 40 0:50 / /vfroot/vol1 rw master:2 - nfs4 10.0.0.1:/e rw", ""),
        # Another export of the same server: the kernel may give both one device.
        ("41 40 0:50 / /home/lab/data rw - nfs4 10.0.0.1:/else rw", ""),
        # The root disk itself, which every container's files lie on.
        ("41 40 8:1 /etc/hosts /etc/hosts rw - ext4 /dev/sda1 rw", ""),
    ],
)
def test_a_container_keeps_the_volume_that_it_has_a_part_of(line: str, used: str, tmp_path: Path) -> None:
    root = proc(tmp_path, f"{ROOT}{line}\n")
    found = {point: users_of_mount(point, root) for point in ("/vfroot/vol1", "/vfroot/disk", "/vfroot/bound")}
    assert {point for point, users in found.items() if users} == ({used} if used else set())
    assert not used or found[used] == ("python3 (4711)",)
    assert users_of_mount("/vfroot", root) == (("python3 (4711)",) if used else ())


def test_who_has_a_file_open_is_told_once(tmp_path: Path) -> None:
    mounts = f"{ROOT}41 40 0:50 / /home/lab/data rw - nfs4 10.0.0.1:/e/user/data rw\n"
    assert users_of_mount("/vfroot/vol1", proc(tmp_path, mounts, ("/vfroot/vol1/x",))) == ("python3 (4711)",)


IN_A_NAMESPACE = """
import ctypes, subprocess, sys
from bai_wizard.machine.readers.usage import users_of_mount
point = sys.argv[1]
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0, "unshare"
assert libc.mount(b"none", b"/", None, ctypes.c_ulong(0x4000 | 1 << 20), None) == 0, "shared"
assert libc.mount(b"none", point.encode(), b"tmpfs", ctypes.c_ulong(0), None) == 0, "tmpfs"
for how in ("private", "slave"):
    child = subprocess.Popen(["unshare", "--mount", "--propagation", how, "sh", "-c", "echo up; exec sleep 60"],
                             stdout=subprocess.PIPE, cwd="/")
    child.stdout.readline()
    found = users_of_mount(point)
    child.kill()
    child.wait()
    print(how, any(user.endswith(f"({child.pid})") for user in found))
"""


@pytest.mark.needs_root
def test_this_machines_own_namespaces(tmp_path: Path) -> None:
    """A namespace that would keep the mount counts, one that follows does not."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", IN_A_NAMESPACE, str(tmp_path)], capture_output=True, text=True,
                          env=environment, check=False)  # fmt: skip
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("this machine lets nobody make a mount namespace")
    assert done.stdout == "private True\nslave False\n", done.stderr
