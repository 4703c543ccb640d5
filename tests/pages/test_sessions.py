"""Which processes are an account's sessions: logins, but not the wizard's own and not containers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bai_wizard.core.machine import Completed, Machine
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Account, Entry, Group, Key, Membership, State
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.docker.plan import PAGE as DOCKER
from bai_wizard.pages.tuning.limits import LIMITS_PATH
from bai_wizard.pages.tuning.plan import PAGE as TUNING

CHECKS = {check.id: check for check in (*DOCKER.checks(), *TUNING.checks())}
STATES: dict[Key, State | None] = {
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    Key("group", "docker"): Group("docker", 988),
    Key("member", "docker:bai"): Membership(),
    Key("file", LIMITS_PATH): Entry("file", 0, 0, 0o644, b"bai soft nofile 512000\n"),
}
BEFORE = "1100"
AFTER = "988 1100"


def process(
    groups: str, *, parent: int = 1, command: str = "-bash", ids: str = "77", files: int = 1024
) -> dict[str, str]:
    """Process 77 as /proc shows it."""
    return {
        "/proc/77/status": f"Name:\ttmux: server\nPPid:\t{parent}\nGroups:\t{groups}\nNSpid:\t{ids}",
        "/proc/77/cmdline": command,
        "/proc/77/limits": f"Max open files            {files}                {files}              files\n",
    }


def parents(command: str, depth: int = 1) -> dict[str, str]:
    """The ancestors of process 77: shells, and at the end `command`."""
    result = {}
    for number in range(100, 100 + depth):
        is_last = number == 99 + depth
        result[f"/proc/{number}/cmdline"] = command if is_last else "sh -c x"
        result[f"/proc/{number}/status"] = f"PPid:\t{1 if is_last else number + 1}"
    return result


def node(kernel: Mapping[str, str], pids: str = "77\n") -> Machine:
    return SimulatedMachine(
        STATES, Environment(kernel=kernel, looks={("pgrep", "-u", "bai"): Completed(0 if pids else 1, pids, "")})
    )


def findings_of(id: str, machine: Machine) -> Finding:
    (finding,) = run_check(CHECKS[id], machine, Context())
    return finding


def in_group(path: str) -> dict[str, str]:
    """A process from before, in a control group of the unified hierarchy."""
    return {**process(BEFORE), "/proc/77/cgroup": f"0::{path}"}


MANAGER = "/user.slice/user-1100.slice/user@1100.service"
WIZARD = "/usr/bin/python3 -I -m bai_wizard doctor"
SESSIONS = {
    "a login from before": process(BEFORE),
    "a login from before, in a shell of another program": {**process(BEFORE, parent=100), **parents("sshd: bai")},
    "many groups": process(" ".join(map(str, range(10**6, 10**6 + 40)))),
    "a session's own group": in_group("/user.slice/user-1100.slice/session-3.scope"),
    "what the user's manager has started": in_group(f"{MANAGER}/app.slice/tmux.service"),
    "a name that looks like the manager": in_group(f"{MANAGER}/app.slice/app-init.scope"),
}
OTHERS = {
    "a login since then": process(AFTER, files=512000),
    "many groups": process(" ".join(["988", *map(str, range(10**6, 10**6 + 40))]), files=512000),
    "a container with the same uid": process(BEFORE, ids="77 1"),
    "a container in a container": process(BEFORE, ids="77 12 1"),
    "has ended meanwhile": {},
    "its parent has ended meanwhile": process(BEFORE, parent=9),
    # setpriv(1) has the account's uid before it has its groups.
    "asked by the wizard, half way to the account": {**process("0", parent=100, command="setpriv --reuid 1100"),
                                                     **parents(WIZARD)},
    "asked by a child of the wizard": {**process("0", parent=100), **parents(WIZARD, 3)},
    "the user's manager, which outlives sessions": in_group(f"{MANAGER}/init.scope"),
    "the user's manager in the old hierarchies": {
        **process(BEFORE), "/proc/77/cgroup": f"9:name=systemd:{MANAGER}/init.scope\n8:pids:/user.slice\n0::/"
    },
    "the wizard itself, as the account": process("0", command="/usr/bin/bai-wizard doctor"),
}  # fmt: skip


@pytest.mark.parametrize("id", ["docker.group-stale", "tuning.limits-session-old"])
@pytest.mark.parametrize("kernel", SESSIONS.values(), ids=SESSIONS)
def test_a_session_from_before_is_found(id: str, kernel: Mapping[str, str]) -> None:
    finding = findings_of(id, node(kernel))
    assert finding.result == "warning"
    assert "77" in finding.evidence[0].what


@pytest.mark.parametrize("id", ["docker.group-stale", "tuning.limits-session-old"])
@pytest.mark.parametrize("kernel", OTHERS.values(), ids=OTHERS)
def test_nothing_else_is(id: str, kernel: Mapping[str, str]) -> None:
    assert findings_of(id, node(kernel)).result == "ok"


def test_the_helper_of_systemd_without_groups_is_not_a_session() -> None:
    assert findings_of("docker.group-stale", node(process(""))).result == "ok"
    assert findings_of("docker.group-stale", node({}, "")).result == "ok"
