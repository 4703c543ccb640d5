"""The demo's node with NVIDIA: a whole run ends well, is idempotent, and asks nothing of any network."""

from __future__ import annotations

import socket
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.commands.wizard import _draft
from bai_wizard.core.state import Key, Library
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.engine.run.directory import create_run
from bai_wizard.engine.run.execute import execute
from bai_wizard.engine.run.places import Places
from bai_wizard.exits import ExitCode
from bai_wizard.machine.demo import demo_machine
from bai_wizard.machine.nvml import from_said
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages import ORDER
from bai_wizard.steps import load_all

ANSWERS = """\
version = 1
[node]
backend_ai = "26.4"
[account]
sudo = "nopasswd"
[docker]
[accelerators.nvidia]
[images]
"""


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Nobody connects anywhere; who tries is written down."""
    tried: list[object] = []

    def refuse(_socket: socket.socket, address: object) -> NoReturn:
        tried.append(address)
        raise OSError("there is no network")

    def resolve(*words: object, **_options: object) -> NoReturn:
        tried.append(words)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return tried


def wish(directory: Path, machine: SimulatedMachine) -> compose.Wish:
    file = directory / "answers.toml"
    file.write_text(ANSWERS)
    wanted = compose.wish_of(load(str(file), machine.host))
    return replace(wanted, context=replace(wanted.context, demo=True))


@pytest.mark.parametrize("name", ["bare", "finished"])
def test_a_whole_run_with_nvidia_ends_well(name: str, tmp_path: Path, no_network: list[object]) -> None:
    load_all()
    machine = demo_machine(name, delay=0)
    wanted = wish(tmp_path, machine)
    plan = compose.plan(machine, wanted)
    assert not plan.blocked()
    places = Places(tmp_path)
    run = create_run(places, plan, wanted.to_json())
    result = execute(places, run, plan.digest(), machine)
    assert result.code() is ExitCode.OK, [(step.step, step.text) for step in result.steps if step.outcome == "failed"]
    # The driver answers for each card that is on the bus.
    library = machine.state(Key("library", "nvml"))
    assert isinstance(library, Library)
    gpus = from_said(library.said).gpus
    assert len(gpus) == 8
    for gpu in gpus:
        assert machine.kernel_text(f"/sys/bus/pci/devices/{gpu.address}/device") == "0x2330"
    # A further attempt of the run is still one of a simulated node.
    again = compose.wish_from_json(run.settings())
    assert again.context.demo
    assert compose.plan(machine, again).is_empty()
    assert not no_network


def test_no_two_steps_of_a_page_are_told_alike(tmp_path: Path) -> None:
    load_all()
    machine = demo_machine("bare", delay=0)
    told = [
        (planned.step.page, planned.step.describe())
        for planned in compose.plan(machine, wish(tmp_path, machine)).steps
    ]
    assert [text for text in told if told.count(text) > 1] == []


def test_troubleshooting_a_demo_asks_no_network(tmp_path: Path, no_network: list[object]) -> None:
    machine = demo_machine("broken", delay=0)
    examine(all_checks(), machine, wish(tmp_path, machine).context)
    assert not no_network


def test_the_command_line_tells_the_answers_that_the_node_is_a_demo() -> None:
    for name, simulated in (("bare", True), (None, False)):
        draft = _draft(Namespace(answers="", handed_over="", demo=name), "gpu01")
        assert draft.wish_to_look().context.demo is simulated


@pytest.mark.parametrize("name", ["finished", "half", "broken"])
def test_a_demo_begins_with_answers_that_fit_its_node(name: str) -> None:
    machine = demo_machine(name, delay=0)
    draft = _draft(Namespace(answers="", handed_over="", demo=name), machine.host)
    assert not draft.skipped
    wanted = draft.wish()
    assert wanted.pages == ORDER
    plan = compose.plan(machine, wanted)
    worst = {finding.result for finding in examine(all_checks(), machine, wanted.context)}
    if name == "finished":
        assert plan.is_empty()
        assert not worst & {"problem", "warning", "crashed"}
    else:
        assert not plan.is_empty()
        assert bool(plan.blocked()) is (name == "broken")
        assert "problem" in worst
