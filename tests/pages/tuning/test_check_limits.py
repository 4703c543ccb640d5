"""The doctor's findings about service limits, ports, and values below the kernel's defaults."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry
from bai_wizard.core.step import Blocked
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.tuning.check_limits import FIND_WATCHERS
from bai_wizard.pages.tuning.plan import PAGE
from tests.pages.storage.lifecycle import plan_of
from tests.pages.ubuntu import DOCKER, PROC_1_LIMITS, bai, ubuntu

MAIN_PID = ("systemctl", "show", "--property=MainPID", "--value", "docker.service")
RESERVED = "net.ipv4.ip_local_reserved_ports"
RANGE = "net.ipv4.ip_local_port_range"


def findings_of(id: str, machine: SimulatedMachine) -> Finding:
    check = next(check for check in PAGE.checks() if check.id == id)
    (finding,) = run_check(check, machine, Context())
    return finding


def dockerd(files: int, *, container: bool = False, limit: int = 1 << 30) -> SimulatedMachine:
    """A node whose dockerd may open so many files, and whose first process so many."""
    line = f"Max open files            {files}                {files}              files\n"
    first = PROC_1_LIMITS.replace("1048576              files", f"{limit}              files")
    machine = ubuntu(DOCKER, looks={MAIN_PID: Completed(0, "702\n", "")}, container=container)
    kernel = {**machine.environment.kernel, "/proc/702/limits": line, "/proc/1/limits": first}
    return SimulatedMachine(machine.snapshot(), replace(machine.environment, kernel=kernel))


def test_a_dockerd_that_may_open_few_files_gets_a_drop_in() -> None:
    finding = findings_of("tuning.limits-not-for-services", dockerd(1024))
    assert finding.result == "warning"
    assert [step.id for step in finding.remedy] == ["tuning.service.docker", "tuning.restart.docker"]
    assert finding.evidence[0].found == "1024"
    assert findings_of("tuning.limits-not-for-services", dockerd(1048576)).result == "ok"


def test_a_container_cannot_have_more_than_its_host_gives_it() -> None:
    """Not even with our drop-in: a warning would never end. With less than it might have, it is one."""
    assert (
        findings_of("tuning.limits-not-for-services", dockerd(20000, container=True, limit=20000)).result
        == "not-applicable"
    )
    assert (
        findings_of("tuning.limits-not-for-services", dockerd(1024, container=True, limit=20000)).result == "warning"
    )


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
    finding = findings_of("tuning.sysctl-port-range-overlap", ubuntu(sysctl={RANGE: range_now, RESERVED: reserved}))
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
    finding = findings_of(
        "tuning.sysctl-lowers-better-value", ubuntu(files={"/etc/sysctl.d/60-old-guide.conf": line})
    )
    assert finding.result == result
    if result == "warning":
        assert "60-old-guide.conf" in finding.evidence[0].where


@pytest.mark.parametrize(("own", "result"), [("8192", "warning"), ("2048", "ok")])
def test_the_default_of_this_kernel_decides_what_is_worse(own: str, result: str) -> None:
    machine = ubuntu(
        files={"/etc/sysctl.d/60-old-guide.conf": "net.ipv4.tcp_max_syn_backlog = 2048\n"},
        looks={("unshare", "--net"): Completed(0, f"4096\n{own}\n", "")},
    )
    finding = findings_of("tuning.sysctl-lowers-better-value", machine)
    assert finding.result == result
    assert [each.expected for each in finding.evidence] == (["8192 (the default)"] if result == "warning" else [])


OLD_FILE = {"/etc/sysctl.conf": "net.core.somaxconn = 65535\nvm.swappiness=1\n# vm.x=1\n"}
NO_LINK: dict[str, str | Entry | None] = {"/etc/sysctl.d/99-sysctl.conf": None, **OLD_FILE}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (OLD_FILE, None),
        ({"/etc/sysctl.d/99-sysctl.conf": None}, []),
        ({**NO_LINK, "/etc/sysctl.conf": None}, None),
        (NO_LINK, ["net.core.somaxconn = 65535", "vm.swappiness = 1"]),
        ({**NO_LINK, "/etc/sysctl.d/50-a.conf": "net.core.somaxconn=65535\n"}, ["vm.swappiness = 1"]),
        ({**NO_LINK, "/etc/sysctl.d/50-a.conf": "net.*.somaxconn=65535\nvm.swappiness=2\n"}, ["vm.swappiness = 1"]),
    ],
    ids=["linked", "comments only", "no such file", "not read", "one is set elsewhere", "one has another value"],
)
def test_an_old_file_that_is_not_read_at_boot(files: dict[str, str | Entry | None], found: list[str] | None) -> None:
    """Debian 13 removed the link to it; `sysctl --system` still reads it."""
    finding = findings_of("tuning.sysctl-conf-unread", ubuntu(files=files))
    assert finding.result == ("warning" if found else "ok" if found == [] or files is OLD_FILE else "not-applicable")
    assert [each.what for each in finding.evidence] == (found or [])


@pytest.mark.parametrize("limit", ["9999999", "unlimited", "99999999999"])
def test_a_limit_above_the_kernels_is_healed_for_good_or_by_hand(limit: str) -> None:
    """Raised for now alone, the next boot would take the limit away."""
    machine = ubuntu(bai(), {"/etc/security/limits.d/9.conf": f"* hard nofile {limit}\n"})
    finding = findings_of("tuning.limits-above-kernel-max", machine)
    assert finding.result == ("ok" if limit == "unlimited" else "problem")
    ids = [step.id for step in finding.remedy]
    assert ids == (["tuning.nr-open", "tuning.live.fs.nr_open"] if limit == "9999999" else [])


@pytest.mark.parametrize(("threads", "result"), [(10, "ok"), (799, "ok"), (801, "warning"), (0, "ok")])
def test_threads_of_the_account_against_its_limit(threads: int, result: str) -> None:
    """Those of containers count as well: they run under the same number."""
    look_at = {("ps", "-L", "-o", "lwp=", "-u", "1100"): Completed(0, "".join(f"{n}\n" for n in range(threads)), "")}
    limits = {"/etc/security/limits.d/99-site.conf": "bai soft nproc 1000\n"}
    finding = findings_of("tuning.process-count", ubuntu(bai(), limits, looks=look_at))
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
    finding = findings_of("tuning.inotify-limits", ubuntu(looks={FIND_WATCHERS: Completed(0, seen, "")}))
    assert (finding.result, finding.owner) == (result, "site")
    assert ("UID 1100" in finding.evidence[0].what) == (result == "warning")


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
    assert (
        findings_of("tuning.sysctl-quoted-value", ubuntu(files={"/etc/sysctl.d/60-site.conf": line})).result == "ok"
    )


def low_node(
    hard: int,
    *,
    granted: bool,
    wanted: int = 512000,
    nr_open: str = "1048576",
    root: bool = True,
    container: bool = False,
) -> SimulatedMachine:
    """A node whose logins inherit `hard` open files, with our file; `granted`: root of it may raise hard limits."""
    inherited = PROC_1_LIMITS.replace("1048576              files", f"{hard}              files")
    raised = min(wanted, int(nr_open))
    command = ("prlimit", f"--nofile={hard}:{hard}", "prlimit", f"--nofile={raised}:{raised}", "true")
    failed = Completed(1, "", "prlimit: failed to set the NOFILE resource limit: Operation not permitted")
    return ubuntu(
        bai(),
        {"/etc/security/limits.d/99-backendai.conf": f"root hard nofile {wanted}\nbai hard nofile {wanted}\n"},
        {"fs.nr_open": nr_open},
        kernel={"/proc/1/limits": inherited},
        looks={command: Completed(0, "", "") if granted else failed},
        is_root=root,
        container=container,
    )


@pytest.mark.parametrize(
    ("hard", "granted", "nr_open", "result"),
    [
        (20000, False, "1048576", "warning"),
        (20000, True, "1048576", "ok"),
        (20000, False, "20000", "ok"),  # tuning.limits-above-kernel-max reports this one
        (524288, False, "1048576", "ok"),
    ],
)
def test_a_hard_limit_that_no_login_gets(hard: int, granted: bool, nr_open: str, result: str) -> None:
    """What started the node decides, so it is a warning; of a container that is its host's business alone."""
    machine = low_node(hard, granted=granted, nr_open=nr_open)
    finding = findings_of("tuning.limits-not-granted", machine)
    inside = findings_of(
        "tuning.limits-not-granted", low_node(hard, granted=granted, nr_open=nr_open, container=True)
    )
    assert inside.result == ("not-applicable" if result == "warning" else result)
    assert (finding.result, finding.owner) == (result, "site")
    if result == "warning":
        assert [(each.found, each.expected) for each in finding.evidence] == [("20000", "512000")]
    if nr_open == "20000":
        assert findings_of("tuning.limits-above-kernel-max", machine).result == "problem"


def test_a_run_reports_hard_limits_that_logins_cannot_get() -> None:
    """Before it is applied as a warning of the step, afterwards as a note, and never as a failure."""
    for granted in (False, True):
        machine = low_node(20000, granted=granted)
        plan = plan_of(PAGE, {"limits": {"nofile": 512000}}, machine)
        (step,) = (item.step for item in plan.steps if item.step.id == "tuning.limits-file")
        message = "".join(step.warnings())
        assert ("remains 20000 instead of 512000" in message) != granted
        assert step.note(machine).note == ("" if granted else f"please check: {message}")
        assert not any(isinstance(item.verdict, Blocked) and item.step.id == step.id for item in plan.steps)
    cannot_try = ubuntu(kernel={"/proc/1/limits": "Max open files 9 9 files\n"})
    assert not any(item.step.warnings() for item in plan_of(PAGE, {}, cannot_try).steps)


def test_only_root_can_try_whether_hard_limits_can_be_raised() -> None:
    assert (
        findings_of("tuning.limits-not-granted", low_node(20000, granted=False, root=False)).result == "cannot-tell"
    )
