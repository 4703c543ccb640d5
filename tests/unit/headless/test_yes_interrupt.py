"""`--yes-interrupt` consents to the disruptions in the command's own plan and to no later ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.cli import main
from bai_wizard.core.state import Entry, Key, Package, State, Unit
from bai_wizard.core.step import Step
from bai_wizard.engine.directory import RunDirectory, all_runs
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.resources.units import RestartUnit
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.services import Service
from tests.unit.engine.plans import plan_of

CONFIG = DropIn(id="docker.config", path="/etc/docker.conf", text="new\n", why="x")
RESTART = Service(
    id="docker.restart", unit="docker.service", reads=("/etc/docker.conf",), interrupts=("docker.restart",)
)


def node(*running: str) -> SimulatedMachine:
    states: dict[Key, State] = {
        Key("file", "/etc"): Entry("directory", 0, 0, 0o755),
        Key("file", "/etc/docker.conf"): Entry("file", 0, 0, 0o644, b"old\n"),
        Key("unit", "docker.service"): Unit("enabled", "active", 1.0),
    }
    return SimulatedMachine(states, Environment(affected={"docker.restart": running}))


@dataclass
class Seat:
    """A command line over a simulated node; `meanwhile` happens between the plan and the run."""

    root: Path
    answers: Path
    machine: SimulatedMachine
    meanwhile: Callable[[], None] = lambda: None
    steps: tuple[Step, ...] = (CONFIG, RESTART)
    begun: list[str] = field(default_factory=list)

    def start(self, run: RunDirectory, digest: str, paths: StatePaths) -> None:
        self.begun.append(run.id)
        self.meanwhile()
        execute(paths, run, digest, self.machine)

    def now_runs(self, *names: str) -> None:
        self.machine.environment = replace(self.machine.environment, affected={"docker.restart": names})

    def headless(self, *words: str) -> int:
        return main(["--headless", str(self.answers), "--root", str(self.root), *words])

    def command(self, name: str, *words: str) -> int:
        return main([name, "--root", str(self.root), *words])

    def restarts(self) -> int:
        return sum(isinstance(operation, RestartUnit) for operation in self.machine.performed)


@pytest.fixture
def seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seat:
    answers = tmp_path / "answers.toml"
    answers.write_text("version = 1\n[tuning]\n")
    seat = Seat(tmp_path, answers, node("web"))
    monkeypatch.setattr(compose, "local_machine", lambda _root: seat.machine)
    monkeypatch.setattr(compose, "plan", lambda view, _desired: plan_of(view, seat.steps))
    monkeypatch.setattr("bai_wizard.engine.launch.start_executor", seat.start)
    return seat


def test_without_consent_nothing_is_touched(seat: Seat, capsys: pytest.CaptureFixture[str]) -> None:
    assert seat.headless() == ExitCode.PREFLIGHT
    message = capsys.readouterr().err
    assert "docker.restart would interrupt web" in message
    assert "--yes-interrupt=docker.restart" in message
    assert not seat.begun
    assert not seat.machine.performed


def test_consent_is_printed_with_its_set(seat: Seat, capsys: pytest.CaptureFixture[str]) -> None:
    assert seat.headless("--yes-interrupt=docker.restart,umount") == ExitCode.OK
    message = capsys.readouterr().err
    assert "allowed: docker.restart, which would now interrupt web" in message
    assert "allowed: umount, which would now interrupt nothing" in message
    assert seat.restarts() == 1


def test_json_shows_the_set_in_the_plan(seat: Seat, capsys: pytest.CaptureFixture[str]) -> None:
    assert seat.headless("--json", "--plan") == ExitCode.OK
    plan = json.loads(capsys.readouterr().out.splitlines()[0])
    assert plan["data"]["interrupts"] == {"docker.restart": [{"id": "web", "name": "web"}]}


@pytest.mark.parametrize("at_review", [(), ("web",)])
def test_newly_started_work_stops_the_run_and_resume_needs_consent(
    seat: Seat, capsys: pytest.CaptureFixture[str], at_review: tuple[str, ...]
) -> None:
    seat.now_runs(*at_review)
    seat.meanwhile = lambda: seat.now_runs(*at_review, "session-1")
    assert seat.headless("--yes-interrupt=docker.restart") == ExitCode.FAILED
    (run,) = all_runs(StatePaths(seat.root))
    assert f"bai-wizard resume {run.id} --yes-interrupt=docker.restart" in capsys.readouterr().out
    assert seat.restarts() == 0
    seat.meanwhile = lambda: None
    assert seat.command("resume") == ExitCode.PREFLIGHT, "the earlier consent is not reused"
    assert "session-1" in capsys.readouterr().err
    assert seat.restarts() == 0
    assert seat.command("resume", "--yes-interrupt=docker.restart") == ExitCode.OK
    assert seat.restarts() == 1
    assert seat.command("undo") == ExitCode.PREFLIGHT
    seat.meanwhile = lambda: seat.now_runs("session-1", "session-2")
    assert seat.command("undo", "--yes-interrupt=docker.restart") == ExitCode.FAILED
    assert seat.restarts() == 1
    seat.meanwhile = lambda: None
    undo = seat.begun[-1]
    assert seat.command("resume", undo) == ExitCode.PREFLIGHT, "a further attempt of the undo"
    assert seat.command("resume", undo, "--yes-interrupt=docker.restart") == ExitCode.OK
    assert seat.restarts() == 2
    assert seat.machine.text("/etc/docker.conf") == "old\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--headless", "answers.toml"],
        ["--headless", "answers.toml", "--plan"],
        ["resume"],
        ["undo"],
        ["doctor", "--fix", "some-check"],
        ["doctor"],
        [],
    ],
)
@pytest.mark.parametrize("text", ["docker", "docker.restart,all", "Docker.restart", "docker.restart;umount", "*"])
def test_an_unknown_interruption_is_refused_everywhere(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, f"--yes-interrupt={text}"])
    assert ended.value.code == ExitCode.ANSWERS
    message = capsys.readouterr().err
    assert "docker.restart, gpu.reload, umount" in message
    assert "unknown interruption" in message


def test_a_fix_is_bound_to_the_shown_changes(seat: Seat, capsys: pytest.CaptureFixture[str]) -> None:
    """`doctor --fix` consents, runs and stops like any other run."""
    states: dict[Key, State] = {
        Key("unit", "docker.service"): Unit("enabled", "active", 1.0),
        Key("file", "/usr/bin/dockerd"): Entry("file", 0, 0, 0o755, b""),
        Key("package", "docker-ce"): Package("5:28.5.1-1~debian.13~trixie"),
        Key("file", "/etc/docker/daemon.json"): Entry("file", 0, 0, 0o644, b"{}\n"),
    }
    for key, state in states.items():
        seat.machine.set_state(key, state)
    fix = ("--fix", "docker.restart-pending", "--yes")
    assert seat.command("doctor", *fix) == ExitCode.PREFLIGHT
    assert "docker.restart would interrupt web" in capsys.readouterr().err
    seat.meanwhile = lambda: seat.now_runs("web", "session-1")
    assert seat.command("doctor", *fix, "--yes-interrupt=docker.restart") == ExitCode.FAILED
    captured = capsys.readouterr()
    assert "session-1" in captured.out + captured.err
    assert seat.restarts() == 0
    seat.meanwhile = lambda: seat.now_runs("session-1")
    assert seat.command("doctor", *fix, "--yes-interrupt=docker.restart") == ExitCode.OK
    assert seat.restarts() == 1
