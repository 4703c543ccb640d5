"""What the doctor says of services' limits, of ports, and of values that make the kernel worse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Completed
from bai_wizard.doctor.children import look
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages.tuning.check_limits import FIND_WATCHERS
from bai_wizard.pages.tuning.page import checks
from tests.pages.ubuntu import DOCKER, PROC_1_LIMITS, bai, ubuntu

MAIN_PID = ("systemctl", "show", "--property=MainPID", "--value", "docker.service")
RESERVED = "net.ipv4.ip_local_reserved_ports"
RANGE = "net.ipv4.ip_local_port_range"


def found(id: str, machine: SimulatedMachine) -> Finding:
    check = next(check for check in checks() if check.id == id)
    (finding,) = look(check, machine, Context())
    return finding


def dockerd(files: int, *, container: bool = False, most: int = 1 << 30) -> SimulatedMachine:
    """A node whose dockerd may open so many files, and whose first process so many."""
    line = f"Max open files            {files}                {files}              files\n"
    first = PROC_1_LIMITS.replace("1048576              files", f"{most}              files")
    machine = ubuntu(DOCKER, looks={MAIN_PID: Completed(0, "702\n", "")}, container=container)
    kernel = {**machine.surroundings.kernel, "/proc/702/limits": line, "/proc/1/limits": first}
    return SimulatedMachine(machine.snapshot(), replace(machine.surroundings, kernel=kernel))


def test_a_dockerd_that_may_open_few_files_gets_a_drop_in() -> None:
    finding = found("limits-not-for-services", dockerd(1024))
    assert finding.result == "warning"
    assert [step.id for step in finding.remedy] == ["tuning.service.docker", "tuning.restart.docker"]
    assert finding.evidence[0].found == "1024"
    assert found("limits-not-for-services", dockerd(1048576)).result == "ok"


def test_a_container_cannot_have_more_than_its_host_gives_it() -> None:
    """Not even with our drop-in: a warning would never end. With less than it might have, it is one."""
    assert found("limits-not-for-services", dockerd(20000, container=True, most=20000)).result == "not-applicable"
    assert found("limits-not-for-services", dockerd(1024, container=True, most=20000)).result == "warning"


@pytest.mark.parametrize(
    ("range_now", "reserved", "result"),
    [
        ("10000 65000", "", "warning"),
        ("10000 65000", "30000-30100", "warning"),
        ("10000 65000", "30000-32000,38200,39200,40128", "ok"),
        ("50000 60000", "", "ok"),
    ],
)
def test_ports_that_an_outgoing_connection_may_take(range_now: str, reserved: str, result: str) -> None:
    finding = found("sysctl-port-range-overlap", ubuntu(sysctl={RANGE: range_now, RESERVED: reserved}))
    assert finding.result == result
    assert bool(finding.remedy) == (result == "warning")


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("net.core.somaxconn = 1024\n", "warning"),
        ("net.core.somaxconn = 65535\n", "ok"),
        ("vm.swappiness = 1\n", "ok"),
    ],
)
def test_a_line_that_is_worse_than_the_kernels_own(line: str, result: str) -> None:
    finding = found("sysctl-lowers-better-value", ubuntu(files={"/etc/sysctl.d/60-old-guide.conf": line}))
    assert finding.result == result
    if result == "warning":
        assert "60-old-guide.conf" in finding.evidence[0].where


@pytest.mark.parametrize("limit", ["9999999", "unlimited", "99999999999"])
def test_a_limit_above_the_kernels_is_healed_for_good_or_by_hand(limit: str) -> None:
    """Raised for now alone, the next boot would lock everybody out."""
    machine = ubuntu(bai(), {"/etc/security/limits.d/9.conf": f"* hard nofile {limit}\n"})
    finding = found("limits-above-kernel-max", machine)
    assert finding.result == ("ok" if limit == "unlimited" else "problem")
    ids = [step.id for step in finding.remedy]
    assert ids == (["tuning.nr-open", "tuning.live.fs.nr_open"] if limit == "9999999" else [])


@pytest.mark.parametrize(("threads", "result"), [(10, "ok"), (799, "ok"), (801, "warning"), (0, "ok")])
def test_threads_of_the_account_against_its_limit(threads: int, result: str) -> None:
    """Those of containers count as well: they run under the same number."""
    look_at = {("ps", "-L", "-o", "lwp=", "-u", "1100"): Completed(0, "".join(f"{n}\n" for n in range(threads)), "")}
    limits = {"/etc/security/limits.d/99-site.conf": "bai soft nproc 1000\n"}
    finding = found("tuning.process-count", ubuntu(bai(), limits, looks=look_at))
    assert (finding.result, finding.owner) == (result, "site")
    assert finding.evidence[0].found == str(threads)


@pytest.mark.parametrize(
    ("watchers", "result"),
    [
        ({"0": 60, "1000": 40, "1100": 20}, "ok"),
        ({"0": 20, "1100": 110}, "warning"),
        ({}, "ok"),
    ],
    ids=["many of several users", "one user near the limit", "none"],
)
def test_file_watchers_are_counted_by_user(watchers: dict[str, int], result: str) -> None:
    """The kernel's limit is each user's own: 120 of three users are far from it, 110 of one are not."""
    seen = "".join(f"{uid}\n" * number for uid, number in watchers.items())
    finding = found("inotify-limits", ubuntu(looks={FIND_WATCHERS: Completed(0, seen, "")}))
    assert (finding.result, finding.owner) == (result, "site")
    assert ("uid 1100" in finding.evidence[0].what) == (result == "warning")


@pytest.mark.parametrize(
    "line",
    [
        '# net.ipv4.ip_local_port_range="10000 65000"\n',
        "; kernel.core_pattern = '|/x'\n",
        'kernel.core_pattern = |/usr/share/apport/apport -E"%E"\n',
    ],
    ids=["comment", "comment of another kind", "within a value"],
)
def test_quotes_that_the_kernel_never_sees_or_wants(line: str) -> None:
    assert found("sysctl-quoted-value", ubuntu(files={"/etc/sysctl.d/60-site.conf": line})).result == "ok"
