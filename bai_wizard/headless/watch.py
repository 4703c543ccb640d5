"""Watching a run from a terminal: Ctrl-C asks it to stop, a second one only looks away."""

from __future__ import annotations

import os
import signal
from types import FrameType

from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.follow import RunCut, follow
from bai_wizard.engine.run.lock import current, is_held
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result
from bai_wizard.exits import ExitCode
from bai_wizard.headless.output import Output


def watch(
    places: Places, run: RunDirectory, output: Output, *, offset: int = 0, stop: bool = True
) -> tuple[ExitCode, Result | None]:
    """Shows a run to its end and returns its code and result; None when it was left or cut.

    With `stop` the first Ctrl-C asks the run to stop after its step; without, it only looks away.
    """
    interrupt = _Interrupts(places, run, output, stop)
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        for event in follow(places, run, offset=offset, alive=lambda: is_alive(places, run), detached=interrupt.left):
            if event.kind == "summary" and event.data is not None:
                return _ended(event.data, event.text, output)
            output.event(event)
    except RunCut as error:
        output.note(str(error))
        return ExitCode.FAILED, None
    finally:
        signal.signal(signal.SIGINT, before)
    output.note(f"run {run.id} goes on; watch it with: bai-wizard attach {run.id}")
    return ExitCode.INTERRUPTED, None


def is_alive(places: Places, run: RunDirectory) -> bool:
    """True while the executor of this very run holds the lock."""
    notice = current(places)
    return notice is not None and notice.get("run") == run.id and is_held(places)


def _ended(data: dict[str, object], text: str, output: Output) -> tuple[ExitCode, Result | None]:
    if "steps" not in data:
        output.note(text)
        return ExitCode(int(str(data["code"]))), None
    result = Result.from_json(data)
    output.summary(result)
    return result.code(), result


class _Interrupts:
    """Counts Ctrl-C."""

    def __init__(self, places: Places, run: RunDirectory, output: Output, stop: bool) -> None:
        self._places = places
        self._run = run
        self._output = output
        self._left_to_ask = 1 if stop else 0
        self._is_left = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        notice = current(self._places) or {}
        if self._left_to_ask and notice.get("run") == self._run.id and is_held(self._places):
            self._left_to_ask -= 1
            os.kill(int(notice["pid"]), signal.SIGTERM)
            self._output.note(
                "stopping after this step (Ctrl-C again leaves it running); "
                f"continue later with: bai-wizard resume {self._run.id}"
            )
        else:
            self._is_left = True

    def left(self) -> bool:
        return self._is_left
