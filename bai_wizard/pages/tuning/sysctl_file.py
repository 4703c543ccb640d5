"""The text of /etc/sysctl.d/99-backendai.conf, and which files take its effect away at the next boot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from bai_wizard.pages.tuning.boot import Assignment, SysctlFile, parse, winner
from bai_wizard.pages.tuning.data import Profile
from bai_wizard.pages.tuning.decide import Decision
from bai_wizard.pages.tuning.own_file import OwnFile, foreign, write
from bai_wizard.pages.tuning.wanted import dotted
from bai_wizard.steps.better import at_least_as_good

PATH = "/etc/sysctl.d/99-backendai.conf"
# Backend.AI's own deployment scripts of 26.4.0 to 26.4.3 wrote this name.
OTHER_NAME = "/etc/sysctl.d/99-backend-ai.conf"


def render(profile: Profile, decisions: Sequence[Decision], found: OwnFile, remembered: Collection[str]) -> str:
    """The file's text. `remembered` are the keys that our part has a comment of: those were ours."""
    head = (
        f"(profile {profile.name}: {profile.title}). The next run puts changes to this part back.",
        "«was» is the value before, «kept» one that is at least as good as the wanted one and stays.",
    )
    body: list[str] = []
    for decision in decisions:
        wanted = decision.wanted
        told = (wanted.what, wanted.reason, decision.comment())
        body += ["", *(f"# {line}" for line in told if line)]
        if decision.has_line:
            body.append(f"{wanted.key} = {decision.value}")
    managed = {decision.wanted.key for decision in decisions} | set(remembered)
    others = foreign(found, _is_assignment, lambda line: _key(line) in managed)
    return write(head, body, [_unquoted(line) for line in others])


def _is_assignment(line: str) -> bool:
    return bool(parse(PATH, PATH, line))


def _key(line: str) -> str:
    return dotted(parse(PATH, PATH, line)[0].key)


def _unquoted(line: str) -> str:
    for assignment in parse(PATH, PATH, line):
        if assignment.is_quoted:
            name = line.partition("=")[0].rstrip()
            return f"{name} = {str(assignment.value).strip(chr(34) + chr(39))}"
    return line


def with_ours(files: Iterable[SysctlFile], text: str) -> tuple[SysctlFile, ...]:
    """The files as they will be with our text in place."""
    ours = SysctlFile(PATH, PATH, parse(PATH, PATH, text))
    others = [file for file in files if file.name != ours.name]
    return tuple(sorted((*others, ours), key=lambda file: file.name.encode()))


def without_ours(files: Iterable[SysctlFile]) -> tuple[SysctlFile, ...]:
    """The files of others."""
    return tuple(file for file in files if file.file != PATH)


@dataclass(frozen=True)
class Override:
    """A line elsewhere that decides a parameter at the next boot, and whose value is not good enough."""

    assignment: Assignment
    wanted: str

    def tell(self) -> str:
        """One line for people."""
        key, value = dotted(self.assignment.key), self.assignment.value
        refused = " (refused by the kernel for its quotes)" if self.assignment.is_quoted else ""
        return f"{self.assignment.place} sets {key} = {value}{refused}, wanted is {self.wanted}"


def overrides(files: Iterable[SysctlFile], decisions: Iterable[Decision]) -> tuple[Override, ...]:
    """Lines of others that win over ours at the next boot; `files` include ours."""
    all_files = tuple(files)
    found = []
    for decision in decisions:
        deciding = None if decision.is_missing else winner(all_files, decision.wanted.key)
        if deciding is None or deciding.path == PATH or deciding.value is None:
            continue
        if not at_least_as_good(decision.wanted.better, deciding.value, decision.wanted.value):
            found.append(Override(deciding, decision.wanted.value))
    return tuple(found)
