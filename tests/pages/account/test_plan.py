"""The plan of the account: exact UID and GID, every refusal with its reason, and an empty second plan."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp
from typing import ClassVar

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Offer
from bai_wizard.core.page import Context
from bai_wizard.core.state import Account, Entry, Group, Key, Mount, Package, State, package_key
from bai_wizard.core.step import Blocked, Plan, StepStatus
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.account.plan import PAGE
from bai_wizard.pages.account.steps import Sudo
from bai_wizard.resources.files import WriteFile
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown
from tests.pages.ubuntu import bai, file, link, ubuntu
from tests.settings import settings_from

HASH = "$y$j9T$L254YBknBbldvMK7fV7Uk0$dowSmtpmecbZbsMlNFvQLvn0qC5dyiHA9G28.1Aukd5"
TABLE: dict[str, object] = {"password_hash": HASH}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSh"


def verdict(plan: Plan, step: str) -> StepStatus:
    return next(item.verdict for item in plan.steps if item.step.id == f"account.{step}")


def headlines(plan: Plan) -> list[str]:
    return [change.headline() for item in plan.pending() for change in getattr(item.verdict, "changes", ())]


def test_a_fresh_node(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, {**TABLE, "groups": ["adm"], "authorized_keys": [f"{KEY} ops"]}, ubuntu(), tmp_path)
    assert headlines(plan) == [
        "+ group bai  gid 1100",
        "+ user bai  uid 1100 gid 1100 home /home/bai shell /bin/bash",
        "+ /home/bai/  1100:1100 0750",
        "+ /home/bai/.bashrc  1100:1100 0644",
        "+ /home/bai/.config/  1100:1100 0755",
        "+ /home/bai/.config/x  1100:1100 0644",
        "+ /home/bai/.profile  1100:1100 0644",
        "~ add bai to group adm",
        "~ add bai to group sudo",
        "~ password of bai  set",
        "+ /home/bai/.ssh/  1100:1100 0700",
        "+ /home/bai/.ssh/authorized_keys  1100:1100 0600",
    ]
    assert HASH not in shown(plan)


def test_the_home_of_a_fresh_account_is_filled_to_the_end(tmp_path: Path) -> None:
    """A run that was interrupted while copying the skeleton continues there."""
    states = {
        **bai(HASH),
        Key("file", "/home/bai/work"): None,
        Key("file", "/home/bai/.bashrc"): file("mine", uid=1100),
    }
    machine = ubuntu(states)
    assert headlines(plan_of(PAGE, TABLE, machine)) == [
        "+ /home/bai/.config/  1100:1100 0755",
        "+ /home/bai/.config/x  1100:1100 0644",
        "+ /home/bai/.profile  1100:1100 0644",
    ]


SKELETON = [
    "+ /home/bai/.bashrc  1100:1100 0644",
    "+ /home/bai/.config/  1100:1100 0755",
    "+ /home/bai/.config/x  1100:1100 0644",
    "+ /home/bai/.profile  1100:1100 0644",
]


@pytest.mark.parametrize("name", [".cache/uv/x", "data/run-1", ".bash_history"])
def test_a_home_left_by_an_earlier_account_is_completed(name: str) -> None:
    left: dict[Key, State | None] = {
        Key("file", "/home/bai"): Entry("directory", 1100, 1100, 0o750),
        Key("file", f"/home/bai/{name}"): file("left", uid=1100),
    }
    machine = ubuntu(left)
    plan = plan_of(PAGE, TABLE, machine)
    assert [line for line in headlines(plan) if "/home/bai/" in line and ".ssh" not in line] == SKELETON


def test_a_home_with_nothing_but_a_cache_is_not_in_use() -> None:
    states = {
        **bai(HASH),
        Key("file", "/home/bai/work"): None,
        Key("file", "/home/bai/.cache/uv"): file("", uid=1100),
    }
    assert headlines(plan_of(PAGE, TABLE, ubuntu(states))) == SKELETON


@pytest.mark.parametrize(("mode", "after"), [(0o500, 0o700), (0o077, 0o755), (0o750, 0o750)])
def test_a_home_that_its_owner_can_use_and_others_cannot_write_to(mode: int, after: int) -> None:
    states = {**bai(HASH), Key("file", "/home/bai"): Entry("directory", 1100, 1100, mode)}
    plan = plan_of(PAGE, TABLE, ubuntu(states))
    change = f"~ /home/bai/  1100:1100 {mode:04o} → 1100:1100 {after:04o}"
    assert headlines(plan) == ([change] if mode != after else [])


def test_a_home_in_use_gets_no_skeleton() -> None:
    assert plan_of(PAGE, TABLE, ubuntu(bai(HASH))).is_empty()


REFUSED: dict[str, tuple[dict[Key, State | None], dict[str, object], str, str]] = {
    "uid of another": (
        {Key("user", "eve"): Account("eve", 1100, 5, "", "/", "")},
        {},
        "user",
        "UID 1100 belongs to the account 'eve'",
    ),
    "uid shared with another": (
        {**bai(HASH), Key("user", "eve"): Account("eve", 1100, 5, "", "/", "")},
        {},
        "user",
        "UID 1100 belongs to the account 'eve'",
    ),
    "uid of a directory": (
        {Key("user", "ldap"): Account("ldap", 1100, 5, "", "/", "", local=False)},
        {},
        "user",
        "UID 1100 belongs to the account 'ldap'",
    ),
    "another uid": (bai(HASH, uid=1200), {}, "user", "'bai' has uid 1200, not 1100"),
    "another gid": (bai(HASH, gid=1200), {}, "user", "'bai' has gid 1200, not 1100"),
    "gid of another": (
        {Key("group", "staff"): Group("staff", 1100)},
        {},
        "user",
        "GID 1100 belongs to the group 'staff'",
    ),
    "gid of a directory's group": (
        {Key("group", "staff"): Group("staff", 1100, local=False)},
        {},
        "user",
        "GID 1100 belongs to the group 'staff'",
    ),
    "group with another gid": (
        {Key("group", "bai"): Group("bai", 1200)},
        {},
        "user",
        "the group 'bai' has GID 1200, not 1100",
    ),
    "group of a directory": (
        {Key("group", "bai"): Group("bai", 1100, local=False)},
        {},
        "user",
        "the group 'bai' comes from a directory",
    ),
    "account of a directory": (
        {Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash", local=False)},
        {},
        "user",
        'source = "directory"',
    ),
    "another shell": (bai(HASH, shell="/usr/sbin/nologin"), {}, "user", "chsh -s /bin/bash bai"),
    "another home": (bai(HASH, home="/data/bai"), {}, "user", 'set home = "/data/bai" in [account]'),
    "a home of the system's": (
        bai(HASH, home="/"),
        {},
        "user",
        "give the account a home directory: usermod -d /home/bai",
    ),
    "home in use by root": (
        {
            **bai(HASH, home="/opt/tool"),
            Key("file", "/opt/tool"): Entry("directory", 0, 0, 0o755),
            Key("file", "/opt/tool/bin"): Entry("directory", 0, 0, 0o755),
        },
        {"home": "/opt/tool"},
        "home",
        "is in use and does not belong to 'bai'",
    ),
    "home of the system by a link": (
        {**bai(HASH, home="/srv/x/bai"), Key("file", "/srv/x"): link("/etc")},
        {"home": "/srv/x/bai"},
        "home",
        "leads to /etc/bai, which is a directory of the operating system",
    ),
    "exists and refuse": (bai(HASH, comment="somebody"), {"existing": "refuse"}, "user", 'existing = "refuse"'),
    "a shell that is not there": (
        {},
        {"shell": "/usr/bin/zsh"},
        "user",
        "/usr/bin/zsh is not a login shell of this node",
    ),
    "home of another": (
        {**bai(HASH), Key("file", "/home/bai"): Entry("directory", 1000, 1000, 0o750)},
        {},
        "home",
        "/home/bai belongs to 'ubuntu'",
    ),
    "home of an account that only a directory service knows": (
        {**bai(HASH), Key("file", "/home/bai"): Entry("directory", 70001, 70001, 0o750)},
        {},
        "home",
        "belongs to UID 70001, which no local account has",
    ),
    "home is a file": (
        {**bai(HASH), Key("file", "/home/bai"): file(""), Key("file", "/home/bai/work"): None},
        {},
        "home",
        "not a directory",
    ),
    "home is a link": (
        {**bai(HASH), Key("file", "/home/bai"): link("/etc"), Key("file", "/home/bai/work"): None},
        {},
        "home",
        "is a link",
    ),
    "no such group": (bai(HASH), {"groups": ["wheel"]}, "groups", "group 'wheel' does not exist"),
    "group that a directory keeps": (
        {**bai(HASH), Key("group", "hpc"): Group("hpc", 5000, local=False)},
        {"groups": ["hpc"]},
        "groups",
        "comes from a directory",
    ),
    "sudo's program is gone": (
        {**bai(HASH), Key("file", "/usr/bin/sudo"): None, package_key("sudo"): Package("1.9.15p5")},
        {},
        "sudo",
        "apt-get install sudo",
    ),
    "sudoers.d is not read": (
        {**bai(HASH), Key("file", "/etc/sudoers"): file("%sudo ALL=(ALL:ALL) ALL\n")},
        {"sudo": "nopasswd"},
        "sudo",
        "@includedir",
    ),
    "keys are a link": (
        {**bai(HASH), Key("file", "/home/bai/.ssh"): link("/root/.ssh")},
        {"authorized_keys": [KEY]},
        "authorized-keys",
        "is a link",
    ),
    "authorized_keys is a link": (
        {**bai(HASH), Key("file", "/home/bai/.ssh/authorized_keys"): link("/root/x")},
        {"authorized_keys": [KEY]},
        "authorized-keys",
        "is a link",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str) -> None:
    states, extra, step, reason = REFUSED[case]
    machine = ubuntu()
    for key, state in states.items():
        machine.set_state(key, state)
    status = verdict(plan_of(PAGE, {**TABLE, **extra}, machine), step)
    assert isinstance(status, Blocked), status
    assert reason in status.reason


def test_an_account_listed_twice_is_refused() -> None:
    class Twice(SimulatedMachine):
        def accounts(self) -> tuple[Account, ...]:
            return (*super().accounts(), *(entry for entry in super().accounts() if entry.name == "bai"))

    machine = Twice(ubuntu(bai(HASH)).snapshot())
    status = verdict(plan_of(PAGE, TABLE, machine), "user")
    assert isinstance(status, Blocked)
    assert "twice" in status.reason


def test_refuse_accepts_accounts_created_by_the_wizard(tmp_path: Path) -> None:
    assert_cycle(PAGE, {**TABLE, "existing": "refuse"}, ubuntu(), tmp_path)


def test_an_adopted_account_keeps_its_group_name() -> None:
    states = {**bai(HASH), Key("group", "bai"): None, Key("group", "cluster"): Group("cluster", 1100)}
    assert plan_of(PAGE, TABLE, ubuntu(states)).is_empty()


def test_the_group_of_an_adopted_account_is_made_where_it_is_missing() -> None:
    assert headlines(plan_of(PAGE, TABLE, ubuntu({**bai(HASH), Key("group", "bai"): None}))) == [
        "+ group bai  gid 1100"
    ]


def test_a_group_that_fits_is_used(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, TABLE, ubuntu({Key("group", "bai"): Group("bai", 1100)}), tmp_path)
    assert "+ group bai  gid 1100" not in headlines(plan)


def test_a_home_elsewhere_gets_its_parents(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, {**TABLE, "home": "/srv/people/bai"}, ubuntu(), tmp_path)
    assert "+ /srv/people/  0:0 0755" in headlines(plan)


@pytest.mark.parametrize(
    "files, mode",
    [
        ({"/etc/adduser.conf": "DIR_MODE=0700\n"}, "0700"),
        ({}, "0750"),
        ({"/etc/login.defs": "HOME_MODE 0777\n"}, "0755"),
        ({"/etc/login.defs": "", "/etc/adduser.conf": None}, "0750"),
        ({"/etc/login.defs": "HOME_MODE 0700\nHOME_MODE\t0711 \n"}, "0711"),
        ({"/etc/login.defs": 'HOME_MODE "0x1c0" # private\n'}, "0700"),
        ({"/etc/login.defs": "HOME_MODE 0700\nHOME_MODE\u00a00755\n#HOME_MODE 0755\n"}, "0700"),
        ({"/etc/login.defs": "HOME_MODE 0711\r\nUMASK 077\n"}, "0700"),
        ({"/etc/login.defs": "HOME_MODE 700\n"}, "0750"),
        ({"/etc/login.defs": "UMASK 027\n"}, "0750"),
        ({"/etc/login.defs": "UMASK 022\n"}, "0750"),
        ({"/etc/login.defs": "UMASK 077\0\n"}, "0700"),
        ({"/etc/login.defs": f"#{'x' * 1022}HOME_MODE 0700\n"}, "0700"),
        ({"/etc/adduser.conf": "DIR_MODE=0755\nDir_Mode = '0700'\n"}, "0700"),
    ],
)
def test_how_private_a_home_is_the_system_says(files: dict[str, str | None], mode: str) -> None:
    lines = headlines(plan_of(PAGE, TABLE, ubuntu(files=files)))
    assert f"+ /home/bai/  1100:1100 {mode}" in lines


class TestDirectoryAccounts:
    LDAP = Account("bai", 1100, 1100, "", "/ldap/bai", "/bin/bash", local=False)
    TABLE: ClassVar[dict[str, object]] = {"source": "directory"}

    def test_only_local_groups_are_added(self, tmp_path: Path) -> None:
        plan = assert_cycle(
            PAGE, {**self.TABLE, "groups": ["adm"]}, ubuntu({Key("user", "bai"): self.LDAP}), tmp_path
        )
        assert headlines(plan) == ["~ add bai to group adm", "~ add bai to group sudo"]

    def test_keys_go_into_the_directorys_home(self) -> None:
        states: dict[Key, State | None] = {
            Key("user", "bai"): self.LDAP,
            Key("file", "/ldap/bai"): Entry("directory", 1100, 1100, 0o700),
        }
        plan = plan_of(PAGE, {**self.TABLE, "authorized_keys": [KEY]}, ubuntu(states))
        assert "+ /ldap/bai/.ssh/authorized_keys  1100:1100 0600" in headlines(plan)

    @pytest.mark.parametrize(
        "states, reason",
        [
            ({}, "'bai' is not in the directory service"),
            (bai(HASH), "is a local account that shadows the one in the directory"),
            ({Key("user", "bai"): Account("bai", 7, 1100, "", "/x", "", local=False)}, "has uid 7 in the dir"),
        ],
    )
    def test_conflicting_accounts_are_refused(self, states: dict[Key, State | None], reason: str) -> None:
        status = verdict(plan_of(PAGE, self.TABLE, ubuntu(states)), "user")
        assert isinstance(status, Blocked)
        assert reason in status.reason


class TestSudo:
    PATH = "/etc/sudoers.d/90-bai-wizard-bai"

    def test_nopasswd_is_a_checked_drop_in(self, tmp_path: Path) -> None:
        machine = ubuntu(bai())
        plan = assert_cycle(PAGE, {"sudo": "nopasswd"}, machine, tmp_path)
        assert f"+ {self.PATH}  0:0 0440" in headlines(plan)
        assert "+#1100 ALL=(ALL:ALL) NOPASSWD: ALL" in shown(plan)

    def test_another_way_takes_the_drop_in_away(self, tmp_path: Path) -> None:
        machine = ubuntu(bai(HASH))
        run(machine, plan_of(PAGE, {"sudo": "nopasswd"}, machine), tmp_path)
        assert headlines(plan_of(PAGE, TABLE, machine)) == [f"- {self.PATH}"]
        assert headlines(plan_of(PAGE, {"sudo": "no"}, machine)) == [f"- {self.PATH}", "~ remove bai from group sudo"]

    @pytest.mark.parametrize(
        "sudoers", ["@includedir /etc/sudoers.d\n", "# %sudo ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n"]
    )
    def test_without_the_groups_rule_the_account_gets_one(self, sudoers: str, tmp_path: Path) -> None:
        plan = assert_cycle(PAGE, TABLE, ubuntu(bai(HASH), {"/etc/sudoers": sudoers}), tmp_path)
        assert "+#1100 ALL=(ALL:ALL) ALL" in shown(plan)

    def test_the_groups_rule_may_stand_in_a_drop_in(self) -> None:
        files = {"/etc/sudoers": "@includedir /etc/sudoers.d\n", "/etc/sudoers.d/10-site": "%sudo ALL=(ALL) ALL\n"}
        assert plan_of(PAGE, TABLE, ubuntu(bai(HASH), files)).is_empty()

    @pytest.mark.parametrize("way", ["password", "nopasswd"])
    def test_a_node_without_sudo_gets_the_package_first(self, way: str) -> None:
        brings: dict[Key, State] = {
            Key("file", "/usr/bin/sudo"): file(""),
            Key("file", "/etc/sudoers"): file("%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"),
            Key("file", "/etc/sudoers.d"): Entry("directory", 0, 0, 0o750),
        }
        gone = ("/usr/bin/sudo", "/etc/sudoers", "/etc/sudoers.d", "/etc/sudoers.d/README")
        states: dict[Key, State | None] = {Key("file", path): None for path in gone}
        machine = ubuntu(states, offers={"sudo": Offer("1.9.15", brings=tuple(brings.items()))})
        table = {**(TABLE if way == "password" else {}), "sudo": way}
        plan = plan_of(PAGE, table, machine)
        assert not plan.blocked(), shown(plan)
        order = [item.step.id for item in plan.pending()]
        assert order.index("account.sudo-package") < order.index("account.sudo")
        assert ("+#1100 ALL=(ALL:ALL) NOPASSWD: ALL" in shown(plan)) is (way == "nopasswd")
        assert "known after" not in shown(plan)
        _, result = run(machine, plan, tmp := Path(mkdtemp()))
        assert result.code() == 0, result
        rmtree(tmp)
        assert machine.package("sudo") == Package("1.9.15")
        assert machine.is_member("bai", "sudo")
        assert plan_of(PAGE, table, machine).is_empty()

    def test_without_lists_the_package_is_known_later(self) -> None:
        plan = plan_of(PAGE, TABLE, ubuntu({Key("file", "/usr/bin/sudo"): None}))
        assert [item.step.id for item in plan.pending() if "sudo" in item.step.id or "lists" in item.step.id] == [
            "account.package-lists", "account.sudo-package", "account.sudo",
        ]  # fmt: skip
        assert not plan.blocked(), shown(plan)

    def test_no_sudo_needs_no_package(self) -> None:
        gone: dict[Key, State | None] = {Key("file", "/usr/bin/sudo"): None}
        plan = plan_of(PAGE, {"sudo": "no"}, ubuntu(gone))
        assert not [item for item in plan.steps if item.step.id == "account.sudo-package"]

    def test_a_rule_by_name_of_an_older_version_becomes_one_by_number(self, tmp_path: Path) -> None:
        """0.1.0 wrote the name; undo gives its file back."""
        old = "# Written by bai-wizard.\nbai ALL=(ALL:ALL) NOPASSWD: ALL\n"
        machine = ubuntu({**bai(), Key("file", self.PATH): file(old, 0o440)})
        plan = assert_cycle(PAGE, {"sudo": "nopasswd"}, machine, tmp_path)
        assert "-bai ALL=(ALL:ALL) NOPASSWD: ALL" in shown(plan)
        assert "+#1100 ALL=(ALL:ALL) NOPASSWD: ALL" in shown(plan)

    @pytest.mark.parametrize("name", ["ALL", "ADMINS", "A", "WEB_1", "DEFAULTS"])
    def test_a_name_that_sudo_takes_for_more_than_one_account_is_refused(self, name: str) -> None:
        for source in ("local", "directory"):
            with pytest.raises(ValueError, match="uppercase letters only"):
                settings_from(PAGE.settings, {"username": name, "source": source, "sudo": "no"})

    @pytest.mark.parametrize("name", ["%adm", "+netgroup", "#0", "-x", "!bai", "bai,root", "bai ALL", "@x"])
    def test_an_invalid_name_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="user or group name"):
            settings_from(PAGE.settings, {"username": name, "source": "directory", "sudo": "no"})

    @pytest.mark.skipif(which("cvtsudoers", path="/usr/bin:/usr/sbin:/bin") is None, reason="sudo is not installed")
    @pytest.mark.parametrize("name", ["bai", "ALL", "ADMINS", "Defaults", "j.doe", "bai@corp", "User_Alias"])
    @pytest.mark.parametrize("way", ["nopasswd", "password"])
    def test_sudo_reads_one_account_whatever_its_name(self, name: str, way: str, tmp_path: Path) -> None:
        states: dict[Key, State | None] = {
            Key("user", name): Account(name, 1100, 1100, "", f"/home/{name}", "/bin/bash", local=False)
        }
        node = ubuntu(states, {"/etc/sudoers": "User_Alias ADMINS = ALL\n@includedir /etc/sudoers.d\n"})
        step = Sudo(id="account.sudo", account=name, way=way)  # type: ignore[arg-type]
        (content,) = [one.content for one in step.operations(node) if isinstance(one, WriteFile)]
        drop_in = tmp_path / "drop-in"
        drop_in.write_text("User_Alias ADMINS = ALL\n" + content.decode())
        drop_in.chmod(0o440)
        path = "/usr/bin:/usr/sbin:/bin"
        result = subprocess.run([which("cvtsudoers", path=path) or "", "-f", "json", str(drop_in)],
                              capture_output=True, text=True, check=True)  # fmt: skip
        assert not result.stderr
        (spec,) = json.loads(result.stdout)["User_Specs"]
        assert spec["User_List"] == [{"userid": 1100}]
        subprocess.run([which("visudo", path=path) or "", "-c", "-f", str(drop_in)], check=True, capture_output=True)

    def test_a_name_with_a_dot_would_be_skipped_by_sudo(self) -> None:
        states: dict[Key, State | None] = {
            Key("user", "j.doe"): Account("j.doe", 1100, 1100, "", "/x", "/bin/bash", local=False)
        }
        table = {"source": "directory", "username": "j.doe", "sudo": "nopasswd"}
        plan = plan_of(PAGE, table, ubuntu(states), Context(account="j.doe"))
        assert "+ /etc/sudoers.d/90-bai-wizard-j_doe  0:0 0440" in headlines(plan)


class TestAuthorizedKeys:
    PATH = "/home/bai/.ssh/authorized_keys"

    def keys(self, before: bytes | None, wanted: list[str], directory: Path) -> bytes:
        states = bai(HASH)
        if before is not None:
            states[Key("file", self.PATH)] = Entry("file", 1100, 1100, 0o600, before)
            states[Key("file", "/home/bai/.ssh")] = Entry("directory", 1100, 1100, 0o700)
        machine = ubuntu(states)
        table = {**TABLE, "authorized_keys": wanted}
        assert_cycle(PAGE, table, machine, directory / "cycle")
        run(machine, plan_of(PAGE, table, machine), directory / "run")
        entry = machine.entry(self.PATH)
        assert entry is not None
        return entry.content or b""

    def test_other_keys_keep_their_bytes(self, tmp_path: Path) -> None:
        before = b"# caf\xe9\r\n" + f'from="10.0.0.1" {OTHER_KEY} x'.encode()
        assert self.keys(before, [f"{KEY} ops"], tmp_path) == before + f"\n{KEY} ops\n".encode()

    def test_a_key_with_options_or_another_comment_is_the_same_key(self, tmp_path: Path) -> None:
        before = f"no-pty {KEY} old name\n".encode()
        assert self.keys(before, [f"{KEY} ops"], tmp_path) == before

    def test_a_key_in_a_comment_is_ignored(self, tmp_path: Path) -> None:
        before = f"# {KEY}\n".encode()
        assert self.keys(before, [KEY], tmp_path) == before + f"{KEY}\n".encode()

    def test_two_keys_without_a_file(self, tmp_path: Path) -> None:
        assert self.keys(None, [KEY, OTHER_KEY], tmp_path) == f"{KEY}\n{OTHER_KEY}\n".encode()


DRIFTS: dict[str, tuple[Key, State | None]] = {
    "not in sudo": (Key("member", "sudo:bai"), None),
    "home is root's": (Key("file", "/home/bai"), Entry("directory", 0, 0, 0o750)),
    "home is writable for the group": (Key("file", "/home/bai"), Entry("directory", 1100, 1100, 0o770)),
    "another hash": (Key("password", "bai"), None),
    "home is gone": (Key("file", "/home/bai"), None),
    "keys are gone": (Key("file", "/home/bai/.ssh/authorized_keys"), None),
    "keys are root's": (Key("file", "/home/bai/.ssh/authorized_keys"), file(f"{KEY}\n", 0o600)),
    "keys are writable": (Key("file", "/home/bai/.ssh/authorized_keys"), file(f"{KEY}\n", 0o666, 1100)),
    ".ssh is open": (Key("file", "/home/bai/.ssh"), Entry("directory", 1100, 1100, 0o777)),
    "the group is gone": (Key("group", "bai"), None),
    "the account is gone": (Key("user", "bai"), None),
    "sudo's drop-in is writable": (Key("file", TestSudo.PATH), file("bai ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o644)),
    "the shell": (Key("user", "bai"), Account("bai", 1100, 1100, "", "/home/bai", "/bin/false")),
}


@pytest.mark.parametrize("case", DRIFTS)
def test_drift_is_seen(case: str, tmp_path: Path) -> None:
    table = {**TABLE, "sudo": "nopasswd" if "drop-in" in case else "password", "authorized_keys": [KEY]}
    machine = ubuntu(bai(HASH))
    run(machine, plan_of(PAGE, table, machine), tmp_path)
    assert plan_of(PAGE, table, machine).is_empty()
    machine.set_state(*DRIFTS[case])
    plan = plan_of(PAGE, table, machine)
    assert not plan.is_empty() or plan.blocked()


def test_without_root_the_plan_names_unknown_facts() -> None:
    plan = plan_of(PAGE, TABLE, ubuntu(bai(HASH), is_root=False))
    assert "needs root" in shown(plan)


@pytest.mark.parametrize(
    ("states", "cause"),
    [
        ({Key("mount", "/home"): Mount("tmpfs", "tmpfs", "ro,nosuid")}, "/home is mounted read-only"),
        ({Key("mount", "/"): Mount("/dev/sda1", "ext4", "ro")}, "/ is mounted read-only"),
        ({Key("mount", "/home"): Mount("/etc/auto.home", "autofs", "rw")}, "automounter"),
        ({Key("mount", "/home"): Mount("nas:/home", "nfs4", "rw")}, "root cannot write to /home"),
        ({Key("file", "/home"): Entry("directory", 0, 0, 0o1777)}, "all users can write to /home"),
        ({Key("file", "/home"): link("/data/home")}, "is a link to /data/home"),
    ],
)
def test_a_home_that_root_cannot_create_is_refused_in_the_plan(states: dict[Key, State | None], cause: str) -> None:
    denied = {("test", "-w", "/home"): Completed(1, "", "")}
    blocked = verdict(plan_of(PAGE, TABLE, ubuntu(states, looks=denied)), "home-location")
    assert isinstance(blocked, Blocked)
    assert cause in blocked.reason
    assert "`home` in [account]" in blocked.reason
    elsewhere = plan_of(
        PAGE, {**TABLE, "home": "/srv/bai"}, ubuntu({**states, Key("mount", "/"): None}, looks=denied)
    )
    assert not [item for item in elsewhere.steps if item.step.id == "account.home-location"]
