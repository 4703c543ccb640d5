"""What may have changed an object: records that name it, otherwise those close in time, never more than is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Entry, Key, file_key, member_key, package_key, unit_key
from bai_wizard.doctor.causes import MOST, NEAR, Cause, Subject, causes_of, subject_of
from bai_wizard.node.simulated import Environment, SimulatedMachine

FILE = "/etc/sysctl.d/99-backendai.conf"
KEY = "net.ipv4.tcp_fin_timeout"
NOW = 1_800_000_000.0
SUDO = "alice : TTY=pts/0 ; PWD={pwd} ; USER=root ; COMMAND={command}"


def record(program: str, text: str, *, at: float = NOW, uid: str = "1000", exe: str = "", unit: str = "") -> str:
    fields = {"SYSLOG_IDENTIFIER": program, "MESSAGE": text, "_UID": uid, "_EXE": exe or f"/usr/bin/{program}"}
    return json.dumps({"__REALTIME_TIMESTAMP": f"{at * 1e6:.0f}", **fields, **({"UNIT": unit} if unit else {})})


def sudo(command: str, *, pwd: str = "/root", at: float = NOW, exe: str = "") -> str:
    return record("sudo", SUDO.format(pwd=pwd, command=command), at=at, exe=exe)


def local(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


class ChangedNow(SimulatedMachine):
    """A node whose files were all changed now."""

    def changed_at(self, path: str) -> float:
        return NOW if super().changed_at(path) else 0.0


def causes(
    subject: Subject, journal: Sequence[str] = (), dpkg: Sequence[str] = (), owner: str = "", since: float = 0.0
) -> tuple[Cause, ...]:
    """What is found on a node whose file was changed now, with these logs."""
    looks = {
        ("stat",): Completed(0, "".join(f"{NOW:.0f}\tbob\t{path}\0" for path in subject.paths), ""),
        ("dpkg-query",): Completed(0, "".join(f"{owner}: {path}\n" for path in subject.paths if owner), ""),
        ("tail",): Completed(1, "", ""),
        ("tail", "--bytes=1048576", "--", "/var/log/dpkg.log"): Completed(0, "\n".join(dpkg), ""),
        ("journalctl",): Completed(0, "\n".join(journal), ""),
    }
    states = {file_key(path): Entry("file", 0, 0, 0o644, b"") for path in subject.paths}
    machine = ChangedNow(states, Environment(looks=looks))
    (found,), unread = causes_of(machine, [subject], since)
    assert unread == ()
    return found


def texts(found: Sequence[Cause], source: str) -> list[str]:
    return [cause.text for cause in found if cause.source == source]


def test_the_file_itself_with_its_owner() -> None:
    (cause,) = causes(Subject((FILE,)))
    assert (cause.source, cause.what, cause.owner, cause.modified) == ("file", FILE, "bob", NOW)
    assert causes(Subject((FILE,)), since=NOW + 1) == (), "it was not changed since"


@pytest.mark.parametrize(
    ("command", "pwd", "shown"),
    [
        (f"/usr/bin/vim {FILE}", "/root", f"/usr/bin/vim {FILE}"),
        ("/usr/bin/vim 99-backendai.conf", "/etc/sysctl.d", "/usr/bin/vim 99-backendai.conf"),
        ("/usr/bin/rm -r /etc/sysctl.d", "/", "/usr/bin/rm /etc/sysctl.d …"),
        (f"/usr/bin/sh -c echo\\ hunter2\\ >\\ '{FILE}'", "/", f"/usr/bin/sh {FILE} …"),
        (f"/usr/sbin/sysctl -w {KEY}=60", "/", f"/usr/sbin/sysctl {KEY}=60 …"),
        ("/usr/sbin/sysctl net/ipv4/tcp_fin_timeout=60", "/", "/usr/sbin/sysctl net/ipv4/tcp_fin_timeout=60"),
    ],
)
def test_a_command_that_names_the_object_is_shown_without_its_other_arguments(
    command: str, pwd: str, shown: str
) -> None:
    subject = Subject((FILE,), (KEY, KEY.replace(".", "/")))
    (cause,) = [each for each in causes(subject, [sudo(command, pwd=pwd)]) if each.source == "sudo"]
    assert (cause.what, cause.text, cause.is_named) == ("alice", shown, True)


@pytest.mark.parametrize(
    "command",
    [
        "/usr/sbin/usermod -p $6$salt$abcdefghijkl bai",
        "/usr/bin/mysql --password=hunter2",
        "/usr/bin/tool bai:hunter2 hunter2",
        "/usr/bin/curl https://bai:hunter2@host/etc/hosts",
    ],
)
def test_secrets_of_a_command_line_are_never_shown(command: str) -> None:
    found = causes(Subject(("/etc/hosts",), ("bai",)), [sudo(command)])
    assert "hunter2" not in repr(found)
    assert "$6$" not in repr(found)


def test_what_names_the_object_comes_before_what_is_only_close_in_time() -> None:
    near, named = sudo("/bin/bash"), sudo(f"/usr/bin/vim {FILE}", at=NOW - 2 * NEAR)
    assert texts(causes(Subject((FILE,)), [near, named]), "sudo") == [f"/usr/bin/vim {FILE}"]
    (cause,) = [each for each in causes(Subject((FILE,)), [near]) if each.source == "sudo"]
    assert (cause.text, cause.is_named) == ("/bin/bash", False)
    for at in (NOW - NEAR - 1, NOW + 1):
        assert texts(causes(Subject((FILE,)), [sudo("/bin/bash", at=at)]), "sudo") == [], at
    assert texts(causes(Subject(names=(KEY,)), [near]), "sudo") == [], "nothing says when the value was changed"


def test_at_most_so_many_of_each_the_newest_first() -> None:
    journal = [sudo(f"/usr/bin/vim {FILE}", at=NOW - number) for number in range(10)]
    times = [cause.time for cause in causes(Subject((FILE,)), journal) if cause.source == "sudo"]
    assert times == [NOW - number for number in range(MOST)]


@pytest.mark.parametrize(
    "line",
    [
        record("sudo", SUDO.format(pwd="/", command=f"/bin/forged {FILE}"), exe="/usr/bin/logger"),
        record("sudo", SUDO.format(pwd="/", command=f"/bin/forged {FILE}"), exe="/home/eve/sudo"),
        record("sudo", f"alice : command not allowed ; PWD=/ ; USER=root ; COMMAND=/bin/vi {FILE}"),
        record("sudo", "alice : 3 incorrect password attempts"),
        record("sudo", "alice : PWD=/ ; USER=root ; COMMAND= "),
        record("sshd", "Failed password for root", exe="/usr/sbin/sshd"),
        '{"__REALTIME_TIMESTAMP": "1", "MESSAGE": [255], "SYSLOG_IDENTIFIER": "sudo"}',
        "[" * 100_000,
        "not JSON",
        "[]",
    ],
)
def test_forged_refused_and_malformed_records_are_no_causes(line: str) -> None:
    assert [cause for cause in causes(Subject((FILE,)), [line]) if cause.source != "file"] == []


def test_sudo_rs() -> None:
    line = record(
        "sudo", f"alice :  PWD=/etc ; USER=root ; COMMAND=/usr/bin/touch {FILE}", exe="/usr/lib/cargo/bin/sudo"
    )
    (cause,) = [each for each in causes(Subject((FILE,)), [line]) if each.source == "sudo"]
    assert (cause.what, cause.text) == ("alice", f"/usr/bin/touch {FILE}")


def test_logins_and_account_programs() -> None:
    login = record("sshd", "Accepted publickey for root from 10.0.0.9 port 1 ssh2", uid="0", exe="/usr/sbin/sshd")
    assert [cause.is_named for cause in causes(Subject((FILE,)), [login])][1:] == [False]
    change = record("gpasswd", "user bai removed by root from group sudo", exe="/usr/bin/gpasswd")
    other = record("gpasswd", "user bailiff removed by root from group video", exe="/usr/bin/gpasswd")
    assert texts(causes(Subject(names=("sudo", "bai")), [change, other]), "journal") == [
        "user bai removed by root from group sudo"
    ]


def test_a_unit_is_named_by_its_own_records_only() -> None:
    records = [
        record("systemd", f"Stopped {name}.", uid="0", exe="/usr/lib/systemd/systemd", unit=name)
        for name in ("docker.service", "docker.socket")
    ]
    assert texts(causes(Subject(units=("docker.service",)), records), "journal") == ["Stopped docker.service."]


def test_what_systemd_records_does_not_hide_the_command() -> None:
    systemd = [
        record("systemd", f"docker.service: {number}", at=NOW + number, uid="0", unit="docker.service")
        for number in range(5)
    ]
    found = causes(Subject(units=("docker.service",)), [sudo("/usr/bin/systemctl stop docker"), *systemd])
    assert texts(found, "sudo") == ["/usr/bin/systemctl docker …"]
    assert texts(found, "journal") == [f"docker.service: {number}" for number in (4, 3, 2)]


def test_packages_by_name_and_as_owners_of_files() -> None:
    log = [
        f"{local(NOW)} startup archives unpack",
        f"{local(NOW)} upgrade zz-tuning:all 1.0 1.1",
        f"{local(NOW)} status installed zz-tuning:all 1.1",
        f"{local(NOW - 1)} remove sudo:amd64 1.9 <none>",
        "2026-13-45 99:00:00 upgrade zz-tuning:all 1.1 1.2",
    ]
    (cause,) = [each for each in causes(Subject((FILE,)), dpkg=log, owner="zz-tuning") if each.source == "dpkg"]
    assert (cause.what, cause.text, cause.is_named, cause.time) == (
        "zz-tuning", "upgrade zz-tuning:all 1.0 1.1", True, NOW,
    )  # fmt: skip
    assert texts(causes(Subject(packages=("sudo",)), dpkg=log), "dpkg") == ["remove sudo:amd64 1.9 <none>"]
    assert texts(causes(Subject(packages=("sudo",)), dpkg=log, since=NOW), "dpkg") == []


def test_what_cannot_be_read_is_said() -> None:
    machine = SimulatedMachine({file_key(FILE): Entry("file", 0, 0, 0o644, b"")})
    found, unread = causes_of(machine, [Subject((FILE,))], 0.0)
    assert found == [()]
    assert [text.partition(" cannot be read: ")[0] for text in unread] == [
        "the owners of files", "dpkg's database", "dpkg's log", "the journal",
    ]  # fmt: skip


def test_of_a_missing_file_its_directory() -> None:
    machine = SimulatedMachine(
        {file_key("/etc/sysctl.d/10-x.conf"): Entry("file", 0, 0, 0o644, b"")},
        Environment(
            looks={
                ("stat", r"--printf=%Y\t%U\t%n\0", "--", "/etc/sysctl.d"): Completed(
                    0, "5\troot\t/etc/sysctl.d\0", ""
                ),
                ("dpkg-query",): Completed(1, "", ""),
                ("tail",): Completed(1, "", ""),
                ("journalctl",): Completed(0, "", ""),
            }
        ),
    )
    ((cause,),), _ = causes_of(machine, [Subject((FILE, "/nowhere/at/all"))], 0.0)
    assert (cause.what, cause.modified) == ("/etc/sysctl.d", 5.0)


def test_where_to_look_for_each_kind_of_object() -> None:
    machine = SimulatedMachine(
        {file_key("/etc/sysctl.d/60-x.conf"): Entry("file", 0, 0, 0o644, f"{KEY} = 9\n".encode())}
    )

    def subject(key: Key, text: str = "") -> Subject:
        return subject_of([key], machine, text)

    assert subject(file_key(FILE)).paths == (FILE,)
    assert subject(package_key("sudo")).packages == ("sudo",)
    assert subject(Key("sysctl", KEY)) == Subject(("/etc/sysctl.d/60-x.conf",), (KEY, KEY.replace(".", "/")))
    assert subject(member_key("bai", "docker")) == Subject(("/etc/group",), ("docker", "bai"))
    assert subject(Key("step", "x"), "start containerd.service, or /x/docker.service").units == (
        "containerd.service",
    )
    unit = subject(unit_key("docker.service"))
    assert unit.units == ("docker.service",)
    assert "/etc/docker/daemon.json" in unit.paths
    assert subject(Key("mount", "/vfroot/v1")) == Subject(("/etc/fstab",), ("/vfroot/v1",))
    assert subject(Key("command", "bai: rm /x"), "in /etc/a.conf:3, http://x/y and /etc/b.d.").paths == (
        "/etc/a.conf", "/etc/b.d",
    )  # fmt: skip
