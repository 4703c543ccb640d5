"""Units from `systemctl show`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Unit
from bai_wizard.machine.runner import run

PROPERTIES = "LoadState,UnitFileState,ActiveState,ActiveEnterTimestamp"
DEADLINE = 5.0
_TIME = re.compile(r"(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)(?:\.(\d{1,6}))?")


def read_unit(name: str) -> Unit | None:
    """A unit as systemd sees it; None where there is none of that name. Raises CannotTell."""
    argv = ["systemctl", "show", f"--property={PROPERTIES}", "--timestamp=us+utc", "--no-pager", "--", name]
    completed = run(argv, timeout=DEADLINE)
    if completed.code != 0:
        raise CannotTell(f"systemctl show {name}: {completed.err.strip() or f'exit code {completed.code}'}")
    return parse_unit(completed.out)


def parse_unit(text: str) -> Unit | None:
    """The answer of `systemctl show`."""
    fields = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
    if fields.get("LoadState", "not-found") == "not-found":
        return None
    enabled = fields.get("UnitFileState", "")
    if fields["LoadState"] == "masked":
        enabled = "masked"
    active = fields.get("ActiveState", "")
    return Unit(enabled, active, parse_time(fields.get("ActiveEnterTimestamp", "")))


def parse_time(text: str) -> float:
    """`Mon 2026-11-23 18:57:16.123456 UTC` in seconds since 1970; 0 for a unit that never ran."""
    match = _TIME.search(text)
    if match is None:
        return 0.0
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    micro = int((match[7] or "0").ljust(6, "0"))
    return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC).timestamp()
