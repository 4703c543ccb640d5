"""The demo node with NVIDIA GPUs: a complete run succeeds, is idempotent, and needs no network."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from itertools import product
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.commands.wizard import _draft
from bai_wizard.core.state import Key, Library
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.hardware import nvml_from_json
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages import ORDER
from bai_wizard.steps import load_all
from tests.sampling import sampled

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
    """No connection is made; attempts are recorded."""
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


def desired(directory: Path, machine: SimulatedMachine) -> compose.DesiredState:
    file = directory / "answers.toml"
    file.write_text(ANSWERS)
    wanted = compose.desired_from_answers(load(str(file), machine.host))
    return replace(wanted, context=replace(wanted.context, demo=True))


@pytest.mark.parametrize("name", ["bare", "finished"])
def test_a_whole_run_with_nvidia_ends_well(name: str, tmp_path: Path, no_network: list[object]) -> None:
    load_all()
    machine = demo_machine(name, delay=0)
    wanted = desired(tmp_path, machine)
    plan = compose.plan(machine, wanted)
    assert not plan.blocked()
    paths = StatePaths(tmp_path)
    run = create_run(paths, plan, wanted.to_json())
    result = execute(paths, run, plan.digest(), machine)
    assert result.code() is ExitCode.OK, [(step.step, step.text) for step in result.steps if step.outcome == "failed"]
    # The driver answers for each card that is on the bus.
    library = machine.state(Key("library", "nvml"))
    assert isinstance(library, Library)
    gpus = nvml_from_json(library.said).gpus
    assert len(gpus) == 8
    for gpu in gpus:
        assert machine.kernel_text(f"/sys/bus/pci/devices/{gpu.address}/device") == "0x2330"
    # A further attempt of the run is still one of a simulated node.
    again = compose.desired_from_json(run.settings())
    assert again.context.demo
    assert compose.plan(machine, again).is_empty()
    assert not no_network


def test_no_two_steps_of_a_page_have_the_same_text(tmp_path: Path) -> None:
    load_all()
    machine = demo_machine("bare", delay=0)
    lines = [
        (planned.step.page, planned.step.describe())
        for planned in compose.plan(machine, desired(tmp_path, machine)).steps
    ]
    assert [text for text in lines if lines.count(text) > 1] == []


def test_troubleshooting_a_demo_asks_no_network(tmp_path: Path, no_network: list[object]) -> None:
    machine = demo_machine("broken", delay=0)
    examine(all_checks(), machine, desired(tmp_path, machine).context)
    assert not no_network


def test_the_command_line_reports_the_answers_that_the_node_is_a_demo() -> None:
    for name, simulated in (("bare", True), (None, False)):
        draft = _draft(Namespace(answers="", handed_over="", demo=name), "gpu01")
        assert draft.desired_to_probe().context.demo is simulated


@pytest.mark.parametrize("name", ["finished", "half", "broken"])
def test_a_demo_begins_with_answers_that_fit_its_node(name: str) -> None:
    machine = demo_machine(name, delay=0)
    draft = _draft(Namespace(answers="", handed_over="", demo=name), machine.host)
    assert not draft.skipped
    wanted = draft.desired()
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


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_demo_leaves_no_directory(tmp_path: Path, number: int) -> None:
    """However it ends, with its run in progress or done."""
    (tmp_path / "a.toml").write_text('version = 1\n[tuning]\n[account]\nsudo = "nopasswd"\n[docker]\n')
    (tmp_path / "tmp").mkdir()
    words = [sys.executable, "-I", "-m", "bai_wizard", "--demo=bare", "--headless", str(tmp_path / "a.toml")]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as demo:
        while number and demo.poll() is None and not os.listdir(tmp_path / "tmp"):
            time.sleep(0.01)
        if number:
            demo.send_signal(number)
        result, _ = demo.communicate(timeout=60)
    assert os.listdir(tmp_path / "tmp") == [], result.decode()


# The process sends itself a signal right after the nth file or directory is created directly below TMPDIR.
CUT = """
import os, signal, sys
from bai_wizard.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job in the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored below nohup
number, nth = int(sys.argv.pop()), int(sys.argv.pop())
count = 0
def cutting(create):
    def call(path, *args, **named):
        global count
        result = create(path, *args, **named)
        if os.path.dirname(os.fspath(path)) == os.environ["TMPDIR"]:
            count += 1
            if count == nth:
                os.kill(os.getpid(), number)
        return result
    return call
os.open, os.mkdir = cutting(os.open), cutting(os.mkdir)
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("nth", "number"), sampled("demo", [*product((1, 2), (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))], 3)
)
def test_a_demo_that_is_ended_while_it_creates_its_directory_leaves_none(
    tmp_path: Path, nth: int, number: int
) -> None:
    """First the file by which `tempfile` tries a directory, then the directory itself."""
    (tmp_path / "a.toml").write_text("version = 1\n[tuning]\n")
    (tmp_path / "tmp").mkdir()
    words = [sys.executable, "-I", "-c", CUT, "--demo=bare", "--headless", str(tmp_path / "a.toml")]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run([*words, str(nth), str(number)], env=environment, capture_output=True, timeout=60)
    assert done.returncode in (128 + number, 130), done.stderr.decode()
    assert os.listdir(tmp_path / "tmp") == []
