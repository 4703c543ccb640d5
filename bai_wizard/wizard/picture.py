"""The picture of a run that its events draw: where each step is, and what was said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from bai_wizard.core.event import Event, Level, Outcome
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.result import Result

Stage = Literal["waits", "running", "changed", "unchanged", "failed", "skipped"]
RANK: dict[Level, int] = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class LogLine(NamedTuple):
    """One line of the log. `time` is the event's, UTC."""

    time: str
    page: str
    step: str
    level: Level
    text: str

    def __str__(self) -> str:
        mark = {"warning": "! ", "error": "!! "}.get(self.level, "")
        return f"{self.time}  {self.step:<22} {mark}{self.text}"


@dataclass
class StepPicture:
    """One step as it stands. `done` of `total` is its own progress, where it tells any."""

    id: str
    describe: str
    stage: Stage = "waits"
    text: str = ""
    done: int = 0
    total: int = 0
    began: str = ""
    ended: str = ""


@dataclass
class Picture:
    """A run as far as its events go. `result` is there once it ended, `refusal` when it never began."""

    run: str
    kind: str = "apply"
    steps: dict[str, StepPicture] = field(default_factory=dict)
    result: Result | None = None
    refusal: str = ""
    ended: bool = False

    @staticmethod
    def of_plan(run: str, plan: Plan, kind: str = "apply") -> Picture:
        """The picture before the first event: every pending step waits."""
        steps = {item.step.id: StepPicture(item.step.id, item.step.describe()) for item in plan.pending()}
        return Picture(run, kind, steps)

    def take(self, event: Event) -> LogLine | None:
        """Draws one event in; returns what it says in the log."""
        if event.kind == "summary":
            self._end(event)
            return None
        step = self._step(event) if event.step else None
        if step is not None and event.kind == "started":
            step.stage, step.began, step.describe = "running", event.t, event.text
        elif step is not None and event.kind == "finished" and event.outcome is not None:
            step.stage, step.text, step.ended = event.outcome, event.text, event.t
        elif step is not None and event.kind == "progress":
            said = step.text
            step.done, step.total, step.text = event.done or 0, event.total or 0, event.text
            if event.text in ("", said):
                return None
        text = line_of(event)
        return LogLine(event.t[11:19], event.page, event.step, event.level, text) if text else None

    def count(self, *stages: Stage) -> int:
        """How many steps are at one of these stages."""
        return sum(1 for step in self.steps.values() if step.stage in stages)

    @property
    def finished(self) -> int:
        """How many steps have come to an end."""
        return self.count("changed", "unchanged", "failed", "skipped")

    @property
    def current(self) -> StepPicture | None:
        """The step that is being done."""
        return next((step for step in self.steps.values() if step.stage == "running"), None)

    def failed(self) -> tuple[StepPicture, ...]:
        """The steps that failed."""
        return tuple(step for step in self.steps.values() if step.stage == "failed")

    def begin_again(self) -> None:
        """A further attempt begins: what did not end well waits again."""
        self.result, self.refusal, self.ended = None, "", False
        for step in self.steps.values():
            if step.stage in ("failed", "skipped", "running"):
                step.stage, step.text = "waits", ""

    def _step(self, event: Event) -> StepPicture:
        return self.steps.setdefault(event.step, StepPicture(event.step, event.text))

    def _end(self, event: Event) -> None:
        self.ended = True
        if event.data is None or "steps" not in event.data:
            self.refusal = event.text
            return
        self.result = Result.from_json(event.data)
        for told in self.result.steps:
            step = self.steps.get(told.step)
            if step is not None:
                step.stage, step.text = told.outcome, told.text or step.text


def line_of(event: Event) -> str:
    """What an event says in the log; empty for those that only move a bar."""
    if event.kind == "finished":
        outcome: Outcome | str = event.outcome or ""
        return f"{outcome}: {event.text}" if event.text else str(outcome)
    if event.kind in ("started", "log", "progress", "run", "finding", "question"):
        return event.text
    return ""


def matching(lines: Iterable[LogLine], page: str, level: Level, words: str) -> list[LogLine]:
    """The lines of one page (empty: of all), of at least this level, that contain the words."""
    wanted = words.lower()
    return [
        line
        for line in lines
        if (not page or line.page == page)
        and RANK[line.level] >= RANK[level]
        and (not wanted or wanted in str(line).lower())
    ]
