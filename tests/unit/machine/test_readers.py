"""Parsers of the kernel's and the distribution's files: real contents and malformed ones."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Completed
from bai_wizard.core.parse import decode_octal
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Group, Key, Membership, Mount, Package, Sysctl, Unit
from bai_wizard.node.accounts import parse_group, parse_passwd
from bai_wizard.node.mounts import mount_at, mount_of, parse_mountinfo
from bai_wizard.node.regular import read_all
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.packages import parse_policy
from bai_wizard.resources.sysctl import belongs_to_host, sysctl_path
from bai_wizard.resources.units import parse_unit
from tests.waiting import PATIENCE

STATUS = """\
Package: never
Status: hold ok not-installed
Priority: optional

Package: docker-ce
Status: hold ok installed
Priority: optional
Architecture: amd64
Version: 5:28.5.2-1~ubuntu.24.04~noble
Description: Docker
 Package: not-this-one
 more

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: half
Status: install ok half-configured
Version: 1

Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.39-arm

Package: libc6
Status: install ok triggers-pending
Architecture: amd64
Version: 2.39
"""


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n+@nis\nbai:x:1100:1100:B,1:/home/bai:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\nsudo:x:27:ubuntu,bai\nbai:x:1100:\n")
    (etc / "shadow").write_text("root:*:20000:0:99999:7:::\nbai:$y$j9T$salt$hash::0:99999:7:::\n")
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(STATUS)
    return LocalMachine(str(tmp_path))


def test_accounts_groups_members_passwords(machine: LocalMachine) -> None:
    assert [account.name for account in machine.accounts()] == ["root", "bai"]
    assert machine.account("bai") == Account("bai", 1100, 1100, "B,1", "/home/bai", "/bin/bash")
    assert machine.account("nobody") is None
    assert machine.group("sudo") == Group("sudo", 27)
    assert machine.state(Key("member", "sudo:bai")) == Membership()
    assert machine.state(Key("member", "bai:bai")) is None
    root, bai = machine.password("root"), machine.password("bai")
    assert root is not None
    assert (root.hash, root.changed) == (Secret("*"), 20000)
    assert bai is not None
    assert (bai.hash, bai.changed) == (Secret("$y$j9T$salt$hash"), None)


def test_a_change_of_a_database_is_seen(machine: LocalMachine, tmp_path: Path) -> None:
    assert machine.account("new") is None
    with open(tmp_path / "etc/passwd", "a") as file:
        file.write("new:x:1:1::/:/bin/sh\n")
    assert machine.account("new") is not None
    (tmp_path / "var/lib/dpkg/status").write_text("")
    assert machine.package("docker-ce") is None


def test_packages(machine: LocalMachine) -> None:
    assert machine.package("docker-ce") == Package("5:28.5.2-1~ubuntu.24.04~noble", held=True)
    for absent in ("gone", "half", "not-this-one", "docker", "ocker-ce"):
        assert machine.package(absent) is None
    held = {name for name in ("docker-ce", "half", "libc6", "never", "not-there") if machine.state(Key("hold", name))}
    assert held == {"docker-ce", "never"}
    assert machine.package("never") is None
    assert machine.package("libc6:amd64") == Package("2.39")
    assert machine.package("libc6:arm64") == Package("2.39-arm")


def test_packages_of_this_machine_match_dpkg() -> None:
    machine = LocalMachine()
    argv = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True)
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert len(lines) > 50
    for name, version, status in lines:
        if status[1] == "i":
            assert machine.package(name) == Package(version, held=status[0] == "h"), name


def test_the_password_field_needs_root() -> None:
    machine = LocalMachine()
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(64001)
    try:
        with pytest.raises(StateUnknown, match="needs root"):
            machine.password("root")
    finally:
        if was_root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_keys_are_paths_as_in_sysctl(key: str, path: str) -> None:
    assert sysctl_path(key) == f"/proc/sys/{path}"


@pytest.mark.parametrize("key", ["", "net..x", "net/../../etc/passwd", ".net", "a/", "net.\0"])
def test_an_invalid_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a sysctl key"):
        sysctl_path(key)


def test_sysctl(machine: LocalMachine, tmp_path: Path) -> None:
    directory = tmp_path / "proc/sys/net/ipv4"
    directory.mkdir(parents=True)
    (directory / "tcp_rmem").write_text("4096\t131072\t6291456\n")
    (directory / "sealed").write_text("1\n")
    (directory / "sealed").chmod(0o444)
    (tmp_path / "proc/sys/vm").mkdir()
    (tmp_path / "proc/sys/vm/overcommit_memory").write_text("0\n")
    assert machine.sysctl("net.ipv4.tcp_rmem") == Sysctl("4096 131072 6291456")
    assert machine.sysctl("net.ipv4.sealed") == Sysctl("1", writable=False)
    assert machine.sysctl("net.ipv4.none") is None
    assert machine.sysctl("net.ipv4") is None
    assert machine.sysctl("vm.overcommit_memory") == Sysctl("0")
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/container").write_text("docker\n")
    inside = LocalMachine(str(tmp_path))
    assert inside.sysctl("vm.overcommit_memory") == Sysctl("0", writable=False)
    assert inside.sysctl("net.ipv4.tcp_rmem") == Sysctl("4096 131072 6291456")


def test_whose_keys_are_a_containers() -> None:
    assert belongs_to_host("vm.max_map_count")
    assert belongs_to_host("fs.file-max")
    assert belongs_to_host("kernel.pid_max")
    assert not belongs_to_host("net.core.somaxconn")
    assert not belongs_to_host("kernel.shmmax")
    assert not belongs_to_host("fs.mqueue.queues_max")


MOUNTINFO = r"""22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
30 22 0:40 / /mnt/with\040blank\134 ro,nosuid - nfs4 10.0.0.1:/export\040one rw,vers=4.2,addr=10.0.0.1
31 22 8:2 /srv/data /vfroot/bound rw,relatime - ext4 /dev/sda2 rw
32 22 0:50 / /vfroot/vol1 rw - autofs systemd-1 rw
33 32 0:51 / /vfroot/vol1 rw master:1 propagate_from:2 - nfs4 host:/vol1 rw
damaged line
"""


def test_mountinfo() -> None:
    lines = parse_mountinfo(MOUNTINFO)
    assert mount_at("/", lines) == Mount("/dev/sda2", "ext4")
    blank = mount_at("/mnt/with blank\\", lines)
    assert blank is not None
    assert (blank.source, blank.fstype) == ("10.0.0.1:/export one", "nfs4")
    assert blank.options == "ro,nosuid,vers=4.2,addr=10.0.0.1"
    assert mount_at("/vfroot/bound", lines) == Mount("/dev/sda2[/srv/data]", "ext4")
    assert mount_at("/vfroot/vol1", lines) == Mount("host:/vol1", "nfs4")
    assert mount_at("/vfroot", lines) is None
    top = mount_of("/vfroot/vol1/deep", lines)
    assert top is not None
    assert top.fstype == "nfs4"
    over = mount_of("/vfroot/vol10", lines)
    assert over is not None
    assert over.point == "/"


def escape(text: str) -> str:
    """As the kernel's mangle() does for mountinfo."""
    return "".join(f"\\{ord(sign):03o}" if sign in " \t\n\\#" else sign for sign in text)


paths = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(st.lists(st.tuples(paths, paths, paths), max_size=5))
def test_any_mount_point_and_source_survive_mountinfo(mounts: list[tuple[str, str, str]]) -> None:
    text = "".join(
        f"{number} 1 0:1 / /{escape(point)} rw shared:1 - {escape(fstype)} {escape(source)} rw\n"
        for number, (point, fstype, source) in enumerate(mounts)
    )
    result = [(line.point[1:], line.fstype, line.source) for line in parse_mountinfo(text)]
    assert result == mounts


def test_other_backslashes_stay() -> None:
    assert decode_octal("a\\x20b\\9") == "a\\x20b\\9"


fields = st.text(st.characters(exclude_characters=":\n\0,", codec="utf-8"))
names = fields.filter(bool)
ids = st.integers(0, 2**32 - 2)


@given(st.lists(st.builds(Account, names, ids, ids, fields, fields, fields)))
def test_any_passwd_file_reads_back(accounts: list[Account]) -> None:
    text = "".join(f"{a.name}:x:{a.uid}:{a.gid}:{a.comment}:{a.home}:{a.shell}\n" for a in accounts)
    assert list(parse_passwd(text)) == accounts


@given(st.dictionaries(names, st.tuples(ids, st.lists(names, max_size=3))))
def test_any_group_file_reads_back(groups: dict[str, tuple[int, list[str]]]) -> None:
    text = "".join(f"{name}:x:{gid}:{','.join(members)}\n" for name, (gid, members) in groups.items())
    result = {name: (group.gid, list(members)) for name, (group, members) in parse_group(text).items()}
    assert result == groups


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    parse_passwd(text)
    parse_group(text)
    parse_mountinfo(text)
    parse_unit(text)
    parse_policy(text)


def test_units() -> None:
    text = "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\n"
    active = "ActiveEnterTimestamp=Mon 2026-11-23 18:57:16.5 UTC\n"
    for started in ("", "ExecMainStartTimestamp=\n"):
        result = parse_unit(text + started + active)
        assert result is not None
        assert (result.enabled, result.active, result.since) == ("enabled", "active", 1795460236.5)
    result = parse_unit(f"{text}ExecMainStartTimestamp=Mon 2026-11-23 18:57:14 UTC\n{active}")
    assert result is not None
    assert result.since == 1795460234, "a file that was changed while the service started was not read"
    assert parse_unit("LoadState=not-found\nActiveState=inactive\n") is None
    assert parse_unit(
        "LoadState=masked\nUnitFileState=masked\nActiveState=inactive\nActiveEnterTimestamp=\n"
    ) == Unit("masked", "inactive", 0.0)


def test_policy() -> None:
    assert parse_policy("bash:\n  Installed: 5.2\n  Candidate: 5.2.15-2+b8\n  Version table:\n") == "5.2.15-2+b8"
    assert parse_policy("nope:\n  Installed: (none)\n  Candidate: (none)\n") is None
    assert parse_policy("") is None


def test_a_driver_file_that_hangs_costs_one_fact(
    tmp_path: Path, machine: LocalMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sys").mkdir()
    os.mkfifo(tmp_path / "sys/fifo")
    with pytest.raises(StateUnknown, match=r"/sys/fifo: it is a fifo"):
        machine.kernel_text("/sys/fifo", deadline=0.2)
    assert machine.kernel_text("/sys/none") is None
    over = threading.Event()

    def hanging(_path: str) -> NoReturn:
        over.wait(PATIENCE)
        raise OSError("over")

    monkeypatch.setattr("bai_wizard.resources.local.open_foreign", hanging)
    with pytest.raises(StateUnknown, match=r"/sys/hangs: no response within 0\.2 s"):
        machine.kernel_text("/sys/hangs", deadline=0.2)
    over.set()


def test_every_reader_works_on_this_machine_or_says_why_not() -> None:
    machine = LocalMachine()
    assert machine.mount("/proc") is not None
    assert machine.account("root") is not None
    assert machine.free_bytes("/no/such/path") > 0
    assert machine.query(["true"]).code == 0
    with pytest.raises(StateUnknown):
        machine.query(["no-such-program"])
    with pytest.raises(StateUnknown):
        machine.state(Key("no-such-sort", "x"))


def test_kernel_parameters_are_read_in_pieces_that_the_kernel_accepts() -> None:
    """It refuses a read of 4 MiB and more from /proc/sys with ENOMEM, however short the content is."""
    assert LocalMachine().kernel_text("/proc/sys/kernel/ostype") == "Linux"
    with open("/proc/sys/kernel/osrelease", "rb") as file:
        assert read_all(file, 1 << 30).decode().strip() == os.uname().release


def test_one_call_of_systemctl_reads_several_units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = {
        "a.service": "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\n",
        "b.socket": "LoadState=not-found\nActiveState=inactive\n",
        "alias.service": "LoadState=masked\nUnitFileState=masked\nActiveState=failed\n",
    }
    calls: list[list[str]] = []

    def run(argv: list[str], **_: object) -> Completed:
        calls.append(argv)
        return Completed(0, "\n".join(texts[name] for name in argv[argv.index("--") + 1 :]), "")

    monkeypatch.setattr("bai_wizard.node.process.run", run)
    monkeypatch.setattr(LocalMachine, "has_systemd", True)
    found = LocalMachine("/").units(list(texts))
    loaded, failed = Unit("enabled", "active"), Unit("masked", "failed")
    assert found == {"a.service": loaded, "b.socket": None, "alias.service": failed}
    assert len(calls) == 1
    monkeypatch.setattr("bai_wizard.node.process.run", lambda argv, **_: Completed(0, "A=1\n\nB=2\n", ""))
    with pytest.raises(StateUnknown, match="2 answers for 3 units"):
        LocalMachine("/").units(list(texts))
