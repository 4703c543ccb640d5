"""What an interruption would affect, in an operator's terms: sessions with owner, GPUs and age, other containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import time

from bai_wizard.core.consent import Affected
from bai_wizard.locale import ntr, tr
from bai_wizard.ui.durations import duration


def workload_lines(affected: Sequence[Affected], now: float | None = None) -> tuple[str, ...]:
    """A line for each Backend.AI session, then one for each other container; empty if only their names are known.

    `now`: in seconds since 1970.
    """
    if all(item.session is None and not item.since for item in affected):
        return ()
    moment = time() if now is None else now
    sessions: dict[str, list[Affected]] = {}
    for item in affected:
        if item.session is not None:
            sessions.setdefault(item.session.id, []).append(item)
    lines = [_session_line(items, moment) for items in sessions.values()]
    return (*lines, *(_other_line(item, moment) for item in affected if item.session is None))


def _session_line(items: Sequence[Affected], now: float) -> str:
    session = items[0].session
    assert session is not None
    name = f"{session.name} ({session.id})" if session.name else session.id
    owner = session.owner or tr("unknown")
    parts = [tr("session {name} of {owner}", name=name, owner=owner), *_gpus_and_age(items, now)]
    if len(items) > 1:
        parts.append(ntr("{count} container", "{count} containers", len(items)))
    return ", ".join(parts)


def _other_line(item: Affected, now: float) -> str:
    name = f"{item.name} ({item.image})" if item.image else item.name
    what = tr("container {name}", name=name) if item.id.startswith("container:") else name
    return ", ".join((what, *_gpus_and_age((item,), now)))


def _gpus_and_age(items: Sequence[Affected], now: float) -> Iterator[str]:
    if gpus := dict.fromkeys(gpu for item in items for gpu in item.gpus):
        yield tr("GPU {numbers}", numbers=" ".join(gpus))
    if known := [item.since for item in items if item.since]:
        yield tr("running for {time}", time=duration(60 * max(1, round((now - min(known)) / 60))))
