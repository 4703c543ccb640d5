"""Each failure of the daemon is reported; similar healthy states are not."""

from __future__ import annotations

from typing import Any

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Group, Key, Package, State, Sysctl, Unit
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.check import checks_in
from bai_wizard.pages.docker import checks
from bai_wizard.steps.docker import DAEMON_JSON
from tests.pages.docker.nodes import file
from tests.pages.docker.test_check_healthy import HEALTHY
from tests.pages.numbered import numbered

ROUTE = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n"
)
PACKAGED = "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\n"
FORWARDING = Key("sysctl", "net.ipv4.ip_forward")


UNIT = "/usr/lib/systemd/system/docker.service"


def config(text: str) -> dict[Key, State]:
    return {Key("file", DAEMON_JSON): file(text)}


def service(active: str, enabled: str = "enabled") -> dict[Key, State]:
    return {Key("group", "docker"): Group("docker", 988), Key("unit", "docker.service"): Unit(enabled, active, 1.0)}


def network(subnet: str) -> list[dict[str, Any]]:
    return [{"Name": "bridge", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": subnet}]}}]


# id → (states, engine's networks, free bytes) that are wrong, and that are right.
Given = tuple[dict[Key, State], list[dict[str, Any]], int]
MUCH = 1 << 40
CASES: list[tuple[str, Given, Given]] = [
    ("docker.daemon-json-syntax", (config('{\n "debug": true,\n}'), [], MUCH), (config('{"debug": true}'), [], MUCH)),
    ("docker.daemon-json-syntax", (config('{"dns": [], "dns": []}'), [], MUCH), (config("{}"), [], MUCH)),
    ("docker.flag-conflict", (config('{"hosts": ["fd://"]}'), [], MUCH), (config('{"dns": ["10.0.0.1"]}'), [], MUCH)),
    ("docker.not-running", (service("failed"), [], MUCH), (service("activating"), [], MUCH)),
    ("docker.not-running", (service("active", "disabled"), [], MUCH), (service("active"), [], MUCH)),
    (
        "docker.snap",
        ({Key("file", "/var/lib/snapd/snaps/docker_2.snap"): Entry("file", 0, 0, 0o600, b"")}, [], MUCH),
        ({Key("file", "/var/lib/snapd/snaps/core22_1.snap"): Entry("file", 0, 0, 0o600, b"")}, [], MUCH),
    ),
    (
        "docker.conflict-packages",
        ({Key("package", "containerd"): Package("1.7")}, [], MUCH),
        ({Key("package", "containerd.io"): Package("1.7")}, [], MUCH),
    ),
    (
        "docker.ip-forward",
        ({**service("active"), FORWARDING: Sysctl("0")}, [], MUCH),
        ({**service("active"), FORWARDING: Sysctl("1")}, [], MUCH),
    ),
    (
        "docker.bridge-overlap",
        (service("active"), network("172.17.0.0/16"), MUCH),
        (service("active"), network("172.30.0.0/16"), MUCH),
    ),
    ("docker.disk-full", ({}, [], 1 << 30), ({}, [], MUCH)),
]


def findings_of(id: str, given: Given) -> Finding:
    states, networks, free = given
    around = Environment(
        looks={
            ("journalctl",): Completed(0, 'level=fatal msg="no such option"\n', ""),
        },
        kernel={"/proc/net/route": ROUTE},
        engine={"/networks": networks},
        free={"/": free},
    )
    here: dict[Key, State] = {Key("package", "docker-ce"): Package("5:29.1.2"), Key("file", UNIT): file(PACKAGED)}
    machine = SimulatedMachine({**here, **states}, around)
    (finding,) = run_check(next(check for check in checks_in(checks) if check.id == id), machine, Context())
    return finding


def test_every_check_has_a_case() -> None:
    here, healthy = {id for id, _, _ in CASES}, {check.id for _, check, _, _ in HEALTHY}
    assert here | healthy >= {check.id for check in checks_in(checks)}


@pytest.mark.parametrize("id, wrong, right", CASES, ids=numbered(id for id, _, _ in CASES))
def test_seen_when_wrong_silent_when_right(id: str, wrong: Given, right: Given) -> None:
    bad = findings_of(id, wrong)
    assert bad.result in ("problem", "warning"), bad
    assert bad.evidence
    assert findings_of(id, right).result == "ok"


def test_the_place_of_a_fault_is_named() -> None:
    evidence = findings_of("docker.daemon-json-syntax", CASES[0][1]).evidence[0]
    assert evidence.what in ("line 2", "line 3")


def test_a_masked_service_is_not_started_by_us() -> None:
    assert findings_of("docker.not-running", (service("inactive", "masked"), [], MUCH)).remedy == ()
    assert findings_of("docker.not-running", (service("failed"), [], MUCH)).remedy


LOOP = Completed(0, "SubState=auto-restart\nNRestarts=11\nActiveEnterTimestampMonotonic=0\n", "")
FLAPS = Completed(0, "SubState=running\nNRestarts=7\nActiveEnterTimestampMonotonic=990000000\n", "")
STEADY = Completed(0, "SubState=running\nNRestarts=7\nActiveEnterTimestampMonotonic=1000000\n", "")
STARTS = Completed(0, "SubState=start\nNRestarts=0\nActiveEnterTimestampMonotonic=0\n", "")
MASKED = {Key("unit", "containerd.service"): Unit("masked", "inactive", 0.0)}
SOCKET = {Key("unit", "docker.socket"): Unit("masked", "inactive", 0.0)}
WORDS = """time=x level=info msg=a
failed to start daemon: error initializing graphdriver: aufs
docker.service: Main process exited, code=exited, status=1/FAILURE
docker.service: Failed with result 'exit-code'.
"""
AGAIN = Completed(0, "SubState=start\nNRestarts=1\nInactiveExitTimestampMonotonic=999000000\n", "")
HANGS = Completed(0, "SubState=start\nNRestarts=0\nInactiveExitTimestampMonotonic=700000000\n", "")
NEEDS = Completed(0, "SubState=running\nNRestarts=0\nRequires=docker.socket sysinit.target\n", "")


@pytest.mark.parametrize(
    ("active", "shown", "states", "problem", "words"),
    [
        ("activating", LOOP, {}, "restart loop", "11 restarts"),
        ("activating", LOOP, MASKED, "not running", "containerd.service"),
        ("active", FLAPS, {}, "restart loop", "7 restarts"),
        ("failed", STARTS, SOCKET, "not running", "docker.socket"),
        ("activating", AGAIN, {}, "restart loop", "1 restarts"),
        ("activating", HANGS, {}, "starting for minutes", "for 300 s"),
        ("active", STEADY, SOCKET, "", ""),
        ("failed", STARTS, {Key("group", "docker"): None}, "not running", "group docker"),
        ("active", STEADY, {}, "", ""),
        ("activating", STARTS, {}, "", ""),
    ],
)
def test_an_engine_that_does_not_stay_up(
    active: str, shown: Completed, states: dict[Key, State | None], problem: str, words: str
) -> None:
    around = Environment(
        looks={("systemctl", "show"): shown, ("journalctl",): Completed(0, WORDS, "")},
        kernel={"/proc/uptime": "1000.12 5000.0"},
    )
    here = {Key("package", "docker-ce"): Package("5:29.1.2"), Key("group", "docker"): Group("docker", 988)}
    machine = SimulatedMachine({**here, **service(active), **states}, around)
    (finding,) = run_check(checks.running, machine, Context())
    assert finding.result == ("problem" if problem else "ok")
    assert problem in finding.title
    assert words in str(finding.evidence)
    if problem:
        assert "error initializing graphdriver: aufs" in str(finding.evidence)


@pytest.mark.parametrize(
    "said",
    [
        "failed to load listeners: no sockets found via socket activation: make sure it was started by systemd",
        "unable to configure the Docker daemon with file /opt/d.json: open /opt/d.json: no such file or directory",
    ],
)
def test_the_daemons_reason_is_shown_and_not_systemds(said: str) -> None:
    journal = f"time=x level=info msg=a\n{said}\ndocker.service: Main process exited, code=exited, status=1/FAILURE\n"
    around = Environment(looks={("systemctl", "show"): LOOP, ("journalctl",): Completed(0, journal, "")})
    machine = SimulatedMachine({Key("package", "docker-ce"): Package("5:29"), **service("activating")}, around)
    (finding,) = run_check(checks.running, machine, Context())
    assert said in str(finding.evidence)


def test_a_socket_that_was_masked_below_a_running_engine() -> None:
    around = Environment(looks={("systemctl", "show"): NEEDS})
    machine = SimulatedMachine({Key("package", "docker-ce"): Package("5:29"), **service("active"), **SOCKET}, around)
    (finding,) = run_check(checks.running, machine, Context())
    assert finding.result == "warning"
    assert "systemctl unmask docker.socket" in finding.guidance
