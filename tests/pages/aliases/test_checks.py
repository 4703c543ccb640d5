"""The doctor's findings about /etc/hosts, and fixes that resolve them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import pytest

from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Context, Finding
from bai_wizard.core.state import Entry, Key
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.aliases.checks import CHECKS, PORT
from bai_wizard.pages.node_state import tcp_probe_command
from tests.pages.aliases.test_hosts_file import MANUAL_BLOCK, UBUNTU
from tests.pages.aliases.test_plan import node
from tests.pages.numbered import numbered

OWN_BLOCK = MANUAL_BLOCK.replace("bai-a01  #", "gpu01    #")


class Acting:
    """The node as a remedy gets it, without a journal."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.view = machine
        self.do = machine.apply

    def do_together(self, operations: Sequence[Operation]) -> None:
        raise AssertionError("no remedy of this page has several things to do at once")

    def announced(self, operations: Iterable[Operation]) -> AbstractContextManager[None]:
        raise AssertionError("a boot does nothing for this page")


def look(machine: SimulatedMachine, id: str) -> Finding:
    (check,) = [check for check in CHECKS if check.id == id]
    finding = check.run(machine, Context(host=machine.host))
    assert isinstance(finding, Finding)
    return finding


UNHEALTHY = [
    ("aliases.duplicate", "10.9.9.9 bai-a01\n" + MANUAL_BLOCK),
    ("aliases.loopback-alias", UBUNTU + OWN_BLOCK),
    ("aliases.block-damaged", MANUAL_BLOCK + UBUNTU + MANUAL_BLOCK),
]
CLOUD = {
    "/etc/cloud/cloud.cfg": "",
    "/var/lib/cloud/instance/cloud-config.txt": "manage_etc_hosts: template\n",
    "/etc/cloud/templates/hosts.debian.tmpl": "127.0.0.1 localhost\n",
}


@pytest.mark.parametrize("id,hosts", UNHEALTHY, ids=numbered(id for id, _ in UNHEALTHY))
def test_a_remedy_heals_and_leaves_a_node_that_is_well(id: str, hosts: str) -> None:
    machine = node(hosts=hosts)
    unhealthy = look(machine, id)
    assert unhealthy.result in ("problem", "warning")
    assert unhealthy.evidence
    for step in unhealthy.remedy:
        step.apply(Acting(machine))
    assert look(machine, id).result in ("ok", "not-applicable")


def test_cloud_init_is_healed_by_drop_in_and_template() -> None:
    machine = node(dict(CLOUD), hosts=UBUNTU + MANUAL_BLOCK)
    unhealthy = look(machine, "aliases.cloud-init")
    assert unhealthy.result == "problem"
    for step in unhealthy.remedy:
        step.apply(Acting(machine))
    assert look(machine, "aliases.cloud-init").result == "ok"


def test_cloud_init_by_user_data_without_template_is_the_sites_to_change() -> None:
    machine = node(
        {"/etc/cloud/cloud.cfg": "", "/var/lib/cloud/instance/cloud-config.txt": "manage_etc_hosts: true\n"},
        hosts=MANUAL_BLOCK,
    )
    unhealthy = look(machine, "aliases.cloud-init")
    assert (unhealthy.result, unhealthy.owner) == ("problem", "site")


def test_a_node_without_the_block_is_not_accused() -> None:
    results = {
        id: look(node(), id).result for id in ("aliases.duplicate", "aliases.loopback-alias", "aliases.dns-disagree")
    }
    assert set(results.values()) == {"not-applicable"}
    assert look(node(), "aliases.block-damaged").result == "ok"


def test_a_broken_block_is_reported_with_its_line() -> None:
    finding = look(node(hosts=UBUNTU + "##### END for Backend.AI services #####\n"), "aliases.block-damaged")
    assert finding.result == "problem"
    assert "line 7" in finding.evidence[0].found


def test_an_unresponsive_virtual_address_is_not_reported() -> None:
    hosts = MANUAL_BLOCK.replace("agent node 02 (GPU 02)", "(virtual)")
    asked = tuple(tcp_probe_command(["10.20.30.10", "10.20.30.20"], PORT))
    answer = Completed(0, "10.20.30.10 refused\n10.20.30.20 silent\n", "")
    machine = SimulatedMachine(
        {Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, hosts.encode())},
        Environment(looks={asked: answer}),
    )
    finding = look(machine, "aliases.no-answer")
    assert finding.result == "warning"
    assert [evidence.what for evidence in finding.evidence] == ["bai-a01"]


def test_dns_that_knows_another_address_is_reported_and_silence_is_not() -> None:
    asked: dict[str, tuple[str, ...]] = {
        name: ("getent", "-s", "hosts:dns", "ahosts", name) for name in ("bai-m1", "bai-a01", "bai-a02")
    }
    looks = {asked[name]: Completed(2, "", "") for name in asked}
    looks[asked["bai-a01"]] = Completed(0, "10.8.8.8  STREAM bai-a01\n10.8.8.8  DGRAM\n", "")
    machine = SimulatedMachine(
        {Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, MANUAL_BLOCK.encode())}, Environment(looks=looks)
    )
    finding = look(machine, "aliases.dns-disagree")
    assert finding.result == "warning"
    assert [(item.what, item.found) for item in finding.evidence] == [("bai-a01", "10.8.8.8")]


LOOK_ALIKES: list[tuple[str, dict[str, str | bytes], str]] = [
    ("aliases.loopback-alias", {}, UBUNTU + MANUAL_BLOCK),
    ("aliases.loopback-alias", {}, UBUNTU.replace("127.0.1.1", "# 127.0.1.1") + OWN_BLOCK),
    ("aliases.duplicate", {}, "# 10.9.9.9 bai-a01\n10.20.30.20 bai-a01\n" + MANUAL_BLOCK),
    ("aliases.duplicate", {}, "10.9.9.9 bai-a011 bai-a01.other.corp\n" + MANUAL_BLOCK),
    ("aliases.cloud-init", {"/etc/cloud/cloud.cfg": "manage_etc_hosts: false\n"}, UBUNTU + MANUAL_BLOCK),
    (
        "aliases.cloud-init",
        {"/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n", "/etc/cloud/cloud-init.disabled": ""},
        UBUNTU + MANUAL_BLOCK,
    ),
]


@pytest.mark.parametrize("id,files,hosts", LOOK_ALIKES, ids=numbered(id for id, *_ in LOOK_ALIKES))
def test_similar_conditions_are_not_reported(id: str, files: dict[str, str | bytes], hosts: str) -> None:
    assert look(node(files, hosts=hosts), id).result in ("ok", "not-applicable")
