"""What the fixes of all seeded failures would change: never anything that the design forbids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Key, State
from bai_wizard.core.step import Pending
from bai_wizard.doctor.drift import plan_steps
from bai_wizard.doctor.run import run_check
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages import load
from bai_wizard.pages.docker import check_config
from bai_wizard.pages.tuning.sysctl import OTHER_SYSCTL_PATH
from tests.pages.accelerators import test_checks as accelerators
from tests.pages.account import test_checks as account
from tests.pages.aliases import test_checks as aliases
from tests.pages.aliases.test_hosts_file import MANUAL_BLOCK, UBUNTU
from tests.pages.aliases.test_plan import node as alias_node
from tests.pages.docker import nodes as docker_nodes
from tests.pages.docker import test_check_daemon as daemon
from tests.pages.docker.nodes import STATES
from tests.pages.docker.test_check_seeded_failures import PLANTED
from tests.pages.node import test_checks as node
from tests.pages.storage import test_checks as storage
from tests.pages.tuning import test_check_limits as limits
from tests.pages.ubuntu import bai, ubuntu
from tests.unit.doctor.test_forbidden_fixes import offences

# Where nothing is ever written: locks, the socket, host name and clock, block devices.
UNTOUCHED = ("/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/run/docker.sock", "/var/run/docker.sock",
             "/etc/hostname", "/etc/localtime", "/etc/timezone", "/dev/")  # fmt: skip


def docker_node(states: dict[Key, State]) -> SimulatedMachine:
    return SimulatedMachine({**STATES, **states}, Environment())


def all_of(page: str, machine: SimulatedMachine) -> Iterator[tuple[SimulatedMachine, Finding]]:
    for check in load(page).checks():
        yield from ((machine, finding) for finding in run_check(check, machine, Context()))


def planted() -> Iterator[tuple[SimulatedMachine, Finding]]:
    """Every finding with a remedy that the tests of the pages plant, and its node."""
    for _, check, machine, context, _ in PLANTED:
        yield from ((machine, finding) for finding in run_check(check, machine, context))
    for id, wrong, _ in daemon.CASES:
        yield docker_node(dict(wrong[0])), daemon.findings_of(id, wrong)
    for id, (make, _) in accelerators.FAILURES.items():
        machine = make()
        yield machine, accelerators.findings_of(id, machine)
    for machine, _ in node.CASES.values():
        yield from (
            (machine, finding) for check in load("node").checks() for finding in run_check(check, machine, Context())
        )
    for states, answers, _ in account.CASES.values():
        machine = ubuntu({**bai(), **states}, looks={**account.GOOD, **answers})
        yield from (
            (machine, finding)
            for check in load("account").checks()
            for finding in run_check(check, machine, Context())
        )
    for id, _, about in storage.problems():
        machine = storage.node(**about)
        yield machine, storage.look(machine, id)
    machine = limits.dockerd(1024)
    yield machine, limits.findings_of("tuning.limits-not-for-services", machine)
    yield from of_small_tables()


def of_small_tables() -> Iterator[tuple[SimulatedMachine, Finding]]:
    """What tests of one failure each plant."""
    machine = docker_nodes.node()
    machine.set_state(Key("file", "/etc/docker/daemon.json"), docker_nodes.file('{"debug": true}'))
    pending = run_check(check_config.restart_pending, machine, docker_nodes.CONTEXT)
    yield from ((machine, finding) for finding in pending)
    for id, hosts in aliases.UNHEALTHY:
        machine = alias_node(hosts=hosts)
        yield machine, aliases.look(machine, id)
    machine = alias_node(dict(aliases.CLOUD), hosts=UBUNTU + MANUAL_BLOCK)
    yield machine, aliases.look(machine, "aliases.cloud-init")
    for id, wrong in (
        ("tuning.sysctl-port-range-overlap", ubuntu(sysctl={limits.RANGE: "10000 65000", limits.RESERVED: ""})),
        ("tuning.other-name", ubuntu(files={OTHER_SYSCTL_PATH: "vm.swappiness = 1\n"})),
        (
            "tuning.limits-above-kernel-max",
            ubuntu(bai(), {"/etc/security/limits.d/9.conf": "* hard nofile 9999999\n"}),
        ),
    ):
        yield wrong, limits.findings_of(id, wrong)


def remedies() -> dict[str, tuple[SimulatedMachine, Finding]]:
    return {finding.id: (machine, finding) for machine, finding in planted() if finding.remedy}


REMEDIES = remedies()


def changes_of(machine: SimulatedMachine, finding: Finding) -> list[tuple[str, str]]:
    """(what is changed, everything that is said and shown of it) of each change of the remedy."""
    shown = []
    for planned in plan_steps(finding.remedy, machine, machine.host).steps:
        shown.append(("", planned.step.describe()))
        if isinstance(planned.verdict, Pending):
            for change in planned.verdict.changes:
                added = [line[1:] for line in change.diff().split("\n") if not line.startswith("-")]
                shown.append((change.subject, "\n".join([change.headline(), change.attributes, *added])))
    return shown


def test_many_findings_have_a_remedy() -> None:
    assert len(REMEDIES) >= 40, sorted(REMEDIES)


@pytest.mark.parametrize("id", REMEDIES)
def test_no_fix_performs_forbidden_actions(id: str) -> None:
    machine, finding = REMEDIES[id]
    for subject, text in changes_of(machine, finding):
        assert offences(text) == [], text
        assert not subject.startswith(UNTOUCHED), subject
        assert not text.endswith(("0666", "0777")), text


@pytest.mark.parametrize("id", REMEDIES)
def test_checks_owned_by_the_site_have_no_fix(id: str) -> None:
    assert REMEDIES[id][1].owner != "site"


def test_a_forbidden_remedy_would_be_seen() -> None:
    """The test itself: a fix with a forbidden command."""
    assert offences("> open the socket  chmod 666 /var/run/docker.sock") == ["the Docker socket for everybody"]
    assert offences("> time  chronyc makestep") == ["stepping the clock"]
