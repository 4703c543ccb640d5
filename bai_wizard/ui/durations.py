"""Measured and estimated durations of steps, and how durations and sizes are formatted."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.step import Step
from bai_wizard.data import read_toml
from bai_wizard.locale import tr

if TYPE_CHECKING:
    from bai_wizard.engine.lock import StatePaths

# How many earlier runs of this node are read, and how many bytes of events: longer logs are mostly build output.
RUNS, LONGEST_EVENTS = 5, 4 << 20


@cache
def _table() -> dict[str, Any]:
    return read_toml("durations.toml")


def usual_seconds(step: Step) -> float:
    """How long a step usually takes, on any node."""
    seconds = _table()["seconds"]
    return float(seconds.get(type(step).kind, seconds["slow" if step.is_slow else "default"]))


def download_seconds(size: int) -> float:
    """How long it usually takes to download this many bytes."""
    return float(size / _table()["rate"]["download"])


def history_of(paths: StatePaths) -> dict[str, float]:
    """How many seconds each step took when it last changed something on this node, by its ID. Reads files."""
    from bai_wizard.engine.directory import all_runs
    from bai_wizard.engine.events import EventReader

    result: dict[str, float] = {}
    try:
        runs = all_runs(paths)[-RUNS:]
    except PreflightError:
        return result  # only root can read the runs; estimates replace them
    for run in runs:
        if run.events.is_file() and run.events.stat().st_size <= LONGEST_EVENTS:
            reader, begun = EventReader(run), dict[str, datetime]()
            while events := reader.more():
                for event in events:
                    if event.kind == "started":
                        begun[event.step] = time_of(event.t)
                    elif event.kind == "finished" and event.outcome == "changed" and event.step in begun:
                        result[event.step] = (time_of(event.t) - begun[event.step]).total_seconds()
    return result


def time_of(text: str) -> datetime:
    """The time of an event, in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def about(seconds: float) -> str:
    """An estimated duration, rounded so that it does not look exact: `~40 s`, `~11 min`, `~2 h 10 min`."""
    return (
        f"~{duration(seconds if seconds < 10 else round(seconds, -1) if seconds < 90 else 60 * round(seconds / 60))}"
    )


def duration(seconds: float) -> str:
    """A duration: `4 s`, `4:12 min`, `11 min`, `2 h 10 min`."""
    whole = max(1, round(seconds)) if seconds > 0 else 0
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return tr("{count} s", count=whole)
    if minutes < 60:
        return tr("{count} min", count=f"{minutes}:{rest:02}" if rest else minutes)
    return tr("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)


def size_text(size: float) -> str:
    """Bytes in units of 1000, as registries and `docker pull` count: `640 kB`, `31 MB`, `13.2 GB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            value = size / unit
            return f"{value:.1f} {name}" if value < 100 and name == "GB" else f"{value:.0f} {name}"
    return f"{size / 1e3:.0f} kB"
