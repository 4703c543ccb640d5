"""What every primitive can tell about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from bai_wizard.core.change import Change, Verb
from bai_wizard.core.state import Key, State, States, Unpredictable

if TYPE_CHECKING:
    from bai_wizard.core.view import NodeView

Outcome = dict[Key, State | None | Unpredictable]


class BasePrimitive(ABC):
    """One change to a node, as data. Subclasses are frozen dataclasses with a `kind`."""

    kind: ClassVar[str]
    # Undo performs these after everything else, once each: a service is to read files that are back already.
    undo_last: ClassVar[bool] = False
    # False where several files are written one after the other: cut in between, the first of them may already show
    # the state that was promised, and that proves nothing of the others.
    at_once: ClassVar[bool] = True

    @abstractmethod
    def keys(self) -> tuple[Key, ...]:
        """The things this touches; their states before it decide everything else."""

    @abstractmethod
    def after(self, before: States) -> Outcome:
        """The states of `keys()` once this is done, given the states before."""

    @abstractmethod
    def inverse(self, before: States) -> BasePrimitive | None:
        """What restores `before`; None where this cannot be taken back."""

    def way_back(self, before: States, view: NodeView) -> tuple[BasePrimitive, ...]:
        """What takes an attempt back that was cut in the middle; empty where nothing can, or must not."""
        return ()

    def holds(self, before: States) -> bool:
        """True when doing this would change nothing."""
        return self.after(before) == before

    def changes(self, before: States) -> tuple[Change, ...]:
        """How this is shown: one change for each key whose state differs."""
        after = self.after(before)
        return tuple(self.change(key, before[key], after[key]) for key in self.keys() if before[key] != after[key])

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        """One key's difference; subclasses show more than its name."""
        return Change(str(key.name), verb_of(before, after))

    def lasting(self) -> str:
        """Why this stays after an undo; empty where it is taken back."""
        return ""


def verb_of(before: State | None, after: State | Unpredictable | None) -> Verb:
    """create, modify or remove, by which side is missing."""
    if before is None:
        return "create"
    return "remove" if after is None else "modify"
