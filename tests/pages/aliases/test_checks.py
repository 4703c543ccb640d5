"""What the doctor finds in /etc/hosts, and that its remedies heal it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Finding
from bai_wizard.core.machine import Completed
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.state import Entry, Key
from bai_wizard.machine.simulated import SimulatedMachine, Surroundings
from bai_wizard.pages.aliases.checks import CHECKS
from bai_wizard.pages.aliases.reach import PORT
from bai_wizard.pages.knocking import program
from tests.pages.aliases.test_hosts_file import MANUAL_BLOCK, UBUNTU
from tests.pages.aliases.test_plan import node
from tests.pages.numbered import numbered

OWN_BLOCK = MANUAL_BLOCK.replace("bai-a01  #", "gpu01    #")


class Acting:
    """The node as a remedy gets it, without a journal."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.view = machine
        self.do = machine.perform

    def do_together(self, primitives: Sequence[Primitive]) -> None:
        raise AssertionError("no remedy of this page has several things to do at once")


def look(machine: SimulatedMachine, id: str) -> Finding:
    (check,) = [check for check in CHECKS if check.id == id]
    found = check.look(machine, Context(host=machine.host))
    assert isinstance(found, Finding)
    return found


SICK = [
    ("hosts-duplicate", "10.9.9.9 bai-a01\n" + MANUAL_BLOCK),
    ("hosts-loopback-alias", UBUNTU + OWN_BLOCK),
    ("hosts-block-damaged", MANUAL_BLOCK + UBUNTU + MANUAL_BLOCK),
]
CLOUD = {
    "/etc/cloud/cloud.cfg": "",
    "/var/lib/cloud/instance/cloud-config.txt": "manage_etc_hosts: template\n",
    "/etc/cloud/templates/hosts.debian.tmpl": "127.0.0.1 localhost\n",
}


@pytest.mark.parametrize("id,hosts", SICK, ids=numbered(id for id, _ in SICK))
def test_a_remedy_heals_and_leaves_a_node_that_is_well(id: str, hosts: str) -> None:
    machine = node(hosts=hosts)
    sick = look(machine, id)
    assert sick.result in ("problem", "warning")
    assert sick.evidence
    for step in sick.remedy:
        step.apply(Acting(machine))
    assert look(machine, id).result in ("ok", "not-applicable")


def test_cloud_init_is_healed_by_drop_in_and_template() -> None:
    machine = node(dict(CLOUD), hosts=UBUNTU + MANUAL_BLOCK)
    sick = look(machine, "hosts-cloud-init")
    assert sick.result == "problem"
    for step in sick.remedy:
        step.apply(Acting(machine))
    assert look(machine, "hosts-cloud-init").result == "ok"


def test_cloud_init_by_user_data_without_template_is_the_sites_to_change() -> None:
    machine = node(
        {"/etc/cloud/cloud.cfg": "", "/var/lib/cloud/instance/cloud-config.txt": "manage_etc_hosts: true\n"},
        hosts=MANUAL_BLOCK,
    )
    sick = look(machine, "hosts-cloud-init")
    assert (sick.result, sick.owner) == ("problem", "site")


def test_a_node_without_the_block_is_not_accused() -> None:
    results = {
        id: look(node(), id).result for id in ("hosts-duplicate", "hosts-loopback-alias", "hosts-dns-disagree")
    }
    assert set(results.values()) == {"not-applicable"}
    assert look(node(), "hosts-block-damaged").result == "ok"


def test_a_broken_block_is_told_with_its_line() -> None:
    finding = look(node(hosts=UBUNTU + "##### END for Backend.AI services #####\n"), "hosts-block-damaged")
    assert finding.result == "problem"
    assert "line 7" in finding.evidence[0].found


def test_silence_of_a_virtual_address_is_no_finding() -> None:
    hosts = MANUAL_BLOCK.replace("agent node 02 (GPU 02)", "(virtual)")
    asked = tuple(program(["10.20.30.10", "10.20.30.20"], PORT))
    answer = Completed(0, "10.20.30.10 refused\n10.20.30.20 silent\n", "")
    machine = SimulatedMachine(
        {Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, hosts.encode())},
        Surroundings(looks={asked: answer}),
    )
    finding = look(machine, "hosts-no-answer")
    assert finding.result == "warning"
    assert [evidence.what for evidence in finding.evidence] == ["bai-a01"]


def test_dns_that_knows_another_address_is_told_and_silence_is_not() -> None:
    asked: dict[str, tuple[str, ...]] = {
        name: ("getent", "-s", "hosts:dns", "ahosts", name) for name in ("bai-m1", "bai-a01", "bai-a02")
    }
    looks = {asked[name]: Completed(2, "", "") for name in asked}
    looks[asked["bai-a01"]] = Completed(0, "10.8.8.8  STREAM bai-a01\n10.8.8.8  DGRAM\n", "")
    machine = SimulatedMachine(
        {Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, MANUAL_BLOCK.encode())}, Surroundings(looks=looks)
    )
    finding = look(machine, "hosts-dns-disagree")
    assert finding.result == "warning"
    assert [(item.what, item.found) for item in finding.evidence] == [("bai-a01", "10.8.8.8")]


LOOK_ALIKES: list[tuple[str, dict[str, str | bytes], str]] = [
    ("hosts-loopback-alias", {}, UBUNTU + MANUAL_BLOCK),
    ("hosts-loopback-alias", {}, UBUNTU.replace("127.0.1.1", "# 127.0.1.1") + OWN_BLOCK),
    ("hosts-duplicate", {}, "# 10.9.9.9 bai-a01\n10.20.30.20 bai-a01\n" + MANUAL_BLOCK),
    ("hosts-duplicate", {}, "10.9.9.9 bai-a011 bai-a01.other.corp\n" + MANUAL_BLOCK),
    ("hosts-cloud-init", {"/etc/cloud/cloud.cfg": "manage_etc_hosts: false\n"}, UBUNTU + MANUAL_BLOCK),
    (
        "hosts-cloud-init",
        {"/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n", "/etc/cloud/cloud-init.disabled": ""},
        UBUNTU + MANUAL_BLOCK,
    ),
]


@pytest.mark.parametrize("id,files,hosts", LOOK_ALIKES, ids=numbered(id for id, *_ in LOOK_ALIKES))
def test_what_only_looks_like_it_is_no_finding(id: str, files: dict[str, str | bytes], hosts: str) -> None:
    assert look(node(files, hosts=hosts), id).result in ("ok", "not-applicable")
