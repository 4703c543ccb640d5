"""One process of an account makes all reads below its directories, and nothing is left of it afterwards."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.state import Entry, Key, Package
from bai_wizard.node import files
from bai_wizard.node.helper import helpers
from bai_wizard.resources.local import LocalMachine
from tests.waiting import PATIENCE, ends, until

pytestmark = pytest.mark.needs_root

EVE, BOB = 4242, 4243
forks: list[int] = []
os.register_at_fork(after_in_parent=lambda: forks.append(1))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LocalMachine]:
    """Two homes with a file each, and one that its owner cannot read."""
    tmp_path.chmod(0o755)
    (tmp_path / "etc").mkdir()
    for name, uid in (("eve", EVE), ("bob", BOB)):
        home = tmp_path / "home" / name
        home.mkdir(parents=True)
        (home / "text").write_text(name)
        (home / "secret").write_text("of root")
        for path in (home, home / "text"):
            os.chown(path, uid, uid)
        (home / "secret").chmod(0o600)
    forks.clear()
    others.clear()
    others.update(children())
    yield LocalMachine(str(tmp_path))
    assert children() == set()


# Children that other tests have left behind.
others: set[int] = set()


def children() -> set[int]:
    return {int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()} - others


def test_all_reads_of_an_account_need_one_process(machine: LocalMachine) -> None:
    with machine.helpers():
        for _ in range(20):
            assert machine.text("/home/eve/text") == "eve"
            assert machine.names("/home/eve") == ("secret", "text")
            assert machine.entry("/home/eve/missing") is None
            assert machine.changed_at("/home/eve/text") > 0
    assert len(forks) == 1
    assert machine.text("/home/eve/text") == "eve"
    assert len(forks) == 2


def test_each_account_has_its_own_process_and_rights(machine: LocalMachine) -> None:
    with machine.helpers():
        assert [machine.text(f"/home/{name}/text") for name in ("eve", "bob")] == ["eve", "bob"]
        owners = {os.stat(f"/proc/{child}/mem").st_uid for child in children()}
        ids = {Path(f"/proc/{child}/status").read_text().split("Uid:\t")[1].split("\t")[0] for child in children()}
        for name in ("eve", "bob"):
            with pytest.raises(StateUnknown, match="permission denied"):
                machine.entry(f"/home/{name}/secret")
    assert len(forks) == 2
    assert ids == {str(EVE), str(BOB)}
    assert owners == {0}, "the account could read the memory of its process"


def test_a_process_keeps_neither_files_nor_directories_open(machine: LocalMachine) -> None:
    with machine.helpers():
        machine.text("/home/eve/text")
        (child,) = children()
        held = {os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd") if int(name) > 2}
        assert {each.partition(":")[0] for each in held} == {"socket"}
        assert os.readlink(f"/proc/{child}/cwd") == "/"


def test_a_process_that_the_account_kills_or_stops_is_replaced(
    machine: LocalMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "READ_DEADLINE", 0.5)
    with machine.helpers():
        for number in (signal.SIGKILL, signal.SIGSTOP):
            machine.text("/home/eve/text")
            (child,) = children()
            os.kill(child, number)
            with pytest.raises(StateUnknown, match=f"UID {EVE}"):
                machine.text("/home/eve/text")
            assert machine.text("/home/eve/text") == "eve"
            assert child not in children()


def test_another_thread_does_not_wait_for_a_slow_operation(machine: LocalMachine) -> None:
    with machine.helpers():
        machine.text("/home/eve/text")
        home = Path(machine.root, "home/eve")
        slow = threading.Thread(
            target=lambda: machine.files.look_below("/home/eve/go-on", pause, answer=bool, deadline=2 * PATIENCE)
        )
        slow.start()
        until((home / "begun").exists, "the slow operation")
        with ends("a read beside it"):
            assert machine.text("/home/eve/text") == "eve"
        (home / "go-on").touch()
        slow.join()


def collect(directory: int, name: str) -> bool:
    """Finalize everything that nobody refers to any more, while files are open."""
    opened = [os.open(name, os.O_RDONLY, dir_fd=directory) for _ in range(100)]
    gc.collect()
    return all(os.read(each, 3) == b"eve" for each in opened)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_files_of_the_parent_that_are_closed_late_do_not_close_those_of_the_process(machine: LocalMachine) -> None:
    # The garbage collector closes a file in a cycle in the child as well: by its number, which is in use again.
    gc.disable()
    try:
        for _ in range(50):
            cycle: list[object] = [open("/dev/null", "rb")]  # noqa: SIM115
            cycle.append(cycle)
        del cycle
        alone = machine.files.look_below("/home/eve/text", collect, answer=bool, deadline=PATIENCE)
        with machine.helpers():
            shared = machine.files.look_below("/home/eve/text", collect, answer=bool, deadline=PATIENCE)
    finally:
        gc.enable()
        gc.collect()
    assert (alone, shared) == (True, True)


def pause(directory: int, name: str) -> bool:
    os.close(os.open("begun", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory))
    while not os.access(name, os.F_OK, dir_fd=directory):
        time.sleep(0.01)
    return True


def test_a_child_of_this_process_does_not_use_the_processes_of_its_parent(machine: LocalMachine) -> None:
    with machine.helpers():
        machine.text("/home/eve/text")
        child = os.fork()
        if child == 0:
            with machine.helpers():
                os._exit(0 if machine.text("/home/eve/text") == "eve" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert machine.text("/home/eve/text") == "eve"


def test_a_module_imported_meanwhile_is_known_to_the_process(machine: LocalMachine) -> None:
    with machine.helpers():
        machine.text("/home/eve/text")
        sys.modules["imported_meanwhile"] = sys
        try:
            assert machine.text("/home/eve/text") == "eve"
        finally:
            del sys.modules["imported_meanwhile"]
    assert len(forks) == 2


def test_operations_change_files_as_the_account(machine: LocalMachine, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    with machine.helpers():
        machine.files.write("/home/eve/large", content, EVE, EVE, 0o640)
        entry = machine.entry("/home/eve/large")
    assert entry == Entry("file", EVE, EVE, 0o640, content)
    assert (tmp_path / "home/eve/large").stat().st_uid == EVE
    assert machine.state(Key("file", "/home/eve/large")) == entry


def test_nested_blocks_end_the_processes_with_the_last_one(machine: LocalMachine) -> None:
    with helpers():
        with helpers():
            machine.text("/home/eve/text")
        machine.text("/home/eve/text")
        assert len(children()) == 1
    assert len(forks) == 1


def test_fifty_environments_need_no_process_each(machine: LocalMachine, tmp_path: Path) -> None:
    """Each took 14 forks: its directory, its configuration, its interpreter and each package were read by a child."""
    number = 50
    for at in range(number):
        venv = tmp_path / f"home/eve/venv{at}"
        packages = venv / "lib/python3.13/site-packages"
        for package in ("pip", "setuptools"):
            (packages / f"{package}-1.0.dist-info").mkdir(parents=True)
            (packages / f"{package}-1.0.dist-info/METADATA").write_text(f"Name: {package}\nVersion: 1.0\n")
        (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.13.5\n")
        (venv / "bin").mkdir()
        (venv / "bin/python").symlink_to(sys.executable)
        for path in (venv, *venv.rglob("*")):
            os.lchown(path, EVE, EVE)
    with machine.helpers():
        for at in range(number):
            name = f"/home/eve/venv{at}"
            found = machine.venv(name)
            assert found is not None
            assert found.home == "/usr/bin"
            assert machine.distribution(name, "pip") == Package("1.0")
            assert machine.distribution(name, "absent") is None
            assert machine.entry(name) is not None
    assert len(forks) <= 3, "one, and again for modules that the first reads import"
