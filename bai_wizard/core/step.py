"""A step: the unit that is shown, confirmed, carried out, verified and taken back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from bai_wizard.core.change import Change
from bai_wizard.core.codec import Codec
from bai_wizard.core.errors import CannotTell, NotYetKnown, RebootNeeded, StepBlocked, StepFailed
from bai_wizard.core.overlay import Overlay
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.view import NodeView

Effect = Literal["now", "next-login", "reboot"]
# What a step may hit while somebody is working on the node; looked at before the run and right before the step.
Interrupt = Literal["docker.restart", "gpu.reload", "umount"]


@dataclass(frozen=True)
class Unchanged:
    """Already in effect, or (`skipped`) not this node's business; `note` says why it counts as converged."""

    kind: ClassVar[str] = "unchanged"
    note: str = ""
    skipped: bool = False


@dataclass(frozen=True)
class Pending:
    """To be done. `changes` are what is shown; where they cannot be known yet, `known_after` names the step."""

    kind: ClassVar[str] = "pending"
    changes: tuple[Change, ...] = ()
    known_after: str = ""
    lasting: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blocked:
    """Must not be done here, for a reason that people can act on."""

    kind: ClassVar[str] = "blocked"
    reason: str


Verdict = Unchanged | Pending | Blocked

# What a step waits for in a plan when it says that the rest can be done only after the next boot.
A_REBOOT = "a reboot"


class Node(Protocol):
    """The node as a running step gets it: reads, and primitives that are journalled before they act."""

    @property
    def view(self) -> NodeView:
        """The node as it is now."""

    def do(self, primitive: Primitive) -> None:
        """Carries the primitive out unless it already holds. Raises StepFailed with the cause."""

    def do_together(self, primitives: Sequence[Primitive]) -> None:
        """The same for several that have no key in common, some at a time; a step says so in its `apply`."""


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One thing to bring about, of plain values.

    A subclass writes `describe` and `primitives`; planning, applying and verifying all walk the same primitives,
    so what is shown is what is done. `primitives` is a generator: it is resumed after each primitive, and what it
    reads then is the node (real or predicted) with that primitive done.
    """

    kind: ClassVar[str]
    id: str
    optional: bool = False
    effect: Effect = "now"
    interrupts: tuple[Interrupt, ...] = ()
    # When this step fails, what it had already changed is taken back at once.
    undo_on_failure: bool = False

    @property
    def page(self) -> str:
        """The page this step belongs to: the id's first part."""
        return self.id.partition(".")[0]

    @abstractmethod
    def describe(self) -> str:
        """One line for people: what this brings about."""

    @abstractmethod
    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        """What has to be done, given what `view` shows. Raises StepBlocked where it must not be done."""

    def note(self, view: NodeView) -> Unchanged:
        """What to say when nothing has to be done."""
        return Unchanged()

    def scope(self) -> tuple[str, ...]:
        """Prefixes of the keys this may touch when its changes are known only during the run."""
        return ()

    def inspect(self, view: NodeView) -> Verdict:
        """Whether, and how, this would change the node that `view` shows. Reads only."""
        return rehearse(self, Overlay(view))

    def apply(self, node: Node) -> None:
        """Brings it about. Raises StepFailed with the cause in plain words."""
        for primitive in self.primitives(node.view):
            node.do(primitive)

    def verify(self, view: NodeView) -> str:
        """Empty when the effect can be read back; otherwise what is still missing."""
        try:
            verdict = self.inspect(view)
        except StepFailed as error:
            return str(error)
        if isinstance(verdict, Blocked):
            return verdict.reason
        if isinstance(verdict, Pending):
            return "; ".join(change.headline() for change in verdict.changes) or "not in effect"
        return ""


def rehearse(step: Step, overlay: Overlay) -> Verdict:
    """Walks the step over a predicted node, leaving its outcomes laid over it."""
    changes: list[Change] = []
    lasting: list[str] = []
    try:
        for primitive in step.primitives(overlay):
            made = overlay.lay(primitive, step.id)
            changes += made
            if made and primitive.lasting():
                lasting.append(primitive.lasting())
    except StepBlocked as error:
        return Blocked(str(error))
    except NotYetKnown as error:
        return Pending(tuple(changes), error.after, tuple(lasting))
    except RebootNeeded:
        return Pending(tuple(changes), A_REBOOT, tuple(lasting))
    except CannotTell as error:
        return Pending(tuple(changes), str(error), tuple(lasting))
    return Pending(tuple(changes), "", tuple(lasting)) if changes else step.note(overlay)


_kinds: dict[str, type[Step]] = {}


def register(step: type[Step]) -> type[Step]:
    """Class decorator: makes a kind of step readable from a plan. Two kinds of one name are a bug."""
    if step.kind in _kinds and _kinds[step.kind] is not step:
        raise ValueError(f"two step kinds are called {step.kind!r}")
    _kinds[step.kind] = step
    return step


def step_from_json(codec: Codec, data: dict[str, Any]) -> Step:
    """A step of any registered kind. Raises ValueError on an unknown kind."""
    kind = data.get("kind")
    if kind not in _kinds:
        raise ValueError(f"unknown kind of step: {kind!r}")
    step = codec.decode(_kinds[kind], data)
    assert isinstance(step, Step)
    return step
