"""Root causes and the doctor's checks of the node's system."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context
from bai_wizard.core.state import Entry, Key, Mount, State, Unit
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.check import checks_in
from bai_wizard.pages.node import check_advisories
from bai_wizard.pages.node.plan import PAGE
from tests.pages.ubuntu import file, ubuntu

Looks = dict[tuple[str, ...], Completed]
CLOCK = ("timedatectl", "show", "--property=NTPSynchronized", "--property=NTP")
GETENT = ("getent", "ahosts", "archive.ubuntu.com")
AUDIT = ("dpkg", "--audit")
SS = ("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header")
LOCK = "/var/lib/dpkg/lock-frontend"
STAT = ("stat", "--format=%i %n", LOCK)
GOOD: Looks = {
    CLOCK: Completed(0, "NTPSynchronized=yes\nNTP=yes\n", ""),
    GETENT: Completed(0, "10.1.1.1 STREAM x\n", ""),
    AUDIT: Completed(0, "", ""),
    SS: Completed(0, "", ""),
    STAT: Completed(0, f"402117 {LOCK}\n", ""),
    **{
        ("stat", "--file-system", "--format=%c %d", path): Completed(0, "1000 900\n", "")
        for path in ("/", "/var", "/home")
    },
}
SOURCES = (
    "# http://old.example\nTypes: deb\nURIs: http://archive.ubuntu.com/ubuntu\nSuites: noble\nComponents: main\n"
)
HELD = "1: POSIX  ADVISORY  WRITE 4242 fe:00:402117 0 EOF\n2: FLOCK  ADVISORY  WRITE 1 fe:00:1 0 EOF"


def node(
    states: dict[Key, State | None] | None = None, looks: Looks | None = None, **about: object
) -> SimulatedMachine:
    files: dict[str, str | Entry | None] = {"/etc/apt/sources.list.d/ubuntu.sources": SOURCES, LOCK: ""}
    kernel = {"/proc/sys/kernel/osrelease": "6.8.0-50-generic", **dict(about.pop("kernel", {}))}  # type: ignore[call-overload]
    return ubuntu(states, files, None, looks={**GOOD, **(looks or {})}, kernel=kernel, **about)


CASES: dict[str, tuple[SimulatedMachine, dict[str, str]]] = {
    "all is well": (node(), {}),
    "another release": (node({Key("file", "/etc/os-release"): file("ID=ubuntu\nVERSION_ID=22.04\n")}), {}),
    "nothing keeps the clock": (
        node(looks={CLOCK: Completed(0, "NTPSynchronized=no\nNTP=no\n", "")}),
        {"node.clock-skew": "warning"},
    ),
    "no bus for timedatectl": (node(looks={CLOCK: Completed(1, "", "no bus")}), {"node.clock-skew": "cannot-tell"}),
    "no names": (node(looks={GETENT: Completed(2, "", "")}), {"node.dns-broken": "problem"}),
    "a full disk": (node(free={"/": 100 << 20}), {"node.disk-space": "problem"}),
    "no inodes": (
        node(looks={("stat", "--file-system", "--format=%c %d", "/"): Completed(0, "1000 3\n", "")}),
        {"node.inodes-exhausted": "problem"},
    ),
    "btrfs has no fixed number of inodes": (
        node(looks={("stat", "--file-system", "--format=%c %d", "/"): Completed(0, "0 0\n", "")}),
        {},
    ),
    "a full /boot": (
        node({Key("mount", "/boot"): Mount("/dev/vda2", "ext4")}, free={"/": 200 << 30, "/boot": 10 << 20}),
        {"node.boot-full": "warning"},
    ),
    "a reboot": (node({Key("file", "/run/reboot-required"): file("")}), {"node.reboot-pending": "warning"}),
    "a hardened /tmp": (
        node({Key("mount", "/tmp"): Mount("tmpfs", "tmpfs", "rw,noexec")}),
        {"node.tmp-noexec": "warning"},
    ),
    "dpkg was cut off": (
        node(looks={AUDIT: Completed(0, "The following packages:\n docker-ce  Docker\n", "")}),
        {"node.dpkg-interrupted": "problem"},
    ),
    "dpkg names a package in several sections": (
        node(looks={AUDIT: Completed(0, "In a mess:\n docker-ce  Docker\nNo list:\n docker-ce  Docker\n", "")}),
        {"node.dpkg-interrupted": "problem"},
    ),
    "dpkg has unfinished updates": (
        node({Key("file", "/var/lib/dpkg/updates/0001"): file("")}),
        {"node.dpkg-interrupted": "problem"},
    ),
    "apt is in use": (
        node(kernel={"/proc/locks": HELD, "/proc/4242/comm": "unattended-upgr"}),
        {"node.apt-lock-held": "warning"},
    ),
    "a language that is not there": (
        node(
            {Key("file", "/etc/default/locale"): file("LANG=ko_KR.UTF-8\n")},
            {("locale", "-a"): Completed(0, "C\n", "")},
        ),
        {"node.locale-broken": "warning"},
    ),
    "a place of the language that is a link": (
        node(
            {
                Key("file", "/etc/default/locale"): Entry("link", 0, 0, 0o777, target="../locale.conf"),
                Key("file", "/etc/locale.conf"): file("LANG=C.UTF-8\n"),
            }
        ),
        {},
    ),
    "a language that is not there, by way of the link": (
        node(
            {
                Key("file", "/etc/default/locale"): Entry("link", 0, 0, 0o777, target="../locale.conf"),
                Key("file", "/etc/locale.conf"): file("LANG=ko_KR.UTF-8\n"),
            },
            {("locale", "-a"): Completed(0, "C\n", "")},
        ),
        {"node.locale-broken": "warning"},
    ),
    "a drop-in that systemd has not read": (
        node(
            {
                Key("file", "/etc/systemd/system/ssh.service.d/10-x.conf"): file("[Service]\n"),
                Key("unit", "ssh.service"): Unit("enabled", "active", 1.0, needs_reload=True),
            }
        ),
        {"node.units-changed": "warning"},
    ),
    "a drop-in that systemd has read": (
        node(
            {
                Key("file", "/etc/systemd/system/ssh.service.d/10-x.conf"): file("[Service]\n"),
                Key("file", "/etc/systemd/system/service.d/10-x.conf"): file("[Service]\n"),
                Key("file", "/etc/systemd/system/getty@.service.d/10-x.conf"): file("[Service]\n"),
                Key("unit", "ssh.service"): Unit("enabled", "active", 1.0),
            }
        ),
        {},
    ),
    "a drop-in of a masked unit": (
        node(
            {
                Key("file", "/etc/systemd/system/ssh.service.d/10-x.conf"): file("[Service]\n"),
                Key("unit", "ssh.service"): Unit("masked", "inactive", 0.0, needs_reload=True),
            }
        ),
        {},
    ),
    "a port is taken": (
        node(looks={SS: Completed(0, 'LISTEN 0 5 0.0.0.0:6001 0.0.0.0:* users:(("Xorg",pid=1,fd=3))\n', "")}),
        {"node.port-in-use": "warning"},
    ),
    "a port is Backend.AI's own": (
        node(looks={SS: Completed(0, 'LISTEN 0 5 *:6001 *:* users:(("python3.13",pid=1,fd=3))\n', "")}),
        {},
    ),
}
# Nodes that only look as if, by the failure that they look like: nothing at all may be found.
LOOK_ALIKES: dict[str, SimulatedMachine] = {
    "node.dns-broken": node(
        {
            Key("file", "/etc/apt/sources.list.d/other.sources"): file(
                "Types: deb\nURIs: http://gone.example/x\nSuites: ./\n"
            )
        },
        {("getent", "ahosts", "gone.example"): Completed(2, "", "")},
    ),
    "node.clock-skew": node(looks={CLOCK: Completed(0, "NTPSynchronized=yes\nNTP=no\n", "")}),
    # The file is always there; one process reads it, and another one has locked a file of its own.
    "node.apt-lock-held": node(
        kernel={
            "/proc/locks": "1: POSIX  ADVISORY  READ 7 fe:00:402117 0 EOF\n2: POSIX  ADVISORY  WRITE 8 fe:00:5 0 EOF"
        }
    ),
    "node.boot-full": node(
        {Key("mount", "/boot"): Mount("/dev/vda2", "ext4")}, free={"/": 200 << 30, "/boot": 300 << 20}
    ),
}
CASES |= {f"only looks like {id}": (machine, {}) for id, machine in LOOK_ALIKES.items()}
CASES["another release"] = (CASES["another release"][0], {"node.release": "warning"})


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str) -> None:
    machine, expected = CASES[case]
    # The neighbours look at what a bare fixture does not have; they have tests of their own.
    own = [check for check in PAGE.checks() if check not in checks_in(check_advisories)]
    findings = [finding for check in own for finding in run_check(check, machine, Context())]
    assert not [finding for finding in findings if finding.result == "crashed"], findings
    result = {finding.id: finding.result for finding in findings if finding.result not in ("ok", "not-applicable")}
    assert result == expected
    for finding in findings:
        if finding.result in ("problem", "warning"):
            assert finding.evidence
            assert finding.cause
            assert finding.guidance


@pytest.mark.parametrize(
    "dump, result",
    [
        ('Acquire::http::Proxy "http://p:1/";\n', "ok"),
        ('Acquire::http::Proxy "http://q:1";\n', "problem"),
        ("", "problem"),
    ],
)
def test_the_apt_proxy_is_read_from_apt(dump: str, result: str) -> None:
    machine = node(looks={("apt-config", "dump"): Completed(0, dump, "")})
    check = next(check for check in PAGE.checks() if check.id == "node.apt-proxy")
    (finding,) = run_check(check, machine, Context(proxy_http="http://p:1"))
    assert finding.result == result


def test_a_missing_certificate_has_a_remedy() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    machine = node({Key("file", "/root/ca.crt"): file(pem)})
    check = next(check for check in PAGE.checks() if check.id == "node.trust")
    (finding,) = run_check(check, machine, Context(ca_certificates=("/root/ca.crt",)))
    assert finding.result == "problem"
    assert [step.id for step in finding.remedy] == ["node.trust"]


def test_behind_a_proxy_only_its_name_is_asked() -> None:
    machine = node(
        looks={("getent", "ahosts", "p.corp"): Completed(0, "10.0.0.1 STREAM p\n", ""), GETENT: Completed(2, "", "")}
    )
    check = next(check for check in PAGE.checks() if check.id == "node.dns-broken")
    (finding,) = run_check(check, machine, Context(proxy_http="http://u:x@p.corp:3128"))
    assert finding.result == "ok"


def test_root_causes_are_marked() -> None:
    assert {check.id for check in PAGE.checks() if check.root_cause} >= {
        "node.clock-skew", "node.dns-broken", "node.disk-space", "node.inodes-exhausted", "node.reboot-pending",
        "node.dpkg-interrupted", "node.apt-lock-held",
    }  # fmt: skip


def test_a_name_server_that_never_answers_is_a_problem_and_asked_once() -> None:
    sources = SOURCES + "URIs: http://second.example/x\n"
    base = node({Key("file", "/etc/apt/sources.list.d/ubuntu.sources"): file(sources)})
    looks = {argv: answer for argv, answer in base.environment.looks.items() if argv[0] != "getent"}
    machine = SimulatedMachine(base.snapshot(), replace(base.environment, looks=looks))
    check = next(check for check in PAGE.checks() if check.id == "node.dns-broken")
    (finding,) = run_check(check, machine, Context())
    assert finding.result == "problem"
    assert [each.what for each in finding.evidence] == ["archive.ubuntu.com"]


@pytest.mark.parametrize(("there", "result"), [(True, "ok"), (False, "not-applicable")])
def test_needrestart_is_a_warning_about_manual_use_only(there: bool, result: str) -> None:
    """Our runs suspend it; installed, the finding says how to do so by hand."""
    machine = node({Key("file", "/usr/lib/needrestart/apt-pinvoke"): file("", 0o755)} if there else {})
    check = next(check for check in PAGE.checks() if check.id == "node.needrestart-hang")
    (finding,) = run_check(check, machine, Context())
    assert finding.result == result
    assert ("NEEDRESTART_SUSPEND=1" in str(finding.evidence)) == there
