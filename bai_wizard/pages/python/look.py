"""What the checks look at: the account's interpreters, started with the account's rights and never with root's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Evidence, Finding, Result
from bai_wizard.core.machine import Completed, Machine
from bai_wizard.pages.python.probe import environments, home_of
from bai_wizard.pages.python.releases import number_of

# Seconds that one interpreter may take to start and import what it is asked for.
START = 10.0
# Prefixes of interpreters that belong to the distribution, or to whoever looks after the node.
SYSTEM = ("", "/usr", "/usr/local")


@dataclass(frozen=True)
class Found:
    """An interpreter of the account, by the road it came on: standalone or pyenv."""

    version: str
    path: str
    road: str

    @property
    def program(self) -> str:
        """The program to start."""
        return f"{self.path}/bin/python3"


def found_interpreters(machine: Machine, context: Context) -> tuple[Found, ...]:
    """The interpreters in the usual places, half-built ones included with an empty version, and those elsewhere that
    the account's environments rest on (python.base_dir). Raises CannotTell."""
    home = home_of(machine, context)
    found = []
    for road, directory in (("standalone", f"{home}/.static-python/versions"), ("pyenv", f"{home}/.pyenv/versions")):
        for name in machine.names(directory):
            interpreter = None if name.startswith(".") else machine.interpreter(f"{directory}/{name}")
            if interpreter is not None:
                found.append(Found(interpreter.version, f"{directory}/{name}", road))
    usual = {item.path for item in found}
    for path in _beneath_environments(machine, home):
        interpreter = None if path in usual else machine.interpreter(path)
        if interpreter is not None:
            found.append(Found(interpreter.version, path, "pyenv" if "/.pyenv/" in path else "standalone"))
    return tuple(sorted(found, key=lambda item: (item.road, number_of(item.version) if item.version else ())))


def _beneath_environments(machine: Machine, home: str) -> tuple[str, ...]:
    """Where the environments say that their interpreters lie; the system's own is no matter of these checks."""
    homes = [fact.value.home for _, fact in environments(machine, home) if isinstance(fact, Known)]
    paths = [path.removesuffix("/bin") for path in homes if path.startswith("/") and path.endswith("/bin")]
    return tuple(dict.fromkeys(path for path in paths if path not in SYSTEM))


def as_operator(machine: Machine, context: Context, argv: Sequence[str], deadline: float = START) -> Completed:
    """Runs a program of the account's home with the account's rights. Raises CannotTell where that cannot be."""
    if not machine.is_root:
        raise CannotTell(f"needs root, to act as {context.account}")
    account = machine.account(context.account)
    if account is None:
        raise CannotTell(f"there is no account {context.account} on this node")
    ids = ("--reuid", str(account.uid), "--regid", str(account.gid), "--init-groups", "--inh-caps=-all")
    own = ("env", "-i", f"HOME={account.home}", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin")
    return machine.look(("setpriv", *ids, *own, *argv), deadline=deadline)


def finding(
    id: str, result: Result, title: str, *, evidence: tuple[Evidence, ...] = (), cause: str = "", guidance: str = "",
    risk: str = "",
) -> Finding:  # fmt: skip
    """A finding of this page."""
    return Finding(id, result, title, "python", evidence=evidence, cause=cause, guidance=guidance, risk=risk)
