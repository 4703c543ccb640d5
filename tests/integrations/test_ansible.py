"""The Ansible collection against container nodes over ssh."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from tests.integrations.ansible import COLLECTIONS, Fleet
from tests.node import pbs_mirror
from tests.tools.stand_in import stand_in_archive

MODULE = COLLECTIONS / "ansible_collections/bai/wizard/plugins/modules/node.py"
PASSWORD = "correct-horse-battery"
ANSWERS = """
version = 1
[node]
roles = ["compute"]
[account]
username = "bai"
sudo = "password"
password = { file = "/root/bai.password" }
[tuning]
profile = "official"
"""
FleetOf = Callable[..., Fleet]
# The wizard, with a mark left behind by a look that comes after the first step; a chpasswd that waits for that mark.
LOOKED_AT = """#!/bin/sh
[ "$1" = runs ] || exec /usr/local/bin/bai-wizard "$@"
told=$(/usr/local/bin/bai-wizard "$@")
echo "$told"
grep finished /var/lib/bai-wizard/runs/*/events.jsonl | grep -q account.user && touch /run/looked
exit 0
"""
WAITS_FOR_A_LOOK = """#!/bin/sh
for _ in $(seq 600); do [ -e /run/looked ] && break; sleep 0.1; done
exec /usr/sbin/chpasswd "$@"
"""


@pytest.fixture
def prepared_answers() -> Callable[[Fleet], tuple[str, str]]:
    """Puts the answers beside the playbook and the password on the nodes; gives the playbook's extra variables."""

    def put(fleet: Fleet) -> tuple[str, str]:
        (fleet.directory / "answers.toml").write_text(ANSWERS)
        for node in fleet.nodes:
            node.write("/root/bai.password", PASSWORD, 0o600)
        return "-e", f"bai_wizard_answers_file={fleet.directory}/answers.toml"

    return put


def number(request: pytest.FixtureRequest) -> int:
    """Twenty nodes in a soak, else as many as two cores carry."""
    return 20 if request.config.getoption("--soak") else 3


@pytest.mark.needs_node
def test_a_fleet_is_prepared_and_one_broken_node_stops_no_other(
    fleet_of: FleetOf, request: pytest.FixtureRequest, prepared_answers: Callable[[Fleet], tuple[str, str]]
) -> None:
    fleet = fleet_of(number(request))
    words = prepared_answers(fleet)
    broken, *sound = fleet.nodes
    broken.run(["useradd", "--uid", "1100", "somebody"], check=True)

    shown = fleet.play("bai.wizard.prepare", *words, "--check", "--diff")
    assert shown.changed() == {broken.hostname: 0, **{node.hostname: 1 for node in sound}}
    headers = {part.get("before_header", "") for part in shown.results[sound[0].hostname][0]["diff"]}
    assert any("/etc/sysctl.d/" in header for header in headers)
    assert sound[0].run(["id", "bai"]).rc != 0, "check mode changed the node"

    first = fleet.play("bai.wizard.prepare", *words)
    assert first.changed() == {broken.hostname: 0, **{node.hostname: 1 for node in sound}}
    assert first.rc != 0
    assert "somebody" in first.results[broken.hostname][-1]["msg"]
    for node in sound:
        assert node.run(["id", "-u", "bai"]).out.strip() == "1100"
        assert first.results[node.hostname][0]["run"]

    again = fleet.play("bai.wizard.prepare", *words)
    assert again.changed() == {node.hostname: 0 for node in fleet.nodes}
    for played in (shown, first, again):
        assert PASSWORD not in played.text
        assert "bai.password" not in played.text, "the answers stand in Ansible's output"


@pytest.mark.needs_node
def test_a_run_is_started_and_watched(
    fleet_of: FleetOf, prepared_answers: Callable[[Fleet], tuple[str, str]]
) -> None:
    fleet = fleet_of(1)
    prepared_answers(fleet)
    play = """
- hosts: all
  gather_facts: false
  tasks:
    - bai.wizard.node: {state: started, answers: "{{ lookup('file', 'answers.toml') }}"}
      register: begun
    - bai.wizard.node: {state: watched, run: "{{ begun.run }}"}
      register: seen
      until: seen.ended
      retries: 60
      delay: 1
    - bai.wizard.node: {state: detected}
    - bai.wizard.node: {state: undone, run: "{{ begun.run }}"}
"""
    played = fleet.play(play)
    assert played.rc == 0, played.text
    begun, seen, detected, undone = played.results[fleet.nodes[0].hostname]
    assert begun["run"] == seen["run"]
    assert {step["outcome"] for step in seen["steps"]} <= {"changed", "unchanged", "skipped"}
    assert detected["ansible_facts"]["bai_wizard"]["account"]
    assert undone["changed"]
    assert fleet.nodes[0].run(["id", "bai"]).rc != 0


@pytest.mark.needs_node
@pytest.mark.skipif(not pbs_mirror.prefixes(), reason="no CPython built from source that could be packed")
def test_the_roles_from_a_bare_node_to_the_doctor(
    fleet_of: FleetOf, prepared_answers: Callable[[Fleet], tuple[str, str]]
) -> None:
    """The archive is installed once; a run is told step by step; check mode of every role leaves the node alone."""
    fleet = fleet_of(1, bare=True)
    (node,) = fleet.nodes
    node.write("/root/looked-at", LOOKED_AT, 0o755)
    node.write("/usr/local/sbin/chpasswd", WAITS_FOR_A_LOOK, 0o755)
    program = "bai_wizard_program=/root/looked-at"
    words = (*prepared_answers(fleet), "-e", "bai_wizard_watch=5", "-e", program)
    archive = ("-e", f"bai_wizard_archives={stand_in_archive().parent}")
    for check, changed in ((("--check", "--diff"), 1), ((), 1), ((), 0)):
        played = fleet.play("bai.wizard.install", *archive, *check)
        assert (played.rc, played.changed()) == (0, {node.hostname: changed}), played.text
        assert node.exists("/opt/bai-wizard/current") == (check == ())
    assert node.run(["sh", "-c", "echo /tmp/bai-wizard.*"]).out == "/tmp/bai-wizard.*\n", "the archive is left there"
    assert fleet.play("bai.wizard.prepare", *words, "--check").changed() == {node.hostname: 1}
    first = fleet.play("bai.wizard.prepare", *words)
    assert (first.rc, first.changed()) == (0, {node.hostname: 2}), first.text
    looks = next(result["results"] for result in first.results[node.hostname] if "results" in result)
    lines = [line for look in looks for line in look["told"]]
    steps = [line.partition(":")[0] for line in lines if line.endswith(": changed")]
    assert len(looks) > 1
    assert len(steps) == len(set(steps)), "a step was told twice"
    assert {"account.user", "tuning.sysctl-file"} <= set(steps), lines
    assert lines[-1] == "done"
    assert fleet.play("bai.wizard.prepare", *words).changed() == {node.hostname: 0}
    assert fleet.play("bai.wizard.doctor", "--check").rc == fleet.play("bai.wizard.doctor").rc == 0


@pytest.mark.needs_node
@pytest.mark.soak
@pytest.mark.parametrize("version", ["2.17", "2.18", "2.19", "2.20", "2.21"])
def test_older_releases_of_ansible(
    fleet_of: FleetOf, version: str, prepared_answers: Callable[[Fleet], tuple[str, str]]
) -> None:
    fleet = fleet_of(1, version)
    words = prepared_answers(fleet)
    assert [fleet.play("bai.wizard.prepare", *words).changed()[fleet.nodes[0].hostname] for _ in range(2)] == [1, 0]


def test_the_module_imports_only_allowed_modules() -> None:
    """GPL code of Ansible must not be linked in: of its module_utils only the BSD-licensed `basic`."""
    imported = set()
    for item in ast.walk(ast.parse(MODULE.read_text())):
        if isinstance(item, ast.ImportFrom):
            imported.add(item.module)
        elif isinstance(item, ast.Import):
            imported |= {name.name for name in item.names}
    assert {name for name in imported if name and name.startswith("ansible")} == {"ansible.module_utils.basic"}


def test_every_file_of_the_collection_can_be_read() -> None:
    """By Ansible's own syntax check, without a node."""
    from tests.integrations.ansible import ansible, syntax

    for playbook in sorted((COLLECTIONS / "ansible_collections/bai/wizard/playbooks").glob("*.yml")):
        done = syntax(ansible(), playbook)
        assert done.returncode == 0, done.stderr
