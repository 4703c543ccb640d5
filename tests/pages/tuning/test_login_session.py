"""Limits are verified with sessions: what the run says after writing the file, and what the doctor finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.doctor.run import run_check
from bai_wizard.engine.result import Result
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.tuning.login_session import can_open_sessions, open_session, starting_limits
from bai_wizard.pages.tuning.plan import PAGE
from tests.pages.storage.lifecycle import plan_of, run
from tests.pages.ubuntu import PROC_1_LIMITS, bai, ubuntu

OURS = "/etc/security/limits.d/99-backendai.conf"
REFUSED = "prlimit: failed to set the NOFILE resource limit: Operation not permitted"
SSHD = ("sshd", "-T")


def limits(files: str, processes: str = "255960 255960") -> str:
    """/proc/self/limits of a session."""
    rows = ("Max processes  255960 255960  processes", f"Max open files  {files}  files")
    return "\n".join(
        (rows[0].replace("255960 255960", processes), rows[1], "Max locked memory  8388608 8388608  bytes")
    )


GOOD = limits("512000 524288")


class Node(SimulatedMachine):
    """A node whose su answers with the limits of `sessions` by user; otherwise it says why it opens none."""

    sessions: Mapping[str, str]
    asked: list[Sequence[str]]

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        if tuple(argv) == ("su", "--version"):
            return Completed(0, "su from util-linux 2.39.3\n", "")
        if "su" not in argv:
            return super().query(argv, deadline=deadline)
        self.asked.append(argv)
        in_shell = any("/etc/profile" in word for word in argv)
        text = self.sessions.get(f"{argv[-1]}'s login shell" if in_shell else argv[-1], "")
        return Completed(0, text, "") if text.startswith("Max") else Completed(1, "", text or "su: no such user")


def node(
    sessions: Mapping[str, str], files: Mapping[str, str] | None = None, *, granted: bool = True, sshd: str = ""
) -> Node:
    """A node with the account. `granted`: its root may raise hard limits; `sshd`: what `sshd -T` prints."""
    looks: dict[tuple[str, ...], Completed] = {
        ("prlimit",): Completed(0, "", "") if granted else Completed(1, "", REFUSED)
    }
    if sshd:
        looks[SSHD] = Completed(0, sshd, "")
    machine = ubuntu(bai(), {**(files or {}), **({"/usr/sbin/sshd": ""} if sshd else {})}, looks=looks)
    low = (
        PROC_1_LIMITS if granted else PROC_1_LIMITS.replace("1048576              files", "20000              files")
    )
    about = replace(machine.environment, kernel={**machine.environment.kernel, "/proc/1/limits": low})
    result = Node(machine.snapshot(), about)
    result.sessions, result.asked = sessions, []
    return result


def applied(machine: Node, tmp_path: Path) -> Result:
    return run(machine, plan_of(PAGE, {"limits": {"nofile": 512000}, "services": {}}, machine), tmp_path)[1]


def found(machine: Node) -> Finding:
    (check,) = (each for each in PAGE.checks() if each.id == "tuning.limits-not-in-effect")
    (finding,) = run_check(check, machine, Context())
    return finding


def test_a_run_succeeds_if_sessions_have_the_limits(tmp_path: Path) -> None:
    machine = node({"root": GOOD, "bai": GOOD})
    assert applied(machine, tmp_path).code() == 0
    assert [argv[-1] for argv in machine.asked] == ["root", "bai"]
    assert found(machine).result == "ok"


@pytest.mark.parametrize(
    ("user", "session", "told"),
    [
        ("bai", limits("1024 524288"), "bai soft nofile 1024"),
        ("root", limits("4096 4096"), "root hard nofile 4096"),
        ("bai", limits("512000 524288", "7000 7000"), "bai hard nproc 7000"),
    ],
)
def test_a_session_with_less_is_a_failure(user: str, session: str, told: str, tmp_path: Path) -> None:
    """Whatever the reason: the file is right, and still no login has its limits."""
    machine = node({"root": GOOD, "bai": GOOD, user: session})
    result = applied(machine, tmp_path)
    failed = [step for step in result.steps if step.outcome == "failed"]
    assert [step.step for step in failed] == ["tuning.limits-file"]
    assert f"`{told}` instead of" in failed[0].text
    finding = found(machine)
    assert finding.result == "problem"
    what, _, value = told.rpartition(" ")
    assert (what, value) in [(each.what, each.found) for each in finding.evidence]


PROFILE = {"/etc/profile.d/limits.sh": '#!/bin/sh\n[ -n "$X" ] || ulimit -S -n 1024\n'}


@pytest.mark.parametrize(
    ("files", "shell", "found_in_shell"),
    [
        (PROFILE, limits("1024 524288"), "1024"),
        (PROFILE, GOOD, ""),
        ({"/etc/profile.d/limits.sh": "# ulimit -n 1024\n"}, "not asked", ""),
        ({"/etc/profile.d/limits.csh": "ulimit -n 1024\n"}, "not asked", ""),
        ({"/etc/profile": "ulimit -Sn 1024\n"}, limits("1024 524288"), "1024"),
    ],
)
def test_scripts_of_login_shells_that_lower_limits(
    files: dict[str, str], shell: str, found_in_shell: str, tmp_path: Path
) -> None:
    """The effect decides: a script is only read to know whether a login shell has to be asked."""
    machine = node({"root": GOOD, "bai": GOOD, "root's login shell": GOOD, "bai's login shell": shell}, files)
    assert applied(machine, tmp_path).code() == 0
    finding = found(machine)
    assert finding.result == ("problem" if found_in_shell else "ok")
    assert [(each.what, each.where, each.found) for each in finding.evidence] == (
        [("bai soft nofile", "a login shell", "1024")] if found_in_shell else []
    )
    assert (next(iter(files)) in finding.cause) == bool(found_in_shell)


def test_a_session_that_cannot_be_opened_is_not_a_success(tmp_path: Path) -> None:
    machine = node({"root": GOOD, "bai": "su: Authentication service cannot retrieve authentication info"})
    result = applied(machine, tmp_path)
    assert "no session of bai can be opened: su: Authentication service" in "".join(s.text for s in result.steps)
    assert result.code() != 0
    assert found(machine).result == "cannot-tell"


def test_limits_that_this_node_cannot_grant_are_not_missed(tmp_path: Path) -> None:
    """They are announced before; all others are still verified."""
    low = limits("1024 20000")
    assert applied(node({"root": low, "bai": low}, granted=False), tmp_path / "1").code() == 0
    fewer = node({"root": low, "bai": limits("1024 20000", "500 500")}, granted=False)
    assert "bai hard nproc 500" in "".join(step.text for step in applied(fewer, tmp_path / "2").steps)


@pytest.mark.parametrize(
    "line", ["bai hard nofile 2500\nbai soft nofile 2500\n", "bai -\n", "bai - nofile 9999999\n"]
)
def test_a_later_line_that_the_plan_reports_does_not_stop_the_run(line: str, tmp_path: Path) -> None:
    """One failure for one cause: the file that wins is named, and the steps after it still run."""
    session = limits("2500 2500") if "2500" in line else limits("1024 524288")
    machine = node({"root": GOOD, "bai": session}, {"/etc/security/limits.d/zz.conf": line})
    result = applied(machine, tmp_path)
    failed = [step for step in result.steps if step.outcome == "failed"]
    assert [step.step for step in failed] == ["tuning.limits-overridden"]
    assert "zz.conf:1" in failed[0].text


def test_a_stack_without_pam_limits_is_reported_once(tmp_path: Path) -> None:
    low = limits("1024 524288")
    machine = node({"root": low, "bai": low}, {"/etc/pam.d/su": "session required pam_unix.so\n"})
    failed = [step.step for step in applied(machine, tmp_path).steps if step.outcome == "failed"]
    assert failed == ["tuning.pam-limits"]


def test_sshd_without_pam(tmp_path: Path) -> None:
    for value, result in (("no", "problem"), ("yes", "ok")):
        machine = node({"root": GOOD, "bai": GOOD}, sshd=f"port 22\nusepam {value}\n")
        applied(machine, tmp_path / value)
        finding = found(machine)
        assert finding.result == result
        assert [(each.what, each.found) for each in finding.evidence] == ([("UsePAM", "no")] if value == "no" else [])


def test_a_session_starts_with_the_limits_that_logins_inherit() -> None:
    """Not with those of the shell that started the wizard. memlock is in KiB in limits.conf, elsewhere in bytes."""
    machine = node({"bai": GOOD})
    start = starting_limits(machine, ("nofile", "memlock"))
    assert open_session(machine, "bai", start)["nofile"] == (512000, 524288)
    assert list(machine.asked[0])[:3] == ["prlimit", "--nofile=1024:524288", "--memlock=8388608:8388608"]


@pytest.mark.parametrize("granted", [True, False])
def test_an_item_that_no_child_can_start_with_is_left_out(granted: bool) -> None:
    """A process of a container that has less than PID 1, which a login would start with."""
    machine = node({}, granted=granted)
    kernel = {**machine.environment.kernel, "/proc/self/limits": limits("24 24")}
    machine = Node(machine.snapshot(), replace(machine.environment, kernel=kernel))
    assert ("nofile" in starting_limits(machine, ("nofile", "nproc"))) == granted
    assert "nproc" in starting_limits(machine, ("nofile", "nproc"))


@pytest.mark.parametrize("allowed", [True, False])
def test_logind_does_not_learn_of_a_session(allowed: bool) -> None:
    """Where pam_systemd exists, it is replaced; a node that refuses this opens no session at all."""
    modules = "/usr/lib/aarch64-linux-gnu/security"
    machine = node({"bai": GOOD}, {f"{modules}/pam_systemd.so": "", f"{modules}/pam_permit.so": ""})
    answer = Completed(0, "", "") if allowed else Completed(1, "", "unshare: Operation not permitted")
    looks = {**machine.environment.looks, ("unshare",): answer}
    machine = Node(machine.snapshot(), replace(machine.environment, looks=looks))
    machine.sessions, machine.asked = {"bai": GOOD}, []
    assert can_open_sessions(machine) == allowed
    open_session(machine, "bai", {})
    (asked,) = machine.asked
    assert list(asked[:3]) == ["unshare", "--mount", "--"]
    assert f"{modules}/pam_systemd.so" in asked[: asked.index("su")]


def test_a_line_above_the_kernels_maximum_does_not_count_as_a_limit(tmp_path: Path) -> None:
    """Debian's pam_limits then sets neither limit: a session would have had 1024, so both lines are ours."""
    machine = node({"root": GOOD, "bai": GOOD}, {"/etc/security/limits.d/10.conf": "bai - nofile 9999999\n"})
    applied(machine, tmp_path)
    text = machine.text(OURS) or ""
    assert "bai soft nofile 524288" not in text
    assert {"bai soft nofile 512000", "bai hard nofile 524288"} <= set(text.splitlines())
    assert plan_of(PAGE, {"limits": {"nofile": 512000}, "services": {}}, machine).is_empty()
