"""A child that acts for an account cannot gain privileges; a process that holds secrets writes no core dump."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.core.errors import ProgramMissing, StateUnknown
from bai_wizard.core.page import Context
from bai_wizard.core.state import Account
from bai_wizard.node.process import run
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.pages.python.probe import as_operator
from bai_wizard.resources.local import LocalMachine
from tests.waiting import PATIENCE

ACCOUNT = Identity(64001, 64002, (64003,))
NOTHING = {"NoNewPrivs": "1", "CapInh": "0", "CapPrm": "0", "CapEff": "0", "CapBnd": "0", "CapAmb": "0"}

pytestmark = pytest.mark.needs_root


def privileges(status: str) -> dict[str, str]:
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: fields[name].strip().lstrip("0") or "0" for name in NOTHING}


def status_of_thread() -> str:
    return Path("/proc/thread-self/status").read_text()


def test_of_a_program() -> None:
    before = privileges(status_of_thread())
    completed = run(["cat", "/proc/self/status"], timeout=PATIENCE, account=ACCOUNT[:3])
    assert privileges(completed.out) == NOTHING
    assert privileges(status_of_thread()) == before, "this process keeps what it has"
    assert privileges(run(["cat", "/proc/self/status"], timeout=PATIENCE).out)["NoNewPrivs"] == "0"


def test_of_a_program_that_another_thread_starts_in_a_directory() -> None:
    result: list[str] = []

    def start() -> None:
        argv = ["cat", "/proc/self/status"]
        result.append(run(argv, timeout=PATIENCE, account=ACCOUNT[:3], directory="/usr").out)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [privileges(status) for status in result] == [NOTHING] * 4


def test_of_a_forked_child() -> None:
    assert privileges(run_as(ACCOUNT, status_of_thread, answer=str)) == NOTHING
    assert privileges(run_as(None, status_of_thread, answer=str))["NoNewPrivs"] == "0"


def test_of_a_program_of_the_account_that_is_only_checked() -> None:
    """By setpriv, because what looks has no account's identity at hand."""

    class Node(LocalMachine):
        def account(self, name: str) -> Account:
            return Account(name, 65534, 65534, "", "/nonexistent", "/bin/sh")

    context = Context(host="node", account="nobody")
    completed = as_operator(Node(), context, ("cat", "/proc/self/status"))
    assert privileges(completed.out) == NOTHING, completed.err


CHANGES_IDS = re.compile(r"""setre[su]*[ug]id|\bset[ug]id\(|["'](setpriv|runuser)["']|"user": uid""")


def test_nothing_else_acts_for_an_account() -> None:
    """A new place gives its privileges up first; `volume_probes` calls the kernel only and starts no program.

    `acting_as` has setpriv give them up before it starts a program.
    """
    package = Path(bai_wizard.__file__).parent
    result = {
        str(file.relative_to(package)) for file in package.rglob("*.py") if CHANGES_IDS.search(file.read_text())
    }
    known = {"node/run_as.py", "node/process.py", "pages/node_state.py",
             "pages/storage/volume_probes.py"}  # fmt: skip
    assert result == known


def test_a_setuid_program_gives_nothing(tmp_path: Path) -> None:
    for above in (tmp_path, *tmp_path.parents[:-1]):
        if above.stat().st_uid == 0 and above != Path("/tmp"):
            above.chmod(0o755)
    program = tmp_path / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    assert run([str(program), "-u"], timeout=PATIENCE, account=ACCOUNT[:3]).out == "64001\n"
    ids = {"user": ACCOUNT.uid, "group": ACCOUNT.gid, "extra_groups": []}
    plain = subprocess.run([program, "-u"], capture_output=True, text=True, **ids)  # type: ignore[call-overload]
    if plain.stdout != "0\n":
        pytest.skip("setuid programs have no effect here")


def test_a_program_that_cannot_be_started_is_reported() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program is not installed"):
        run(["no-such-program"], timeout=PATIENCE, account=ACCOUNT[:3])
    with pytest.raises(StateUnknown, match="cannot be executed"):
        run(
            ["/root/.profile" if os.path.exists("/root/.profile") else "/etc/shadow"],
            timeout=PATIENCE,
            account=ACCOUNT[:3],
        )


CORE = """
import os, resource, sys
from bai_wizard.node.run_as import leave_no_core
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
leave_no_core()
os.abort()
"""
DUMPABLE = """
import ctypes, sys
from bai_wizard.cli import main
assert main(["runs", "--root", "/nowhere"]) == 0
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_no_core_is_left(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CORE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -6
    assert not list(tmp_path.iterdir())


def test_every_command_of_root_leaves_none() -> None:
    done = subprocess.run([sys.executable, "-c", DUMPABLE], capture_output=True, text=True)
    assert done.stdout.split()[-1] == "0", done.stderr
