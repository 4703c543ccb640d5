"""What a report records about settings that must be equal on all nodes, on simulated nodes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bai_wizard.compose import DesiredState
from bai_wizard.core.page import Context
from bai_wizard.core.state import Account, Key
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import settings_of
from bai_wizard.ui.text.report import fleet_fingerprint
from tests.settings import settings_from


def test_a_finished_node_reports_all_of_it() -> None:
    machine = demo_machine("finished", delay=0)
    context = Context(host=machine.host, backend_ai="26.4")
    result = fleet_fingerprint(machine, DesiredState({}, (), context))
    assert result["Backend.AI release"] == "26.4"
    assert (result["operation account: uid"], result["operation account: gid"]) == ("1100", "1100")
    assert result["container engine"].startswith("docker ")
    assert any(label.startswith("Python 3.") and value.count(".") == 2 for label, value in result.items())


def test_another_uid_is_seen() -> None:
    machine = demo_machine("finished", delay=0)
    account = machine.account("bai")
    assert isinstance(account, Account)
    machine.set_state(Key("user", "bai"), replace(account, uid=1234))
    assert fleet_fingerprint(machine, None)["operation account: uid"] == "1234"


@pytest.mark.parametrize("asked", [True, False])
def test_missing_requested_nodes_are_reported(asked: bool) -> None:
    machine = demo_machine("bare", delay=0)
    settings = {"account": settings_from(settings_of("account"), {"sudo": "no"}), "docker": settings_of("docker")()}
    result = fleet_fingerprint(
        machine, DesiredState(settings, tuple(settings) if asked else (), Context(host=machine.host))
    )
    assert (result.get("operation account"), result.get("container engine")) == (
        ("not there",) * 2 if asked else (None,) * 2
    )


def test_volumes_tell_their_path_and_shared_source() -> None:
    machine = demo_machine("bare", delay=0)
    volumes = [{"name": "local", "type": "local"}, {"name": "v1", "type": "nfs", "source": "10.0.0.5:/export/v1"}]
    settings = {"storage": settings_from(settings_of("storage"), {"volumes": volumes})}
    results = fleet_fingerprint(machine, DesiredState(settings, ("storage",), Context(host=machine.host)))
    result = {label: value for label, value in results.items() if label.startswith("volume ") and ":" in label}
    assert list(result) == ["volume local: path", "volume v1: path", "volume v1: source"]
    assert result["volume v1: source"] == "not there"
    assert results["volume names"] == "local, v1"
