"""What keeps a mount point or an account busy: open files, mount namespaces, processes, lingering."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard.core.consent import Affected
from bai_wizard.resources.mounts import LINGER, refusal_of_account, users_of_gpus, users_of_mount

PYTHON = Affected("process:4711:", "python3 (4711)")
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
        # The root disk itself, which contains the files of all containers.
        ("41 40 8:1 /etc/hosts /etc/hosts rw - ext4 /dev/sda1 rw", ""),
    ],
)
def test_a_container_keeps_the_volume_that_it_has_a_part_of(line: str, used: str, tmp_path: Path) -> None:
    root = proc(tmp_path, f"{ROOT}{line}\n")
    result = {point: users_of_mount(point, root) for point in ("/vfroot/vol1", "/vfroot/disk", "/vfroot/bound")}
    assert {point for point, users in result.items() if users} == ({used} if used else set())
    assert not used or result[used] == (PYTHON,)
    assert users_of_mount("/vfroot", root) == ((PYTHON,) if used else ())


def test_a_process_with_an_open_file_is_reported_once(tmp_path: Path) -> None:
    mounts = f"{ROOT}41 40 0:50 / /home/lab/data rw - nfs4 10.0.0.1:/e/user/data rw\n"
    assert users_of_mount("/vfroot/vol1", proc(tmp_path, mounts, ("/vfroot/vol1/x",))) == (PYTHON,)


def test_a_process_is_known_by_its_start_and_a_container_by_its_id(tmp_path: Path) -> None:
    """The name of a program may hold anything; the container outlives the processes in it."""
    directory = proc(tmp_path, f"{ROOT}", ("/vfroot/vol1/x",))
    (tmp_path / "proc/4711/stat").write_text("4711 (a) b) 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20\n")
    assert users_of_mount("/vfroot/vol1", directory) == (Affected("process:4711:777", "python3 (4711)"),)
    for path in (f"/docker/{'ab' * 32}", f"/system.slice/docker-{'ab' * 32}.scope", f"/x/cri-{'ab' * 32}/init"):
        (tmp_path / "proc/4711/cgroup").write_text(f"0::{path}\n")
        assert users_of_mount("/vfroot/vol1", directory) == (Affected(f"container:{'ab' * 32}", "python3 (4711)"),)


def test_only_the_persistence_daemon_does_not_count_as_a_gpu_user(tmp_path: Path) -> None:
    directory = proc(tmp_path, f"{ROOT}", ("/dev/nvidia0",))
    (tmp_path / "proc/4711/comm").write_text("nvidia-persiste\n")
    assert users_of_gpus(directory) == ()
    (tmp_path / "proc/4711/comm").write_text("nvidia-persist2\n")
    assert len(users_of_gpus(directory)) == 1


IN_A_NAMESPACE = """
import ctypes, subprocess, sys
from bai_wizard.resources.mounts import users_of_mount
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
    print(how, any(user.name.endswith(f"({child.pid})") for user in found))
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


@pytest.mark.parametrize(
    "group,lingers,told",
    [
        ("user@1100.service/init.scope", False, ""),
        ("user@1100.service/init.scope", True, "run `loginctl disable-linger bai`"),
        ("user@1100.service/app.slice/a.service", True, "bai runs python3 (4711)"),
        ("session-3.scope", False, "bai runs python3 (4711)"),
        ("", False, "bai runs python3 (4711)"),
    ],
)
def test_an_idle_user_manager_does_not_keep_the_account(group: str, lingers: bool, told: str, tmp_path: Path) -> None:
    root = proc(tmp_path, ROOT)
    (tmp_path / "proc/4711/status").write_text("Name:\tpython3\nUid:\t1100\t1100\t1100\t1100\n")
    (tmp_path / "proc/4711/cgroup").write_text(f"0::/user.slice/user-1100.slice/{group}\n")
    if lingers:
        (tmp_path / LINGER[1:]).mkdir(parents=True)
        (tmp_path / LINGER[1:] / "bai").touch()
    refusal = refusal_of_account("bai", 1100, root)
    assert told in refusal
    assert bool(refusal) == bool(told)
    assert "bai runs" not in refusal_of_account("bai", 1101, root)
