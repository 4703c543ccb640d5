"""`doctor --before-upgrade` on a prepared Debian 12, and `--after-upgrade` on a Debian 13 with leftovers of 12."""

from __future__ import annotations

import json
from typing import Any

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.reference_answers import prepare

VENDOR = "/etc/apt/sources.list.d/vendor.list"
# In a form that a source list of either release can have; nothing is downloaded from there.
SOURCE = f"echo 'deb [signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.test/linux bookworm main' >{VENDOR}"
PIN = "printf 'Package: vendor-tool\\nPin: version 1.*\\nPin-Priority: 1001\\n' >/etc/apt/preferences.d/vendor"
VENV = "python3 -m venv --without-pip /srv/app"
FAULTS = (SOURCE, PIN, "apt-mark hold base-files", VENV)


def upgrade_findings(node: ContainerNode, *words: str) -> dict[str, dict[str, Any]]:
    """The problems and warnings of the upgrade's checks, by id."""
    done = node.wizard("doctor", "--json", *words, "--only", "upgrade")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["kind"] for event in events[-1:]] == ["summary"], done.out + done.err
    findings = [event["data"] for event in events if event["kind"] == "finding"]
    assert len(findings) == 8, findings
    assert not [each for each in findings if each["result"] in ("crashed", "cannot-tell")], findings
    return {each["id"]: each for each in findings if each["result"] in ("problem", "warning")}


def plant(node: ContainerNode, *scripts: str) -> None:
    for script in scripts:
        node.run(["sh", "-c", script], check=True)


def objects(finding: dict[str, Any]) -> set[str]:
    return {text for each in finding["evidence"] for text in (each["what"], each["where"])}


def test_a_prepared_debian_12_and_what_stops_its_upgrade(node_factory: NodeFactory) -> None:
    node = node_factory("bookworm")
    node.own_hosts_file()
    prepare(node)
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 0, done.out + done.err
    healthy = upgrade_findings(node, "--before-upgrade", "13")
    assert healthy == {}
    plant(node, *FAULTS)
    found = upgrade_findings(node, "--before-upgrade", "trixie")
    assert set(found) == {"upgrade.sources", "upgrade.pins", "upgrade.holds", "upgrade.venvs"}
    assert VENDOR in objects(found["upgrade.sources"])
    assert {"vendor-tool", "/etc/apt/preferences.d/vendor"} <= objects(found["upgrade.pins"])
    assert "base-files" in objects(found["upgrade.holds"])
    assert "/srv/app" in objects(found["upgrade.venvs"])
    text = node.wizard("doctor", "--before-upgrade", "13", "--only", "upgrade")
    assert (text.rc, "apt-mark unhold base-files" in " ".join(text.out.split())) == (6, True), text.out
    ordinary = node.wizard("doctor", "--json")
    assert '"upgrade.' not in ordinary.out
    for words in (("--before-upgrade", "26.04"), ("--after-upgrade",)):
        refused = node.wizard("doctor", *words)
        assert (refused.rc, "Debian 12 to 13" in refused.err) == (2, True), refused.err


def test_a_debian_13_with_leftovers_of_12(node_factory: NodeFactory) -> None:
    node = node_factory("trixie")
    assert upgrade_findings(node, "--after-upgrade") == {}
    plant(node, *FAULTS[:2], VENV, "sed -i 's/^version = .*/version = 3.11.2/' /srv/app/pyvenv.cfg")
    found = upgrade_findings(node, "--after-upgrade")
    assert set(found) == {"upgrade.sources", "upgrade.pins", "upgrade.venvs"}
    assert VENDOR in objects(found["upgrade.sources"])
    assert "vendor-tool" in objects(found["upgrade.pins"])
    assert "/srv/app" in objects(found["upgrade.venvs"])
    assert node.wizard("doctor", "--after-upgrade", "--only", "upgrade").rc == 4
