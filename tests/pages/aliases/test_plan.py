"""From answers to the plan of the aliases, on a simulated node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.machine import Hardware, Interface
from bai_wizard.core.state import Entry, Key, State
from bai_wizard.core.step import Blocked, Unchanged
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.aliases.plan import PAGE, keep_from_cloud_init
from bai_wizard.pages.aliases.probe import CloudHosts
from bai_wizard.steps.files import EditBlock
from bai_wizard.steps.hosts_lines import Alias
from tests.pages.aliases.test_hosts_file import MANUAL_BLOCK, UBUNTU
from tests.pages.storage.lifecycle import assert_cycle, plan_of, run, shown

TABLE: dict[str, Any] = {
    "hosts": [
        {"ip": "10.20.30.10", "names": ["bai-m1"], "comment": "management node 01"},
        {"ip": "10.20.30.20", "names": ["bai-a01", "gpu01"]},
        {"ip": "10.20.30.99", "names": ["bai-api"], "virtual": True},
    ]
}
INTERFACES = (Interface("lo", "UNKNOWN", ("127.0.0.1/8",)), Interface("eth0", "UP", ("10.20.30.20/24",)))


def file(text: str | bytes, mode: int = 0o644) -> Entry:
    return Entry("file", 0, 0, mode, text.encode() if isinstance(text, str) else text)


def node(more: dict[str, str | bytes] | None = None, hosts: str | bytes = UBUNTU) -> SimulatedMachine:
    # The package of cloud-init always brings a drop-in of its own.
    shipped = {"/etc/cloud/cloud.cfg.d/05_logging.cfg": "output: {all: '| tee'}\n"} if more else {}
    files = {"/etc/hosts": hosts, **shipped, **(more or {})}
    states: dict[Key, State | None] = {Key("file", path): file(text) for path, text in files.items()}
    return SimulatedMachine(states, Environment(hardware=Hardware(interfaces=INTERFACES)))


def test_a_bare_node(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, TABLE, node(), tmp_path)
    assert shown(plan) == (
        "aliases.hosts: Pending\n"
        "--- /etc/hosts\n"
        "+++ /etc/hosts\n"
        "@@ -4,3 +4,8 @@\n"
        " # The following lines are desirable for IPv6 capable hosts\n"
        " ::1     ip6-localhost ip6-loopback\n"
        " fe00::0 ip6-localnet\n"
        "+##### BEGIN for Backend.AI services #####\n"
        "+10.20.30.10 bai-m1         # management node 01\n"
        "+10.20.30.20 bai-a01 gpu01\n"
        "+10.20.30.99 bai-api        # (virtual)\n"
        "+##### END for Backend.AI services #####"
    )


def test_moving_the_own_name(tmp_path: Path) -> None:
    plan = assert_cycle(PAGE, {**TABLE, "own_name": "move"}, node(), tmp_path)
    assert "-127.0.1.1 gpu01.corp gpu01\n+# 127.0.1.1 gpu01.corp gpu01" in shown(plan)


def test_moving_without_a_line_for_this_node_moves_nothing(tmp_path: Path) -> None:
    table = {"own_name": "move", "hosts": [{"ip": "10.20.30.10", "names": ["bai-m1"]}]}
    assert "gpu01.corp" not in shown(assert_cycle(PAGE, table, node(), tmp_path))


def test_the_own_line_is_also_known_by_the_address(tmp_path: Path) -> None:
    table = {"own_name": "move", "hosts": [{"ip": "10.20.30.20", "names": ["bai-a01"]}]}
    assert "+10.20.30.20 bai-a01 gpu01.corp gpu01" in shown(assert_cycle(PAGE, table, node(), tmp_path))


def test_a_kept_own_name_is_reported_when_nothing_is_to_do(tmp_path: Path) -> None:
    machine = node()
    run(machine, plan_of(PAGE, TABLE, machine), tmp_path)
    verdict = plan_of(PAGE, TABLE, machine).steps[0].verdict
    assert verdict == Unchanged("gpu01 also keeps 127.0.1.1, which is returned first")


def test_bytes_that_are_not_valid_text_are_preserved(tmp_path: Path) -> None:
    hosts = UBUNTU.encode() + "10.1.1.1 printer # 프린터\n".encode("euc-kr")
    machine = node(hosts=hosts)
    assert_cycle(PAGE, TABLE, machine, tmp_path / "cycle")
    run(machine, plan_of(PAGE, TABLE, machine), tmp_path / "again")
    entry = machine.entry("/etc/hosts")
    assert entry is not None
    assert (entry.content or b"").startswith(hosts)


def test_a_damaged_block_and_a_link_block(tmp_path: Path) -> None:
    verdict = plan_of(PAGE, TABLE, node(hosts="##### BEGIN for Backend.AI services #####\n")).steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert "never closed" in verdict.reason
    machine = node()
    machine.set_state(Key("file", "/etc/hosts"), Entry("link", 0, 0, 0o777, target="/home/bai/hosts"))
    verdict = plan_of(PAGE, TABLE, machine).steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert "does not follow" in verdict.reason


def test_cloud_init_of_the_image_gets_a_drop_in(tmp_path: Path) -> None:
    machine = node({"/etc/cloud/cloud.cfg": "users:\n - default\nmanage_etc_hosts: true\n"})
    plan = assert_cycle(PAGE, TABLE, machine, tmp_path)
    assert [item.step.id for item in plan.steps] == ["aliases.cloud-init", "aliases.hosts"]
    assert "+manage_etc_hosts: false" in shown(plan)


# cloud-init: cc_update_etc_hosts passes the value to util.translate_bool, which takes true, 1, on and yes.
@pytest.mark.parametrize(
    "line",
    ["manage_etc_hosts: 1", "manage_etc_hosts: '1'", '"manage_etc_hosts": true', "'manage_etc_hosts' : \"on\""],
)
def test_every_spelling_that_cloud_init_takes_for_true_gets_the_drop_in(line: str) -> None:
    plan = plan_of(PAGE, TABLE, node({"/etc/cloud/cloud.cfg": f"{line}\n"}))
    assert [item.step.id for item in plan.steps] == ["aliases.cloud-init", "aliases.hosts"]


def test_user_data_wins_over_drop_ins_so_the_template_gets_the_block_too(tmp_path: Path) -> None:
    machine = node(
        {
            "/etc/cloud/cloud.cfg": "manage_etc_hosts: false\n",
            "/var/lib/cloud/instance/cloud-config.txt": "#cloud-config\nmanage_etc_hosts: true\n",
            "/etc/cloud/templates/hosts.debian.tmpl": "## template:jinja\n127.0.1.1 {{fqdn}} {{hostname}}\n",
        }
    )
    plan = assert_cycle(PAGE, TABLE, machine, tmp_path)
    assert [item.step.id for item in plan.steps] == ["aliases.cloud-init", "aliases.cloud-template", "aliases.hosts"]


def test_cloud_init_that_only_cares_for_the_own_name_matters_when_it_is_moved(tmp_path: Path) -> None:
    machine = node({"/etc/cloud/cloud.cfg": "manage_etc_hosts: localhost\n"})
    assert len(plan_of(PAGE, TABLE, machine).steps) == 1
    assert len(assert_cycle(PAGE, {**TABLE, "own_name": "move"}, machine, tmp_path).steps) == 2


def test_a_later_drop_in_or_a_disabled_cloud_init(tmp_path: Path) -> None:
    late = node(
        {
            "/etc/cloud/cloud.cfg": "x: y\n",
            "/etc/cloud/cloud.cfg.d/zzz.cfg": "manage_etc_hosts: True\n",
            "/etc/cloud/templates/hosts.debian.tmpl": "127.0.0.1 localhost\n",
        }
    )
    assert len(plan_of(PAGE, TABLE, late).steps) == 3
    off = node({"/etc/cloud/cloud.cfg": "manage_etc_hosts: true\n", "/etc/cloud/cloud-init.disabled": ""})
    assert len(plan_of(PAGE, TABLE, off).steps) == 1


def test_an_empty_table_makes_no_file_and_leaves_a_block_made_by_hand() -> None:
    assert plan_of(PAGE, {}, SimulatedMachine({})).is_empty()
    assert plan_of(PAGE, {}, node(hosts=UBUNTU + MANUAL_BLOCK)).is_empty()


def test_a_comment_is_not_executed_by_cloud_inits_template() -> None:
    """cloud-init renders its template of /etc/hosts with Jinja, as root, at every boot (M5)."""
    comment = "{{ cycler.__init__.__globals__.os.popen('id') }} {% set x = 1 %} {{{"
    aliases = (Alias("10.0.0.1", ("bai-m1",), comment),)
    cloud = CloudHosts("template", "/var/lib/cloud/instance/cloud-config.txt", True, "/etc/cloud/t.tmpl")
    _, template = keep_from_cloud_init(aliases, cloud, moves=False)
    assert isinstance(template, EditBlock)
    (line,) = template.lines
    ours = "{{ '{' }}"
    assert not re.search(r"\{[{%#]", line.replace(ours, "-"))
    assert line.replace(ours, "{") == f"10.0.0.1 bai-m1  # {comment}"
