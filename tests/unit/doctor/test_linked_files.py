"""Files of packages that are links (Debian 13 has one in /etc/profile.d): checks read what is behind them."""

from __future__ import annotations

import posixpath

import pytest
from msgspec.structs import replace

from bai_wizard.compose import DesiredState
from bai_wizard.core.state import Entry, file_key
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.node.demo import demo_answers, demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.ui.draft import Draft

SCRIPT = b"# limits\nulimit -c 0\n"
# Files of packages and administrators that checks read; the wizard's own are never links.
READ = {
    "/etc/profile": SCRIPT,
    "/etc/profile.d/70-systemd-shell-extra.sh": SCRIPT,
    "/etc/bash.bashrc": SCRIPT,
    "/etc/environment": b"LANG=C.UTF-8\n",
    "/etc/modprobe.d/blacklist.conf": b"blacklist pcspkr\n",
    "/etc/pam.d/common-password": b"password required pam_unix.so yescrypt\n",
    "/etc/pam.d/common-session": b"session required pam_unix.so\n",
    "/etc/pam.d/su": b"session required pam_limits.so\n",
    "/etc/security/limits.conf": b"# none\n",
    "/etc/sysctl.d/99-sysctl.conf": b"kernel.sysrq=176\n",
}


def results(machine: SimulatedMachine) -> dict[str, tuple[str, str]]:
    """What each check says, with the reason if it cannot tell."""
    desired: DesiredState = Draft(machine.host, demo_answers("finished"), demo=True).desired()
    found = examine(all_checks(), machine, desired.context)
    return {each.id: (each.result, each.cause if each.result == "cannot-tell" else "") for each in found}


@pytest.fixture
def machine() -> SimulatedMachine:
    machine = demo_machine("finished", delay=0)
    for path, content in READ.items():
        machine.set_state(file_key(path), Entry("file", 0, 0, 0o644, content=content))
    return machine


def test_checks_read_what_is_behind_a_link(machine: SimulatedMachine) -> None:
    plain = results(machine)
    for path in READ:
        entry = machine.entry(path)
        assert entry is not None
        behind = f"/usr/lib/behind{path}"
        machine.set_state(file_key(behind), replace(entry))
        target = posixpath.relpath(behind, posixpath.dirname(path))
        machine.set_state(file_key(path), Entry("link", 0, 0, 0o777, target=target))
    assert results(machine) == plain


def test_a_link_that_leads_nowhere_is_no_file(machine: SimulatedMachine) -> None:
    for path, target in {"/etc/profile.d/one.sh": "two.sh", "/etc/profile.d/two.sh": "one.sh"}.items():
        machine.set_state(file_key(path), Entry("link", 0, 0, 0o777, target=target))
    assert machine.text_behind_links("/etc/profile.d/one.sh") is None
