"""JSON lines: one event each, for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bai_wizard.core.event import Event, EventKind
from bai_wizard.core.plan import Plan
from bai_wizard.core.secret import redact
from bai_wizard.engine.run.result import Result


class JsonLines:
    """Every line is an event of the contract's form; those outside a run have an empty run."""

    def plan(self, plan: Plan, origins: Mapping[str, str]) -> None:
        self._tell("plan", data={**plan.to_json(), "origins": dict(origins)})

    def event(self, event: Event) -> None:
        _write(event.to_json())

    def summary(self, result: Result) -> None:
        self._tell("summary", data=result.to_json())

    def note(self, text: str) -> None:
        self._tell("log", text)

    def _tell(self, kind: EventKind, text: str = "", data: dict[str, Any] | None = None) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        _write(Event(t=now, run="", id=0, kind=kind, text=text, data=data).to_json())


def _write(value: dict[str, Any]) -> None:
    sys.stdout.write(redact(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()
