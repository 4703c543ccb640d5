"""Each fault of the daemon is seen, and what only looks like it is not."""

from __future__ import annotations

from typing import Any

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Completed
from bai_wizard.core.state import Entry, Key, Package, State, Sysctl, Unit
from bai_wizard.doctor.children import look
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.pages.docker import check_daemon
from bai_wizard.steps.docker_config import DAEMON_JSON
from tests.pages.numbered import numbered

ROUTE = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n"
)
START = "{ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// ; }"
FORWARDING = Key("sysctl", "net.ipv4.ip_forward")


def config(text: str) -> dict[Key, State]:
    return {Key("file", DAEMON_JSON): Entry("file", 0, 0, 0o644, text.encode())}


def service(active: str, enabled: str = "enabled") -> dict[Key, State]:
    return {Key("unit", "docker.service"): Unit(enabled, active, 1.0)}


def network(subnet: str) -> list[dict[str, Any]]:
    return [{"Name": "bridge", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": subnet}]}}]


# id → (states, engine's networks, free bytes) that are wrong, and that are right.
Given = tuple[dict[Key, State], list[dict[str, Any]], int]
MUCH = 1 << 40
CASES: list[tuple[str, Given, Given]] = [
    ("docker-daemon-json-syntax", (config('{\n "debug": true,\n}'), [], MUCH), (config('{"debug": true}'), [], MUCH)),
    ("docker-daemon-json-syntax", (config('{"dns": [], "dns": []}'), [], MUCH), (config("{}"), [], MUCH)),
    ("docker-flag-conflict", (config('{"hosts": ["fd://"]}'), [], MUCH), (config('{"dns": ["10.0.0.1"]}'), [], MUCH)),
    ("docker-not-running", (service("failed"), [], MUCH), (service("activating"), [], MUCH)),
    ("docker-not-running", (service("active", "disabled"), [], MUCH), (service("active"), [], MUCH)),
    (
        "docker-snap",
        ({Key("file", "/var/lib/snapd/snaps/docker_2.snap"): Entry("file", 0, 0, 0o600, b"")}, [], MUCH),
        ({Key("file", "/var/lib/snapd/snaps/core22_1.snap"): Entry("file", 0, 0, 0o600, b"")}, [], MUCH),
    ),
    (
        "docker-conflict-packages",
        ({Key("package", "containerd"): Package("1.7")}, [], MUCH),
        ({Key("package", "containerd.io"): Package("1.7")}, [], MUCH),
    ),
    (
        "docker-ip-forward",
        ({**service("active"), FORWARDING: Sysctl("0")}, [], MUCH),
        ({**service("active"), FORWARDING: Sysctl("1")}, [], MUCH),
    ),
    (
        "docker-bridge-overlap",
        (service("active"), network("172.17.0.0/16"), MUCH),
        (service("active"), network("172.30.0.0/16"), MUCH),
    ),
    ("disk-full", ({}, [], 1 << 30), ({}, [], MUCH)),
]


def found(id: str, given: Given) -> Finding:
    states, networks, free = given
    around = Surroundings(
        looks={
            ("systemctl", "show"): Completed(0, START, ""),
            ("journalctl",): Completed(0, 'level=fatal msg="no such option"\n', ""),
        },
        kernel={"/proc/net/route": ROUTE},
        engine={"/networks": networks},
        free={"/": free},
    )
    machine = SimulatedMachine({Key("package", "docker-ce"): Package("5:29.1.2"), **states}, around)
    (finding,) = look(next(check for check in check_daemon.CHECKS if check.id == id), machine, Context())
    return finding


def test_every_check_has_a_case() -> None:
    assert {id for id, _, _ in CASES} == {check.id for check in check_daemon.CHECKS}


@pytest.mark.parametrize("id, wrong, right", CASES, ids=numbered(id for id, _, _ in CASES))
def test_seen_when_wrong_silent_when_right(id: str, wrong: Given, right: Given) -> None:
    bad = found(id, wrong)
    assert bad.result in ("problem", "warning"), bad
    assert bad.evidence
    assert found(id, right).result == "ok"


def test_the_place_of_a_fault_is_named() -> None:
    evidence = found("docker-daemon-json-syntax", CASES[0][1]).evidence[0]
    assert evidence.what in ("line 2", "line 3")


def test_a_masked_service_is_not_started_by_us() -> None:
    assert found("docker-not-running", (service("inactive", "masked"), [], MUCH)).remedy == ()
    assert found("docker-not-running", (service("failed"), [], MUCH)).remedy
