"""One answers file for a management node, two compute nodes and a storage node: four plans from bare nodes."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.core.step import Plan
from bai_wizard.node.demo import demo_machine
from tests.cache import CHECKOUT

FILE = str(CHECKOUT / "tests/fixtures/good/four-nodes.toml")


def plan_for(host: str) -> Plan:
    """What the file makes of a bare node of that name; the account's secrets are no matter of overrides."""
    machine = demo_machine("bare", delay=0)
    machine.environment = replace(machine.environment, host=host)
    return compose.plan(machine, compose.desired_from_answers(load(FILE, host), skip=("account",)))


def text_of(plan: Plan, page: str) -> str:
    """All that the plan says of a page."""
    return "\n".join(str(planned) for planned in plan.steps if planned.step.page == page)


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {host: plan_for(host) for host in ("bai-m1", "bai-a01", "bai-a02.corp.example", "bai-s1")}


def test_every_node_gets_its_own_pages(plans: dict[str, Plan]) -> None:
    pages = {host: {planned.step.page for planned in plan.steps} for host, plan in plans.items()}
    assert "docker" in pages["bai-m1"] & pages["bai-a01"] & pages["bai-a02.corp.example"]
    assert "docker" not in pages["bai-s1"]
    assert {host for host in pages if "images" in pages[host]} == {"bai-a01", "bai-a02.corp.example"}


def test_every_node_gets_its_own_values(plans: dict[str, Plan]) -> None:
    docker = {host: text_of(plan, "docker") for host, plan in plans.items()}
    assert [host for host, text in docker.items() if "/data/docker" in text] == ["bai-a01", "bai-a02.corp.example"]
    assert docker["bai-a01"] == docker["bai-a02.corp.example"].replace('"max-file": "9"', '"max-file": "5"')
    tuning = {host: text_of(plan, "tuning") for host, plan in plans.items()}
    assert tuning["bai-m1"] != tuning["bai-a01"] == tuning["bai-a02.corp.example"]
    # The compute nodes' own value, the profile of all but the management node, and neither.
    tracked = {host: set(re.findall(r"nf_conntrack_max = (\d+)", text)) for host, text in tuning.items()}
    assert list(tracked.values()) == [set(), {"20971520"}, {"20971520"}, {"10485760"}]
    roles = {host: compose.desired_from_answers(load(FILE, host)).context.roles for host in plans}
    assert list(roles.values()) == [("management",), ("compute",), ("compute",), ("storage",)]
    storage = {host: text_of(plan, "storage") for host, plan in plans.items()}
    assert [host for host, text in storage.items() if "10.20.30.50:/export/vol1" in text] == list(plans)[:3]
    assert [host for host, text in storage.items() if "/dev/sdb1" in text] == ["bai-s1"]
    drivers = {host: text_of(plan, "accelerators") for host, plan in plans.items()}
    assert [host for host, text in drivers.items() if "-580-" in text] == ["bai-a01", "bai-a02.corp.example"]


def test_all_nodes_know_each_other(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        assert all(name in text_of(plan, "aliases") for name in ("bai-m1", "bai-a01", "bai-a02", "bai-s1"))
