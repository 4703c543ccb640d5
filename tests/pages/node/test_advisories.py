"""Each advisory is reported when justified, silent in similar healthy states, and never offers a fix."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Key, Package, State, Unit
from bai_wizard.doctor.run import all_checks, run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.check import checks_in
from bai_wizard.pages.node import check_advisories
from bai_wizard.steps.files import Directory
from tests.pages.node.test_nft import ACCEPT, payload, rule, ruleset

UFW = "Status: active\n\nTo                         Action      From\n--                         ------      ----\n"
PERIODIC = 'APT::Periodic::Unattended-Upgrade "1";\n'
COMPUTE = "6001:6019,30000:32000,38200,39200,40128/tcp ALLOW       10.0.0.0/8\n"
Given = tuple[Mapping[Key, State], Mapping[tuple[str, ...], str], Mapping[str, str]]


def file(path: str, text: str = "") -> tuple[Key, State]:
    return Key("file", path), Entry("file", 0, 0, 0o644, text.encode())


def unit(name: str, since: float) -> tuple[Key, State]:
    return Key("unit", f"{name}.service"), Unit("enabled", "active", since)


def run_of(host: str) -> tuple[Key, State]:
    return file(f"{check_advisories.RUNS}/20260101T000000Z-aaaa/run.json", json.dumps({"host": host}))


UPGRADES = {Key("package", "unattended-upgrades"): Package("2.9")}
DRIVER = {"/sys/module/nvidia/version": "580.1"}
KERNELS = dict([file("/boot/vmlinuz-6.8.0-9-generic"), file("/boot/vmlinuz-6.8.0-45-generic")])
WRONG: dict[str, Given] = {
    "node.two-clocks": (dict([unit("chrony", 1.0), unit("systemd-timesyncd", 2.0)]), {}, {}),
    "node.ports": ({}, {("ufw", "status"): UFW + "22/tcp  ALLOW  Anywhere\n"}, {}),
    "node.unattended": (UPGRADES, {("apt-config",): PERIODIC, ("dpkg-query",): "install nvidia-driver-580\n"}, {}),
    "node.hostname": (dict([file("/etc/hostname", "gpu01\n"), run_of("old")]), {}, {}),
    "node.disk-layout": (dict([file("/var/x")]), {("df",): "h\n/ 20000000000 5\n/ 20000000000 5\n"}, {}),
    "node.next-kernel": (KERNELS, {("find", "/lib/modules/6.8.0-45-generic/"): ""}, DRIVER),
}
RIGHT: dict[str, Given] = {
    "node.two-clocks": (dict([unit("chrony", 1.0), unit("chronyd", 1.0)]), {}, {}),
    "node.ports": ({}, {("ufw", "status"): UFW + COMPUTE}, {}),
    "node.unattended": (UPGRADES, {("apt-config",): PERIODIC, ("dpkg-query",): "hold nvidia-driver-580\n"}, {}),
    "node.hostname": (dict([file("/etc/hostname", "gpu01.corp\n"), run_of("gpu01")]), {}, {}),
    "node.disk-layout": (dict([file("/var/x")]), {("df",): "h\n/ 900000000000 5\n/ 900000000000 5\n"}, {}),
    "node.next-kernel": (KERNELS, {("find", "/lib/modules/6.8.0-45-generic/"): "/lib/x/nvidia.ko.zst\n"}, DRIVER),
}
NEEDED = {"set": [{"range": [6001, 6019]}, {"range": [30000, 32000]}, 38200, 39200, 40128]}
SILENT: dict[str, Given] = {
    "node.ports, let in by nftables": (
        {},
        {("nft",): ruleset(rule(payload("tcp", "dport", NEEDED), ACCEPT))},
        {},
    ),
    "node.ports, ufw is off": ({}, {("ufw", "status"): "Status: inactive\n", ("nft",): ruleset(policy="accept")}, {}),
    "node.unattended, drivers are excluded": (
        UPGRADES,
        {
            ("apt-config",): PERIODIC + 'Unattended-Upgrade::Package-Blacklist:: "nvidia-";\n',
            ("dpkg-query",): "install nvidia-driver-580\n",
        },
        {},
    ),
}


SMALL = "/ 20000000000 5\n"
# id of a case → what the node has, and the words of the finding's title; none where nothing is wrong.
DISKS: dict[str, tuple[Given, str]] = {
    "images on a disk of their own": (
        (
            dict([file("/var/x"), file("/etc/docker/daemon.json", '{"data-root": "/data/docker"}'), file("/data/x")]),
            {("df",): f"h\n{SMALL}{SMALL}/data 900000000000 5\n"},
            {},
        ),
        "",
    ),
    "images on a small disk of their own": (
        (dict([file("/var/x"), file("/var/lib/docker/x")]), {("df",): f"h\n{SMALL}{SMALL}/var/lib/docker 9 5\n"}, {}),
        "",
    ),
    "images where they were put, on the root disk": (
        (
            dict([file("/var/x"), file("/etc/docker/daemon.json", '{"data-root": "/data/docker"}'), file("/data/x")]),
            {("df",): f"h\n{SMALL}/var 900000000000 5\n{SMALL}"},
            {},
        ),
        "Docker's images",
    ),
    "scratch directories on the root disk": (
        (
            dict([file("/var/x"), file("/home/bai/agent/agent.toml", '[container]\nscratch-root = "/scratches"\n')]),
            {("df",): f"h\n{SMALL}/var 900000000000 5\n"},
            {},
        ),
        "the sessions' scratch directories",
    ),
    "a daemon.json that nobody can read": (
        (
            dict([file("/var/x"), file("/etc/docker/daemon.json", "[]")]),
            {("df",): f"h\n{SMALL}{SMALL}"},
            {},
        ),
        "Docker's images",
    ),
}


@pytest.mark.parametrize("case", DISKS)
def test_places_that_grow_are_known_wherever_they_were_put(case: str) -> None:
    given, title = DISKS[case]
    finding = findings_of("node.disk-layout", given)
    assert finding.result == ("warning" if title else "ok")
    assert title in finding.title


def findings_of(id: str, given: Given) -> Finding:
    states, looks, kernel = given
    answers = {argv: Completed(0, out, "") for argv, out in looks.items()}
    machine = SimulatedMachine(states, Environment(looks=answers, kernel=kernel))
    check = next(each for each in checks_in(check_advisories) if each.id == id)
    (finding,) = run_check(check, machine, Context(host="gpu01"))
    assert finding.owner == "site"
    assert finding.remedy == ()
    return finding


# What lies beside the manual: looked at, told to the site, never changed. Some of it is looked at by other pages.
OF_THE_SITE = {
    "the clock is not synchronised": "node.clock-skew",
    "two time daemons": "node.two-clocks",
    "skew against other nodes": "aliases.clocks",
    "ports by role against the firewall": "node.ports",
    "version of control groups": "docker.cgroup-v1",
    "a pending reboot": "node.reboot-pending",
    "upgrades by themselves": "node.unattended",
    "a host name that changed": "node.hostname",
    "disks": "node.disk-layout",
    "file watchers of a uid": "tuning.inotify-limits",
    "processes of the account against its limit": "tuning.process-count",
    "a password that is about to expire": "account.password-expired",
    "the driver's module for the next kernel": "node.next-kernel",
}


def test_each_neighbour_of_the_manual_is_the_sites() -> None:
    """A finding of the site's cannot hold a remedy."""
    owners = {check.id: check.owner for check in all_checks()}
    assert {what: owners.get(id) for what, id in OF_THE_SITE.items()} == dict.fromkeys(OF_THE_SITE, "site")
    with pytest.raises(ValueError, match="no automatic fix"):
        Finding("x", "problem", "x", owner="site", remedy=(Directory(id="x", path="/x"),))


def test_every_neighbour_has_both_sides() -> None:
    ids = {check.id for check in checks_in(check_advisories)}
    assert set(WRONG) == set(RIGHT) == ids


@pytest.mark.parametrize("id", WRONG)
def test_seen_when_wrong(id: str) -> None:
    finding = findings_of(id, WRONG[id])
    assert finding.result in ("problem", "warning"), finding
    assert finding.evidence
    assert finding.guidance


@pytest.mark.parametrize("case", [*RIGHT, *SILENT])
def test_silent_when_right(case: str) -> None:
    assert findings_of(case.partition(",")[0], {**SILENT, **RIGHT}[case]).result == "ok"


def test_a_firewall_without_ufw_is_read_as_well() -> None:
    closed = findings_of("node.ports", ({}, {("nft",): ruleset(rule(payload("tcp", "dport", 22), ACCEPT))}, {}))
    assert closed.result == "warning"
    assert {each.where for each in closed.evidence} == {"nft list ruleset (input: drop)"}


def test_ports_are_listed_for_the_security_team() -> None:
    message = " ".join(each.what for each in findings_of("node.ports", WRONG["node.ports"]).evidence)
    assert "6001-6019" in message
    assert "30000-32000" in message
