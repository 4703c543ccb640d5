"""Consent covers what was affected when it was given, for a limited time, and no later attempt."""

from __future__ import annotations

import ast
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace

import bai_wizard
from bai_wizard.core.consent import (
    INTERRUPTS,
    TO_BEGIN,
    TO_DISRUPT,
    Affected,
    Consent,
    Interrupt,
    Moment,
    ago,
    agree,
    consents_from_json,
    consents_to_json,
)
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.state import Entry, Key, State, Unit
from bai_wizard.core.step import Plan, Step
from bai_wizard.engine import lock as clock_module
from bai_wizard.engine.directory import RunDirectory, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths, moment
from bai_wizard.engine.result import Result
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.files import WriteFile
from bai_wizard.resources.units import RestartUnit
from bai_wizard.steps import load_all
from bai_wizard.steps.docker import DockerService
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.services import Service
from tests.unit.engine.plans import plan_of

PACKAGE = Path(bai_wizard.__file__).parent
STATES: dict[Key, State] = {
    Key("file", "/etc"): Entry("directory", 0, 0, 0o755),
    Key("file", "/etc/docker.conf"): Entry("file", 0, 0, 0o644, b"old\n"),
    Key("unit", "docker.service"): Unit("enabled", "active", 1.0),
    Key("unit", "gpu.service"): Unit("enabled", "active", 1.0),
}
NOW = Moment("4a3c", 90_000.0)
ALL = set(INTERRUPTS)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Moment:
        return self.now

    def move(self, seconds: float) -> None:
        self.now = later(seconds, self.now)


def later(seconds: float, than: Moment = NOW) -> Moment:
    return replace(than, seconds=than.seconds + seconds)


class Busy(SimulatedMachine):
    """A node on which things run, and on which more may be started with any change."""

    def __init__(self, **running: Collection[str]) -> None:
        super().__init__(STATES)
        self.running = {name.replace("_", "."): list(names) for name, names in running.items()}
        self.comes: dict[str, Any] = {}
        self.cannot_tell = False

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        if self.cannot_tell:
            raise StateUnknown("Docker gave no answer within 3 s")
        return tuple(Affected(f"container:{name}", name) for name in self.running.get(interrupt, ()))

    def apply(self, operation: Any, *arguments: Any) -> None:
        super().apply(operation, *arguments)
        self.comes.pop(operation.kind, lambda: None)()

    def restarts(self) -> int:
        return sum(isinstance(operation, RestartUnit) for operation in self.performed)


def plan(machine: SimulatedMachine) -> Plan:
    """Writes a file, then restarts what reads it."""
    return plan_of(
        machine,
        (
            DropIn(id="docker.config", path="/etc/docker.conf", text="new\n", why="x"),
            Service(
                id="docker.restart",
                unit="docker.service",
                reads=("/etc/docker.conf",),
                interrupts=("docker.restart", "gpu.reload"),
            ),
        ),
    )


def agreed(machine: SimulatedMachine, words: Collection[str] = INTERRUPTS, at: Moment = NOW) -> tuple[Consent, ...]:
    return agree({what: affected for what in INTERRUPTS if (affected := machine.disruption(what))}, words, at)


def run_of(
    tmp_path: Path, machine: SimulatedMachine, consent: Collection[Consent]
) -> tuple[StatePaths, RunDirectory]:
    paths = StatePaths(tmp_path)
    return paths, create_run(paths, plan(machine), {}, consent=consent)


def run_plan(paths: StatePaths, run: RunDirectory, machine: SimulatedMachine, clock: Clock) -> Result:
    return execute(paths, run, run.plan().digest(), machine, clock=clock)


def failed(result: Result) -> str:
    assert result.code() is ExitCode.FAILED
    (step,) = [step for step in result.steps if step.outcome == "failed"]
    return step.text


def test_the_reviewed_set_or_a_smaller_one_may_be_interrupted(tmp_path: Path) -> None:
    machine, clock = Busy(docker_restart=["web", "db"], gpu_reload=["train"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))
    machine.running["docker.restart"].remove("web")
    clock.move(60)
    assert run_plan(paths, run, machine, clock).code() is ExitCode.OK
    assert machine.restarts() == 1


@pytest.mark.parametrize("at_review", [[], ["web"]])
@pytest.mark.parametrize("interrupt", ["docker.restart", "gpu.reload"])
@pytest.mark.parametrize("when", ["before the run", "in the run", "in the step"])
def test_newly_started_work_stops_the_step_before_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_review: list[str], interrupt: str, when: str
) -> None:
    machine, clock = Busy(**{interrupt.replace(".", "_"): at_review}), Clock()
    machine.set_state(Key("unit", "docker.service"), Unit("disabled", "active", 1.0))
    paths, run = run_of(tmp_path, machine, agreed(machine))

    def starts() -> None:
        machine.running[interrupt] += ["session-1"]

    if when == "before the run":
        starts()
    else:
        machine.comes["write-file" if when == "in the run" else "no-such"] = starts
    if when == "in the step":
        step = next(item.step for item in run.plan().steps if item.step.id == "docker.restart")
        before = machine.disruption
        asked = iter([False])

        def affected(what: Interrupt) -> tuple[Affected, ...]:
            result = before(what)
            if what == step.interrupts[-1] and next(asked, True) is False:
                starts()
            return result

        monkeypatch.setattr(machine, "disruption", affected)
    message = failed(run_plan(paths, run, machine, clock))
    assert machine.restarts() == 0
    assert not [each for each in machine.performed if not isinstance(each, WriteFile)]
    assert "session-1" in message
    assert f"bai-wizard resume {run.id} --yes-interrupt={interrupt}" in message


def test_missing_consent_covers_nothing(tmp_path: Path) -> None:
    machine, clock = Busy(docker_restart=["web"], gpu_reload=["train"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine, ["docker.restart"]))
    message = failed(run_plan(paths, run, machine, clock))
    assert "train" in message
    assert "web" not in message
    assert machine.restarts() == 0


@pytest.mark.parametrize(
    ("waits", "works", "is_done"),
    [
        (TO_BEGIN - 1, 0, True),
        (TO_BEGIN + 1, 0, False),
        (0, TO_BEGIN + 1, True),
        (0, TO_DISRUPT + 1, False),
        (3 * 86400, 0, False),
        (-60, 0, False),
    ],
)
def test_consent_lapses(tmp_path: Path, waits: float, works: float, *, is_done: bool) -> None:
    """An hour until the run begins; then half a day, because a plan may build a driver first."""
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))
    clock.move(waits)
    machine.comes["write-file"] = lambda: clock.move(works)
    result = run_plan(paths, run, machine, clock)
    if is_done:
        assert result.code() is ExitCode.OK
    else:
        assert "expired" in failed(result)
    assert machine.restarts() == is_done


def test_another_attempt_needs_its_own_consent(tmp_path: Path) -> None:
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))
    run.begin_again(plan(machine))
    assert "web" in failed(run_plan(paths, run, machine, clock))
    run.begin_again(plan(machine), agreed(machine))
    assert run_plan(paths, run, machine, clock).code() is ExitCode.OK


def test_consent_of_version_0_1_0_has_expired(tmp_path: Path) -> None:
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, ())
    run.begin_attempt(run.plan(), {**run.metadata, "consent": ["docker.restart", "gpu.reload", "umount"]})
    assert run.consents() == ()
    assert "web" in failed(run_plan(paths, run, machine, clock))


@pytest.mark.parametrize(
    "data",
    [None, [], "docker.restart", {}, {"version": 1, "given": []}, {"version": 2}, {"version": 2, "given": None},
     {"version": 2, "given": ["umount"]}, {"version": 2, "given": [{"interrupt": "everything"}]},
     {"version": 3}, {"version": 3, "given": None}, {"version": [3], "given": {}}, {"given": [{}]},
     {"version": 3, "given": [{"interrupt": "everything", "boot": "a", "seconds": 1.0, "affected": []}]},
     {"version": 3, "given": [{"interrupt": ["umount"], "boot": "a", "seconds": 1.0, "affected": []}]},
     {"version": 3, "given": [{"interrupt": "umount", "given": 1.0, "affected": []}]},
     {"version": 3, "given": [{"interrupt": "umount", "boot": "a", "seconds": "soon", "affected": []}]},
     {"version": 3, "given": [{"interrupt": "umount", "boot": "a", "seconds": 10**400, "affected": []}]},
     {"version": 3, "given": [{"interrupt": "umount", "boot": "a", "seconds": 1.0, "affected": ["x"]}]}],
)  # fmt: skip
def test_damaged_consent_is_ignored(data: object) -> None:
    assert consents_from_json(data) == ()


@pytest.mark.parametrize("set_to", [0.0, 86_400.0, 2_000_000_000.0, 4_000_000_000.0])
def test_setting_the_wall_clock_does_not_affect_consent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_to: float
) -> None:
    """It is set after the consent and again in the run; the clock that counts is the real one."""
    machine = Busy(docker_restart=["web"])
    paths, run = run_of(tmp_path, machine, agreed(machine, at=moment()))

    def is_set(to: float) -> None:
        monkeypatch.setattr(time, "time", lambda: to)
        monkeypatch.setattr(time, "time_ns", lambda: int(to * 1e9))

    is_set(set_to)
    machine.comes["write-file"] = lambda: is_set(4_000_000_000.0 - set_to)
    assert execute(paths, run, run.plan().digest(), machine).code() is ExitCode.OK
    assert machine.restarts() == 1


def test_time_in_which_the_machine_is_suspended_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCK_MONOTONIC stops meanwhile, and CLOCK_BOOTTIME continues."""
    machine = Busy(docker_restart=["web"])
    paths, run = run_of(tmp_path, machine, agreed(machine, at=moment()))
    real, slept = time.clock_gettime, TO_BEGIN + 1
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: real(clock) + (slept if clock == time.CLOCK_BOOTTIME else 0)
    )
    assert "given 1 h 0 min ago, has expired" in failed(execute(paths, run, run.plan().digest(), machine))
    assert machine.restarts() == 0


@pytest.mark.parametrize("boot", ["", "another"])
@pytest.mark.parametrize("when", ["before the run", "in the run"])
def test_a_reboot_ends_every_consent(tmp_path: Path, boot: str, when: str) -> None:
    """CLOCK_BOOTTIME starts at 0 again, so that it may well say that hardly any time has passed."""
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))

    def boots() -> None:
        clock.now = Moment(boot, NOW.seconds + 1)

    if when == "before the run":
        boots()
    machine.comes["write-file"] = boots
    assert "given before the last reboot" in failed(run_plan(paths, run, machine, clock))
    assert machine.restarts() == 0


def test_without_a_boot_id_no_consent_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "BOOT_ID", tmp_path / "none")
    machine = Busy(docker_restart=["web"])
    paths, run = run_of(tmp_path, machine, agreed(machine, at=moment()))
    failed(execute(paths, run, run.plan().digest(), machine))
    assert machine.restarts() == 0


@pytest.mark.parametrize("version", [1, 2, 4, "3", None])
def test_consent_of_another_version_is_refused_in_a_sentence(tmp_path: Path, version: object) -> None:
    """Version 2 had the wall clock's seconds since 1970; what a later one will have is not known."""
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, ())
    given = {
        "interrupt": "docker.restart",
        "given": 1_800_000_000.0,
        "affected": [{"id": "container:web", "name": "web"}],
    }
    run.begin_attempt(run.plan(), {**run.metadata, "consent": {"version": version, "given": [given]}})
    message = failed(run_plan(paths, run, machine, clock))
    assert "docker.restart would interrupt web, and the consent to it was recorded by another version" in message
    assert f"bai-wizard resume {run.id} --yes-interrupt=docker.restart" in message
    assert machine.restarts() == 0


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(-5, "less than a minute ago"), (59, "less than a minute ago"), (60, "1 min ago"), (3599, "59 min ago"),
     (3660, "1 h 1 min ago"), (86_400, "24 h 0 min ago")],
)  # fmt: skip
def test_how_long_ago_consent_was_given(seconds: float, message: str) -> None:
    assert ago(seconds) == message


def test_consent_is_kept_in_the_run_directory() -> None:
    given = agreed(Busy(docker_restart=["web"], umount=["shell"]), ["docker.restart", "gpu.reload", "umount"])
    assert [len(each.affected) for each in given] == [1, 0, 1]
    assert consents_from_json(consents_to_json(given)) == given


def test_unknown_users_are_not_interrupted(tmp_path: Path) -> None:
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))
    machine.cannot_tell = True
    assert "no answer" in failed(run_plan(paths, run, machine, clock))
    assert machine.restarts() == 0


def test_undo_is_bound_to_the_reviewed_set_as_well(tmp_path: Path) -> None:
    machine, clock = Busy(docker_restart=["web"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))
    assert run_plan(paths, run, machine, clock).code() is ExitCode.OK
    disruptions = plan_undo(run, machine).disruptions
    done = machine.restarts()

    def undo(consent: Collection[Consent]) -> Result:
        undoing = create_run(paths, Plan("test"), {}, kind="undo", undoes=run.id, consent=consent)
        return run_plan(paths, undoing, machine, clock)

    machine.running["docker.restart"] += ["session-1"]
    message = failed(undo(agree(disruptions, ALL, NOW)))
    assert "session-1" in message
    assert "web" not in message
    assert "--yes-interrupt=docker.restart" in message
    lapsed = agree(plan_undo(run, machine).disruptions, ALL, later(-TO_BEGIN - 1))
    assert "expired" in failed(undo(lapsed))
    assert machine.restarts() == done
    assert undo(agree(plan_undo(run, machine).disruptions, ALL, NOW)).code() is ExitCode.OK
    assert machine.restarts() == done + 1


def test_undo_needs_consent_to_all_that_the_step_interrupts(tmp_path: Path) -> None:
    """systemd reads its files again on the way back too, which detaches GPUs from running containers."""
    machine, clock = Busy(gpu_reload=["train"]), Clock()
    paths, run = run_of(tmp_path, machine, agreed(machine))
    assert run_plan(paths, run, machine, clock).code() is ExitCode.OK
    disruptions = plan_undo(run, machine).disruptions
    assert [item.name for item in disruptions["gpu.reload"]] == ["train"]
    restarts = machine.restarts()
    refused = create_run(paths, Plan("test"), {}, kind="undo", undoes=run.id)
    assert "train" in failed(run_plan(paths, refused, machine, clock))
    assert machine.restarts() == restarts
    agreeing = create_run(paths, Plan("test"), {}, kind="undo", undoes=run.id, consent=agree(disruptions, ALL, NOW))
    assert run_plan(paths, agreeing, machine, clock).code() is ExitCode.OK
    assert machine.restarts() == restarts + 1


def test_the_way_back_after_a_failed_restart_is_not_refused(tmp_path: Path) -> None:
    """Docker is down by then; containers started meanwhile are not a reason to keep it down."""
    machine, clock = Busy(docker_restart=["web"]), Clock()
    config = "/etc/docker.conf"
    wanted = plan_of(
        machine,
        (
            DropIn(id="docker.config", path=config, text="broken\n", why="x"),
            DockerService(id="docker.restart", before="old\n", config=config, reads=(config,)),
        ),
    )
    paths = StatePaths(tmp_path)
    run = create_run(paths, wanted, {}, consent=agreed(machine))

    def fails() -> None:
        from bai_wizard.core.errors import StepFailed

        machine.running["docker.restart"] += ["session-1"]
        raise StepFailed("the daemon does not start")

    machine.comes["restart-unit"] = fails
    message = failed(run_plan(paths, run, machine, clock))
    assert "was restored" in message
    assert machine.text(config) == "old\n"
    assert machine.restarts() == 2


def test_a_refusal_within_a_step_is_not_taken_for_a_failed_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step would put the old configuration back, and restart Docker for that."""
    machine, clock = Busy(docker_restart=["web"]), Clock()
    config = "/etc/docker.conf"
    step = DockerService(id="docker.restart", before="old\n", config=config, reads=(config,))
    written = DropIn(id="docker.config", path=config, text="new\n", why="x")
    paths = StatePaths(tmp_path)
    run = create_run(paths, plan_of(machine, (written, step)), {}, consent=agreed(machine))
    started = iter([False])

    def affected(what: Interrupt) -> tuple[Affected, ...]:
        """Right after the check at the beginning of the step, a session starts."""
        running = ("web",) if next(started, True) is False else ("web", "session-1")
        return tuple(Affected(f"container:{name}", name) for name in running)

    monkeypatch.setattr(machine, "disruption", affected)
    message = failed(run_plan(paths, run, machine, clock))
    assert "session-1" in message
    assert "does not start" not in message
    assert machine.text(config) == "new\n"
    assert machine.restarts() == 0


def test_a_step_that_interrupts_nothing_asks_nothing(tmp_path: Path) -> None:
    machine = Busy()
    machine.cannot_tell = True
    wanted = plan_of(machine, (replace(Service(id="a.b", unit="gpu.service", active=False), interrupts=()),))
    paths = StatePaths(tmp_path)
    run = create_run(paths, wanted, {})
    assert run_plan(paths, run, machine, Clock()).code() is ExitCode.OK


# Units whose stop or restart ends what runs on the node.
DISRUPTIVE = {
    "docker.service": "docker.restart",
    "docker.socket": "docker.restart",
    "containerd.service": "docker.restart",
    "nvidia-fabricmanager.service": "gpu.reload",
    "nvidia-persistenced.service": "gpu.reload",
}
# Starts it only: nothing runs that a start could end. Undoing that asks on its own account.
STARTS = {("pages/docker/checks.py", "docker.start"), ("pages/docker/plan.py", "docker.socket")}


def test_every_step_that_stops_or_restarts_such_a_unit_declares_it() -> None:
    load_all()
    for kind in step_kinds(Step):  # type: ignore[type-abstract]
        defaults = {entry.name: entry.default for entry in structs.fields(kind)}
        unit = defaults.get("unit")
        if isinstance(unit, str) and unit in DISRUPTIVE:
            assert DISRUPTIVE[unit] in defaults.get("interrupts", kind.interrupts), kind
    result = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Service"):
                continue
            words = {word.arg: word.value for word in node.keywords}
            unit = words.get("unit")
            name = unit.value if isinstance(unit, ast.Constant) else ast.unparse(unit) if unit else ""
            name = {"FABRIC_MANAGER": "nvidia-fabricmanager.service", "PERSISTENCED": "nvidia-persistenced.service",
                    "UNIT": "docker.service"}.get(str(name), name)  # fmt: skip
            field_path = (
                str(path.relative_to(PACKAGE)),
                ast.literal_eval(words["id"]) if isinstance(words["id"], ast.Constant) else "",
            )
            if (
                name in DISRUPTIVE
                and field_path not in STARTS
                and field_path[0] != "pages/accelerators/nvidia/steps.py"
            ):
                result += 1
                assert DISRUPTIVE[str(name)] in ast.unparse(words["interrupts"]), field_path
    assert result


def step_kinds(kind: type[Step]) -> Iterator[type[Step]]:
    for below in kind.__subclasses__():
        yield below
        yield from step_kinds(below)
