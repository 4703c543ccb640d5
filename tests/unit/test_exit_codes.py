"""Each exit code with a command line that returns it (README, "Exit codes"), on a simulated node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from bai_wizard import cli, compose
from bai_wizard.cli import main
from bai_wizard.core.errors import RebootNeeded
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.step import Step
from bai_wizard.engine.directory import RunDirectory, all_runs, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths, hold_lock
from bai_wizard.exit_codes import ExitCode, worst
from bai_wizard.node.simulated import Environment, Fault, SimulatedMachine
from bai_wizard.steps.files import DropIn
from tests.faults import fail_on
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_run import PowerCut, cut_at

Headless = Callable[..., int]


class AfterReboot(Step, frozen=True, kw_only=True):
    """A step of which nothing can be done before the next boot."""

    kind: ClassVar[str] = "test-after-reboot"

    def describe(self) -> str:
        return "something after a reboot"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        raise RebootNeeded("the new kernel has to run first")
        yield


FIRST = DropIn(id="tuning.first", path="/etc/first.conf", text="a = 1\n", why="first")
OPTIONAL = DropIn(id="tuning.optional", path="/etc/extra.conf", text="b = 2\n", why="extra", optional=True)
LAST = DropIn(id="tuning.last", path="/etc/last.conf", text="c = 3\n", why="last")


@pytest.fixture
def headless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Headless:
    """`headless(steps…, words=[…])` runs `--headless FILE` with a plan of these steps; the executor runs inside."""
    answers = tmp_path / "answers.toml"
    answers.write_text("version = 1\n[tuning]\n")

    def run(*steps: Step, words: tuple[str, ...] = (), fault: Fault | None = None, stop: bool = False) -> int:
        machine = SimulatedMachine(STATES, fault=fault)

        def start(run: RunDirectory, digest: str, paths: StatePaths) -> None:
            execute(paths, run, digest, machine, should_stop=lambda: stop)

        monkeypatch.setattr(compose, "local_machine", lambda _root: machine)
        monkeypatch.setattr(compose, "plan", lambda view, _desired: plan_of(view, steps))
        monkeypatch.setattr("bai_wizard.engine.launch.start_executor", start)
        return main(["--headless", str(answers), "--root", str(tmp_path), *words])

    return run


def test_0_all_is_in_effect(headless: Headless, capsys: pytest.CaptureFixture[str]) -> None:
    assert headless(FIRST, LAST) == ExitCode.OK
    assert "2 changed" in capsys.readouterr().out


def test_0_after_an_interrupted_run(headless: Headless, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it left open is told by `--plan`, and settled before the next run plans."""
    machine = SimulatedMachine(STATES)
    plan = plan_of(machine, (FIRST,))
    cut = create_run(StatePaths(tmp_path), plan, {})
    with suppress(PowerCut):
        execute(StatePaths(tmp_path), cut, plan.digest(), machine, checkpoint=cut_at(1))
    assert headless(FIRST, words=("--plan",)) == ExitCode.OK
    assert f"run {cut.id} was interrupted; resume it with: " in capsys.readouterr().err
    assert headless(FIRST) == ExitCode.OK
    assert "/etc/first.conf had not been changed" in capsys.readouterr().err
    assert headless(FIRST) == ExitCode.OK
    assert "was interrupted" not in capsys.readouterr().err


def test_1_a_bug_is_reported_without_secrets(
    headless: Headless, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan(_desired: object) -> None:
        raise RuntimeError("found correct-horse in a place where nothing should be")

    Secret("correct-horse")
    monkeypatch.setattr(compose, "refuse_blocked", plan)
    assert headless(FIRST) == ExitCode.BUG
    message = capsys.readouterr().err
    assert "This is a bug. Please report it" in message
    assert "correct-horse" not in message


@pytest.mark.parametrize("words", [["--nonsense"], ["doctor", "--nonsense"], ["nonsense"], ["check"]])
def test_2_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == ExitCode.ANSWERS


@pytest.mark.parametrize("option", ["--window=02:00-04:00", "--wait-idle=1h"])
@pytest.mark.parametrize("words", [[], ["resume"], ["undo"], ["doctor", "--fix", "docker.daemon"]])
def test_2_nothing_waits_here(option: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise sessions would be interrupted at once, although the operator has asked for a window."""
    assert main([option, *words]) == ExitCode.ANSWERS
    assert f"{option.partition('=')[0]}: applies to --headless" in capsys.readouterr().err


def test_2_unknown_page(headless: Headless, capsys: pytest.CaptureFixture[str]) -> None:
    assert headless(FIRST, words=("--only", "tunning")) == ExitCode.ANSWERS
    assert "unknown page" in capsys.readouterr().err


def test_3_another_run_holds_the_lock(headless: Headless, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold_lock(StatePaths(tmp_path), "20260101T000000Z-abcd"):
        assert headless(FIRST) == ExitCode.PREFLIGHT
    assert "20260101T000000Z-abcd" in capsys.readouterr().err
    assert all_runs(StatePaths(tmp_path)) == []


def test_3_not_root_and_no_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody = SimulatedMachine(STATES, Environment(is_root=False))
    monkeypatch.setattr(compose, "local_machine", lambda _root: somebody)
    answers = tmp_path / "answers.toml"
    answers.write_text("version = 1\n[tuning]\n")
    assert main(["--headless", str(answers), "--root", str(tmp_path)]) == ExitCode.PREFLIGHT


def test_4_a_step_failed_and_the_rest_was_not_started(headless: Headless, capsys: pytest.CaptureFixture[str]) -> None:
    assert headless(FIRST, LAST, fault=fail_on("file:/etc/first", "the disk is on fire")) == ExitCode.FAILED
    message = capsys.readouterr().out
    assert "failed: tuning.first: the disk is on fire" in message
    assert "skipped: tuning.last: not started" in message


def test_5_the_rest_waits_for_a_reboot(headless: Headless, capsys: pytest.CaptureFixture[str]) -> None:
    assert headless(FIRST, AfterReboot(id="tuning.reboot"), LAST) == ExitCode.REBOOT
    assert "A reboot is needed before the rest can be applied." in capsys.readouterr().out


def test_6_only_an_optional_step_failed(headless: Headless) -> None:
    fault = fail_on("file:/etc/extra", "no luck")
    assert headless(FIRST, OPTIONAL, LAST, fault=fault) == ExitCode.OPTIONAL_FAILED


def test_7_there_are_changes_to_make(headless: Headless) -> None:
    words = ("--plan", "--detailed-exitcode")
    assert headless(FIRST, words=words) == ExitCode.CHANGES
    assert headless(FIRST, words=("--plan",)) == ExitCode.OK
    assert headless(words=words) == ExitCode.OK


def test_130_stopped_before_its_end(headless: Headless, capsys: pytest.CaptureFixture[str]) -> None:
    assert headless(FIRST, LAST, stop=True) == ExitCode.INTERRUPTED
    assert "not started: the run was cancelled" in capsys.readouterr().out


def test_130_interrupted_before_a_run(headless: Headless, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_plan: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compose, "refuse_blocked", interrupt)
    assert headless(FIRST) == ExitCode.INTERRUPTED


def test_the_order_when_several_apply() -> None:
    order = [ExitCode.BUG, ExitCode.INTERRUPTED, ExitCode.FAILED, ExitCode.REBOOT, ExitCode.OPTIONAL_FAILED]
    for number, code in enumerate(order):
        assert worst([ExitCode.OK, *reversed(order[number:])]) is code


def test_130_interrupted_while_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_clean_environment", interrupt)
    assert main(["runs"]) == 130
