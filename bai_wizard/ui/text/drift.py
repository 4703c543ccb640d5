"""What `drift` prints and writes: human-readable lines, JSON Lines, and metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bai_wizard.doctor.causes import Cause
from bai_wizard.doctor.differences import Comparison, Difference, State
from bai_wizard.doctor.report import write_jsonl
from bai_wizard.locale import ntr, tr
from bai_wizard.ui.present import indented

if TYPE_CHECKING:
    from bai_wizard.core.event import Level

LEVELS: dict[State, Level] = {"changed": "warning", "refused": "error", "unknown": "warning"}


def drift_lines(result: Comparison, *, diff: bool) -> Iterator[str]:
    """The differences as human-readable lines, by page and step; with `diff`, every line of each change."""
    since = f" ({_local(result.since)})" if result.since else ""
    yield tr("{host}: compared with {origin}{since}", host=indented(result.host), origin=result.origin, since=since)
    page = step = ""
    for each in result.differences:
        if each.step.page != page:
            page = each.step.page
            yield f"\n[{page}]"
        if each.step.id != step:
            step = each.step.id
            yield f"{step}: {indented(tr(each.step.describe()))}"
        yield from (f"  {line}" for line in _difference_lines(each, diff=diff))
    if result.differences:
        count = result.drifted().total()
        yield "\n" + ntr("{count} object differs", "{count} objects differ", count)
    else:
        yield tr("no drift")


def _difference_lines(each: Difference, *, diff: bool) -> Iterator[str]:
    if each.change is not None:
        yield from each.change.diff().splitlines() if diff else [indented(tr(each.change.headline()))]
    elif each.state == "unknown":
        yield tr("Cannot be determined: {reason}", reason=indented(each.reason))
    else:
        yield indented(tr(each.reason))
    if each.is_accepted:
        yield "  " + tr("this was so when the run ended")
    for cause in each.causes:
        yield "  " + tr("possible cause: {cause}", cause=indented(_cause_line(cause)))
    if each.is_drift and not each.causes:
        yield "  " + tr("possible cause: none found in file times and logs")


def _cause_line(cause: Cause) -> str:
    """One line for a possible cause, with its local time."""
    about = {"time": _local(cause.time), "what": cause.what, "text": cause.text}
    if cause.source == "file":
        modified = _local(cause.modified)
        return tr("{time}: {what} was changed (owner {owner}, content modified {modified})",
                  owner=cause.owner, modified=modified, **about)  # fmt: skip
    if cause.source == "dpkg":
        line = tr("{time}: dpkg: {text}", **about)
    elif cause.source == "sudo":
        line = tr("{time}: {what} ran with sudo: {text}", **about)
    else:
        line = tr("{time}: {what}: {text}", **about)
    return line if cause.is_named else tr("{line} (close in time only)", line=line)


def _local(seconds: float) -> str:
    """A local time. The owner of a file can give it a time that no calendar has: that is shown as a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:.0f}"


def write_json(result: Comparison) -> None:
    """Write an event for each difference, and a summary."""
    for number, each in enumerate(result.differences, start=1):
        level = "info" if each.is_excused else LEVELS[each.state]
        text = each.change.headline() if each.change else each.reason
        write_jsonl("drift", text, _json(each), page=each.step.page, level=level, number=number)
    since = _utc(result.since) if result.since else None
    data = {
        "version": 1,
        "host": result.host,
        "compared_with": result.origin,
        "since": since,
        "code": int(result.code()),
    }
    counts = {"drifted": dict(result.drifted()), "not_compared": len(result.not_compared())}
    write_jsonl("summary", "", data | counts, number=len(result.differences) + 1)


def _json(each: Difference) -> dict[str, Any]:
    step = {"step": each.step.id, "describe": each.step.describe(), "optional": each.step.optional}
    about: dict[str, Any] = {"version": 1, "state": each.state, "kind": each.key.kind, "name": each.key.name, **step}
    if each.change is None:
        about |= {"reason": each.reason}
    else:
        about |= {"change": each.change.headline(), "diff": each.change.diff()}
    about |= {"accepted": each.is_accepted, "excused": each.is_excused}
    return about | {"possible_causes": [_cause_json(cause) for cause in each.causes]}


def _cause_json(cause: Cause) -> dict[str, Any]:
    if cause.source == "file":
        times = {"changed": _utc(cause.time), "modified": _utc(cause.modified)}
        return {"source": "file", "path": cause.what, "owner": cause.owner, **times}
    what = {"dpkg": "package", "sudo": "user", "journal": "program"}[cause.source]
    about = {"text": cause.text, "match": "name" if cause.is_named else "time"}
    return {"source": cause.source, "time": _utc(cause.time), what: cause.what, **about}


def _utc(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:.0f}"


def metrics_text(drifted: Mapping[str, int], now: float, *, is_complete: bool) -> str:
    """The metrics in Prometheus' text format. Without a comparison, `drifted` is empty."""
    objects = [f'bai_wizard_drift_objects{{page="{page}"}} {count}' for page, count in drifted.items()]
    metrics = {
        "bai_wizard_drift_objects": ("Objects that differ from the answers, by page.", objects),
        "bai_wizard_drift_last_check_timestamp_seconds": (
            "When the last check ended, in seconds since 1970.",
            [f"bai_wizard_drift_last_check_timestamp_seconds {now:.0f}"],
        ),
        "bai_wizard_drift_check_success": (
            "Whether the last check could compare everything: 1, otherwise 0.",
            [f"bai_wizard_drift_check_success {int(is_complete)}"],
        ),
    }
    return "".join(
        "\n".join([f"# HELP {name} {help}", f"# TYPE {name} gauge", *values]) + "\n"
        for name, (help, values) in metrics.items()
        if values
    )
