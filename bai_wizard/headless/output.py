"""What every output without a screen can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bai_wizard.core.event import Event
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.result import Result


class Output(Protocol):
    """Results go to standard output, narration to standard error (text); JSON lines all go to standard output."""

    def plan(self, plan: Plan, origins: Mapping[str, str]) -> None:
        """Shows what would change; `origins` says where answers came from when there is more than one place."""

    def event(self, event: Event) -> None:
        """Shows one event of a run."""

    def summary(self, result: Result) -> None:
        """Shows how it ended."""

    def note(self, text: str) -> None:
        """Narration of the front end itself."""


def output_for(json: bool) -> Output:
    """JSON lines, or text for people."""
    if json:
        from bai_wizard.headless.jsonl import JsonLines

        return JsonLines()
    from bai_wizard.headless.text import Text

    return Text()
