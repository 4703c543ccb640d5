"""The plan of the account: exact ids, every refusal with its reason, and a second plan that is empty."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.plan import Plan
from bai_wizard.core.state import Account, Entry, Group, Key, State
from bai_wizard.core.step import Blocked, Verdict
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages.account.page import PAGE
from tests.pages.storage.cycle import assert_cycle, plan_of, run, shown
from tests.pages.ubuntu import bai, file, link, ubuntu

HASH = "$y$j9T$L254YBknBbldvMK7fV7Uk0$dowSmtpmecbZbsMlNFvQLvn0qC5dyiHA9G28.1Aukd5"
TABLE: dict[str, object] = {"password_hash": HASH}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSh"


def verdict(plan: Plan, step: str) -> Verdict:
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
        "~ bai joins group adm",
        "~ bai joins group sudo",
        "~ password of bai  set",
        "+ /home/bai/.ssh/  1100:1100 0700",
        "+ /home/bai/.ssh/authorized_keys  1100:1100 0600",
    ]
    assert HASH not in shown(plan)


def test_the_home_of_a_fresh_account_is_filled_to_the_end(tmp_path: Path) -> None:
    """A run that was cut in the middle of the skeleton goes on where it was."""
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


def test_a_home_in_use_gets_no_skeleton() -> None:
    assert plan_of(PAGE, TABLE, ubuntu(bai(HASH))).is_empty()


REFUSED: dict[str, tuple[dict[Key, State | None], dict[str, object], str, str]] = {
    "uid of another": (
        {Key("user", "eve"): Account("eve", 1100, 5, "", "/", "")},
        {},
        "user",
        "uid 1100 belongs to the account 'eve'",
    ),
    "uid shared with another": (
        {**bai(HASH), Key("user", "eve"): Account("eve", 1100, 5, "", "/", "")},
        {},
        "user",
        "uid 1100 belongs to the account 'eve'",
    ),
    "uid of a directory": (
        {Key("user", "ldap"): Account("ldap", 1100, 5, "", "/", "", local=False)},
        {},
        "user",
        "uid 1100 belongs to the account 'ldap'",
    ),
    "another uid": (bai(HASH, uid=1200), {}, "user", "'bai' has uid 1200, not 1100"),
    "another gid": (bai(HASH, gid=1200), {}, "user", "'bai' has gid 1200, not 1100"),
    "gid of another": (
        {Key("group", "staff"): Group("staff", 1100)},
        {},
        "user",
        "gid 1100 belongs to the group 'staff'",
    ),
    "gid of a directory's group": (
        {Key("group", "staff"): Group("staff", 1100, local=False)},
        {},
        "user",
        "gid 1100 belongs to the group 'staff'",
    ),
    "group with another gid": (
        {Key("group", "bai"): Group("bai", 1200)},
        {},
        "user",
        "the group 'bai' has gid 1200, not 1100",
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
    "another home": (bai(HASH, home="/data/bai"), {}, "user", 'put home = "/data/bai" into [account]'),
    "exists and refuse": (bai(HASH, comment="somebody"), {"existing": "refuse"}, "user", 'existing = "refuse"'),
    "a shell that is not there": (
        {},
        {"shell": "/usr/bin/zsh"},
        "user",
        "/usr/bin/zsh is no login shell of this node",
    ),
    "home of another": (
        {**bai(HASH), Key("file", "/home/bai"): Entry("directory", 1000, 1000, 0o750)},
        {},
        "home",
        "/home/bai belongs to 'ubuntu'",
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
    "no such group": (bai(HASH), {"groups": ["wheel"]}, "groups", "there is no group 'wheel'"),
    "group that a directory keeps": (
        {**bai(HASH), Key("group", "hpc"): Group("hpc", 5000, local=False)},
        {"groups": ["hpc"]},
        "groups",
        "comes from a directory",
    ),
    "no sudo": ({**bai(HASH), Key("file", "/usr/bin/sudo"): None}, {}, "sudo", "apt-get install sudo"),
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
    found = verdict(plan_of(PAGE, {**TABLE, **extra}, machine), step)
    assert isinstance(found, Blocked), found
    assert reason in found.reason


def test_an_account_listed_twice_is_refused() -> None:
    class Twice(SimulatedMachine):
        def accounts(self) -> tuple[Account, ...]:
            return (*super().accounts(), *(entry for entry in super().accounts() if entry.name == "bai"))

    machine = Twice(ubuntu(bai(HASH)).snapshot())
    found = verdict(plan_of(PAGE, TABLE, machine), "user")
    assert isinstance(found, Blocked)
    assert "twice" in found.reason


def test_refuse_takes_what_the_wizard_made_itself(tmp_path: Path) -> None:
    assert_cycle(PAGE, {**TABLE, "existing": "refuse"}, ubuntu(), tmp_path)


def test_an_adopted_account_keeps_its_own_group_name() -> None:
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
    ],
)
def test_how_private_a_home_is_the_system_says(files: dict[str, str | None], mode: str) -> None:
    told = headlines(plan_of(PAGE, TABLE, ubuntu(files=files)))
    assert f"+ /home/bai/  1100:1100 {mode}" in told


class TestDirectoryAccounts:
    LDAP = Account("bai", 1100, 1100, "", "/ldap/bai", "/bin/bash", local=False)
    TABLE: ClassVar[dict[str, object]] = {"source": "directory"}

    def test_only_local_groups_are_added(self, tmp_path: Path) -> None:
        plan = assert_cycle(
            PAGE, {**self.TABLE, "groups": ["adm"]}, ubuntu({Key("user", "bai"): self.LDAP}), tmp_path
        )
        assert headlines(plan) == ["~ bai joins group adm", "~ bai joins group sudo"]

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
            ({}, "the directory knows no 'bai'"),
            (bai(HASH), "is a local account that shadows the directory's"),
            ({Key("user", "bai"): Account("bai", 7, 1100, "", "/x", "", local=False)}, "gives 'bai' the uid 7"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, states: dict[Key, State | None], reason: str) -> None:
        found = verdict(plan_of(PAGE, self.TABLE, ubuntu(states)), "user")
        assert isinstance(found, Blocked)
        assert reason in found.reason


class TestSudo:
    PATH = "/etc/sudoers.d/90-bai-wizard-bai"

    def test_nopasswd_is_a_checked_drop_in(self, tmp_path: Path) -> None:
        machine = ubuntu(bai())
        plan = assert_cycle(PAGE, {"sudo": "nopasswd"}, machine, tmp_path)
        assert f"+ {self.PATH}  0:0 0440" in headlines(plan)
        assert "+bai ALL=(ALL:ALL) NOPASSWD: ALL" in shown(plan)

    def test_another_way_takes_the_drop_in_away(self, tmp_path: Path) -> None:
        machine = ubuntu(bai(HASH))
        run(machine, plan_of(PAGE, {"sudo": "nopasswd"}, machine), tmp_path)
        assert headlines(plan_of(PAGE, TABLE, machine)) == [f"- {self.PATH}"]
        assert headlines(plan_of(PAGE, {"sudo": "no"}, machine)) == [f"- {self.PATH}", "~ bai leaves group sudo"]

    @pytest.mark.parametrize(
        "sudoers", ["@includedir /etc/sudoers.d\n", "# %sudo ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n"]
    )
    def test_without_the_groups_rule_the_account_gets_one(self, sudoers: str, tmp_path: Path) -> None:
        plan = assert_cycle(PAGE, TABLE, ubuntu(bai(HASH), {"/etc/sudoers": sudoers}), tmp_path)
        assert "+bai ALL=(ALL:ALL) ALL" in shown(plan)

    def test_the_groups_rule_may_stand_in_a_drop_in(self) -> None:
        files = {"/etc/sudoers": "@includedir /etc/sudoers.d\n", "/etc/sudoers.d/10-site": "%sudo ALL=(ALL) ALL\n"}
        assert plan_of(PAGE, TABLE, ubuntu(bai(HASH), files)).is_empty()

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

    def test_a_key_in_a_comment_is_no_key(self, tmp_path: Path) -> None:
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


def test_without_root_the_plan_says_what_nobody_can_tell() -> None:
    plan = plan_of(PAGE, TABLE, ubuntu(bai(HASH), is_root=False))
    assert "needs root" in shown(plan)
