"""What differs on a node from a desired state, object by object, according to the plan of that state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Literal

from msgspec import Struct

from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import Below, Change, Missing
from bai_wizard.core.page import Unsupported
from bai_wizard.core.state import Key
from bai_wizard.core.step import Pending, PlannedStep, Step, Unchanged
from bai_wizard.doctor.causes import Cause, Subject, subject_of
from bai_wizard.exit_codes import ExitCode

State = Literal["changed", "refused", "unknown"]


class Difference(Struct, frozen=True):
    """An object that differs, the step that would change it, and what may have done it.

    `state`: the plan would change it, refuses to, or cannot determine it; `reason` says why. `is_excused`: it is
    unknown, but the check has not failed: its source (of a password or of images) is gone, or it depends on another.
    `is_accepted`: an optional step that was refused by the run with which the node is compared as well.
    """

    step: Step
    key: Key
    state: State
    change: Change | None = None
    reason: str = ""
    is_excused: bool = False
    is_accepted: bool = False
    causes: tuple[Cause, ...] = ()

    @property
    def is_drift(self) -> bool:
        """Whether the object was as it should be, as far as is known, and no longer is."""
        return self.state == "changed" or (self.state == "refused" and not self.is_accepted)


class Comparison(Struct, frozen=True):
    """How the node differs from what `origin` asks for: answers or a run.

    `since`: changes since then are looked for; 0 if nothing says when the node was as it should be.
    """

    host: str
    origin: str
    since: float
    pages: tuple[str, ...]
    differences: tuple[Difference, ...]

    def drifted(self) -> Counter[str]:
        """The number of drifted objects by page."""
        counts = Counter(each.step.page for each in self.differences if each.is_drift)
        return Counter({page: counts[page] for page in self.pages})

    def not_compared(self) -> list[Difference]:
        """What the check should have compared, but could not."""
        return [each for each in self.differences if each.state == "unknown" and not each.is_excused]

    def code(self) -> ExitCode:
        """7 for drift, 3 if a part could not be compared, 6 if only optional steps are refused as before."""
        if self.drifted().total():
            return ExitCode.CHANGES
        if any(not each.step.optional for each in self.not_compared()):
            return ExitCode.PREFLIGHT
        is_refused = any(each.state == "refused" for each in self.differences)
        return ExitCode.OPTIONAL_FAILED if is_refused or self.not_compared() else ExitCode.OK


def differences_of(planned: PlannedStep, missing: Collection[str], accepted: Collection[str]) -> Iterator[Difference]:
    """The objects that a step would change, or the step if it is blocked.

    `missing`: secrets without a source; `accepted`: IDs of steps that the run could not apply.
    """
    step, verdict = planned.step, planned.verdict
    if isinstance(verdict, Unchanged):
        return
    whole = Key("step", step.id)
    is_gone = isinstance(step, Unsupported) and step.source_is_gone
    if isinstance(verdict, Pending):
        for change in verdict.changes:
            yield Difference(step, change.key or whole, "changed", change)
        if verdict.known_after and not verdict.changes:
            # The step that has to be applied first differs.
            yield Difference(step, whole, "unknown", reason=f"known after {verdict.known_after}", is_excused=True)
        elif not verdict.changes:
            yield Difference(step, whole, "changed", reason="known after the next boot")
    elif verdict.undetermined or verdict.depends_on or is_gone:
        # What depends on another blocked step adds nothing to that step.
        is_excused = bool(verdict.depends_on) or is_gone or (bool(missing) and step.kind == "password")
        yield Difference(step, whole, "unknown", reason=verdict.reason, is_excused=is_excused)
    else:
        is_accepted = step.optional and step.id in accepted
        yield Difference(step, whole, "refused", reason=verdict.reason, is_accepted=is_accepted)


def where_to_look(difference: Difference, machine: Machine) -> Subject:
    """Where to look for causes; for a step as a whole, among everything that it may change."""
    if difference.change is not None and difference.change.key is not None:
        return subject_of([difference.change.key], machine)
    if difference.state == "unknown":
        return Subject()
    scope = difference.step.scope()
    keys = [item.key if isinstance(item, Below | Missing) else item for item in scope]
    return subject_of(keys, machine, difference.reason)
