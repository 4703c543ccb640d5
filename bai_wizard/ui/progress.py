"""Run progress reduced from its events, the likely cause of a failure, and the next commands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from msgspec import Struct, field

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.event import Event, Level, Outcome
from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import MARKS
from bai_wizard.core.page import Context, Role
from bai_wizard.core.state import Venv, distribution_key, venv_key
from bai_wizard.core.step import Plan
from bai_wizard.engine.result import Result
from bai_wizard.locale import tr
from bai_wizard.ui.consequences import expected_seconds
from bai_wizard.ui.durations import time_of

Stage = Literal["waits", "running", "changed", "unchanged", "failed", "skipped"]
# Lines of the log kept for the screen; the file has all of them.
MAX_LINES = 5000
# Fewer than this are packages, phases or percent, not bytes.
LEAST_BYTES = 100_000
# The seconds over which the throughput is measured.
RATE_SECONDS = 10.0
# How the executor reports each change that it undoes.
CHANGE_MARKS = tuple(f"{mark} " for mark in MARKS.values())
RANK: dict[Level, int] = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class LogLine(NamedTuple):
    """One line of the log. `time` is the event's, in the local time zone."""

    time: str
    page: str
    step: str
    level: Level
    text: str

    def __str__(self) -> str:
        mark = {"warning": "! ", "error": "!! "}.get(self.level, "")
        return f"{self.time}  {self.step:<22} {mark}{self.text}"


class StepProgress(Struct):
    """The current progress of one step. `done` of `total` is the step's own progress, if it reports any.

    `seconds` is how long it is expected to take. `samples` are the last times and amounts, for the throughput.
    """

    id: str
    describe: str
    stage: Stage = "waits"
    text: str = ""
    done: int = 0
    total: int = 0
    began: str = ""
    ended: str = ""
    seconds: float = 1.0
    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def counts_bytes(self) -> bool:
        """Whether `done` and `total` are bytes, rather than packages, phases or percent."""
        return self.total >= LEAST_BYTES

    def spent(self, now: float) -> float:
        """For how many seconds it has been running."""
        return max(0.0, now - seconds_of(self.began)) if self.began else 0.0

    def left(self, now: float) -> float:
        """The estimated seconds left: from its own progress, otherwise from the expected duration."""
        spent = self.spent(now)
        if self.stage != "running":
            return self.seconds if self.stage == "waits" else 0.0
        if self.total and self.done and spent > 2:
            return spent * max(0, self.total - self.done) / self.done
        # What takes longer than expected is nearly done until it is done.
        return max(self.seconds - spent, spent / 10)

    def rate(self) -> float:
        """Bytes per second over the last seconds; 0 if unknown."""
        if not self.counts_bytes or len(self.samples) < 2:
            return 0.0
        (begun, first), (ended, last) = self.samples[0], self.samples[-1]
        return max(0.0, (last - first) / (ended - begun)) if ended > begun else 0.0

    def sample(self, time: float, done: int) -> None:
        """Note how much is done at a time."""
        self.samples = [*(each for each in self.samples[-30:] if time - each[0] <= RATE_SECONDS), (time, done)]


class RunProgress(Struct):
    """The progress of a run according to its events. `result` is set once it ended, `refusal` if it never began."""

    run: str
    kind: str = "apply"
    steps: dict[str, StepProgress] = field(default_factory=dict)
    result: Result | None = None
    refusal: str = ""
    ended: bool = False
    began: str = ""
    last: str = ""
    # How many changes an undo is to make, if that is known.
    changes: int = 0

    @staticmethod
    def of_plan(
        run: str, plan: Plan, kind: str = "apply", *, history: Mapping[str, float] | None = None, changes: int = 0
    ) -> RunProgress:
        """The progress before the first event: every pending step waits. `history` as for `consequences_of`."""
        steps = {
            item.step.id: StepProgress(
                item.step.id, item.step.describe(), seconds=expected_seconds(item, history or {})
            )
            for item in plan.pending()
        }
        return RunProgress(run, kind, steps, changes=changes)

    def elapsed(self, now: float) -> float:
        """For how many seconds the run has been going on, or how long it took."""
        if not self.began:
            return 0.0
        return max(0.0, (seconds_of(self.last) if self.ended else now) - seconds_of(self.began))

    def left(self, now: float) -> float:
        """The estimated seconds until the run ends."""
        return 0.0 if self.ended else sum(step.left(now) for step in self.steps.values())

    def fraction(self, now: float) -> float:
        """How much of the run is done, weighted by how long the steps take."""
        if self.ended:
            return 1.0 if self.finished == len(self.steps) else self.finished / max(1, len(self.steps))
        left = self.left(now)
        done = sum(step.seconds for step in self.steps.values() if step.ended)
        done += sum(step.spent(now) for step in self.steps.values() if step.stage == "running")
        return done / (done + left) if done + left > 0 else 0.0

    def by_page(self) -> dict[str, list[StepProgress]]:
        """The steps of each page."""
        pages: dict[str, list[StepProgress]] = {}
        for step in self.steps.values():
            pages.setdefault(step.id.partition(".")[0], []).append(step)
        return pages

    def apply_event(self, event: Event) -> LogLine | None:
        """Apply one event; returns its log line."""
        self.began, self.last = self.began or event.t, event.t
        if event.kind == "summary":
            self._end(event)
            return None
        step = self._step(event) if event.step else None
        if step is not None and event.kind == "started":
            step.stage, step.began, step.describe = "running", event.t, event.text
        elif step is not None and event.kind == "finished" and event.outcome is not None:
            step.stage, step.text, step.ended = event.outcome, event.text, event.t
        elif step is not None and event.kind == "progress":
            output = step.text
            step.done, step.total, step.text = event.done or 0, event.total or 0, event.text
            if step.counts_bytes:
                step.sample(seconds_of(event.t), step.done)
            if event.text in ("", output):
                return None
        elif step is not None and self.kind == "undo" and event.kind == "log" and event.text[:2] in CHANGE_MARKS:
            step.done += 1
            step.total = max(self.changes, step.done) if self.changes else 0
        text = line_of(event)
        if text and not event.stream:
            text = tr(text)
        return LogLine(local_time(event.t), event.page, event.step, event.level, text) if text else None

    def count(self, *stages: Stage) -> int:
        """How many steps are in one of these stages."""
        return sum(1 for step in self.steps.values() if step.stage in stages)

    @property
    def finished(self) -> int:
        """How many steps have ended."""
        return self.count("changed", "unchanged", "failed", "skipped")

    @property
    def current(self) -> StepProgress | None:
        return next((step for step in self.steps.values() if step.stage == "running"), None)

    def failed(self) -> tuple[StepProgress, ...]:
        return tuple(step for step in self.steps.values() if step.stage == "failed")

    def _step(self, event: Event) -> StepProgress:
        return self.steps.setdefault(event.step, StepProgress(event.step, event.text))

    def _end(self, event: Event) -> None:
        self.ended = True
        if event.data is None or "steps" not in event.data:
            self.refusal = event.text
            return
        self.result = Result.from_json(event.data)
        for result in self.result.steps:
            step = self.steps.get(result.step)
            if step is not None:
                step.stage, step.text = result.outcome, result.text or step.text


def seconds_of(text: str) -> float:
    """The time of an event in seconds since 1970; 0 if it cannot be read."""
    try:
        return time_of(text).timestamp()
    except ValueError:
        return 0.0


def local_time(text: str) -> str:
    """The time of an event in the local time zone: `14:03:11`."""
    return _local_second(text[:19])


@lru_cache(maxsize=16)
def _local_second(second: str) -> str:
    # Many lines have the same time, and converting it is the largest part of drawing a line.
    try:
        return time_of(f"{second}Z").astimezone().strftime("%H:%M:%S")
    except ValueError:
        return second[11:19]


def line_of(event: Event) -> str:
    """The log text of an event; empty for those that only move a progress bar."""
    if event.kind == "finished":
        outcome: Outcome | str = event.outcome or ""
        return f"{outcome}: {event.text}" if event.text else outcome
    if event.kind in ("started", "log", "progress", "run", "finding", "question"):
        return event.text
    return ""


class LogFilter(NamedTuple):
    """The lines of one page and step (empty: of all), of at least this level."""

    page: str = ""
    step: str = ""
    level: Level = "debug"

    def passes(self, line: LogLine) -> bool:
        """Whether a line is shown."""
        return (
            (not self.page or line.page == self.page)
            and (not self.step or line.step == self.step)
            and RANK[line.level] >= RANK[self.level]
        )


def likely_cause(text: str, page: str) -> str:
    """The cause and fix as text; empty if nothing is known about the error message of a step of `page`."""
    from bai_wizard.doctor.search import likely

    failure = likely(text, page)
    return f"{tr(failure.cause)} {tr(failure.remedy)}".strip() if failure is not None else ""


# The first service of each role and its distribution.
FIRST: Mapping[Role, tuple[str, str]] = {
    "management": ("manager", "backend.ai-manager"),
    "compute": ("agent", "backend.ai-agent"),
    "storage": ("storage-proxy", "backend.ai-storage-proxy"),
}


def next_commands(machine: Machine, context: Context) -> list[str]:
    """The command for each role whose environment exists on the node but does not have the distribution yet.

    Empty without a release, and for a node that installs from a bundle.
    """
    if not context.backend_ai or context.bundle:
        return []
    commands = []
    for role in context.roles:
        service, name = FIRST[role]
        own, pyenv = f"{context.home}/{service}/.venv", f"{context.home}/.pyenv/versions"
        for path in (own, f"{pyenv}/bai-{context.backend_ai}-{service}"):
            if _can_install(machine, path, name):
                package = f"{name}{specifier(context.backend_ai)}"
                commands.append(f'as {context.account}: {path}/bin/python -m pip install "{package}"')
                break
    return commands


def _can_install(machine: Machine, path: str, name: str) -> bool:
    try:
        venv = machine.state(venv_key(path))
        return isinstance(venv, Venv) and bool(venv.version) and machine.state(distribution_key(path, name)) is None
    except StateUnknown:
        return False


def specifier(release: str) -> str:
    """The version specifier of a release: `~=26.4.0` for the line 26.4, `==26.4.10` for one release.

    `==26.4` would install 26.4.0 only.
    """
    is_line = release.count(".") == 1 and release.replace(".", "").isdigit()
    return f"~={release}.0" if is_line else f"=={release}"
