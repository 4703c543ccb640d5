"""Files below a root directory are written completely, with owner and mode, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.state import Entry
from bai_wizard.node import regular
from bai_wizard.resources.files import MakeDirectory
from bai_wizard.resources.local import LocalMachine

UID, GID = os.geteuid(), os.getegid()


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    (tmp_path / "etc").mkdir()
    return LocalMachine(str(tmp_path))


def left_over(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if "bai-wizard" in name]


def test_a_written_file_reads_back_with_owner_and_mode(machine: LocalMachine, tmp_path: Path) -> None:
    machine.files.write("/etc/a.conf", b"one\n", UID, GID, 0o640)
    assert machine.entry("/etc/a.conf") == Entry("file", UID, GID, 0o640, b"one\n")
    machine.files.write("/etc/a.conf", b"", UID, GID, 0o4755)
    assert machine.entry("/etc/a.conf") == Entry("file", UID, GID, 0o4755, b"")
    assert left_over(tmp_path / "etc") == []


@pytest.mark.needs_root
def test_owner_and_mode_are_set_although_the_umask_is_strict(machine: LocalMachine) -> None:
    old = os.umask(0o077)
    try:
        machine.files.write("/etc/a.conf", b"x", 64001, 64002, 0o664)
        machine.files.make_directory("/etc/d", 64001, 64002, 0o2775)
    finally:
        os.umask(old)
    assert machine.entry("/etc/a.conf") == Entry("file", 64001, 64002, 0o664, b"x")
    assert machine.entry("/etc/d") == Entry("directory", 64001, 64002, 0o2775)


def test_a_link_is_replaced_and_its_target_stays(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "etc/target").write_text("theirs")
    os.symlink("target", tmp_path / "etc/a.conf")
    machine.files.write("/etc/a.conf", b"ours", UID, GID, 0o644)
    assert (tmp_path / "etc/target").read_text() == "theirs"
    assert not (tmp_path / "etc/a.conf").is_symlink()


def test_links_are_read_made_and_removed(machine: LocalMachine, tmp_path: Path) -> None:
    machine.files.make_link("/etc/link", "../else where", UID, GID)
    assert machine.entry("/etc/link") == Entry("link", UID, GID, 0o777, target="../else where")
    machine.files.remove("/etc/link")
    assert machine.entry("/etc/link") is None


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_paths_that_are_not_files_are_not_opened(machine: LocalMachine, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "etc/odd"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        if os.geteuid() != 0:
            pytest.skip("devices are root's to make")
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    # Opening it would hang: the test's own time limit ends that.
    entry = machine.entry("/etc/odd")
    assert entry is not None
    assert entry.type == "other"
    with pytest.raises(StepFailed):
        machine.files.write("/etc/odd", b"x", UID, GID, 0o644)


def test_a_directory_with_content_is_kept(machine: LocalMachine, tmp_path: Path) -> None:
    machine.files.make_directory("/etc/d", UID, GID, 0o755)
    (tmp_path / "etc/d/theirs").write_text("x")
    with pytest.raises(StepFailed, match="not changed"):
        machine.files.remove("/etc/d")
    (tmp_path / "etc/d/theirs").unlink()
    machine.files.remove("/etc/d")
    machine.files.remove("/etc/d")
    assert machine.entry("/etc/d") is None


def test_a_large_file_is_known_without_its_content(machine: LocalMachine, tmp_path: Path) -> None:
    with open(tmp_path / "etc/large", "wb") as file:
        file.truncate((8 << 20) + 1)
    entry = machine.entry("/etc/large")
    assert entry is not None
    assert entry.content is None
    assert entry.type == "file"


def test_absent_paths_read_as_none_and_list_as_empty(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "etc/file").write_text("")
    assert machine.entry("/etc/none/deep") is None
    assert machine.entry("/etc/file/below") is None
    assert machine.names("/etc/none") == ()
    assert machine.names("/etc") == ("file",)
    assert machine.names("/") == ("etc",)
    assert machine.changed_at("/etc/none") == 0.0
    assert abs(machine.changed_at("/etc/file") - time.time()) < 60


@pytest.mark.parametrize("path", ["etc/a", "/etc/../a", "/", "/etc/\0a"])
def test_a_path_that_climbs_is_refused(machine: LocalMachine, path: str) -> None:
    with pytest.raises((ValueError, StateUnknown)):
        machine.entry(path)


def test_a_validator_that_refuses_leaves_the_old_file(machine: LocalMachine, tmp_path: Path) -> None:
    machine.files.write("/etc/a.conf", b"old", UID, GID, 0o644)
    seen: list[bytes] = []

    def refuse(temporary: str) -> None:
        seen.append(Path(temporary).read_bytes())
        raise StepFailed("line 1: no")

    with pytest.raises(StepFailed, match="line 1: no"):
        machine.files.write("/etc/a.conf", b"new", UID, GID, 0o644, check=refuse)
    assert seen == [b"new"]
    assert (tmp_path / "etc/a.conf").read_bytes() == b"old"
    assert left_over(tmp_path / "etc") == []


def test_leftovers_of_a_kill_are_removed_by_the_next_write(machine: LocalMachine, tmp_path: Path) -> None:
    left = tmp_path / "etc" / regular.temporary("a.conf")
    left.write_text("half")
    machine.files.write("/etc/a.conf", b"whole", UID, GID, 0o644)
    assert left_over(tmp_path / "etc") == []
    left.write_text("half")
    machine.files.remove("/etc/a.conf")
    assert os.listdir(tmp_path / "etc") == []


def kill_while(act: Callable[[], None], after: float) -> None:
    """Runs `act` over and over in a child and kills it by signal 9."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                act()
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(child, 9)
    os.waitpid(child, 0)


def test_a_kill_at_any_instant_leaves_the_old_or_the_new_file(machine: LocalMachine, tmp_path: Path) -> None:
    contents = (b"a" * 300_000, b"b" * 300_000)

    def write_both() -> None:
        for content in contents:
            machine.files.write("/etc/a.conf", content, UID, GID, 0o640)

    machine.files.write("/etc/a.conf", contents[1], UID, GID, 0o640)
    for number in range(20):
        kill_while(write_both, 0.03 + number * 0.002)
        assert (tmp_path / "etc/a.conf").read_bytes() in contents
        assert (tmp_path / "etc/a.conf").stat().st_mode & 0o7777 == 0o640


def test_readers_see_whole_files_only(machine: LocalMachine, tmp_path: Path) -> None:
    machine.files.write("/etc/a.conf", b"a" * 100_000, UID, GID, 0o644)
    done = threading.Event()
    wrong: list[int] = []

    def watch() -> None:
        while not done.is_set():
            data = (tmp_path / "etc/a.conf").read_bytes()
            if data not in (b"a" * 100_000, b"b" * 100_000):
                wrong.append(len(data))

    thread = threading.Thread(target=watch)
    thread.start()
    for number in range(100):
        machine.files.write("/etc/a.conf", (b"a", b"b")[number % 2] * 100_000, UID, GID, 0o644)
    done.set()
    thread.join()
    assert wrong == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of one MiB below etc/."""
    point = tmp_path / "etc/small"
    point.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(point)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounts are not allowed here")
    return point


@pytest.mark.needs_root
def test_no_space_leaves_the_old_file_and_nothing_else(small_disk: Path, tmp_path: Path) -> None:
    machine = LocalMachine(str(tmp_path))
    try:
        machine.files.write("/etc/small/a.conf", b"old\n", 0, 0, 0o644)
        with pytest.raises(StepFailed, match=r"no space left on .*old file intact"):
            machine.files.write("/etc/small/a.conf", b"x" * (2 << 20), 0, 0, 0o644)
        assert (small_disk / "a.conf").read_bytes() == b"old\n"
        assert os.listdir(small_disk) == ["a.conf"]
    finally:
        subprocess.run(["umount", "--lazy", str(small_disk)], check=True)


@pytest.mark.needs_root
def test_a_read_only_file_system_is_named(small_disk: Path, tmp_path: Path) -> None:
    machine = LocalMachine(str(tmp_path))
    try:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with pytest.raises(StepFailed, match="read-only"):
            machine.files.write("/etc/small/a.conf", b"x", 0, 0, 0o644)
    finally:
        subprocess.run(["umount", "--lazy", str(small_disk)], check=True)


@pytest.mark.needs_root
def test_a_bind_mounted_file_is_written_in_place(machine: LocalMachine, tmp_path: Path) -> None:
    source, target = tmp_path / "real", tmp_path / "etc/hosts"
    source.write_bytes(b"127.0.0.1 localhost and much more\n")
    target.touch()
    if subprocess.run(["mount", "--bind", str(source), str(target)], check=False).returncode != 0:
        pytest.skip("mounts are not allowed here")
    try:
        machine.files.write("/etc/hosts", b"short\n", 0, 0, 0o600)
        assert source.read_bytes() == b"short\n"
        assert machine.entry("/etc/hosts") == Entry("file", 0, 0, 0o600, b"short\n")
        assert left_over(tmp_path / "etc") == []
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


def test_an_unexpected_errno_keeps_its_message(
    machine: LocalMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StepFailed, match=r"/etc/a\.conf: input/output error"):
        machine.files.write("/etc/a.conf", b"x", UID, GID, 0o644)
    monkeypatch.undo()
    assert os.listdir(tmp_path / "etc") == []


@pytest.mark.needs_root
def test_a_directory_appears_with_its_owner_or_not_at_all(machine: LocalMachine, tmp_path: Path) -> None:
    def make_and_remove() -> None:
        machine.files.make_directory("/etc/d", 64001, 64001, 0o2770)
        machine.files.remove("/etc/d")

    for number in range(30):
        kill_while(make_and_remove, 0.005 + number * 0.001)
        assert machine.entry("/etc/d") in (None, Entry("directory", 64001, 64001, 0o2770))
        machine.sweep(MakeDirectory("/etc/d"))
        assert left_over(tmp_path / "etc") == []
