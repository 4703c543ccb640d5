"""Who else can change a file: owners, modes, ACLs, groups, and every parent directory."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.node import safe_path as trust_module
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.mounts import MountLine
from bai_wizard.node.safe_path import Trust
from bai_wizard.trusted_path import ACL, NFS4_ACL

pytestmark = pytest.mark.needs_root

OPERATOR, EVE, SHARED, EMPTY, LISTED, DOUBLE = 64101, 64102, 64201, 64202, 64203, 64204
STAFF = 50
PASSWD = f"""root:x:0:0::/root:/bin/sh
op:x:{OPERATOR}:{OPERATOR}::/home/op:/bin/sh
eve:x:{EVE}:{EVE}::/home/eve:/bin/sh
guest:x:64103:{DOUBLE}::/home/guest:/bin/sh
op2:x:64104:{SHARED}::/home/op2:/bin/sh
tape:x:64105:52::/:/bin/sh
"""
GROUP = f"""root:x:0:
op:x:{OPERATOR}:
eve:x:{EVE}:
users:x:{SHARED}:
empty:x:{EMPTY}:
listed:x:{LISTED}:op,eve
staff:x:{STAFF}:
all:x:100:
games:x:51:eve
tape:x:52:
"""
Prepare = Callable[[Path], object]


def acl(*entries: tuple[int, int, int], mask: int = 7) -> bytes:
    """An access control list: owner rw, the given (tag, permissions, id), the mask."""
    whole = [(1, 6, 2**32 - 1), *entries, (4, 0, 2**32 - 1), (0x10, mask, 2**32 - 1), (0x20, 0, 2**32 - 1)]
    whole.sort()
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in whole)


def with_acl(*entries: tuple[int, int, int], mask: int = 7) -> Prepare:
    def prepare(path: Path) -> None:
        try:
            os.setxattr(path, ACL, acl(*entries, mask=mask))
        except OSError:
            pytest.skip("this file system has no access control lists")

    return prepare


def owned(uid: int, gid: int, mode: int) -> Prepare:
    def prepare(path: Path) -> None:
        os.chown(path, uid, gid)
        path.chmod(mode)

    return prepare


# What getxattr says of NFSv4 lists, by path; this machine has no such file system.
NFS4: dict[str, bytes] = {}


def with_nfs4(*entries: tuple[int, int, int, str], gid: int = 0, cut: int = 0) -> Prepare:
    def prepare(path: Path) -> None:
        os.chown(path, 0, gid)
        body = struct.pack(">I", len(entries) or bool(cut))
        for kind, flags, mask, who in entries:
            name = who.encode()
            body += struct.pack(">IIII", kind, flags, mask, len(name)) + name + bytes(-len(name) % 4)
        NFS4[str(path)] = body + bytes(cut)

    return prepare


@pytest.fixture(autouse=True)
def nfs4(monkeypatch: pytest.MonkeyPatch) -> None:
    NFS4.clear()
    real = os.getxattr

    def getxattr(path: str, name: str) -> bytes:
        if name != NFS4_ACL or not NFS4:
            return real(path, name)
        result = NFS4.get(os.path.realpath(path))
        if result is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), path)
        return result

    monkeypatch.setattr(os, "getxattr", getxattr)


USER, GROUP_ENTRY = 2, 8
# How a path is prepared, and who else can change it then (for root and op); empty: no one.
CASES: dict[str, tuple[Prepare, str]] = {
    "root's": (owned(0, 0, 0o644), ""),
    "root's group": (owned(0, 0, 0o664), ""),
    "op's": (owned(OPERATOR, OPERATOR, 0o644), ""),
    "op's private group": (owned(OPERATOR, OPERATOR, 0o664), ""),
    "root's, of op's private group": (owned(0, OPERATOR, 0o660), ""),
    "eve's": (owned(EVE, EVE, 0o600), "its owner eve"),
    "unknown owner": (owned(64999, 0, 0o600), "its owner with UID 64999"),
    "everyone": (owned(0, 0, 0o646), "everyone"),
    "eve's group": (owned(0, EVE, 0o664), "the group eve"),
    "a shared primary group": (owned(OPERATOR, SHARED, 0o664), "the group users"),
    "a group without members": (owned(0, EMPTY, 0o664), "the group empty"),
    "a group that lists eve": (owned(0, LISTED, 0o664), "the group listed"),
    "a package's group without members": (owned(0, STAFF, 0o664), ""),
    "the group of all users, which lists none": (owned(0, 100, 0o664), "the group all"),
    "a package's group with a member": (owned(0, 51, 0o664), "the group games"),
    "a package's group that is a primary group": (owned(0, 52, 0o664), "the group tape"),
    "a low group that only a directory knows": (owned(0, 53, 0o664), "the group with GID 53"),
    "NFSv4: eve writes": (with_nfs4((0, 0, 0x02, "eve@corp")), "the user eve@corp"),
    "NFSv4: eve appends": (with_nfs4((0, 0, 0x04, "eve@corp")), "the user eve@corp"),
    "NFSv4: eve changes the list": (with_nfs4((0, 0, 0x40000, "eve@corp")), "the user eve@corp"),
    "NFSv4: eve by number": (with_nfs4((0, 0, 0x02, str(EVE))), f"the user {EVE}"),
    "NFSv4: a group": (with_nfs4((0, 0x40, 0x02, "op@corp")), "the group op@corp"),
    "NFSv4: the owning group": (with_nfs4((0, 0x40, 0x02, "GROUP@"), gid=LISTED), "the group listed"),
    "NFSv4: everyone": (with_nfs4((0, 0, 0x02, "EVERYONE@")), "everyone"),
    "NFSv4: after others": (
        with_nfs4((0, 0, 0x1F01FF, "OWNER@"), (0, 0, 0x1, "a"), (0, 0, 0x02, "eve@corp")),
        "the user eve",
    ),
    "NFSv4: damaged": (with_nfs4(cut=3), "unknown users"),
    "NFSv4: eve reads": (with_nfs4((0, 0, 0x01, "eve@corp")), ""),
    "NFSv4: eve is denied": (with_nfs4((1, 0, 0x02, "eve@corp")), ""),
    "NFSv4: eve in what is created later": (with_nfs4((0, 0x0B, 0x02, "eve@corp")), ""),
    "NFSv4: op and root write": (with_nfs4((0, 0, 0x02, "op@corp"), (0, 0, 0x02, "0")), ""),
    "NFSv4: no list": (with_nfs4(), ""),
    "a group nobody knows": (owned(0, 64998, 0o664), "the group with GID 64998"),
    "a group without write permission": (owned(0, LISTED, 0o644), ""),
    "list: eve writes": (with_acl((USER, 6, EVE)), "the user eve"),
    "list: eve reads": (with_acl((USER, 4, EVE)), ""),
    "list: op writes": (with_acl((USER, 6, OPERATOR)), ""),
    "list: eve behind a mask": (with_acl((USER, 6, EVE), mask=4), ""),
    "list: a group": (with_acl((GROUP_ENTRY, 6, LISTED)), "the group listed"),
    "list: op's group": (with_acl((GROUP_ENTRY, 6, OPERATOR)), ""),
    "list: second entry": (with_acl((USER, 4, OPERATOR), (USER, 2, EVE)), "the user eve"),
}


@pytest.fixture
def accounts(tmp_path: Path) -> AccountFiles:
    (tmp_path / "db/etc").mkdir(parents=True)
    (tmp_path / "db/etc/passwd").write_text(PASSWD)
    (tmp_path / "db/etc/group").write_text(GROUP)
    return AccountFiles(str(tmp_path / "db"))


@pytest.fixture
def trust(accounts: AccountFiles) -> Trust:
    return Trust((0, OPERATOR), accounts)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for above in (tmp_path, *tmp_path.parents):
        with suppress(PermissionError):
            above.chmod(above.stat().st_mode | 0o011)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/answers.toml").write_text("version = 1\n")
    return tmp_path / "dir"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("which", ["file", "directory"])
def test_users_who_can_change_a_path(place: Path, trust: Trust, which: str, case: str) -> None:
    prepare, who = CASES[case]
    target = place / "answers.toml" if which == "file" else place
    if which == "directory" and case.startswith("list"):
        target.chmod(0o700)
    prepare(target)
    assert trust.writers(str(target)).startswith(who)
    assert bool(trust.writers(str(target))) == bool(who)
    descriptor = os.open(target, os.O_PATH)
    assert trust.writers(descriptor) == trust.writers(str(target))
    os.close(descriptor)
    if not who:
        os.close(trust.open(str(place / "answers.toml")))
        return
    with pytest.raises(PreflightError, match=r"can be changed by .*; run: (chmod|chown|setfacl) "):
        trust.open(str(place / "answers.toml"))


@pytest.mark.parametrize("fstype", ["vfat", "exfat", "ntfs3", "ext4"])
def test_advised_commands_work(place: Path, trust: Trust, fstype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = MountLine(str(place), "/", "/dev/sdz1", fstype, "rw")
    monkeypatch.setattr(
        trust_module, "read_mountinfo", lambda: (MountLine("/", "/", "/dev/sda1", "ext4", "rw"), stick)
    )
    for prepare in (owned(0, 0, 0o666), owned(EVE, 0, 0o600)):
        prepare(place / "answers.toml")
        with pytest.raises(PreflightError) as caught:
            trust.open(str(place / "answers.toml"))
        output = str(caught.value)
        if fstype == "ext4":
            assert "run: ch" in output
        else:
            assert "chmod" not in output
            assert "chown" not in output
            assert f"{fstype} does not store owners" in output


def test_another_account_with_the_users_primary_group(tmp_path: Path, place: Path) -> None:
    (tmp_path / "db/etc").mkdir(parents=True)
    (tmp_path / "db/etc/passwd").write_text(f"{PASSWD}late:x:64105:{OPERATOR}::/:/bin/sh\n")
    (tmp_path / "db/etc/group").write_text(GROUP)
    (place / "answers.toml").chmod(0o664)
    os.chown(place / "answers.toml", OPERATOR, OPERATOR)
    assert "the group op" in Trust((0, OPERATOR), AccountFiles(str(tmp_path / "db"))).writers(
        str(place / "answers.toml")
    )


def test_a_second_name_of_the_users_group_counts(tmp_path: Path, place: Path) -> None:
    (tmp_path / "db/etc").mkdir(parents=True)
    (tmp_path / "db/etc/passwd").write_text(PASSWD)
    (tmp_path / "db/etc/group").write_text(f"{GROUP}other:x:{OPERATOR}:eve\n")
    os.chown(place, 0, OPERATOR)
    place.chmod(0o775)
    assert Trust((0, OPERATOR), AccountFiles(str(tmp_path / "db"))).writers(str(place)) == "the group op"


def test_sticky_directories_are_accepted_for_own_files(place: Path, trust: Trust) -> None:
    place.chmod(0o1777)
    os.close(trust.open(str(place / "answers.toml")))
    os.chown(place / "answers.toml", EVE, EVE)
    with pytest.raises(PreflightError, match="chown -h root"):
        trust.open(str(place / "answers.toml"))
    os.chown(place / "answers.toml", 0, 0)
    os.chown(place, EVE, EVE)
    with pytest.raises(PreflightError, match="can be changed by its owner eve"):
        trust.open(str(place / "answers.toml"))


def test_a_parent_further_up_counts(place: Path, trust: Trust) -> None:
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/x").write_text("x")
    (place / "a").chmod(0o777)
    with pytest.raises(PreflightError, match=r"/a can be changed by everyone"):
        trust.open(str(place / "a/b/x"))


@pytest.mark.parametrize("where", ["last", "directory"])
@pytest.mark.parametrize("owner", [0, OPERATOR, EVE])
def test_links_count_with_their_owner_and_their_targets_way(
    place: Path, trust: Trust, where: str, owner: int
) -> None:
    place.chmod(0o1777)
    (place / "real").mkdir()
    (place / "real/x").write_text("x")
    link = place / "link"
    link.symlink_to("real/x" if where == "last" else "real")
    os.lchown(link, owner, owner)
    path = str(link if where == "last" else link / "x")
    if owner == EVE:
        with pytest.raises(PreflightError, match="link can be changed by its owner"):
            trust.open(path)
        return
    os.close(trust.open(path))
    (place / "real").chmod(0o777)
    with pytest.raises(PreflightError, match="real can be changed by everyone"):
        trust.open(path)
    if where == "last":
        with pytest.raises(OSError, match="symbolic links"):
            trust.open(path, follow=False)


def test_loops_end(place: Path, trust: Trust) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    for path in ("a", "a/x"):
        with pytest.raises(OSError, match="links"):
            trust.open(str(place / path))


@pytest.mark.parametrize(
    ("prepare", "readable"),
    [
        (owned(0, 0, 0o600), False),
        (owned(OPERATOR, OPERATOR, 0o400), False),
        (owned(0, 0, 0o640), True),
        (owned(OPERATOR, OPERATOR, 0o640), True),
        (owned(0, 0, 0o604), True),
        (with_acl((USER, 4, EVE)), True),
    ],
)
def test_a_secret_that_others_can_read_is_refused(
    place: Path, trust: Trust, prepare: Prepare, readable: bool
) -> None:
    prepare(place / "answers.toml")
    if not readable:
        os.close(trust.open(str(place / "answers.toml"), private=True))
        return
    with pytest.raises(PreflightError, match=r"can be read by .*; run: chmod 600 "):
        trust.open(str(place / "answers.toml"), private=True)


def test_a_fifo_does_not_hang(place: Path, trust: Trust) -> None:
    os.mkfifo(place / "pipe", 0o600)
    os.close(trust.open(str(place / "pipe")))


def test_by_default_the_user_behind_sudo_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert Trust().users == {0}
    monkeypatch.setenv("SUDO_UID", str(OPERATOR))
    assert Trust().users == {0, OPERATOR}
