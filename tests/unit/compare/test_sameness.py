"""What a report says of the things that must be the same, on simulated nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bai_wizard.compose import Wish
from bai_wizard.core.context import Context
from bai_wizard.core.state import Account, Key
from bai_wizard.headless.sameness import sameness
from bai_wizard.machine.demo import demo_machine
from bai_wizard.pages import settings_of


def test_a_finished_node_tells_all_of_it() -> None:
    machine = demo_machine("finished", delay=0)
    context = Context(host=machine.host, backend_ai="26.4")
    found = sameness(machine, Wish({}, (), context))
    assert found["Backend.AI release"] == "26.4"
    assert (found["operation account: uid"], found["operation account: gid"]) == ("1100", "1100")
    assert found["container engine"].startswith("docker ")
    assert any(label.startswith("Python 3.") and value.count(".") == 2 for label, value in found.items())


def test_another_uid_is_seen() -> None:
    machine = demo_machine("finished", delay=0)
    account = machine.account("bai")
    assert isinstance(account, Account)
    machine.set_state(Key("user", "bai"), replace(account, uid=1234))
    assert sameness(machine, None)["operation account: uid"] == "1234"


@pytest.mark.parametrize("asked", [True, False])
def test_what_is_asked_for_and_not_there_is_said(asked: bool) -> None:
    machine = demo_machine("bare", delay=0)
    settings = {"account": settings_of("account").model_validate({"sudo": "no"}), "docker": settings_of("docker")()}
    found = sameness(machine, Wish(settings, tuple(settings) if asked else (), Context(host=machine.host)))
    assert (found.get("operation account"), found.get("container engine")) == (
        ("not there",) * 2 if asked else (None,) * 2
    )


def test_volumes_tell_their_path_and_shared_source() -> None:
    machine = demo_machine("bare", delay=0)
    volumes = [{"name": "local", "type": "local"}, {"name": "v1", "type": "nfs", "source": "10.0.0.5:/export/v1"}]
    settings = {"storage": settings_of("storage").model_validate({"volumes": volumes})}
    found = sameness(machine, Wish(settings, ("storage",), Context(host=machine.host)))
    told = {label: value for label, value in found.items() if label.startswith("volume ") and ":" in label}
    assert list(told) == ["volume local: path", "volume v1: path", "volume v1: source"]
    assert told["volume v1: source"] == "not there"
    assert found["volume names"] == "local, v1"
