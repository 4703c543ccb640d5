"""Output without a screen: human-readable text, JSON Lines for programs, and following a run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from bai_wizard.core.consent import TO_DISRUPT, Consent, Disruptions, Interrupt, agree, disruptions_to_json, names_of
from bai_wizard.core.display import VisibleStream
from bai_wizard.core.errors import OutputLost, PreflightError
from bai_wizard.core.event import Event, EventKind
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.lock import moment
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import tr
from bai_wizard.session import Session
from bai_wizard.ui.consequences import consequences_of
from bai_wizard.ui.console import decide
from bai_wizard.ui.present import indented, interruptions, plan_lines, result_lines, undo_lines

if TYPE_CHECKING:
    from bai_wizard.engine.choose import Held
    from bai_wizard.engine.maintenance import Conditions
    from bai_wizard.engine.undo import UndoPlan
    from bai_wizard.ui.text.console import Terminal


class Output:
    """Text: results go to standard output, progress to standard error, each rendered by rich if it is a terminal."""

    def __init__(self, stdout: Terminal | None = None, stderr: Terminal | None = None, *, diff: bool = False) -> None:
        """`diff`: show every line of every change."""
        self._stdout = stdout
        self._stderr = stderr
        self._diff = diff

    def plan(self, plan: Plan, origins: Mapping[str, str], disruptions: Disruptions) -> None:
        """Show what would change, and what that would interrupt right now.

        `origins` says where answers came from if there is more than one source.
        """
        self.show("\n".join([*plan_lines(plan, disruptions, diff=self._diff), *interruptions(disruptions)]))
        if len({origin.rpartition(":")[0] or origin for origin in origins.values()}) > 1:
            lines = (f"  {key}: {origin}" for key, origin in origins.items())
            self.show("\n".join(["\nWhere the answers came from:", *lines]))

    def undo_plan(self, run: str, wanted: UndoPlan, held: Held, *, force: bool) -> None:
        """Show what an undo would do."""
        self.show("\n".join(undo_lines(run, wanted, held, force=force, diff=self._diff)))

    def plan_file(self, path: str, digest: str) -> None:
        """Show that a plan was written, and its digest in the format of `sha256sum`."""
        self.show(tr("\nPlan written to {path}; its SHA-256:\n{digest}  {path}", path=path, digest=digest))

    def show(self, text: str) -> None:
        """Show a result."""
        _print(sys.stdout, self._stdout, text)

    def event(self, event: Event) -> None:
        """Show one event of a run."""
        line = event_line(event)
        if self._stderr is not None:
            self._stderr.event(event, line)
        elif line:
            _print(sys.stderr, None, line)

    def end(self) -> None:
        """Stop following a run."""
        if self._stderr is not None:
            self._stderr.stop()

    def summary(self, result: Result) -> None:
        """Show how the run ended."""
        self.end()
        self.show("\n".join(result_lines(result)))

    def note(self, text: str) -> None:
        """Show a message of the front end itself."""
        _print(sys.stderr, self._stderr, tr(text))


def output_for(arguments: argparse.Namespace) -> Output:
    """JSON Lines or human-readable text."""
    if arguments.json:
        return JsonLines()
    return Output(terminal_for(sys.stdout, arguments), terminal_for(sys.stderr, arguments), diff=arguments.diff)


def terminal_for(stream: TextIO, arguments: argparse.Namespace) -> Terminal | None:
    """The stream as a terminal that shows colors; None if it is not one, or if colors are not wanted."""
    console = decide(
        os.environ,
        is_terminal=stream.isatty(),
        encoding=stream.encoding or "",
        plain=arguments.plain,
        ascii=arguments.ascii,
        serial=arguments.serial,
    )
    if console.mode != "screen" or console.ascii or "NO_COLOR" in os.environ or not isinstance(stream, VisibleStream):
        return None
    from bai_wizard.ui.text.console import Terminal

    return Terminal(stream)


def _print(stream: TextIO, terminal: Terminal | None, text: str) -> None:
    if terminal is not None:
        terminal.print(text)
    else:
        stream.write(redact(text) + "\n")
        stream.flush()


def event_line(event: Event) -> str:
    """One line for an event; empty for events without text."""
    time, text = event.t[11:19], indented(event.text if event.stream else tr(event.text))
    if event.kind == "started":
        return f"{time} {event.step}: {text}"
    if event.kind == "finished":
        # The rest, such as a diff, follows in the summary.
        first, _, rest = text.partition("\n")
        text = f"{first} …" if rest else first
        return f"{time} {event.step}: {tr(event.outcome or '')}{f': {text}' if text else ''}"
    if event.kind == "progress" and event.total:
        return f"{time} {event.step}: {text} {event.done}/{event.total}"
    if event.kind in ("log", "run"):
        return f"{time} {event.step + ': ' if event.step else ''}{text}"
    return ""


# The texts of an undo plan, as in `UndoPlan`.
UNDO_TEXTS = ("recovered", "conflicts", "damages", "lasting", "in_use")


class JsonLines(Output):
    """Every line is an event as defined by the contract; events outside a run have an empty run."""

    def plan(self, plan: Plan, origins: Mapping[str, str], disruptions: Disruptions) -> None:
        consequences = consequences_of(plan, disruptions).to_json()
        interrupts = disruptions_to_json(disruptions)
        self.tell(
            "plan",
            data={
                **plan.to_json(),
                "steps": [
                    {**body, "describe": planned.step.describe()}
                    for body, planned in zip(plan.to_json()["steps"], plan.steps, strict=True)
                ],
                "origins": dict(origins),
                "interrupts": interrupts,
                "consequences": consequences,
            },
        )

    def undo_plan(self, run: str, wanted: UndoPlan, held: Held, *, force: bool) -> None:
        changes = [
            {"step": step, "subject": change.subject, "verb": change.verb, "diff": change.diff()}
            for step, change in wanted.changes
        ]
        texts = {name: list(getattr(wanted, name)) for name in UNDO_TEXTS}
        interrupts = disruptions_to_json(wanted.disruptions)
        counts = {"holds": None if held.unknown else held.changes, "commands": wanted.commands}
        data = {"undoes": run, "force": force, "changes": changes, **counts, **texts, "interrupts": interrupts}
        self.tell("plan", data={"version": 1, "kind": "undo", **data})

    def plan_file(self, path: str, digest: str) -> None:
        self.tell("log", f"plan written to {path}", data={"plan_file": path, "sha256": digest})

    def show(self, text: str) -> None:
        self.note(text)

    def event(self, event: Event) -> None:
        _write(event)

    def summary(self, result: Result) -> None:
        self.tell("summary", data=result.to_json())

    def note(self, text: str) -> None:
        self.tell("log", text)

    def tell(self, kind: EventKind, text: str = "", data: dict[str, Any] | None = None) -> None:
        """Write an event that belongs to no run."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        _write(Event(t=now, run="", id=0, kind=kind, text=text, data=data))


def _write(event: Event) -> None:
    sys.stdout.write(event.to_line())
    sys.stdout.flush()


def watch(
    session: Session, run: RunDirectory, output: Output, *, offset: int = 0, stop: bool = True, started: bool = True
) -> tuple[ExitCode, Result | None]:
    """Show a run until it ends and return its code and result; None if watching stopped or the run was interrupted.

    With `stop`, the first Ctrl-C stops the run after its current step; otherwise, and in a demo, it only stops
    watching. `started`: the caller has just started the run.
    """
    from bai_wizard.engine.events import RunInterrupted

    may_stop, is_left = stop and not session.demo, False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal may_stop, is_left
        if not may_stop or not session.is_alive(run):
            is_left = True
            return
        may_stop = False
        session.stop(run)
        output.note(
            "stopping after the current step (press Ctrl-C again to leave it running); "
            f"continue later with: bai-wizard resume {run.id}"
        )

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        for events in session.follow(run, offset=offset, started=started, detached=lambda: is_left):
            for event in events:
                if event.kind == "summary" and event.data is not None:
                    return _ended(event.data, event.text, output)
                output.event(event)
    except RunInterrupted as error:
        output.note(str(error))
        return ExitCode.FAILED, None
    except OutputLost as error:
        print(f"bai-wizard: {error}; {_continues(run)}", file=sys.stderr)
        return ExitCode.INTERRUPTED, None
    finally:
        signal.signal(signal.SIGINT, before)
        output.end()
    output.note(_continues(run))
    return ExitCode.INTERRUPTED, None


def _continues(run: RunDirectory) -> str:
    return f"run {run.id} continues; watch it with: bai-wizard attach {run.id}"


def _ended(data: dict[str, object], text: str, output: Output) -> tuple[ExitCode, Result | None]:
    if "steps" not in data:
        output.note(text)
        return ExitCode(int(str(data["code"]))), None
    result = Result.from_json(data)
    try:
        output.summary(result)
    except OutputLost as error:
        print(f"bai-wizard: {error}", file=sys.stderr)
    return result.code(), result


def split_csv(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def agree_to(
    disruptions: Disruptions, words: Collection[Interrupt], output: Output, conditions: Conditions | None = None
) -> tuple[Consent, ...]:
    """The consent that `--yes-interrupt` gives to what would be interrupted now; shows what that is.

    With a window, it lasts until its end.

    Raises PreflightError naming what would be interrupted without consent, and the option that gives it.
    """
    left = {what: affected for what, affected in disruptions.items() if what not in words}
    if left:
        lines = [f"  {what} would interrupt {names_of(affected)}" for what, affected in left.items()]
        allow = f"to allow this, add --yes-interrupt={','.join(disruptions)}"
        raise PreflightError("nothing was changed:\n" + "\n".join(lines) + f"\n  {allow}")
    for what in words:
        output.note(f"allowed: {what}, which would now interrupt {names_of(disruptions.get(what, ())) or 'nothing'}")
    return agree(disruptions, words, moment(), conditions.longest() if conditions else TO_DISRUPT)


def require_root(machine: Machine, arguments: argparse.Namespace) -> None:
    """Re-execute this command under sudo if it does not run as root.

    Raises PreflightError if sudo needs a password.
    """
    if machine.is_root:
        return
    if machine.query(["sudo", "-n", "true"]).code != 0:
        raise PreflightError("this needs root, and sudo would ask for a password; run it as root or with sudo")
    from bai_wizard.engine.launch import elevate

    elevate(arguments.words, ask=False)
