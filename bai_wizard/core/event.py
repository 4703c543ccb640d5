"""Events: the narrative of a run, one JSON object per line. Front ends only read them."""

from __future__ import annotations

import json
from typing import Any, Literal, Protocol, get_args

from msgspec import Struct
from msgspec.structs import asdict, replace

from bai_wizard.core.secret import redact, redacted

EVENT_VERSION = 1

EventKind = Literal[
    "plan", "run", "started", "log", "progress", "finished", "finding", "question", "summary", "answers", "problem",
    "group", "drift",
]  # fmt: skip
Level = Literal["debug", "info", "warning", "error"]
Outcome = Literal["changed", "unchanged", "failed", "skipped"]


class Event(Struct, frozen=True):
    """One event. `t` is UTC in ISO 8601 with `Z`; `parent` is the id of the event that opened it.

    `done` and `total` count bytes, packages or steps, as described in the text.
    """

    t: str
    run: str
    id: int
    kind: EventKind
    page: str = ""
    step: str = ""
    parent: int | None = None
    level: Level = "info"
    stream: str = ""
    outcome: Outcome | None = None
    text: str = ""
    done: int | None = None
    total: int | None = None
    data: dict[str, Any] | None = None
    v: int = EVENT_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return only the fields that are set, `v` first."""
        body = {key: value for key, value in asdict(self).items() if value not in (None, "")}
        return {"v": body.pop("v"), **body}

    def to_line(self) -> str:
        """Return one ASCII line ending in a line feed. Secrets are redacted in the values, before encoding."""
        safe = replace(self, text=redact(self.text), data=redacted(self.data))
        return json.dumps(safe.to_json()) + "\n"

    @staticmethod
    def from_json(data: dict[str, Any]) -> Event:
        """Read one event, ignoring fields of later versions. Raises ValueError if it is not an event."""
        known = {name: data[name] for name in Event.__struct_fields__ if name in data}
        try:
            event = Event(**known)
        except TypeError as error:
            raise ValueError(f"not an event: {error}") from error
        texts = (event.t, event.run, event.kind, event.page, event.step, event.level, event.stream, event.text)
        numbers = (event.id, event.parent or 0, event.done or 0, event.total or 0)
        if not (
            all(isinstance(text, str) for text in texts)
            and all(type(number) is int for number in numbers)
            and isinstance(event.data, dict | None)
            and event.level in get_args(Level)
            and (event.outcome is None or event.outcome in get_args(Outcome))
        ):
            raise ValueError("not an event: a field has a value of the wrong type")
        return event


class Log(Protocol):
    """Where an operation reports its progress."""

    def __call__(
        self, text: str, *, stream: str = "", level: Level = "info", done: int | None = None, total: int | None = None
    ) -> None:
        """Emit one line of narrative, or of progress if `done` and `total` are given."""


def silent(text: str, **details: Any) -> None:
    """A Log that discards everything."""
