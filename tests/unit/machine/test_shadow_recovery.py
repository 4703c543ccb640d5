"""A shadow tool killed before any of its writes: no leftovers, and the change is complete or absent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.engine.journal import Backups, Journal
from bai_wizard.engine.recovery import recover
from bai_wizard.resources import users
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.users import (
    AddGroup,
    AddMember,
    AddUser,
    RemoveGroup,
    RemoveMember,
    RemoveUser,
    SetPassword,
)
from tests.programs import find_programs_in
from tests.sampling import is_soak, sampled

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="a library that kills its process is compiled"),
]

# Loaded into a tool, it kills it before its CUT_AT'th call that changes or syncs something.
CUTTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
static int calls;
static void cut(void) { if (++calls == atoi(getenv("CUT_AT"))) kill(getpid(), SIGKILL); }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
int link(const char *a, const char *b) { cut(); return REAL(link)(a, b); }
int unlink(const char *a) { cut(); return REAL(unlink)(a); }
int rename(const char *a, const char *b) { cut(); return REAL(rename)(a, b); }
int fsync(int a) { cut(); return REAL(fsync)(a); }
int fchmod(int a, mode_t b) { cut(); return REAL(fchmod)(a, b); }
"""

TOOLS = ("groupadd", "groupdel", "useradd", "userdel", "gpasswd", "chpasswd", "chage", "usermod")
BAI = AddUser("bai", 1100, 1100, "", "/home/bai", "/bin/bash")
HASH = Secret("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7")
# What is done before, the change that is cut, and the tool that is killed in it.
CASES: dict[str, tuple[tuple[Operation, ...], Operation, str]] = {
    "add-group": ((), AddGroup("bai", 1100), "groupadd"),
    "add-user": ((AddGroup("bai", 1100),), BAI, "useradd"),
    "add-member": ((), AddMember("ubuntu", "sudo"), "gpasswd"),
    "set-password": ((), SetPassword("ubuntu", HASH), "chpasswd"),
    "remove-member": ((AddMember("ubuntu", "sudo"),), RemoveMember("ubuntu", "sudo"), "gpasswd"),
    "remove-user": ((AddGroup("bai", 1100), BAI), RemoveUser("bai"), "userdel"),
    "remove-user-and-keep-its-group": ((AddGroup("bai", 1100), BAI), RemoveUser("bai"), "gpasswd"),
    "remove-user-with-its-group": ((AddGroup("bai", 1100), BAI), RemoveUser("bai", with_group=True), "userdel"),
    "remove-group": ((AddGroup("bai", 1100),), RemoveGroup("bai"), "groupdel"),
}
FILES = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n",
    "group": "root:x:0:\nsudo:x:27:\nubuntu:x:1000:\n",
    "shadow": "root:*:20000:0:99999:7:::\nubuntu:$y$old$hash:19000:0:99999:7:::\n",
    "gshadow": "root:*::\nsudo:*::\nubuntu:!::\n",
    "subuid": "ubuntu:100000:65536\n",
    "subgid": "ubuntu:100000:65536\n",
    "login.defs": "USERGROUPS_ENAB yes\nUID_MAX 60000\n",
}


@pytest.fixture(scope="module")
def cutter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the beginning of PATH: the tools, each with the library where CUT_TOOL names it."""
    directory = tmp_path_factory.mktemp("cutter")
    (directory / "cut.c").write_text(CUTTER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "cut.so", "cut.c", "-ldl"], cwd=directory, check=True)
    for tool in TOOLS:
        real = shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin")
        script = f'#!/bin/sh\n[ -e {directory}/{tool}.at ] || exec {real} "$@"\nread CUT_AT <{directory}/{tool}.at\n'
        script += f'export CUT_AT LD_PRELOAD={directory}/cut.so\nexec {real} "$@"\n'
        (directory / tool).write_text(script)
        (directory / tool).chmod(0o755)
    return directory


def node(directory: Path) -> LocalMachine:
    etc = directory / "etc"
    etc.mkdir(parents=True)
    for name, text in FILES.items():
        (etc / name).write_text(text)
    return LocalMachine(str(directory))


def files(machine: LocalMachine) -> dict[str, bytes]:
    """Everything in /etc but the copies that the tools keep on purpose, and their common lock."""
    etc = Path(machine.root) / "etc"
    return {path.name: path.read_bytes() for path in etc.iterdir() if not path.name.endswith(("-", ".pwd.lock"))}


def cut(machine: LocalMachine, operation: Operation, directory: Path, at: Path) -> tuple[str, bool]:
    """Intent, and a change whose tool is killed while `at` is there; how that is settled, and if it was killed."""
    journal = Journal(directory / "journal.jsonl", Backups(directory / "backup"))
    before = {key: machine.state(key) for key in operation.keys()}
    journal.intent("test", operation, before, operation.inverse(before))
    was_cut = True
    with suppress(StepFailed):
        machine.apply(operation)
        was_cut = False
    at.unlink()
    recover(journal, machine)
    (entry,) = journal.entries()
    journal.close()
    return entry.status, was_cut


@pytest.mark.parametrize("case", CASES)
def test_killed_before_each_write(case: str, cutter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_programs_in(cutter, monkeypatch)
    first, operation, tool = CASES[case]
    statuses = []
    for number in range(1, 60) if is_soak() else sampled(case, range(1, 16), 4):
        directory = tmp_path / str(number)
        (directory / "backup").mkdir(parents=True)
        machine = node(directory / "root")
        for each in first:
            machine.apply(each)
        before = files(machine)
        at = cutter / f"{tool}.at"
        at.write_text(f"{number}\n")
        status, was_cut = cut(machine, operation, directory, at)
        if not was_cut:
            break
        statuses.append(status)
        assert status in ("void", "done"), f"{tool} {number}"
        if status == "void":
            # On its way back a user may get a second range of subordinate ids, which goes when it goes.
            assert isinstance(operation, RemoveUser) or files(machine) == before, f"{tool} {number}"
            machine.apply(operation)
        whole = node(directory / "whole")
        for each in (*first, operation):
            whole.apply(each)
        assert files(machine) == files(whole), f"{tool} {number}"
    assert statuses, "nothing was cut"


def test_an_account_in_use_is_not_undone(cutter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after the change but before its record: the account has been given a password before the resume."""
    machine = node(tmp_path / "root")
    (tmp_path / "backup").mkdir()
    machine.apply(AddGroup("bai", 1100))
    journal = Journal(tmp_path / "journal.jsonl", Backups(tmp_path / "backup"))
    journal.intent("test", BAI, {BAI.keys()[0]: None}, RemoveUser("bai"))
    machine.apply(BAI)
    machine.apply(SetPassword("bai", HASH))
    before = files(machine)
    recover(journal, machine)
    assert journal.entries()[0].status == "done"
    assert files(machine) == before


def test_another_users_group_is_not_changed(tmp_path: Path) -> None:
    machine = node(tmp_path / "root")
    (tmp_path / "backup").mkdir()
    journal = Journal(tmp_path / "journal.jsonl", Backups(tmp_path / "backup"))
    wanted = AddGroup("bai", 1100)
    journal.intent("test", wanted, {wanted.keys()[0]: None}, RemoveGroup("bai"))
    machine.apply(AddGroup("bai", 1200))
    recover(journal, machine)
    assert journal.entries()[0].status == "failed"
    assert b"bai:x:1200:" in files(machine)["group"]


def test_files_in_use_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that outlived the wizard holds the lock: nothing is taken from under it."""
    monkeypatch.setattr(users, "LOCK_PATIENCE", 0.2)
    machine = node(tmp_path / "root")
    (tmp_path / "root/etc/group+").write_text("being written")
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        " print(flush=True); sys.stdin.read()"
    )
    lock = str(tmp_path / "root/etc/.pwd.lock")
    argv = [sys.executable, "-c", hold, lock]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        with pytest.raises(StepFailed, match="held this lock"):
            machine.sweep(AddGroup("bai", 1100))
        assert "group+" in files(machine)
        holder.communicate()
    machine.sweep(AddGroup("bai", 1100))
    assert "group+" not in files(machine)
