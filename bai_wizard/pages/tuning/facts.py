"""What the tuning page has to know of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bai_wizard.core.facts import Fact
from bai_wizard.core.state import Sysctl
from bai_wizard.pages.tuning.boot import SysctlFile
from bai_wizard.pages.tuning.pam_limits import LimitLine


@dataclass(frozen=True)
class TuningFacts:
    """`live` are the parameters of the profile and of the answers, and those that others depend on.

    `own_sysctl` and `own_limits` are the texts of our files, None where they do not exist. `groups` are those of the
    account that a limits file names. `inherited` are PID 1's limits: what a login gets where no file says otherwise.
    """

    live: Mapping[str, Fact[Sysctl]] = field(default_factory=dict)
    sysctl_files: tuple[SysctlFile, ...] = ()
    own_sysctl: str | None = None
    limit_lines: tuple[LimitLine, ...] = ()
    own_limits: str | None = None
    unreadable: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    inherited: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    in_container: bool = False
