"""What the checks look at: the account's interpreters."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Evidence, Finding, Result
from bai_wizard.core.machine import Machine
from bai_wizard.pages.python.probe import environments, home_of
from bai_wizard.pages.python.releases import number_of

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


def finding(
    id: str, result: Result, title: str, *, evidence: tuple[Evidence, ...] = (), cause: str = "", guidance: str = "",
    risk: str = "",
) -> Finding:  # fmt: skip
    """A finding of this page."""
    return Finding(id, result, title, "python", evidence=evidence, cause=cause, guidance=guidance, risk=risk)
