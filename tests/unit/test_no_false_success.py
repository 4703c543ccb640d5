"""Nothing is called ready, done or next that is not: pages that are not set up, commands that cannot work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bai_wizard import compose
from bai_wizard.answers.load import loads
from bai_wizard.cli import main
from bai_wizard.core.page import Context
from bai_wizard.core.state import Key, Package, State, Venv, distribution_key, venv_key
from bai_wizard.core.step import Plan
from bai_wizard.node.demo import demo_answers, demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages import ORDER
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.progress import next_commands, specifier
from bai_wizard.ui.tui.widgets.sidebar import status_of_plan

RELEASE = "[node]\nroles = ['compute', 'storage']\nbackend_ai = '26.4'\n"
# Answers under which a page has no change to make on a demo node, and is not set up all the same.
NOT_SET_UP = {
    "node": ("bare", "[network]\n"),
    "storage": ("bare", RELEASE + "[storage]\n"),
    "aliases": ("bare", RELEASE + "[aliases]\n"),
    "accelerators": ("bare", RELEASE + "[accelerators]\n"),
    "images": ("bare", RELEASE + "[images]\nstarter = 'none'\n"),
}
HOSTS = "[aliases]\nhosts = [{ ip = '10.20.30.10', names = ['bai-m1'] }]\n"


def plan_of(node: str, answers: str) -> Plan:
    loaded = loads(f"version = 1\n{answers}", "answers.toml", demo_machine(node).host)
    return compose.plan(demo_machine(node, delay=0), compose.desired_from_answers(loaded, demo=True))


@pytest.mark.parametrize("page", NOT_SET_UP)
def test_a_page_that_is_not_set_up_is_not_ready(page: str) -> None:
    plan = plan_of(*NOT_SET_UP[page])
    assert not [item for item in plan.pending() if item.step.page == page]
    assert [item.page for item in plan.unset] == [page]
    status = status_of_plan(page, plan)
    assert status.word == "not set up"
    assert status.mood != "good"


def test_open_questions_are_stored_with_the_plan() -> None:
    plan = plan_of(*NOT_SET_UP["accelerators"])
    assert "8 NVIDIA GPUs found" in plan.unset[0].reason
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.unset == plan.unset
    assert plan.without(frozenset()).unset == plan.unset
    assert again.digest() == plan.digest()


def test_a_finished_node_is_ready() -> None:
    machine = demo_machine("finished", delay=0)
    plan = compose.plan(machine, Draft(machine.host, demo_answers("finished"), demo=True).desired())
    assert not plan.unset
    assert {status_of_plan(page, plan).word for page in ORDER} == {"up to date"}


def test_a_headless_run_reports_open_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers, report = tmp_path / "answers.toml", tmp_path / "report.json"
    answers.write_text("version = 1\n" + RELEASE + HOSTS + "[accelerators]\n[storage]\n")
    assert main(["--demo", "--headless", str(answers), "--report", str(report)]) == 0
    captured = capsys.readouterr()
    assert "not set up: [accelerators] 8 NVIDIA GPUs found, no working driver" in captured.out
    assert "not set up: [storage] no volumes are configured" in captured.err
    assert "not part of this run: Node, Account, Docker, Tuning, Python, Images" in captured.err
    written = json.loads(report.read_text())
    still_open = {item["page"]: item["reason"] for item in written["open"]}
    assert still_open["storage"] == "not set up: no volumes are configured"
    assert still_open["python"] == "not part of this run"
    assert "aliases" not in still_open
    assert written["next"] == []
    assert main(["--demo", "--headless", str(answers), "--only", "storage"]) == 0
    assert "no changes needed, but not everything is set up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("release", "wanted"),
    [
        ("26.4", "~=26.4.0"),
        ("24.09", "~=24.09.0"),
        ("26.4.10", "==26.4.10"),
        ("26.4.0rc1", "==26.4.0rc1"),
        ("26.4rc1", "==26.4rc1"),
    ],
)
def test_a_release_line_takes_its_newest_release(release: str, wanted: str) -> None:
    assert specifier(release) == wanted


AGENT = "/home/bai/agent/.venv"
PYENV = "/home/bai/.pyenv/versions/bai-26.4-agent"


@pytest.mark.parametrize(
    ("states", "more", "number"),
    [
        ({}, {}, 0),
        ({venv_key(AGENT): Venv("3.13.7", "/usr/bin")}, {}, 1),
        ({venv_key(PYENV): Venv("3.13.7", "/usr/bin")}, {}, 1),
        ({venv_key(AGENT): Venv("", "/gone")}, {}, 0),
        ({venv_key(AGENT): Venv("3.13.7", "/usr/bin")}, {"backend_ai": ""}, 0),
        ({venv_key(AGENT): Venv("3.13.7", "/usr/bin")}, {"bundle": "/media/usb"}, 0),
        ({venv_key(AGENT): Venv("3.13.7", "/usr/bin")}, {"roles": ("storage",)}, 0),
        (
            {
                venv_key(AGENT): Venv("3.13.7", "/usr/bin"),
                distribution_key(AGENT, "backend.ai-agent"): Package("26.4.3"),
            },
            {},
            0,
        ),
    ],
)
def test_the_next_command_is_reported_only_where_it_can_work(
    states: Mapping[Key, State], more: Mapping[str, Any], number: int
) -> None:
    context = Context(**{"backend_ai": "26.4", **more})
    commands = next_commands(SimulatedMachine(states), context)
    assert len(commands) == number
    for command in commands:
        assert command.endswith('/bin/python -m pip install "backend.ai-agent~=26.4.0"')
