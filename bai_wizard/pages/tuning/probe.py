"""What the Tuning page reads from a node."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from msgspec import Struct, field

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.page import Context, Fact, Finding, read_fact
from bai_wizard.core.state import Sysctl
from bai_wizard.pages.check import unfixed
from bai_wizard.pages.tuning.boot_sysctl import BootFile, read_files
from bai_wizard.pages.tuning.check_limits import at_login
from bai_wizard.pages.tuning.checks import at_boot
from bai_wizard.pages.tuning.limits import (
    LIMITS_PATH,
    Ungranted,
    inherited,
    ungranted,
)
from bai_wizard.pages.tuning.login_session import can_open_sessions
from bai_wizard.pages.tuning.pam_limits import LimitLine, Login, logins, read_lines
from bai_wizard.pages.tuning.settings import TuningSettings
from bai_wizard.pages.tuning.sysctl import (
    NR_OPEN,
    PORT_RANGE,
    RESERVED_PORTS,
    SYSCTL_PATH,
    desired_values,
    items_of,
    own_defaults,
    role_values,
)
from bai_wizard.steps.services import SECTION, limit_of, unit_settings

AGENT_UNIT = "backendai-agent.service"


class TuningFacts(Struct, frozen=True):
    """`live` are the parameters of the profile and the answers, and those that others depend on.

    `own_sysctl` and `own_limits` are the texts of our files, None if they do not exist. `logins` are root and the
    account, with the groups that occur in limits files. `inherited` are PID 1's limits: what a login gets unless a
    file sets it. `ungranted` are hard limits of the answers that no login can get. `unfixed` are problems that
    keep limits and parameters from being applied and that no step of the page fixes. `agent_files` is what the
    agent's unit asks for. `opens_sessions`: sessions can be opened to verify the limits, and their PAM stack sets
    them. `own_defaults` are defaults of this kernel.
    """

    live: Mapping[str, Fact[Sysctl]] = field(default_factory=dict)
    sysctl_files: tuple[BootFile, ...] = ()
    own_sysctl: str | None = None
    limit_lines: tuple[LimitLine, ...] = ()
    own_limits: str | None = None
    unreadable: tuple[str, ...] = ()
    logins: tuple[Login, ...] = ()
    inherited: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    in_container: bool = False
    ungranted: tuple[Ungranted, ...] = ()
    unfixed: tuple[Finding, ...] = ()
    agent_files: float = 0
    opens_sessions: bool = False
    own_defaults: Mapping[str, str] = field(default_factory=dict)


def probe(machine: Machine, settings: TuningSettings, context: Context) -> TuningFacts:
    """Return the facts of tuning for these settings."""
    profile = (item.key for item in desired_values(settings))
    roles = (key for role in context.roles for key in role_values(role))
    keys = dict.fromkeys((*profile, *roles, PORT_RANGE, RESERVED_PORTS, NR_OPEN))
    files = read_files(machine)
    lines, unreadable = read_lines(machine)
    unsolved = unfixed(machine, context, at_boot, at_login)
    return TuningFacts(
        live={key: read_fact(partial(machine.sysctl, key)) for key in keys},
        sysctl_files=files,
        own_sysctl=_text(machine, SYSCTL_PATH),
        limit_lines=lines,
        own_limits=_text(machine, LIMITS_PATH),
        unreadable=(*(file.unreadable for file in files if file.unreadable), *unreadable),
        logins=logins(machine, context, lines),
        inherited=inherited(machine),
        in_container=machine.in_container(),
        ungranted=_ungranted(machine, settings),
        unfixed=unsolved,
        agent_files=_agent_files(machine),
        own_defaults=own_defaults(machine),
        opens_sessions=all(each.id != at_login.id for each in unsolved) and can_open_sessions(machine),
    )


def _agent_files(view: NodeView) -> float:
    """The hard LimitNOFILE= of the agent's unit; 0 without one: such a unit does not start below that fs.nr_open."""
    given = unit_settings(view, AGENT_UNIT, SECTION, "LimitNOFILE")
    pair = limit_of("LimitNOFILE", (each.value for each in given))
    return pair[1] if pair else 0


def _ungranted(machine: Machine, settings: TuningSettings) -> tuple[Ungranted, ...]:
    """Nothing if it cannot be tested: the limits are still written, and the doctor reports it."""
    try:
        return ungranted(machine, items_of(settings.limits))
    except StateUnknown:
        return ()


def _text(view: NodeView, path: str) -> str | None:
    """The text of our file; None if it does not exist or is not a regular file (which its step refuses)."""
    try:
        entry = view.entry(path)
    except StateUnknown:
        return None
    return entry.content.decode("utf-8", "replace") if entry is not None and entry.content is not None else None
