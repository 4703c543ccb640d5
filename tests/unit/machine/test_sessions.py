"""What runs in affected containers: read from the labels of Backend.AI's agent, told in an operator's terms."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.core.consent import Affected, agree, consents_to_json, disruptions_to_json, uncovered
from bai_wizard.core.state import Key, Unit
from bai_wizard.engine.lock import moment
from bai_wizard.node.sessions import with_details
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.ui.consequences import consequences_of, number_of
from bai_wizard.ui.present import interruptions
from bai_wizard.ui.workloads import workload_lines
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_run_selection import FIRST

STARTED, NOW = "2026-11-29T01:02:03.123456789Z", 1795914123.0 + 3 * 3600 + 12 * 60
S1, S2 = "8d3f0a1c-0000-4000-8000-000000000001", "8d3f0a1c-0000-4000-8000-000000000002"


def kernel(session: str, **host: Any) -> dict[str, Any]:
    """A container as the agent of 26.4.16 creates it, as Docker shows it."""
    return {
        "Config": {
            "Image": "cr.backend.ai/stable/python-pytorch:2.5-py312-cuda12.4",
            "Env": [
                "BACKENDAI_SESSION_NAME=train-bert", "BACKENDAI_USER_EMAIL=kim@corp.example", "TOKEN=swordfish",
                "NVIDIA_VISIBLE_DEVICES=2,3", "BACKENDAI_ACCESS_KEY=AKIA",
            ],
            "Labels": {
                "ai.backend.agent-id": "i-gpu01",
                "ai.backend.kernel-id": f"{session[:-1]}9",
                "ai.backend.session-id": session,
                "ai.backend.owner-user-id": "f38dea23-50fa-42a0-b5ae-338f5f4693f4",
                "ai.backend.owner-project-id": "2de2b969-1d04-48a6-af16-0bc8adb3c831",
                "ai.backend.owner": "i-gpu01",
            },
        },
        "HostConfig": {"DeviceRequests": None, **host},
        "State": {"StartedAt": STARTED, "Running": True},
    }  # fmt: skip


OTHER = {
    "Config": {"Image": "postgres:16", "Env": None, "Labels": None},
    "HostConfig": {},
    "State": {"StartedAt": STARTED},
}
CUDA = [{"Driver": "nvidia", "Count": 0, "DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]]}]
BODIES: dict[str, Any] = {
    "a": kernel(S1, DeviceRequests=CUDA),
    "b": kernel(S1, Runtime="nvidia"),
    "c": {**kernel(S2), "Config": {"Labels": {"ai.backend.session-id": S2, "ai.backend.owner-user-id": "f38dea23"}}},
    "d": OTHER,
}
AFFECTED = tuple(Affected(f"container:{name}", f"kernel.{name}") for name in "abcd")


def node(bodies: dict[str, Any]) -> SimulatedMachine:
    engine = {f"/containers/{name}/json": body for name, body in bodies.items()}
    states = {**STATES, Key("unit", "docker.service"): Unit("enabled", "active")}
    return SimulatedMachine(states, Environment(engine=engine, affected={"docker.restart": tuple("abcd")}))


def detailed(bodies: dict[str, Any]) -> tuple[Affected, ...]:
    return with_details(node(bodies), {"docker.restart": AFFECTED})["docker.restart"]


def test_sessions_are_told_with_owner_gpus_and_running_time() -> None:
    affected = detailed(BODIES)
    assert number_of("docker.restart", affected) == "2 sessions, 1 other"
    assert workload_lines(affected, NOW) == (
        f"session train-bert ({S1}) of kim@corp.example, GPU 0 1 2 3, running for 3 h 12 min, 2 containers",
        f"session {S2} of f38dea23, running for 3 h 12 min",
        "container kernel.d (postgres:16), running for 3 h 12 min",
    )
    lines = interruptions({"docker.restart": affected})
    assert lines[0] == "docker.restart would interrupt: kernel.a, kernel.b, kernel.c, kernel.d"
    assert len(lines) == 4


def test_programs_get_the_same_and_no_other_variable_of_a_container() -> None:
    first, *_ = disruptions_to_json({"docker.restart": detailed(BODIES)})["docker.restart"]
    assert first == {
        "id": "container:a",
        "name": "kernel.a",
        "session": {
            "id": S1,
            "name": "train-bert",
            "owner": "kim@corp.example",
            "project": "2de2b969-1d04-48a6-af16-0bc8adb3c831",
        },
        "gpus": ["0", "1"],
        "since": pytest.approx(NOW - 3 * 3600 - 12 * 60, abs=1),
        "image": "cr.backend.ai/stable/python-pytorch:2.5-py312-cuda12.4",
    }
    assert "swordfish" not in str(detailed(BODIES))
    assert "AKIA" not in str(detailed(BODIES))


def test_without_details_everything_is_as_before() -> None:
    plain = detailed({})
    assert plain == AFFECTED
    assert number_of("docker.restart", plain) == "4 containers"
    assert interruptions({"docker.restart": plain}) == [
        "docker.restart would interrupt: kernel.a, kernel.b, kernel.c, kernel.d"
    ]
    assert disruptions_to_json({"docker.restart": plain})["docker.restart"][0] == {
        "id": "container:a", "name": "kernel.a",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [[], {"Config": []}, {"Config": {"Labels": []}}, {"Config": {"Env": [1, None]}}, {"State": {"StartedAt": 5}},
     {"State": {"StartedAt": "0001-01-01T00:00:00Z"}}, {"HostConfig": {"DeviceRequests": [1, {"DeviceIDs": 3}]}}],
)  # fmt: skip
def test_odd_answers_of_the_engine_leave_the_name(body: Any) -> None:
    (first, *_) = detailed({"a": body})
    assert (first.id, first.name, first.session, first.since) == ("container:a", "kernel.a", None, 0.0)


def test_consent_covers_the_container_however_much_is_known_of_it() -> None:
    now = moment()
    consents = agree({"docker.restart": detailed(BODIES)}, ("docker.restart",), now)
    assert uncovered({"docker.restart": AFFECTED}, consents, now, now) == {}
    assert consents_to_json(consents)["given"][0]["affected"][0] == {"id": "container:a", "name": "kernel.a"}


def test_plan_and_consequences_have_the_sessions() -> None:
    machine = node(BODIES)
    machine.environment = replace(
        machine.environment, affected={"docker.restart": tuple(f"container:{name}" for name in "abcd")}
    )
    plan = plan_of(machine, (replace(FIRST, interrupts=("docker.restart",)),))
    assert plan.pending()
    (part,) = [
        part
        for part in consequences_of(plan, compose.disruptions(machine, plan)).parts()
        if part.kind == "disruption"
    ]
    assert part.text == "restarts Docker: 2 sessions, 1 other"
    assert "train-bert" in part.details[0]
