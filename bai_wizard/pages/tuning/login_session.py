"""The limits of a real login: a session opened through PAM, and the limits file verified with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import inf
from typing import ClassVar

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown, StepBlocked
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Operation
from bai_wizard.core.parse import whole
from bai_wizard.core.step import Unchanged
from bai_wizard.pages.tuning.limits import SessionLimit, inherited, prlimit_option, shown
from bai_wizard.pages.tuning.pam_limits import KERNEL_WORDS, Pair, parse_kernel
from bai_wizard.steps.files import OptionalDropIn

# PAM may contact a directory service.
DEADLINE = 10.0
# Mounts pam_permit in place of another module, for a program in a mount namespace of its own.
PERMIT = 'mount --bind "${0%/*}/pam_permit.so" "$0"; exec "$@"'


def can_open_sessions(machine: Machine) -> bool:
    """Whether this process can open a session of another account on this node, without traces of it."""
    try:
        if not machine.is_root or machine.query(("su", "--version")).code != 0:
            return False
        start = unregistered(machine)
        return not start or machine.query((*start, "true")).code == 0
    except StateUnknown:
        return False


def unregistered(machine: Machine) -> tuple[str, ...]:
    """Return the start of a command line for which pam_systemd does nothing; everything else of PAM stays.

    pam_systemd would register the session, and systemd-logind would start the user's manager and keep it for at least
    ten seconds, which looks like a login and keeps the account from being removed.
    """
    directories = [f"/usr/lib/{name}/security" for name in machine.names("/usr/lib") if name.endswith("-linux-gnu")]
    start: tuple[str, ...] = ()
    for directory in directories:
        if "pam_systemd.so" in machine.names(directory):
            start += ("sh", "-ec", PERMIT, f"{directory}/pam_systemd.so")
    return ("unshare", "--mount", "--", *start) if start else ()


def starting_limits(machine: Machine, items: Collection[str]) -> dict[str, Pair]:
    """Return the limits that logins inherit and that a child of this process can start with, by item.

    In a container without CAP_SYS_RESOURCE, a process cannot have more than the one that started it. Raises
    StateUnknown.
    """
    own = parse_kernel(machine.kernel_text("/proc/self/limits"))
    result = {item: pair for item, pair in inherited(machine).items() if item in items}
    for item, pair in list(result.items()):
        if own.get(item, pair)[1] < pair[1] and machine.query(("prlimit", prlimit_option(item, *pair), "true")).code:
            del result[item]
    return result


READ = "exec /bin/cat /proc/self/limits"
# What login shells run first, with the scripts in /etc/profile.d.
PROFILE = ". /etc/profile >/dev/null 2>&1"


def open_session(
    machine: Machine, user: str, start: Mapping[str, Pair], *, with_profile: bool = False
) -> dict[str, Pair]:
    """Open a session of `user` with su, and return its soft and hard limits by item. Raises StateUnknown.

    The child starts with the limits `start` rather than with our own. systemd-logind does not learn of the session.
    """
    options = [prlimit_option(item, *pair) for item, pair in start.items()]
    command = f"{PROFILE}; {READ}" if with_profile else READ
    read = ("su", "--shell=/bin/sh", f"--command={command}", "--", user)
    limited = ("prlimit", *options) if options else ()
    answer = machine.query((*unregistered(machine), *limited, *read), deadline=DEADLINE)
    result = parse_kernel(answer.out)
    if answer.code != 0 or not KERNEL_WORDS.keys() <= result.keys():
        message = (answer.err.strip() or answer.out.strip() or f"exit status {answer.code}").splitlines()[-1]
        raise StateUnknown(f"no session of {user} can be opened: {message}")
    return result


class TooLow(Struct, frozen=True):
    """A limit that a session does not have; it has `found` instead, as in limits.conf."""

    limit: SessionLimit
    found: str


def too_low(machine: Machine, wanted: Iterable[SessionLimit], *, with_profile: bool = False) -> tuple[TooLow, ...]:
    """Open a session of each user that exists, and return the limits that it does not have. Raises StateUnknown.

    `with_profile`: after the scripts that login shells run. Items with which no child of this process can start as a
    login does are left out.
    """
    limits = tuple(wanted)
    start = starting_limits(machine, {limit.item for limit in limits})
    by_user: dict[str, list[SessionLimit]] = {}
    for limit in limits:
        if limit.item in start:
            by_user.setdefault(limit.user, []).append(limit)
    result = []
    for user, own in by_user.items():
        if machine.account(user) is None:
            continue
        found = open_session(machine, user, start, with_profile=with_profile)
        for limit in own:
            value = found[limit.item][0 if limit.sort == "soft" else 1]
            if value < (inf if limit.least == "unlimited" else whole(limit.least)):
                result.append(TooLow(limit, shown(value)))
    return tuple(result)


class LoginLimits(OptionalDropIn, frozen=True, kw_only=True):
    """A file for pam_limits. `open_files` is its largest nofile; `warned` describes limits that logins will not get.

    The kernel grants no process more open files than fs.nr_open, and pam_limits of Debian and Ubuntu then silently
    sets neither limit, so such a file is never written. `sessions` are the limits that sessions must have
    afterwards.
    """

    kind: ClassVar[str] = "login-limits"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("warned", "sessions")
    open_files: int
    warned: str = ""
    sessions: tuple[SessionLimit, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        return (self.warned,) if self.warned else ()

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(f"please check: {self.warned}" if self.warned else "")

    def operations(self, view: NodeView) -> Iterator[Operation]:
        limit = view.sysctl("fs.nr_open")
        if limit is not None and self.open_files > whole(limit.value):
            raise StepBlocked(
                f"nofile {self.open_files} is above fs.nr_open = {limit.value}, so the kernel would refuse it and"
                f" logins would keep the limits that they inherit;"
                f" raise fs.nr_open first, or lower [tuning] limits.nofile"
            )
        yield from super().operations(view)

    def verify(self, view: NodeView) -> str:
        """Read the file back, and on a real node the limits of new sessions."""
        missing = super().verify(view)
        if missing or not isinstance(view, Machine):
            return missing
        return "; ".join(
            f"a new session has `{each.limit.name} {each.found}` instead of {each.limit.least}"
            for each in too_low(view, self.sessions)
        )
