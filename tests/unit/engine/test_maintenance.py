"""When disruptive steps run: in a window, without sessions, after the drain hook; everything else at once."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.cli import waiting_time, window_text
from bai_wizard.compose import DesiredState
from bai_wizard.core.consent import TO_DISRUPT, Affected, Interrupt, UserSession
from bai_wizard.core.errors import RunCancelled, StateUnknown, StepBlocked
from bai_wizard.core.event import silent
from bai_wizard.core.machine import Completed
from bai_wizard.core.page import Context
from bai_wizard.core.step import Pending, Plan, PlannedStep, Step
from bai_wizard.engine import maintenance as module
from bai_wizard.engine.directory import all_runs
from bai_wizard.engine.maintenance import Conditions, Hooks, Maintenance, hooks_of, notes_on
from bai_wizard.engine.planner import disruptive_last
from bai_wizard.engine.window import Window, parse_window
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.pages.node.settings import MaintenanceSettings
from bai_wizard.steps.files import DropIn
from tests.faults import fail_on
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_run_selection import Seat
from tests.unit.engine.test_run_selection import seat as seat
from tests.unit.machine.test_sessions import OTHER, S1, kernel

pytestmark = pytest.mark.needs_root

FIRST = DropIn(id="docker.first", path="/etc/first.conf", text="a = 1\n", why="first")
RESTART = DropIn(
    id="docker.restart", path="/etc/restart.conf", text="a = 1\n", why="x", interrupts=("docker.restart",)
)
SAME_PAGE = DropIn(id="docker.after", path="/etc/after.conf", text="a = 1\n", why="x")
IMAGES = DropIn(id="images.pull", path="/etc/image.conf", text="a = 1\n", why="x")
OTHER_PAGE = DropIn(id="tuning.free", path="/etc/free.conf", text="a = 1\n", why="x")
ON_RESTART = DropIn(id="tuning.more", path="/etc/restart.conf", text="a = 2\n", why="x")
DRAIN, RESUME = ("/usr/local/sbin/drain", "--wait"), ("/usr/local/sbin/resume",)
NO_CONDITIONS, NO_HOOKS = Conditions(), Hooks()
DOCKER: tuple[Interrupt, ...] = ("docker.restart",)
NIGHT = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
DAY = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class Busy(SimulatedMachine):
    """A node with one session and one other container, until the session has been asked for `left` times."""

    kind: ClassVar[str] = "busy"
    left: int = 10**6
    left_by_drain: int = 0
    has_other: bool = False
    ran: list[tuple[str, ...]]
    codes: dict[str, int]

    def __init__(self, left: int = 10**6, *, has_other: bool = False, codes: dict[str, int] | None = None) -> None:
        bodies = {"/containers/a/json": kernel(S1), "/containers/d/json": OTHER}
        super().__init__(STATES, Environment(engine=bodies))
        self.left, self.has_other, self.ran, self.codes = left, has_other, [], codes or {}

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        return self.environment.engine.get(path)

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        self.left -= 1
        session = (Affected("container:a", "kernel.a"),) if self.left >= 0 else ()
        return session + ((Affected("container:d", "db"),) if self.has_other else ())

    def run_hook(self, argv: Sequence[str], log: Any = silent, *, deadline: float) -> Completed:
        self.ran.append(tuple(argv))
        if argv[0] == DRAIN[0] and not self.codes.get(argv[0]):
            self.left = self.left_by_drain
        return Completed(self.codes.get(argv[0], 0), "", "")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.0)


def maintenance(
    directory: Path, machine: SimulatedMachine, conditions: Conditions = NO_CONDITIONS, hooks: Hooks = NO_HOOKS, *,
    now: Callable[[], datetime] = lambda: NIGHT, stop: Callable[[], bool] = lambda: False,
) -> Maintenance:  # fmt: skip
    return Maintenance(machine, conditions, hooks, directory / "drained", stop, now=now, pause=lambda _seconds: None)


@pytest.mark.parametrize(
    ("text", "now", "opens_in", "ends_in"),
    [
        ("02:00-04:00+UTC", NIGHT, 0, 3600),
        ("02:00-04:00+00:00", DAY, 14 * 3600, 16 * 3600),
        ("22:00-04:00+UTC", NIGHT, 0, 3600),
        ("22:00-04:00+UTC", DAY, 10 * 3600, 16 * 3600),
        ("12:00-13:00+UTC", DAY, 0, 3600),
        ("11:00-12:00+UTC", DAY, 23 * 3600, 24 * 3600),
        ("02:00-04:00+09:00", NIGHT, 14 * 3600, 16 * 3600),
        ("02:00-04:00+Asia/Seoul", NIGHT, 14 * 3600, 16 * 3600),
        ("22:00-23:30-05:00", NIGHT, 0, 1.5 * 3600),
        # Summer time begins and ends at 01:00 UTC.
        ("02:00-04:00+Europe/Berlin", datetime(2026, 3, 29, 1, 30, tzinfo=UTC), 0, 1800),
        ("02:00-04:00+Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), 0, 2.5 * 3600),
    ],
)
def test_a_window_opens_every_day_in_its_time_zone(text: str, now: datetime, opens_in: float, ends_in: float) -> None:
    window = parse_window(text)
    assert (window.opens_in(now), window.ends_in(now)) == (opens_in, ends_in)


def test_without_a_zone_the_window_is_in_local_time() -> None:
    local = NIGHT.astimezone()
    assert Window(f"{local:%H:%M}-{local:%H}:59").opens_in(NIGHT) == 0


@pytest.mark.parametrize("zone", ["", "+Europe/Berlin"])
def test_a_window_in_the_hour_that_summer_time_skips_does_not_open_early(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        begin, end = parse_window(f"02:30-04:00{zone}").next(datetime(2026, 3, 29, 0, 0, tzinfo=UTC))
    time.tzset()
    assert (begin, end) == (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2026, 3, 29, 2, 0, tzinfo=UTC))


def test_consent_lasts_until_the_steps_that_wait_can_begin() -> None:
    """The other steps may take as long as consent lasts without conditions, or until the window has closed."""
    assert Conditions("", 24 * 3600.0).longest() == TO_DISRUPT + 24 * 3600
    now = datetime.now(UTC)
    window = Window(f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}+UTC")
    next_end = window.ends_in(now + timedelta(seconds=window.ends_in(now)))
    assert Conditions(window.text).longest() >= window.ends_in(now) + next_end


@pytest.mark.parametrize(
    "text", ["", "2-4", "02:00-02:00", "25:00-26:00", "02:00-04:00+Mars/Base", "02:00-04:00+../x"]
)
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(Exception, match=r"window|range|hour|zone|differ"):
        window_text(text)


def test_durations() -> None:
    assert [waiting_time(text) for text in ("90s", "30m", "8h", "2d")] == [90, 1800, 28800, 172800]
    for text in ("", "8", "h", "-1h", "8 h", "plan.json"):
        with pytest.raises(Exception, match="is not a duration"):
            waiting_time(text)


def test_nothing_is_waited_for_where_nothing_would_be_interrupted(tmp_path: Path) -> None:
    machine = Busy(0)
    upkeep = maintenance(tmp_path, machine, Conditions("02:00-04:00+UTC", 0.0), Hooks(DRAIN, RESUME), now=lambda: DAY)
    assert upkeep.enter(DOCKER, silent) is False
    assert machine.ran == []


def test_the_window_then_the_drain_hook_then_the_sessions(tmp_path: Path) -> None:
    times = iter([DAY, DAY, DAY, *[NIGHT] * 100])
    lines: list[str] = []
    machine = Busy()
    hooks = Hooks(DRAIN, RESUME)
    upkeep = maintenance(tmp_path, machine, Conditions("02:00-04:00+UTC", 60.0), hooks, now=lambda: next(times))
    assert upkeep.enter(DOCKER, lambda text, **_: lines.append(text)) is True
    assert [line.partition(":")[0] for line in lines] == ["waiting for the window 02", "drain hook"]
    assert (machine.ran, upkeep.is_drained) == ([DRAIN], True)
    assert upkeep.leave(silent) == ""
    assert (machine.ran, upkeep.is_drained) == ([DRAIN, RESUME], False)


def test_sessions_are_waited_for_and_told_once(tmp_path: Path) -> None:
    lines: list[str] = []
    upkeep = maintenance(tmp_path, Busy(5, has_other=True), Conditions("", 3600.0))
    assert upkeep.enter(DOCKER, lambda text, **_: lines.append(text)) is True
    assert lines == ["waiting until the node is idle: kernel.a"]


def test_sessions_that_do_not_end_block_the_step(tmp_path: Path) -> None:
    with pytest.raises(StepBlocked, match=r"still not idle.*kernel\.a\. Nothing was interrupted"):
        maintenance(tmp_path, Busy(), Conditions("", 0.0)).enter(DOCKER, silent)


@pytest.mark.parametrize("wait", [0.0, 3600.0])
@pytest.mark.parametrize("error", [StateUnknown("the engine does not answer"), None])
def test_a_node_whose_containers_cannot_be_inspected_is_not_idle(
    tmp_path: Path, wait: float, error: StateUnknown | None
) -> None:
    class Silent(Busy):
        asked: int = 0

        def engine(self, path: str, *, deadline: float = 3.0) -> Any:
            self.asked += 1
            if self.asked > 3:
                return super().engine(path)
            if error is not None:
                raise error
            return None

    machine, lines = Silent(has_other=True), list[str]()
    upkeep = maintenance(tmp_path, machine, Conditions("", wait))
    if wait:
        machine.left = 6
        upkeep.enter(DOCKER, lambda text, **_: lines.append(text))
        assert lines[0].startswith("waiting until the node is idle: sessions may be running (")
        assert machine.asked > 3
    else:
        with pytest.raises(StepBlocked, match=r"still not idle.*sessions may be running"):
            upkeep.enter(DOCKER, silent)


def test_a_window_that_closes_while_sessions_run_blocks_the_step(tmp_path: Path) -> None:
    times = iter([NIGHT, NIGHT, NIGHT, *[DAY] * 100])
    with pytest.raises(StepBlocked, match="has closed"):
        maintenance(tmp_path, Busy(), Conditions("02:00-04:00+UTC", 3600.0), now=lambda: next(times)).enter(
            DOCKER, silent
        )


@pytest.mark.parametrize("conditions", [Conditions("02:00-04:00+UTC"), Conditions("", 3600.0)])
def test_a_run_that_waits_can_be_stopped(tmp_path: Path, conditions: Conditions) -> None:
    with pytest.raises(RunCancelled):
        maintenance(tmp_path, Busy(), conditions, now=lambda: DAY, stop=lambda: True).enter(DOCKER, silent)


def test_a_node_that_an_earlier_attempt_drained_is_not_drained_again(tmp_path: Path) -> None:
    maintenance(tmp_path, Busy(), hooks=Hooks(DRAIN, RESUME)).enter(DOCKER, silent)
    machine = Busy()
    upkeep = maintenance(tmp_path, machine, hooks=Hooks(DRAIN, RESUME))
    upkeep.enter(DOCKER, silent)
    assert machine.ran == []
    upkeep.leave(silent)
    assert machine.ran == [RESUME]


class Killed(BaseException):
    """The executor is killed while a hook runs."""


@pytest.mark.parametrize("broken", ["drain", "drain killed", "resume", "resume killed"])
def test_a_node_that_is_not_known_to_be_drained_is_drained_again(tmp_path: Path, broken: str) -> None:
    hook = DRAIN if broken.startswith("drain") else RESUME

    class Broken(Busy):
        def run_hook(self, argv: Sequence[str], log: Any = silent, *, deadline: float) -> Completed:
            if tuple(argv) == hook and "killed" in broken:
                raise Killed
            return super().run_hook(argv, log, deadline=deadline)

    upkeep = maintenance(tmp_path, Broken(codes={hook[0]: 3}), hooks=Hooks(DRAIN, RESUME))
    with suppress(StepBlocked, Killed):
        upkeep.enter(DOCKER, silent)
        upkeep.leave(silent)
    assert upkeep.is_drained
    machine = Busy()
    maintenance(tmp_path, machine, hooks=Hooks(DRAIN, RESUME)).enter(DOCKER, silent)
    assert machine.ran == [DRAIN]


def test_a_mark_that_cannot_be_written_is_reported_by_the_resume_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = maintenance(tmp_path, Busy(), hooks=Hooks(DRAIN, RESUME))
    upkeep.enter(DOCKER, silent)

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_durably", full)
    assert "no space left" in upkeep.leave(silent)
    assert upkeep.is_drained


@pytest.mark.parametrize(
    ("steps", "order"),
    [
        ((FIRST, RESTART, SAME_PAGE, OTHER_PAGE), ["docker.first", "tuning.free", "docker.restart", "docker.after"]),
        ((RESTART, OTHER_PAGE, IMAGES), ["tuning.free", "docker.restart", "images.pull"]),
        ((RESTART, ON_RESTART, OTHER_PAGE), ["tuning.free", "docker.restart", "tuning.more"]),
        ((FIRST, OTHER_PAGE), ["docker.first", "tuning.free"]),
    ],
    ids=["page", "images", "depends", "none"],
)
def test_disruptive_steps_and_what_depends_on_them_are_last(steps: tuple[Step, ...], order: list[str]) -> None:
    machine = SimulatedMachine(STATES)
    plan = plan_of(machine, steps)
    later: Plan = disruptive_last(plan, machine)
    assert [item.step.id for item in later.steps] == order
    assert {item.step.id: item for item in later.steps} == {item.step.id: item for item in plan.steps}


def test_hooks_are_those_of_the_table_unless_it_is_not_applied() -> None:
    table: dict[str, Any] = {"drain_hook": [*DRAIN], "resume_hook": [*RESUME]}
    assert hooks_of({"tables": {"maintenance": table}}) == Hooks(DRAIN, RESUME)
    assert hooks_of({"tables": {"maintenance": {**table, "apply": False}}}) == Hooks()
    assert hooks_of({"version": 1}) == Hooks()


def test_a_fix_of_the_doctor_runs_no_hooks_and_its_consent_covers_sessions() -> None:
    tables = {"maintenance": MaintenanceSettings(drain_hook=DRAIN, resume_hook=RESUME)}
    page = DesiredState(tables, (), Context("gpu01"))
    session: dict[Interrupt, tuple[Affected, ...]] = {"docker.restart": (Affected("a", "a", UserSession("s")),)}
    for desired, hooks, needed in (
        (page, Hooks(DRAIN, RESUME), {}),
        (replace(page, fix="docker.daemon"), Hooks(), session),
    ):
        assert hooks_of(desired.to_json()) == hooks
        assert compose.needing_consent(session, desired, None) == needed


HOOKS = (
    f"version = 1\n[tuning]\n[maintenance]\ndrain_hook = {json.dumps(DRAIN)}\nresume_hook = {json.dumps(RESUME)}\n"
)


def busy(seat: Seat, *steps: Step, **values: Any) -> Busy:
    machine = Busy(**values)
    seat.machine, seat.wanted = machine, steps
    return machine


def outcomes(seat: Seat) -> dict[str, str]:
    result = all_runs(seat.paths)[-1].result()
    assert result is not None
    return {step["step"]: step["outcome"] for step in result["steps"]}


def test_sessions_need_no_consent_if_they_are_waited_for(seat: Seat) -> None:
    words = ("--headless", str(seat.answers))
    busy(seat, RESTART, OTHER_PAGE)
    assert seat.main(*words) == ExitCode.PREFLIGHT
    busy(seat, RESTART, OTHER_PAGE, left=20)
    assert seat.main(*words, "--wait-idle=1h") == ExitCode.OK, seat.messages
    seat.says("waiting until the node is idle: kernel.a")
    assert [*outcomes(seat)] == ["tuning.free", "docker.restart"]
    assert all_runs(seat.paths)[-1].metadata["conditions"] == {"window": "", "wait_idle": 3600.0}


def test_other_containers_need_consent_and_sessions_are_not_covered_by_it(seat: Seat) -> None:
    words = ("--headless", str(seat.answers), "--wait-idle=0s")
    busy(seat, RESTART, OTHER_PAGE, has_other=True)
    assert seat.main(*words) == ExitCode.PREFLIGHT
    seat.says("docker.restart would interrupt db")
    assert seat.main(*words, "--yes-interrupt=docker.restart") == ExitCode.FAILED
    assert outcomes(seat) == {"tuning.free": "changed", "docker.restart": "failed"}
    seat.machine.left = 0  # type: ignore[attr-defined]
    assert seat.main("resume", "--yes-interrupt=docker.restart") == ExitCode.OK, seat.messages


def test_the_drain_hook_ends_the_sessions_and_the_resume_hook_follows(seat: Seat) -> None:
    seat.answers.write_text(HOOKS)
    machine = busy(seat, RESTART)
    assert seat.main("--headless", str(seat.answers)) == ExitCode.OK, seat.messages
    assert machine.ran == [DRAIN, RESUME]


def test_consent_does_not_cover_sessions_that_the_drain_hook_leaves(seat: Seat) -> None:
    seat.answers.write_text(HOOKS)
    machine = busy(seat, RESTART, has_other=True)
    machine.left_by_drain = 10**6
    words = ("--headless", str(seat.answers), "--yes-interrupt=docker.restart")
    assert seat.main(*words) == ExitCode.FAILED
    seat.says("allowed: docker.restart, which would now interrupt db")
    seat.says("wait until the sessions have ended, then run: bai-wizard resume")
    assert not any("--yes-interrupt=" in line for line in seat.messages)
    assert seat.has("restart") is None


def test_another_attempt_may_wait_for_the_window_as_long_as_the_first(seat: Seat) -> None:
    words = ("--headless", str(seat.answers), "--window=00:00-23:59+UTC")
    busy(seat, RESTART, has_other=True, left=0).fault = fail_on("write-file", "no space")
    assert seat.main(*words, "--yes-interrupt=docker.restart") == ExitCode.FAILED
    seat.machine.fault = None
    assert seat.main("resume", "--yes-interrupt=docker.restart") == ExitCode.OK, seat.messages
    (consent,) = all_runs(seat.paths)[-1].consents()
    assert consent.lasts > TO_DISRUPT


def test_a_new_run_makes_a_node_available_that_a_killed_run_has_drained(seat: Seat) -> None:
    seat.answers.write_text(HOOKS)
    machine = busy(seat, RESTART)
    seat.cut = 1
    assert seat.main("--headless", str(seat.answers)) == ExitCode.FAILED
    seat.cut = None
    assert machine.ran == [DRAIN]
    assert seat.main("--headless", str(seat.answers), "--plan") == ExitCode.OK
    seat.says(f"run the resume hook by hand and remove {seat.paths.drained}")
    seat.wanted = ()
    assert seat.main("--headless", str(seat.answers)) == ExitCode.OK
    seat.says("has not made it available again")
    seat.wanted = (OTHER_PAGE,)
    assert seat.main("--headless", str(seat.answers)) == ExitCode.OK, seat.messages
    assert machine.ran == [DRAIN, RESUME]
    assert not seat.paths.drained.exists()


def test_a_run_without_hooks_keeps_the_record_of_a_drained_node(seat: Seat) -> None:
    seat.paths.make()
    seat.paths.drained.touch()
    busy(seat, OTHER_PAGE)
    assert seat.main("--headless", str(seat.answers), "--window=00:00-23:59+UTC") == ExitCode.OK, seat.messages
    assert seat.paths.drained.exists()


@pytest.mark.parametrize("words", [(), ("--window=00:00-23:59+UTC",), ("--wait-idle=1h",)])
@pytest.mark.parametrize("has_hook", [False, True])
def test_a_plan_file_can_be_applied_however_its_steps_wait(
    seat: Seat, words: tuple[str, ...], *, has_hook: bool
) -> None:
    """The order of the steps depends on options that `apply` takes itself."""
    if has_hook:
        seat.answers.write_text(HOOKS)
    machine = busy(seat, RESTART, OTHER_PAGE)
    file = seat.paths.root / "plan.json"
    assert seat.main("--headless", str(seat.answers), "--plan", "-o", str(file), *words) == ExitCode.OK, seat.messages
    assert (all_runs(seat.paths), machine.ran) == ([], [])
    machine.left = 0
    assert seat.main("apply", str(file)) == ExitCode.OK, seat.messages
    order = ["tuning.free", "docker.restart"] if has_hook else ["docker.restart", "tuning.free"]
    assert [*outcomes(seat)] == order


@pytest.mark.parametrize("broken", ["drain", "step", "resume"])
def test_the_resume_hook_runs_whatever_fails(seat: Seat, broken: str) -> None:
    seat.answers.write_text(HOOKS)
    codes = {"drain": {DRAIN[0]: 3}, "resume": {RESUME[0]: 3}}.get(broken, {})
    machine = busy(seat, RESTART, codes=codes)
    machine.fault = fail_on("write-file", "no space") if broken == "step" else None
    assert seat.main("--headless", str(seat.answers)) == ExitCode.FAILED
    assert machine.ran == [DRAIN, RESUME]
    assert seat.paths.drained.exists() is (broken == "resume")
    assert (seat.has("restart") is None) is (broken != "resume")
    if broken == "resume":
        seat.says("the resume hook failed with exit code 3. The node may still be drained")
        machine.codes = {}
        assert seat.main("resume") == ExitCode.OK, seat.messages
        assert machine.ran[-1] == RESUME
        assert not seat.paths.drained.exists()


def test_without_options_no_step_waits_and_the_order_stays(seat: Seat) -> None:
    machine = busy(seat, RESTART, OTHER_PAGE, left=0)
    assert seat.main("--headless", str(seat.answers)) == ExitCode.OK
    assert [*outcomes(seat)] == ["docker.restart", "tuning.free"]
    assert (machine.ran, "conditions" in all_runs(seat.paths)[-1].metadata) == ([], False)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ('drain_hook = ["drain"]', "must be the absolute path"),
        ('resume_hook = ["/bin/true"]', "without it, this is never run"),
        ('drain_hook = ["/bin/true", "a\\nb"]', "one line"),
        ('drain_hook = "/bin/true"', "must be a list"),
    ],
)
def test_hooks_in_answers_are_argument_lists(seat: Seat, table: str, text: str) -> None:
    seat.answers.write_text(f"version = 1\n[maintenance]\n{table}\n")
    assert seat.main("check", str(seat.answers)) == ExitCode.ANSWERS
    seat.says(text)


def test_a_hook_that_others_can_change_is_refused(seat: Seat) -> None:
    hook = seat.paths.root / "hook"
    hook.touch()
    hook.chmod(0o777)
    root = "" if str(seat.paths.root) == "/" else str(seat.paths.root)
    seat.answers.write_text(
        f'version = 1\n[tuning]\n[maintenance]\ndrain_hook = ["{str(hook).removeprefix(root)}"]\n'
    )
    busy(seat, replace(RESTART))
    assert seat.main("--headless", str(seat.answers)) == ExitCode.PREFLIGHT
    seat.says("chmod")


NOTES = [
    f"drain hook, run as root before the first step that would interrupt something: {' '.join(DRAIN)}",
    f"resume hook, run as root at the end of the run: {' '.join(RESUME)}",
]
CONDITIONS = [
    "disruptive steps run only in the window 00:00-23:59+UTC",
    "before a disruptive step, the run waits at most 1 h until no Backend.AI session is running",
]
WAITS = ("--window=00:00-23:59+UTC", "--wait-idle=1h")


def plan_event(seat: Seat) -> dict[str, Any]:
    (data,) = (event["data"] for line in seat.messages if (event := json.loads(line))["kind"] == "plan")
    return dict(data)


def test_hooks_and_conditions_are_shown_before_a_run_begins(seat: Seat) -> None:
    """As text and JSON, in a plan file, and in both reports of the run that applies it."""
    seat.answers.write_text(HOOKS)
    busy(seat, RESTART)
    words, file = ("--headless", str(seat.answers), "--plan"), seat.paths.root / "plan.json"
    assert seat.main(*words, *WAITS) == ExitCode.OK, seat.messages
    seat.says(*(f"note: {note}" for note in NOTES + CONDITIONS))
    assert seat.main(*words, *WAITS, "--json") == ExitCode.OK
    assert plan_event(seat)["notes"] == NOTES + CONDITIONS
    assert seat.main(*words, *WAITS, "-o", str(file)) == ExitCode.OK
    assert json.loads(file.read_text())["plan"]["notes"] == NOTES, "the conditions are options of `apply`"
    reports = [seat.paths.root / name for name in ("report.json", "report.md")]
    assert seat.main("apply", str(file), *WAITS, "--json", "--report", str(reports[0])) == ExitCode.OK, seat.messages
    assert plan_event(seat)["notes"] == NOTES + CONDITIONS
    assert json.loads(reports[0].read_text())["notes"] == NOTES + CONDITIONS
    busy(seat, RESTART)
    assert seat.main("--headless", str(seat.answers), "--report", str(reports[1])) == ExitCode.OK, seat.messages
    section = reports[1].read_text().partition("## Hooks and conditions of disruptive steps")[2]
    assert "* drain hook, run as root" in section
    assert "window" not in section


def test_a_plan_without_disruptive_steps_says_nothing_of_hooks(seat: Seat) -> None:
    seat.answers.write_text(HOOKS)
    report = seat.paths.root / "report.json"
    busy(seat, OTHER_PAGE)
    words = ("--headless", str(seat.answers), *WAITS, "--json", "--report", str(report))
    assert seat.main(*words) == ExitCode.OK, seat.messages
    assert plan_event(seat)["notes"] == []
    assert "notes" not in json.loads(report.read_text())


def test_arguments_of_hooks_are_quoted() -> None:
    (note,) = notes_on(Hooks(("/bin/echo", "a b", "$(id)")), Conditions())
    assert note.endswith(": /bin/echo 'a b' '$(id)'")


@pytest.mark.parametrize(("seconds", "text"), [(86400, "24 h"), (5400, "90 min"), (90, "90 s"), (0, "0 h")])
def test_the_longest_wait_is_told_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    (note,) = notes_on(Hooks(), Conditions(wait_idle=seconds))
    assert f" at most {text} " in note


def test_the_review_lists_hooks_only_as_long_as_a_disruptive_step_is_selected() -> None:
    desired = DesiredState({"maintenance": MaintenanceSettings(drain_hook=DRAIN)}, (), Context("gpu01"))
    disruptive = Plan("gpu01", (PlannedStep(RESTART, Pending(())),))
    noted = compose.with_notes(disruptive, desired)
    assert [*noted.notes] == NOTES[:1]
    assert compose.with_notes(noted, desired) == noted
    assert compose.with_notes(replace(noted, steps=()), desired).notes == ()
    assert compose.with_notes(disruptive, replace(desired, fix="docker.daemon")).notes == ()
