"""Steps, the unit of planning, confirmation, execution, verification and rollback, and the plan made of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from msgspec import Struct

from bai_wizard.core import debug_log
from bai_wizard.core.codec import KEPT, SHOWN, Codec
from bai_wizard.core.consent import Interrupt as Interrupt
from bai_wizard.core.errors import (
    DependsOnBlocked,
    KnownAfterApply,
    RebootNeeded,
    StateUnknown,
    StepBlocked,
    StepFailed,
    TimedOut,
)
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Change, Operation, Scope
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.state import Key, Registered

Effect = Literal["now", "next-login", "reboot"]


class Unchanged(Struct, frozen=True):
    """Already in effect, or (`skipped`) not applicable to this node; `note` explains why it counts as converged."""

    kind: ClassVar[str] = "unchanged"
    note: str = ""
    skipped: bool = False


class Pending(Struct, frozen=True):
    """To be applied. `changes` are shown; more is known only after the step with the id `known_after` has run.

    `after_reboot`: the rest can be applied only after the next boot. Version 0.1.0 stored words in `known_after` for
    this, and for changes that could not be determined.
    """

    kind: ClassVar[str] = "pending"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("after_reboot",)
    changes: tuple[Change, ...] = ()
    known_after: str = ""
    lasting: tuple[str, ...] = ()
    after_reboot: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether there may be more changes than are shown."""
        return bool(self.known_after) or self.after_reboot


class Blocked(Struct, frozen=True):
    """Must not be applied here, for a reason that the user can act on.

    `undetermined`: its changes cannot be determined because a read failed. This differs from "known after apply":
    unless an earlier step of the plan provides the answer, nothing is done that was not shown.
    `depends_on`: the id of the earlier step that is blocked and has to be applied first; empty if this is a cause.
    """

    kind: ClassVar[str] = "blocked"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("undetermined", "timed_out", "depends_on")
    reason: str
    undetermined: bool = False
    # A read timed out; a retry may succeed.
    timed_out: bool = False
    depends_on: str = ""

    def explain(self) -> str:
        """Return the reason for display."""
        return f"cannot be determined: {self.reason}" if self.undetermined else self.reason


StepStatus = Unchanged | Pending | Blocked


class Sizes(NamedTuple):
    """Bytes that a step downloads, and disk space that it needs; `is_complete` is False if there may be more."""

    download: int = 0
    disk: int = 0
    is_complete: bool = True


class Node(Protocol):
    """The node as seen by a running step: reads, and operations that are journaled before they are executed."""

    @property
    def view(self) -> NodeView:
        """The current state of the node."""
        ...

    def do(self, operation: Operation) -> None:
        """Execute the operation unless it is already satisfied. Raises StepFailed with the cause."""

    def do_together(self, operations: Sequence[Operation]) -> None:
        """Execute operations that share no key, a few at a time; a step uses this in its `apply`."""

    def announced(self, operations: Iterable[Operation]) -> AbstractContextManager[None]:
        """Record operations that a boot would perform by itself as soon as earlier ones of the step are done.

        Without this record, undo would not know that they belong to the run. They still have to be executed.
        """
        ...


class Step(Registered, frozen=True, kw_only=True):
    """One desired outcome, described as plain data.

    A subclass defines `describe` and `operations`; planning, applying and verifying all iterate over the same
    operations, so what is shown is what is done. `operations` is a generator: it is resumed after each operation and
    then reads the node (real or predicted) with that operation applied.
    """

    kinds: ClassVar[dict[str, type[Any]]] = {}
    # Takes minutes rather than seconds: it downloads, builds, or runs the package manager.
    is_slow: ClassVar[bool] = False
    # The directory of the node that this step copies files from, if it does.
    copies_from: ClassVar[str] = ""
    id: str
    optional: bool = False
    effect: Effect = "now"
    interrupts: tuple[Interrupt, ...] = ()
    # If this step fails, its completed changes are rolled back immediately.
    undo_on_failure: bool = False

    @property
    def page(self) -> str:
        """The page that this step belongs to: the first part of the id."""
        return self.id.partition(".")[0]

    @abstractmethod
    def describe(self) -> str:
        """Describe the desired outcome in one line."""

    def warnings(self) -> tuple[str, ...]:
        """What the user should check before confirming; changes nothing."""
        return ()

    def sizes(self, keys: Collection[Key | None]) -> Sizes:
        """Return the download size and disk space for changing these keys; steps that know it override this."""
        return Sizes(is_complete=not self.is_slow)

    @abstractmethod
    def operations(self, view: NodeView) -> Iterator[Operation]:
        """Yield what has to be done, given the state of `view`. Raises StepBlocked if it must not be done."""

    def note(self, view: NodeView) -> Unchanged:
        """Return the status if nothing has to be done."""
        return Unchanged()

    def scope(self) -> tuple[Scope, ...]:
        """What this step may change, as keys. The executor refuses any operation that changes anything else."""
        return ()

    def inspect(self, view: NodeView) -> StepStatus:
        """Return whether and how this would change the node that `view` shows. Reads only."""
        return dry_run(self, PredictedNode(view))

    def apply(self, node: Node) -> None:
        """Apply the step. Raises StepFailed with the cause in plain words."""
        for operation in self.operations(node.view):
            node.do(operation)

    def verify(self, view: NodeView) -> str:
        """Return an empty string if the effect can be read back, otherwise what is missing."""
        try:
            verdict = self.inspect(view)
        except StepFailed as error:
            return str(error)
        if isinstance(verdict, Blocked):
            return verdict.explain()
        if isinstance(verdict, Pending):
            return "; ".join(change.headline() for change in verdict.changes) or "not in effect"
        return ""


def dry_run(step: Step, predicted: PredictedNode) -> StepStatus:
    """Run the step on a predicted node, keeping its outcomes there unless the step is blocked."""
    begun = monotonic()
    verdict = _walk(step, predicted)
    if isinstance(verdict, Blocked) and not step.optional:
        predicted.withhold(step.scope(), step.id, undetermined=verdict.undetermined)
    if debug_log.is_on():
        debug_log.debug("step %s: %s, %.3f s", step.id, _summary(verdict), monotonic() - begun)
    return verdict


def _summary(verdict: StepStatus) -> str:
    """Summarize a status in one line, for the debug log."""
    if isinstance(verdict, Unchanged):
        return f"{verdict.kind} {verdict.note}".strip()
    if isinstance(verdict, Blocked):
        return f"{verdict.kind}: {verdict.explain()}"
    later = f" (more is known after {verdict.known_after or 'a reboot'})" if verdict.is_partial else ""
    return f"{verdict.kind}: {'; '.join(change.headline() for change in verdict.changes)}{later}"


def _walk(step: Step, predicted: PredictedNode) -> StepStatus:
    changes: list[Change] = []
    lasting: list[str] = []
    restore = predicted.saved()
    try:
        for operation in step.operations(predicted):
            made = predicted.predict(operation, step.id, step.scope)
            changes += made
            if made and operation.irreversible_reason():
                lasting.append(operation.irreversible_reason())
    except StepBlocked as error:
        restore()
        return Blocked(str(error))
    except KnownAfterApply as error:
        predicted.leave_open(step.scope(), step.id)
        return Pending(tuple(changes), error.after, tuple(lasting))
    except RebootNeeded:
        return Pending(tuple(changes), "", tuple(lasting), after_reboot=True)
    except DependsOnBlocked as error:
        restore()
        return Blocked(str(error), undetermined=error.undetermined, depends_on=error.after)
    except StateUnknown as error:
        restore()
        return Blocked(str(error), undetermined=True, timed_out=isinstance(error, TimedOut))
    return Pending(tuple(changes), "", tuple(lasting)) if changes else step.note(predicted)


def step_from_json(codec: Codec, data: dict[str, Any]) -> Step:
    """Decode a step of any registered kind. Raises ValueError for an unknown kind."""
    step = codec.decode(Step, data)
    assert isinstance(step, Step)
    return step


PLAN_VERSION = 1


class PlannedStep(Struct, frozen=True):
    """A step with its status after planning."""

    step: Step
    verdict: StepStatus

    @property
    def is_pending(self) -> bool:
        """Whether the run has to apply this step."""
        return isinstance(self.verdict, Pending)


class Unset(Struct, frozen=True):
    """What a page of the plan leaves open although it may have no change to make."""

    page: str
    reason: str


class Plan(Struct, frozen=True):
    """All steps of the selected pages in execution order, and what those pages leave open.

    `notes`: what the run does besides its steps, such as running hooks.
    """

    host: str
    steps: tuple[PlannedStep, ...] = ()
    notes: tuple[str, ...] = ()
    unset: tuple[Unset, ...] = ()

    def pending(self) -> tuple[PlannedStep, ...]:
        """Return the steps that have changes to apply."""
        return tuple(planned for planned in self.steps if planned.is_pending)

    def blocked(self) -> tuple[PlannedStep, ...]:
        """Return the required steps that must not be applied here."""
        return tuple(
            planned for planned in self.steps if isinstance(planned.verdict, Blocked) and not planned.step.optional
        )

    def refused(self) -> tuple[PlannedStep, ...]:
        """Return the blocked steps that must not be applied, without those whose changes cannot be determined."""
        return tuple(planned for planned in self.blocked() if not _is_undetermined(planned))

    def undetermined(self) -> tuple[PlannedStep, ...]:
        """Return the required steps whose changes cannot be determined.

        A plan with such a step can be shown but not applied.
        """
        return tuple(planned for planned in self.blocked() if _is_undetermined(planned))

    def is_empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.pending()

    def without(self, ids: frozenset[str]) -> Plan:
        """Return this plan without the steps that the user cleared."""
        kept = tuple(planned for planned in self.steps if planned.step.id not in ids)
        return Plan(self.host, kept, self.notes, self.unset)

    def to_json(self, codec: Codec = SHOWN) -> dict[str, Any]:
        """Return JSON values; secrets are masked unless the codec keeps them."""
        unset = {"unset": [codec.encode(item) for item in self.unset]} if self.unset else {}
        return {
            "version": PLAN_VERSION,
            "host": self.host,
            "notes": list(self.notes),
            "steps": [
                {"step": codec.encode(planned.step), "verdict": codec.encode(planned.verdict)}
                for planned in self.steps
            ],
            **unset,
        }

    @staticmethod
    def from_json(data: dict[str, Any], codec: Codec = KEPT) -> Plan:
        """Read the output of `to_json`. Raises ValueError for another version or an unknown kind of step."""
        if data.get("version") != PLAN_VERSION:
            raise ValueError(f"unsupported plan version {data.get('version')!r}, expected {PLAN_VERSION}")
        verdict_hint: Any = Unchanged | Pending | Blocked
        return Plan(
            host=data["host"],
            steps=tuple(
                PlannedStep(step_from_json(codec, item["step"]), codec.decode(verdict_hint, item["verdict"]))
                for item in data["steps"]
            ),
            notes=tuple(data["notes"]),
            unset=tuple(codec.decode(Unset, item) for item in data.get("unset", [])),
        )

    def digest(self) -> str:
        """SHA-256 of the whole plan including its secrets: what is applied is exactly what was confirmed."""
        import json
        from hashlib import sha256

        canonical = json.dumps(self.to_json(KEPT), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _is_undetermined(planned: PlannedStep) -> bool:
    return isinstance(planned.verdict, Blocked) and planned.verdict.undetermined


def reason_of(planned: PlannedStep) -> str:
    """Explain why a step is blocked; empty if it is not."""
    return planned.verdict.explain() if isinstance(planned.verdict, Blocked) else ""


def depends_on(planned: PlannedStep) -> str:
    """Return the id of the blocked step that has to be applied first; empty without one."""
    return planned.verdict.depends_on if isinstance(planned.verdict, Blocked) else ""
