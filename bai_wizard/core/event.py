"""Events: the narrative of a run, one JSON object a line. Every front end reads them, none makes the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

EVENT_VERSION = 1

EventKind = Literal["plan", "run", "started", "log", "progress", "finished", "finding", "question", "summary"]
Level = Literal["debug", "info", "warning", "error"]
Outcome = Literal["changed", "unchanged", "failed", "skipped"]


@dataclass(frozen=True)
class Event:
    """One thing that happened. `t` is UTC, ISO 8601 with `Z`; `parent` is the id of the event that opened it.

    `done` of `total` are bytes, packages or steps, as the text says.
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
        """Only what is set, `v` first."""
        body = {key: value for key, value in asdict(self).items() if value not in (None, "")}
        return {"v": body.pop("v"), **body}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Event:
        """Reads one event, ignoring fields of later versions. Raises ValueError on what is no event."""
        known = {name: data[name] for name in Event.__dataclass_fields__ if name in data}
        try:
            return Event(**known)
        except TypeError as error:
            raise ValueError(f"not an event: {error}") from error


class Log(Protocol):
    """Where a primitive tells what it is doing while it works."""

    def __call__(
        self,
        text: str,
        *,
        stream: str = "",
        level: Level = "info",
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """One line of narrative, or of progress where `done` and `total` are given."""


def silent(
    text: str, *, stream: str = "", level: Level = "info", done: int | None = None, total: int | None = None
) -> None:
    """A Log that keeps nothing."""
