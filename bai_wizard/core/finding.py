"""What a check found: evidence, cause, and the remedy as steps or as guidance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from bai_wizard.core.context import Context
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step

Result = Literal["ok", "problem", "warning", "cannot-tell", "not-applicable", "crashed"]
# What a check costs. cheap: it reads files, or asks a small program; dear: a heavy program or the network, so it gets
# a child of its own; shared: what the first one of its page has looked up serves the others, so they wait for it.
Cost = Literal["cheap", "dear", "shared"]
# Seconds that a check has: longer than what it asks may take (`Machine.look`: 5), and than a node that is busy with
# jobs lets it wait for a processor.
PATIENT = 8.0


@dataclass(frozen=True)
class Evidence:
    """What was looked at, where, what was found there, what was expected."""

    what: str
    where: str
    found: str
    expected: str


@dataclass(frozen=True)
class Finding:
    """The result of one check. `suppressed_by` names the root cause that explains this one too.

    `owner` «site»: the site's people decide; the doctor looks and never offers to change it.
    """

    kind: ClassVar[str] = "finding"
    id: str
    result: Result
    title: str
    page: str = ""
    evidence: tuple[Evidence, ...] = ()
    cause: str = ""
    guidance: str = ""
    risk: str = ""
    owner: str = "bai-wizard"
    suppressed_by: str = ""
    ignored: str = ""
    remedy: tuple[Step, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.owner == "site" and self.remedy:
            raise ValueError(f"{self.id} is the site's to change: there is no fix button for it")

    def to_wire(self) -> dict[str, Any]:
        """Everything, remedy included, for another process of the wizard."""
        from bai_wizard.core.codec import KEPT

        body = {name: KEPT.encode(getattr(self, name)) for name in _plain_fields()}
        return {**body, "remedy": [KEPT.encode(step) for step in self.remedy]}

    @staticmethod
    def from_wire(data: dict[str, Any]) -> Finding:
        """Reads what `to_wire` wrote; the kinds of the remedy's steps must have been imported."""
        from bai_wizard.core.codec import KEPT
        from bai_wizard.core.step import step_from_json

        body = {name: data[name] for name in _plain_fields() if name != "evidence"}
        evidence = tuple(KEPT.decode(Evidence, item) for item in data["evidence"])
        remedy = tuple(step_from_json(KEPT, item) for item in data["remedy"])
        return Finding(**body, evidence=evidence, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        """JSON values; the remedy as the ids and descriptions of its steps."""
        from bai_wizard.core.codec import SHOWN

        body = {name: SHOWN.encode(getattr(self, name)) for name in _plain_fields()}
        steps = [{"id": step.id, "describe": step.describe()} for step in self.remedy]
        return {"kind": self.kind, **body, "remedy": steps}


def _plain_fields() -> tuple[str, ...]:
    return tuple(entry.name for entry in fields(Finding) if entry.name != "remedy")


@dataclass(frozen=True)
class Check:
    """A named, read-only check.

    `needs` are ids of checks that must not have found a problem, else this one is suppressed with the reason.
    `deadline` is seconds. What a `root_cause` check finds is told first. `look` returns one Finding or several.
    """

    id: str
    page: str
    title: str
    look: Callable[[Machine, Context], Finding | tuple[Finding, ...]]
    needs: tuple[str, ...] = ()
    deadline: float = PATIENT
    root_cause: bool = False
    needs_root: bool = False
    owner: str = "bai-wizard"
    cost: Cost = "cheap"
