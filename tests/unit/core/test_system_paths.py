"""Ownership of system directories is never changed, however their path is spelled."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.paths import is_system, plain, refuse_system, refuse_taken, resolved
from bai_wizard.core.state import Account, Entry, Key, Mount, State
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.storage.settings import StorageSettings
from bai_wizard.steps.accounts import account_of, owned_directories
from tests.pages.ubuntu import bai, file, link, ubuntu
from tests.settings import settings_from

SYSTEM = (
    "/", "/bin", "/boot", "/boot/efi", "/cdrom", "/dev", "/dev/shm", "/etc",
    "/etc/ssh", "/etc/ssl/certs", "/etc/cron.d",
    "/home", "/lib", "/lib/modules", "/lib32", "/lib64", "/libx32", "/lost+found", "/media", "/mnt", "/opt", "/proc",
    "/proc/self", "/root", "/root/.ssh", "/root/bai", "/run", "/run/bai-wizard", "/run/user/1100", "/sbin", "/snap",
    "/srv", "/sys", "/sys/fs/cgroup", "/tmp", "/tmp/bai", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin",
    "/usr/share/bai", "/var", "/var/backups", "/var/cache", "/var/cache/bai-wizard", "/var/lib", "/var/lib/apt",
    "/var/lib/bai-wizard", "/var/lib/bai-wizard/runs", "/var/lib/containerd", "/var/lib/docker", "/var/lib/dpkg",
    "/var/lib/postgresql", "/var/lib/systemd", "/var/lock", "/var/log", "/var/log/journal", "/var/mail", "/var/run",
    "/var/run/bai", "/var/spool/cron", "/var/tmp", "/var/tmp/bai", "/var/www", "/vfroot",
)  # fmt: skip
SITE = (
    "/home/bai", "/home/bai/work", "/data", "/data/home/bai", "/opt/backend.ai", "/opt/backend.ai/home", "/srv/bai",
    "/mnt/disk/bai", "/media/disk/bai", "/vfroot/local", "/var/lib/backend.ai", "/var/lib/backendai", "/var/lib/bai",
    "/var/lib/backend.ai-agent", "/var/lib/backend.ai/home", "/library", "/binaries", "/etcetera", "/homes/bai",
)  # fmt: skip
spellings = some.sampled_from(["{}", "{}/", "/{}", "//{}", "{}//", "{}/.", "/.{}", "/./{}", "/home/../{}", "{}/x/.."])


@given(some.sampled_from(SYSTEM), spellings)
def test_a_directory_of_the_system_is_known_in_every_spelling(path: str, spelling: str) -> None:
    assert is_system(spelling.format(path))


@given(some.sampled_from(SITE), spellings)
def test_directories_of_the_site_are_not_the_systems(path: str, spelling: str) -> None:
    assert not is_system(spelling.format(path))


@given(some.lists(some.sampled_from(["", ".", "..", "etc", "home", "bai", "x"]), max_size=8))
def test_a_plain_path_is_the_shortest_that_names_the_same(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert plain(path) == "/" + os.path.normpath(path).lstrip("/")


def test_every_directory_at_the_top_of_this_system_is_known() -> None:
    """But for those that no distribution makes: whatever is new in FHS shows here."""
    made = {"bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin",
            "srv", "sys", "tmp", "usr", "var"}  # fmt: skip
    assert all(is_system(f"/{name}") for name in made | (made & set(os.listdir("/"))))


@pytest.mark.parametrize("path", SYSTEM)
def test_no_page_takes_a_directory_of_the_system(path: str) -> None:
    for spelling in (path, f"{path}/", f"/{path}"):
        with pytest.raises(ValueError, match="operating system"):
            settings_from(AccountSettings, {"sudo": "no", "home": spelling})
    tables: list[dict[str, object]] = [
        {"type": kind, "path": path, "outside_vfroot": True, **more}
        for kind, more in (
            ("local", {}), ("existing", {}), ("nfs", {"source": "srv:/a"}), ("xfs", {"device": "/dev/sdb1"}),
            ("cephfs", {"source": "mon:/a"}), ("lustre", {"source": "10.0.0.1@tcp:/a"}),
            ("weka", {"source": "a/b"}), ("gpfs", {}), ("beegfs", {}),
            ("bind", {"source": "/mnt/a/b"}),
            ("fstab", {"line": f"srv:/a {path} nfs hard 0 0"}),
        )
    ]  # fmt: skip
    tables += [
        {"type": "bind", "source": path},
        {"type": "fstab", "line": f"{path} /vfroot/a none bind 0 0"},
        {"type": "fstab", "line": f"/{path}/ /vfroot/a none ro,rbind 0 0"},
    ]
    for volume in tables:
        with pytest.raises(ValueError, match="operating system"):
            settings_from(StorageSettings, {"volumes": [{"name": "a", **volume}]})


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/usr", "/root/docker", "/var", "/var/lib", "/var/lib/dpkg/x", "/home"]
)
def test_neither_docker_nor_python_takes_one(path: str) -> None:
    with pytest.raises(ValueError, match="operating system"):
        settings_from(DockerSettings, {"data_root": path})
    with pytest.raises(ValueError, match="operating system"):
        settings_from(PythonSettings, {"base_dir": path})


@pytest.mark.parametrize("path", ["/var/lib/docker", "/data/docker", "/usr/local/docker", "/mnt/disk"])
def test_programs_keep_their_data_where_programs_do(path: str) -> None:
    settings_from(DockerSettings, {"data_root": path})
    settings_from(PythonSettings, {"base_dir": path})


@pytest.mark.parametrize("path", SITE[:1] + SITE[3:])
def test_an_account_lives_where_the_site_wants(path: str) -> None:
    assert settings_from(AccountSettings, {"sudo": "no", "home": f"{path}/"}).home_directory == path


def machine(states: dict[Key, State | None]) -> SimulatedMachine:
    return ubuntu({Key("user", "bai"): bai("")[Key("user", "bai")], **states})


@pytest.mark.parametrize(
    ("states", "path"),
    [
        ({"/srv/x": link("/etc")}, "/srv/x"),
        ({"/srv/x": link("/etc")}, "/srv/x/bai"),
        ({"/srv/x": link("../etc/ssh")}, "/srv/x"),
        ({"/srv/x": link("y"), "/srv/y": link("/")}, "/srv/x"),
        ({"/srv/x": link("y"), "/srv/y": link("/usr/")}, "/srv/x/share"),
        ({"/srv/x": link("/srv/x")}, "/srv/x/bai"),
    ],
)
def test_links_are_followed_before_a_path_is_judged(states: dict[str, State], path: str) -> None:
    with pytest.raises(StepBlocked, match=r"operating system|too many symbolic links"):
        refuse_system(machine({Key("file", name): state for name, state in states.items()}), path, "home")


def test_a_directory_of_an_accounts_own_is_not_made_in_the_systems() -> None:
    node = machine({Key("file", "/srv/x"): link("/etc")})
    with pytest.raises(StepBlocked, match="operating system"):
        list(owned_directories(node, "/srv/x/cron.d/python", account_of(node, "bai")))
    assert list(owned_directories(node, "/usr/local/share/python", account_of(node, "bai")))


def test_a_link_to_a_directory_of_the_site_is_fine() -> None:
    node = machine({Key("file", "/home"): link("/data/home")})
    assert resolved(node, "/home/bai") == "/data/home/bai"
    refuse_taken(node, "/home/bai", "bai", "home")


DIRECTORY = Entry("directory", 0, 0, 0o755)
EVE: dict[Key, State | None] = {Key("user", "eve"): Account("eve", 1300, 1300, "", "/home/eve", "/bin/sh")}
ROOT_DISK: dict[Key, State | None] = {Key("mount", "/"): Mount("/dev/sda1", "ext4")}
TAKEN: dict[str, tuple[dict[Key, State | None], str, str]] = {
    "root's, in use": (
        {Key("file", "/opt/tool"): DIRECTORY, Key("file", "/opt/tool/bin"): DIRECTORY}, "/opt/tool", "is in use"),
    "another account's, in use": (
        {Key("file", "/data/db"): Entry("directory", 110, 110, 0o700), Key("file", "/data/db/x"): file("")},
        "/data/db", "is in use"),
    "a mount point": (
        {Key("file", "/data"): DIRECTORY, Key("mount", "/data"): Mount("/dev/sdb1", "ext4")}, "/data", "is in use"),
    "the home of another": ({}, "/home/ubuntu", "home of 'ubuntu'"),
    "in the home of another": ({}, "/home/ubuntu/bai", "home of 'ubuntu'"),
    "above the home of another": (
        {Key("user", "eve"): Account("eve", 1300, 1300, "", "/data/home/eve/", "/bin/sh")},
        "/data/home", "home of 'eve'"),
    "the home of another by a link": ({Key("file", "/srv/x"): link("/home/ubuntu")}, "/srv/x", "home of 'ubuntu'"),
    "what the home of another links to": (
        {**EVE, Key("file", "/home/eve"): link("/data/eve")}, "/data/eve", "home of 'eve'"),
    "in what the home of another links to": (
        {**EVE, Key("file", "/home/eve"): link("../data/eve")}, "/data/eve/bai", "home of 'eve'"),
    "above what the home of another links to": (
        {**EVE, Key("file", "/home/eve"): link("/data/people/eve")}, "/data/people", "home of 'eve'"),
    "the home of another, where /home is a link": (
        {**EVE, Key("file", "/home"): link("/data/home")}, "/data/home/eve", "home of 'eve'"),
    "both by links": (
        {**EVE, Key("file", "/home/eve"): link("/data/eve"), Key("file", "/srv/x"): link("/data/eve/y")},
        "/srv/x", "home of 'eve'"),
    "the home of another, bound elsewhere": (
        {**EVE, **ROOT_DISK, Key("mount", "/vfroot/a"): Mount("/dev/sda1[/home/eve]", "ext4")},
        "/vfroot/a", "home of 'eve'"),
    "the home of another on a disk that is mounted twice": (
        {**EVE, Key("mount", "/home"): Mount("/dev/sdb1[/home]", "ext4"),
         Key("mount", "/data"): Mount("/dev/sdb1", "ext4")},
        "/data/home/eve", "home of 'eve'"),
    "the home of another on an export that is mounted twice": (
        {**EVE, Key("mount", "/home/eve"): Mount("srv:/vol/home/eve", "nfs4"),
         Key("mount", "/vfroot/a"): Mount("srv:/vol", "nfs4")}, "/vfroot/a", "home of 'eve'"),
    "the system's, bound": (
        {**ROOT_DISK, Key("mount", "/home/bai"): Mount("/dev/sda1[/etc]", "ext4"),
         Key("file", "/home/bai"): DIRECTORY},
        "/home/bai", "operating system"),
    "the system's, bound above": (
        {**ROOT_DISK, Key("mount", "/home"): Mount("/dev/sda1[/etc]", "ext4")}, "/home/ssh", "operating system"),
    "all of the system, bound": (
        {**ROOT_DISK, Key("mount", "/vfroot/a"): Mount("/dev/sda1", "ext4")}, "/vfroot/a", "operating system"),
    "a part of /usr on a disk of its own, bound": (
        {Key("mount", "/usr"): Mount("/dev/sdb1", "ext4"),
         Key("mount", "/vfroot/a"): Mount("/dev/sdb1[/local/bin]", "ext4")}, "/vfroot/a", "operating system"),
    "the system's, bound from an overlay": (
        {Key("mount", "/"): Mount("overlay", "overlay", device="0:30"),
         Key("mount", "/home/bai"): Mount("overlay[/etc]", "overlay", device="0:30")},
        "/home/bai", "operating system"),
    "the system's, bound from memory": (
        {Key("mount", "/run"): Mount("tmpfs", "tmpfs", device="0:31"),
         Key("mount", "/home/bai"): Mount("tmpfs[/systemd]", "tmpfs", device="0:31")},
        "/home/bai", "operating system"),
    "root's below /home, in use": (
        {Key("file", "/home/bai"): DIRECTORY, Key("file", "/home/bai/shadow.bak"): file("")},
        "/home/bai", r"contains shadow\.bak, which belongs to UID 0"),
    "root's below /vfroot, in use": (
        {Key("file", "/vfroot/a"): DIRECTORY, Key("file", "/vfroot/a/b"): DIRECTORY},
        "/vfroot/a", "belongs to UID 0"),
    "root's, with some of another": (
        {Key("file", "/vfroot/a"): DIRECTORY, Key("file", "/vfroot/a/a"): file("", uid=1100),
         Key("file", "/vfroot/a/b"): file("", uid=1000)}, "/vfroot/a", "contains b, which belongs to UID 1000"),
    "root's, with a link": (
        {Key("file", "/vfroot/a"): DIRECTORY, Key("file", "/vfroot/a/b"): link("/etc")},
        "/vfroot/a", "belongs to UID 0"),
    "another account's below /vfroot, empty": (
        {Key("file", "/vfroot/a"): Entry("directory", 1000, 1000, 0o755)}, "/vfroot/a", "belongs to 'ubuntu'"),
    "another account's elsewhere, empty": (
        {Key("file", "/data/a"): Entry("directory", 1000, 1000, 0o755)}, "/data/a", "belongs to 'ubuntu'"),
    "an unknown user's, in use": (
        {Key("file", "/vfroot/a"): Entry("directory", 70001, 70001, 0o755),
         Key("file", "/vfroot/a/b"): file("", uid=70001)}, "/vfroot/a", "belongs to UID 70001"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
def test_resources_of_others_are_not_taken_over(case: str) -> None:
    states, path, reason = TAKEN[case]
    with pytest.raises(StepBlocked, match=reason):
        refuse_taken(machine(states), path, "bai", "home")


FREE: dict[str, tuple[dict[Key, State | None], str]] = {
    "missing": ({}, "/home/bai"),
    "missing elsewhere": ({}, "/data/home/bai"),
    "empty": ({Key("file", "/data/home/bai"): DIRECTORY}, "/data/home/bai"),
    "empty below /vfroot": ({Key("file", "/vfroot/a"): DIRECTORY}, "/vfroot/a"),
    "the account's own": (
        {Key("file", "/opt/bai"): Entry("directory", 1100, 1100, 0o755), Key("file", "/opt/bai/x"): file("")},
        "/opt/bai"),
    "root's, but all in it is the account's": (
        {Key("file", "/home/bai"): DIRECTORY, Key("file", "/home/bai/x"): file("", uid=1100)}, "/home/bai"),
    "a new file system": (
        {Key("mount", "/vfroot/a"): Mount("/dev/sdb1", "ext4"), Key("file", "/vfroot/a"): DIRECTORY,
         Key("file", "/vfroot/a/lost+found"): DIRECTORY}, "/vfroot/a"),
    "root's, with the version that a manual has root write": (
        {Key("file", "/vfroot/a"): DIRECTORY, Key("file", "/vfroot/a/version.txt"): file("3")}, "/vfroot/a"),
    "empty, of a user who is gone": (
        {Key("file", "/vfroot/a"): Entry("directory", 70001, 70001, 0o755)}, "/vfroot/a"),
    "on the root disk": (ROOT_DISK, "/home/bai"),
    "/home is a disk of its own": (
        {**ROOT_DISK, **EVE, Key("mount", "/home"): Mount("/dev/sdb1", "ext4")}, "/home/bai"),
    "a subvolume of the root disk": (
        {Key("mount", "/"): Mount("/dev/sda1[/@]", "btrfs"),
         Key("mount", "/home"): Mount("/dev/sda1[/@home]", "btrfs")},
        "/home/bai"),
    "/home from /var, where there is room": (
        {**ROOT_DISK, Key("mount", "/home"): Mount("/dev/sda1[/var/home]", "ext4")}, "/home/bai"),
    "memory, as much of the system is": (
        {Key("mount", "/run"): Mount("tmpfs", "tmpfs", device="0:31"),
         Key("mount", "/vfroot/a"): Mount("tmpfs", "tmpfs", device="0:32")}, "/vfroot/a"),
    "memory, in a plan": (
        {Key("mount", "/run"): Mount("tmpfs", "tmpfs"), Key("mount", "/vfroot/a"): Mount("tmpfs", "tmpfs")},
        "/vfroot/a"),
    "another export of the same server": (
        {**EVE, Key("mount", "/home"): Mount("srv:/vol/home", "nfs4"),
         Key("mount", "/vfroot/a"): Mount("srv:/vol/homes", "nfs4")},
        "/vfroot/a"),
}  # fmt: skip


@pytest.mark.parametrize("case", FREE)
def test_free_resources_and_the_accounts_own_are_used(case: str) -> None:
    states, path = FREE[case]
    refuse_taken(machine(states), path, "bai", "home")
