"""Attacks: an account swaps entries of its directories while root reads, writes and removes there."""

from __future__ import annotations

import grp
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.resources.local import LocalMachine
from tests.waiting import PATIENCE, ends

pytestmark = pytest.mark.needs_root

# Numbers that no database knows.
EVE, OTHER = 64001, 64002
SECRET = b"root's own\n"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A root with a secret that only root may read, and a home that belongs to eve."""
    for above in (tmp_path, *tmp_path.parents):
        with suppress(PermissionError):
            above.chmod(above.stat().st_mode | 0o011)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\neve:x:{EVE}:{EVE}::/home/eve:/bin/sh\n")
    (tmp_path / "etc/group").write_text(f"root:x:0:\neve:x:{EVE}:\nfriends:x:70000:eve\n")
    (tmp_path / "root").mkdir(mode=0o700)
    secret = tmp_path / "root/secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    home = tmp_path / "home/eve"
    home.mkdir(parents=True)
    os.chown(home, EVE, EVE)
    home.chmod(0o700)
    return tmp_path


@pytest.fixture
def machine(node: Path) -> LocalMachine:
    return LocalMachine(str(node))


def as_eve(function: Callable[..., None], *args: object) -> None:
    run_as(Identity(EVE, EVE, ()), function, *args)


def outside(node: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything that is not eve's: owners, modes, contents."""
    result = {}
    for top, directories, files in os.walk(node):
        if top.startswith(str(node / "home/eve")):
            continue
        for name in [*directories, *files]:
            path = os.path.join(top, name)
            state = os.lstat(path)
            content = Path(path).read_bytes() if name in files and not os.path.islink(path) else b""
            result[path] = (state.st_mode, state.st_uid, state.st_gid, content)
    result.pop(str(node / "home/eve"))
    return result


def test_below_the_home_everything_is_the_accounts(machine: LocalMachine, node: Path) -> None:
    machine.files.make_directory("/home/eve/.ssh", EVE, EVE, 0o700)
    machine.files.write("/home/eve/.ssh/authorized_keys", b"key\n", EVE, EVE, 0o600)
    state = (node / "home/eve/.ssh/authorized_keys").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (EVE, EVE, 0o600)
    entry = machine.entry("/home/eve/.ssh/authorized_keys")
    assert entry is not None
    assert entry.content == b"key\n"
    assert machine.names("/home/eve/.ssh") == ("authorized_keys",)
    machine.files.remove("/home/eve/.ssh/authorized_keys")
    machine.files.remove("/home/eve/.ssh")
    assert os.listdir(node / "home/eve") == []


def test_the_child_has_the_accounts_rights_and_groups(node: Path, machine: LocalMachine) -> None:
    identity = machine.identity("eve")
    assert identity is not None
    result = run_as(identity, lambda: [*os.getresuid(), *os.getresgid(), *os.getgroups()], answer=list[int])
    assert result == [EVE] * 6 + [70000]


def test_the_child_keeps_no_open_file_and_cannot_come_back(node: Path) -> None:
    def try_all() -> list[str]:
        got = []
        for attempt in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.listdir(node / "root")):
            try:
                attempt()
                got.append("back")
            except PermissionError:
                continue
        kept = sorted(int(name) for name in os.listdir("/proc/self/fd"))
        return [*got, *(str(number) for number in kept if number > 2)]

    with open(node / "root/secret", "rb"):
        result = run_as(Identity(EVE, EVE, ()), try_all, answer=list[str])
    # The pipe of the answer, and the listing itself.
    assert len(result) == 2


def test_a_file_of_roots_cannot_be_put_into_the_home(machine: LocalMachine, node: Path) -> None:
    with pytest.raises(StepFailed):
        machine.files.write("/home/eve/rc", b"x", 0, 0, 0o644)
    assert os.listdir(node / "home/eve") == []


@pytest.mark.parametrize("what", ["directory", "file"])
def test_seeded_links_lead_nowhere(machine: LocalMachine, node: Path, what: str) -> None:
    before = outside(node)
    if what == "directory":
        as_eve(os.symlink, str(node / "root"), str(node / "home/eve/.ssh"))
        path = "/home/eve/.ssh/secret"
    else:
        as_eve(os.symlink, str(node / "root/secret"), str(node / "home/eve/rc"))
        path = "/home/eve/rc"
    with suppress(StateUnknown):
        entry = machine.entry(path)
        assert entry is None or entry.content is None
    with suppress(StepFailed):
        machine.files.write(path, b"mine", EVE, EVE, 0o666)
    with suppress(StepFailed):
        machine.files.make_directory(path, EVE, EVE, 0o777)
    with suppress(StepFailed):
        machine.files.remove(path)
    assert outside(node) == before


def test_a_seeded_directory_link_is_reported(machine: LocalMachine, node: Path) -> None:
    as_eve(os.symlink, "/root", str(node / "home/eve/.ssh"))
    with pytest.raises(StateUnknown, match="symbolic link"):
        machine.entry("/home/eve/.ssh/secret")
    with pytest.raises(StepFailed, match="symbolic link"):
        machine.files.write("/home/eve/.ssh/secret", b"x", EVE, EVE, 0o600)


def test_a_seeded_temporary_name_is_not_followed(machine: LocalMachine, node: Path) -> None:
    before = outside(node)
    as_eve(os.symlink, str(node / "root/secret"), str(node / "home/eve/.rc.bai-wizard-new"))
    machine.files.write("/home/eve/rc", b"mine", EVE, EVE, 0o600)
    assert outside(node) == before
    assert (node / "home/eve/rc").read_bytes() == b"mine"


def test_a_hard_link_to_a_secret_gives_nothing(machine: LocalMachine, node: Path) -> None:
    os.link(node / "root/secret", node / "home/eve/rc")
    with pytest.raises(StateUnknown):
        machine.entry("/home/eve/rc")
    machine.files.write("/home/eve/rc", b"mine", EVE, EVE, 0o600)
    assert (node / "root/secret").read_bytes() == SECRET


def test_directories_that_others_may_write_into_are_refused(machine: LocalMachine, node: Path) -> None:
    (node / "srv/data").mkdir(parents=True)
    (node / "srv").chmod(0o777)
    with pytest.raises(StepFailed, match="everyone can write"):
        machine.files.write("/srv/data/x", b"x", 0, 0, 0o644)
    (node / "srv").chmod(0o775)
    os.chown(node / "srv", 0, 70000)
    with pytest.raises(StepFailed, match="eve"):
        machine.files.write("/srv/data/x", b"x", 0, 0, 0o644)
    with pytest.raises(StateUnknown, match="eve"):
        machine.entry("/srv/data/x")
    (node / "etc/group").open("a").write("staff:x:50:\nusers:x:100:\nsite:x:1500:\n")
    for gid in (71000, 100, 1500):  # a directory service may know who is in them
        os.chown(node / "srv", 0, gid)
        with pytest.raises(StepFailed, match=f"group {gid} can write"):
            machine.files.write("/srv/data/x", b"x", 0, 0, 0o644)
    os.chown(node / "srv", 0, 50)
    machine.files.write("/srv/data/x", b"x", 0, 0, 0o644)


def test_members_that_only_a_directory_service_knows_count(
    machine: LocalMachine, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node / "srv/data").mkdir(parents=True)
    (node / "etc/group").open("a").write("staff:x:50:\n")
    (node / "srv").chmod(0o775)
    os.chown(node / "srv", 0, 50)
    machine.files.write("/srv/data/x", b"x", 0, 0, 0o644)
    monkeypatch.setattr(machine.databases, "name_service", True)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("staff", "x", gid, ["ldapuser"])))
    with pytest.raises(StepFailed, match="ldapuser"):
        machine.files.write("/srv/data/x", b"x", 0, 0, 0o644)


def test_links_that_root_made_are_followed_and_eves_are_not(machine: LocalMachine, node: Path) -> None:
    (node / "data/home/eve").mkdir(parents=True)
    os.chown(node / "data/home/eve", EVE, EVE)
    os.symlink("/data/home", node / "mnt")
    machine.files.write("/mnt/eve/x", b"x", EVE, EVE, 0o600)
    assert (node / "data/home/eve/x").stat().st_uid == EVE
    os.symlink("/root", node / "root-link")
    os.lchown(node / "root-link", EVE, EVE)
    with pytest.raises(StepFailed, match="symbolic link"):
        machine.files.write("/root-link/x", b"x", 0, 0, 0o644)


def test_a_fifo_in_the_home_does_not_hang(machine: LocalMachine, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_eve(os.mkfifo, str(node / "home/eve/rc"))
    monkeypatch.setattr("bai_wizard.node.files.READ_DEADLINE", 2 * PATIENCE)
    with ends("a child that opens it"):
        entry = machine.entry("/home/eve/rc")
        assert entry is not None
        assert entry.type == "other"
        with pytest.raises(StepFailed):
            machine.files.write("/home/eve/rc", b"x", EVE, EVE, 0o600)


def test_a_child_that_is_stopped_costs_its_deadline(node: Path) -> None:
    with ends("the child"), pytest.raises(StateUnknown, match=r"no response within 0\.3 s as UID 64001"):
        run_as(Identity(EVE, EVE, ()), time.sleep, 2 * PATIENCE, deadline=0.3)


@contextmanager
def swapping(node: Path, name: str, seed: int) -> Iterator[None]:
    """Eve swaps a name of her home between a directory of hers, links to root's things, a file, and nothing."""
    child = os.fork()
    if child == 0:
        try:
            _swap_for_ever(node, name, random.Random(seed))
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def _swap_for_ever(node: Path, name: str, chance: random.Random) -> None:
    os.setgroups([])
    os.setresgid(EVE, EVE, EVE)
    os.setresuid(EVE, EVE, EVE)
    os.chdir(node / "home/eve")
    os.mkdir("mine")
    Path("mine/secret").write_bytes(b"eve's\n")
    os.symlink(node / "root", "to-root")
    os.symlink("../../root", "to-root-too")
    os.symlink(node / "etc", "to-etc")
    # Not more than the attack needs: these machines have two cores.
    choices = ("mine", "to-root", "to-root-too", "to-etc")
    while True:
        pick = chance.choice(choices)
        with suppress(OSError):
            os.rename(pick, name)
            if chance.random() < 0.7:
                time.sleep(0)
            os.rename(name, pick)


@pytest.mark.parametrize("seed", range(3))
def test_a_race_over_a_component_gains_nothing(machine: LocalMachine, node: Path, seed: int) -> None:
    before = outside(node)
    path = "/home/eve/.ssh/secret"
    limit = time.monotonic() + 2.0
    with swapping(node, ".ssh", seed):
        while time.monotonic() < limit:
            with suppress(StateUnknown):
                entry = machine.entry(path)
                assert entry is None or entry.content in (b"eve's\n", b"ours\n", None)
            with suppress(StepFailed, StateUnknown):
                machine.files.write(path, b"ours\n", EVE, EVE, 0o666)
            with suppress(StepFailed, StateUnknown):
                machine.files.make_directory("/home/eve/.ssh", EVE, EVE, 0o700)
            with suppress(StepFailed, StateUnknown):
                machine.files.remove("/home/eve/.ssh/passwd")
            with suppress(StepFailed, StateUnknown):
                machine.files.remove(path)
    assert outside(node) == before


def test_a_race_over_the_home_itself_is_impossible_for_its_owner(machine: LocalMachine, node: Path) -> None:
    """Root gives the home itself owner and mode through /home, where eve may not rename anything."""
    machine.files.make_directory("/home/eve", EVE, EVE, 0o750)
    assert (node / "home/eve").stat().st_mode & 0o7777 == 0o750
    with pytest.raises(PermissionError):
        as_eve(os.rename, str(node / "home/eve"), str(node / "home/other"))
