"""Reads what tuning depends on; files and /proc only, no command."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.state import Sysctl
from bai_wizard.core.view import NodeView
from bai_wizard.pages.tuning import limits_file, sysctl_file
from bai_wizard.pages.tuning.boot import read_files
from bai_wizard.pages.tuning.facts import TuningFacts
from bai_wizard.pages.tuning.inherited import inherited
from bai_wizard.pages.tuning.pam_limits import LimitLine, read_lines
from bai_wizard.pages.tuning.settings import TuningSettings
from bai_wizard.pages.tuning.wanted import NR_OPEN, PORT_RANGE, RESERVED_PORTS, wanted

# pam_limits passes PID 1's soft limit of open files on up to FD_SETSIZE only (select(2)); seen with 1.5.2 and 1.7.0.
MOST_SOFT_FILES = 1024.0


def probe(machine: Machine, settings: TuningSettings, context: Context) -> TuningFacts:
    """The facts of tuning for these settings."""
    keys = dict.fromkeys((*(item.key for item in wanted(settings)), PORT_RANGE, RESERVED_PORTS, NR_OPEN))
    files = read_files(machine)
    lines, unreadable = read_lines(machine)
    return TuningFacts(
        live={key: live_value(machine, key) for key in keys},
        sysctl_files=files,
        own_sysctl=_text(machine, sysctl_file.PATH),
        limit_lines=lines,
        own_limits=_text(machine, limits_file.PATH),
        unreadable=(*(file.unreadable for file in files if file.unreadable), *unreadable),
        groups=account_groups(machine, context.account, lines),
        inherited=inherited(machine),
        in_container=machine.in_container(),
    )


def live_value(view: NodeView, key: str) -> Fact[Sysctl]:
    """A live parameter."""
    try:
        found = view.sysctl(key)
    except CannotTell as error:
        return Unknown(str(error))
    return Known(found) if found is not None else Absent()


def account_groups(view: NodeView, account: str, lines: tuple[LimitLine, ...]) -> tuple[str, ...]:
    """The groups of the account among those that limits files name."""
    named = dict.fromkeys(line.domain[1:] for line in lines if line.domain.startswith("@"))
    return tuple(name for name in named if _belongs(view, account, name))


def _belongs(view: NodeView, account: str, name: str) -> bool:
    try:
        user, group = view.account(account), view.group(name)
    except CannotTell:
        return False
    primary = user is not None and group is not None and user.gid == group.gid
    return primary or view.is_member(account, name)


def _text(view: NodeView, path: str) -> str | None:
    """Our file's text; None where there is none, or something else is in its place (which its step refuses)."""
    try:
        entry = view.entry(path)
    except CannotTell:
        return None
    return entry.content.decode("utf-8", "replace") if entry is not None and entry.content is not None else None
