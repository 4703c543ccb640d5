"""Text for people: the plan with its diffs, the run as it goes, the summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from bai_wizard.core.event import Event, Outcome
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Blocked, Pending, Unchanged
from bai_wizard.engine.run.result import Result


class Text:
    """Results on standard output, narration on standard error."""

    def plan(self, plan: Plan, origins: Mapping[str, str]) -> None:
        _out("\n".join(plan_lines(plan)))
        if len({origin.rpartition(":")[0] or origin for origin in origins.values()}) > 1:
            _out("\nWhere the answers came from:")
            _out("\n".join(f"  {key}: {origin}" for key, origin in origins.items()))

    def event(self, event: Event) -> None:
        line = event_line(event)
        if line:
            _err(line)

    def summary(self, result: Result) -> None:
        _out("\n".join(summary_lines(result)))

    def note(self, text: str) -> None:
        _err(text)


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan by page: every pending step with its diff, the others in a line."""
    pending = len(plan.pending())
    yield f"{plan.host}: {pending} of {len(plan.steps)} steps to do" if pending else f"{plan.host}: nothing to do"
    page = ""
    for planned in plan.steps:
        if isinstance(planned.verdict, Unchanged) and not planned.verdict.note:
            continue
        if planned.step.page != page:
            page = planned.step.page
            yield f"\n[{page}]"
        yield from _step_lines(planned)
    yield from (f"note: {note}" for note in plan.notes)


def _step_lines(planned: PlannedStep) -> Iterator[str]:
    step, verdict = planned.step, planned.verdict
    tags = []
    if step.optional:
        tags.append("optional")
    if step.effect != "now":
        tags.append(
            "takes effect at the next login" if step.effect == "next-login" else "takes effect after a reboot"
        )
    tags += [f"interrupts: {interrupt}" for interrupt in step.interrupts]
    tail = f"  ({'; '.join(tags)})" if tags and isinstance(verdict, Pending) else ""
    yield f"{step.id}: {step.describe()}{tail}"
    if isinstance(verdict, Pending):
        for change in verdict.changes:
            yield from ("  " + line for line in change.diff().rstrip("\n").split("\n"))
        if verdict.known_after:
            yield f"  more is known after: {verdict.known_after}"
    elif isinstance(verdict, Blocked):
        yield f"  must not be done: {verdict.reason}"
    else:
        yield f"  {verdict.note}"


def event_line(event: Event) -> str:
    """One line for an event; empty for those that say nothing in text."""
    time = event.t[11:19]
    if event.kind == "started":
        return f"{time} {event.step}: {event.text}"
    if event.kind == "finished":
        return f"{time} {event.step}: {event.outcome}{f': {event.text}' if event.text else ''}"
    if event.kind == "progress" and event.total:
        return f"{time} {event.step}: {event.text} {event.done}/{event.total}"
    if event.kind in ("log", "run"):
        return f"{time} {event.step + ': ' if event.step else ''}{event.text}"
    return ""


def summary_lines(result: Result) -> Iterator[str]:
    """The counts, then what failed, what waits, what stays."""
    names: tuple[Outcome, ...] = ("changed", "unchanged", "skipped", "failed")
    yield ", ".join(f"{result.count(name)} {name}" for name in names)
    for step in result.steps:
        if step.outcome == "failed":
            yield f"failed: {step.step}: {step.text}"
        elif step.outcome == "skipped":
            yield f"skipped: {step.step}: {step.text}"
    login = result.waits_for("next-login")
    if login:
        yield f"in effect at the next login: {', '.join(step.step for step in login)}"
    reboot = result.waits_for("reboot")
    if reboot or result.stopped == "reboot":
        yield f"a reboot is needed for: {', '.join(step.step for step in reboot) or 'the rest'}"
    yield from (f"not taken back by undo: {text}" for text in result.lasting)


def _out(text: str) -> None:
    sys.stdout.write(redact(text) + "\n")
    sys.stdout.flush()


def _err(text: str) -> None:
    sys.stderr.write(redact(text) + "\n")
    sys.stderr.flush()
