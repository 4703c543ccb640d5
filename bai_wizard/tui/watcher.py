"""Follows a run from its events, like everybody else: a thread reads, the screen takes a frame's worth at a time."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from textual.signal import Signal

from bai_wizard.core.event import Event
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.follow import EventReader, unwritten_summary
from bai_wizard.tui.background import Came
from bai_wizard.wizard.picture import LogLine, Picture

if TYPE_CHECKING:
    from bai_wizard.tui.app import WizardApp

# Lines kept for the screen; the file has all of them.
KEPT = 5000
# Lines that one frame takes, and how often the file is looked at when it is quiet, in seconds.
FRAME = 1000
INTERVAL = 0.1
# How long a run that was started may take to write its first event, in seconds.
PATIENCE = 30.0


class Watcher:
    """One run at a time. `moved` is sent with the lines that came, perhaps none, when the picture has changed."""

    def __init__(self, app: WizardApp) -> None:
        self.app = app
        self.run: RunDirectory | None = None
        self.picture: Picture | None = None
        self.lines: deque[LogLine] = deque(maxlen=KEPT)
        self.cut = False
        self.moved: Signal[list[LogLine]] = Signal(app, "moved")
        self._leave = threading.Event()

    @property
    def is_running(self) -> bool:
        """True while the run that is watched has not come to an end."""
        return self.picture is not None and not self.picture.ended and not self.cut

    def watch(self, run: RunDirectory, plan: Plan, offset: int = 0) -> None:
        """Follows a run from a byte of its events on; whatever was watched before is left alone."""
        self._leave.set()
        self._leave = threading.Event()
        self.lines.clear()
        self.cut = False
        self.run = run
        self.picture = Picture.of_plan(run.id, plan, run.kind)
        threading.Thread(target=self._follow, args=(run, offset, self._leave), daemon=True).start()
        self.moved.publish([])

    def leave(self) -> None:
        """Looks away; the run goes on."""
        self._leave.set()

    def _follow(self, run: RunDirectory, offset: int, leave: threading.Event) -> None:
        """In a thread: reads, hands over, and waits until the screen has taken it."""
        reader = EventReader(run, offset)
        waited = 0.0
        while not leave.is_set():
            was_alive = self.app.desk.is_alive(run)
            events = reader.more()
            for start in range(0, len(events), FRAME):
                if not self._hand_over(events[start : start + FRAME], leave):
                    return
            if any(event.kind == "summary" for event in events):
                return
            if events:
                waited = PATIENCE
            elif not was_alive and waited >= PATIENCE:
                last = unwritten_summary(run)
                if last is not None:
                    self._hand_over([last], leave)
                else:
                    self.app.post_message(Came(lambda: self._cut(leave)))
                return
            else:
                leave.wait(INTERVAL)
                waited += INTERVAL

    def _hand_over(self, events: list[Event], leave: threading.Event) -> bool:
        taken = threading.Event()
        if not self.app.post_message(Came(lambda: self._take(events, taken, leave))):
            return False
        while not taken.wait(1.0):
            if leave.is_set() or not self.app.is_running:
                return False
        # A frame's pause, so that keys come in between.
        return not leave.wait(1 / 60)

    def _take(self, events: list[Event], taken: threading.Event, leave: threading.Event) -> None:
        if leave is self._leave and self.picture is not None:
            lines = [line for event in events if (line := self.picture.take(event)) is not None]
            self.lines.extend(lines)
            self.moved.publish(lines)
        taken.set()

    def _cut(self, leave: threading.Event) -> None:
        if leave is self._leave:
            self.cut = True
            self.moved.publish([])
