"""Operations as data: the keys they touch, their outcome, inverse and displayed change, and the scope of a step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.consent import OF_UNITS, Interrupt
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.state import Key, Registered, State, States, Unpredictable, file_key

if TYPE_CHECKING:
    from bai_wizard.core.machine import NodeView


Verb = Literal["create", "modify", "remove", "run"]
# Maximum number of lines compared, not counting the common beginning and end. difflib takes quadratic time, and a
# file that another user can write must not keep root busy.
MAX_COMPARED = 1000
# Lines of context around a hunk.
CONTEXT = 3
# Lines and characters shown for sides that are not compared.
SHOWN_LINES = 20
SHOWN_CHARACTERS = 400
# Maximum length of any other diff line; the wizard's own settings are shorter.
LONGEST_LINE = 1 << 14
MARKS: dict[str, str] = {"create": "+", "modify": "~", "remove": "-", "run": ">"}


class Change(Struct, frozen=True):
    """A difference between the current and the predicted state.

    `before` and `after` are the two sides of a diff; None means that the object does not exist (or is not text).
    `attributes` describes owner and mode if they change. `token` represents content that must not be shown (a secret,
    a binary file), so that two changes can still be compared exactly. `key` identifies the object that changes;
    decisions compare `key` and never `subject`, which is display text. `key` can be None only in plans of version
    0.1.0.
    """

    omitted_if_default: ClassVar[tuple[str, ...]] = ("key",)

    subject: str
    verb: Verb
    before: str | None = None
    after: str | None = None
    attributes: str = ""
    token: str = ""
    key: Key | None = None

    def headline(self) -> str:
        """Return one line, such as `+ /etc/sysctl.d/99-backendai.conf` or `~ net.core.somaxconn  4096 → 65536`."""
        text = f"{MARKS[self.verb]} {self.subject}"
        if self.before is not None and self.after is not None and self.is_short():
            text += f"  {self.before} → {self.after}"
        elif self.before is None and self.after is not None and self.is_short() and self.after:
            text += f"  {self.after}"
        return f"{text}  {self.attributes}" if self.attributes else text

    def is_short(self) -> bool:
        """Whether both sides fit into the headline."""
        return all("\n" not in side and len(side) <= 60 for side in (self.before or "", self.after or ""))

    def diff(self) -> str:
        """Return a unified diff of the two sides, or the headline if there is nothing more to show.

        If more than `MAX_COMPARED` lines differ: the first lines of each side and the number of lines.
        """
        if self.is_short():
            return self.headline()
        old = (self.before or "").splitlines(keepends=True)
        new = (self.after or "").splitlines(keepends=True)
        name_old = self.subject if self.before is not None else "/dev/null"
        name_new = self.subject if self.after is not None else "/dev/null"
        lines = [
            line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in map(_cut, (f"--- {name_old}\n", f"+++ {name_new}\n", *_hunks(old, new)))
        ]
        tail = f"# {self.subject}: {self.attributes}\n" if self.attributes else ""
        return "".join(lines) + tail


def _hunks(old: list[str], new: list[str]) -> Iterator[str]:
    """Yield the hunks of a unified diff."""
    shorter = min(len(old), len(new))
    first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    last = next((at for at in range(shorter - first) if old[-1 - at] != new[-1 - at]), shorter - first)
    removed, added = old[first : len(old) - last], new[first : len(new) - last]
    if len(removed) + len(added) > MAX_COMPARED:
        yield f"@@ -{first + 1},{len(removed)} +{first + 1},{len(added)} @@ too many lines to compare\n"
        yield from _beginning("-", removed)
        yield from _beginning("+", added)
        return
    from difflib import unified_diff

    # Skip the common lines at the beginning and end, except for the context of the first and last hunk.
    start, end = max(0, first - CONTEXT), max(0, last - CONTEXT)
    compared = unified_diff(old[start : len(old) - end], new[start : len(new) - end], n=CONTEXT)
    for line in list(compared)[2:]:
        yield _moved(line, start) if start and line.startswith("@@") else line


def _cut(line: str) -> str:
    """Return the line, truncated with a character count if it is too long to read."""
    if len(line) <= LONGEST_LINE:
        return line
    more = len(line.rstrip("\n")) - LONGEST_LINE
    return f"{line[:LONGEST_LINE]}… {more} more characters" + ("\n" if line.endswith("\n") else "")


def _beginning(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines[:SHOWN_LINES]:
        yield mark + (line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…\n")
    if len(lines) > SHOWN_LINES:
        yield f"{mark}… {len(lines) - SHOWN_LINES} more lines\n"


def _moved(head: str, by: int) -> str:
    """Return a hunk header such as `@@ -1,4 +1,5 @@` with its line numbers shifted."""
    _, old, new, tail = head.split(" ", 3)
    moved = []
    for span in (old, new):
        number, comma, count = span[1:].partition(",")
        moved.append(f"{span[0]}{int(number) + by}{comma}{count}")
    return f"@@ {moved[0]} {moved[1]} {tail}"


# What happens to a child when the run is cancelled or the timeout expires (design, section 5, rule 5).
Cancel = Literal["kill", "finish", "abandon"]
Outcome = dict[Key, State | None | Unpredictable]
Environment = tuple[tuple[str, str], ...]


class Operation(Registered, frozen=True):
    """One change to a node, as data."""

    kinds: ClassVar[dict[str, type[Any]]] = {}
    # Undo runs these after everything else, once each: a service must read files that are already restored.
    undo_last: ClassVar[bool] = False
    # False if several files are written in sequence: after an interruption, the first may already show the predicted
    # state, which proves nothing about the others.
    is_atomic: ClassVar[bool] = True
    # What it changes, in its change; empty for a path.
    noun: ClassVar[str] = ""
    # Whether this may cause the interruptions that its step declares.
    is_disruptive: ClassVar[bool] = False

    @abstractmethod
    def keys(self) -> tuple[Key, ...]:
        """The objects that this touches; everything else depends on their states before it."""

    @abstractmethod
    def after(self, before: States) -> Outcome:
        """The states of `keys()` after this operation, given the states before."""

    def inverse(self, before: States) -> Operation | None:
        """The operation that restores `before`; None if this cannot be undone."""
        return None

    def recovery_steps(self, before: States, view: NodeView) -> tuple[Operation, ...]:
        """The operations that undo an attempt interrupted midway; empty if nothing can or must be undone."""
        return ()

    def is_satisfied(self, before: States) -> bool:
        """Whether the node is already in the desired state."""
        return self.after(before) == before

    def changes(self, before: States) -> tuple[Change, ...]:
        """The changes to show: one for each key whose state differs."""
        after = self.after(before)
        return tuple(
            replace(self.change(key, before[key], after[key]), key=key)
            for key in self.keys()
            if before[key] != after[key]
        )

    def refusal(self, view: NodeView) -> str:
        """Explain why this would fail on the node that `view` shows; empty if no reason is known."""
        return ""

    def touched(self, before: States) -> tuple[Key, ...]:
        """The keys whose states this would change, shown or not: these must be within the step's scope."""
        after = self.after(before)
        return tuple(key for key in self.keys() if before[key] != after[key])

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        """The difference for one key; subclasses show more than what it is and its name."""
        return Change(f"{self.noun} {key.name}".strip(), verb_of(before, after))

    def interrupted_unit(self) -> str:
        """The unit that this stops or restarts; otherwise empty."""
        return ""

    def may_happen_later(self) -> bool:
        """Whether an attempt that failed or was interrupted may still take effect, as when systemd mounts at boot."""
        return False

    def interrupts(self, declared: Collection[Interrupt] = ()) -> tuple[Interrupt, ...]:
        """What applying this may interrupt on a node in use. `declared`: what its step may interrupt.

        Interruptions by units depend on the unit alone.
        """
        by_unit = OF_UNITS.get(self.interrupted_unit())
        others: list[Interrupt] = (
            [each for each in declared if each not in OF_UNITS.values()] if self.is_disruptive else []
        )
        return (*([by_unit] if by_unit else []), *others)

    def simulate(self, node: Simulation) -> States:
        """What a node changes by itself in addition to `after`.

        Raises StepFailed, or OSError with the object as its file name, if a real node would refuse.
        """
        return {}

    def irreversible_reason(self) -> str:
        """Why this stays after an undo; empty if it is undone."""
        return ""


def verb_of(before: State | None, after: State | Unpredictable | None) -> Verb:
    """Return create, modify or remove, depending on which side is missing."""
    if before is None:
        return "create"
    return "remove" if after is None else "modify"


# Kinds of key whose names are absolute paths; only these can contain other keys.
PATHS = ("file", "tree", "immutable", "mount", "interpreter", "venv", "download")


class Below(NamedTuple):
    """`key`, which names a directory, and every path of the same kind below it."""

    key: Key


class Missing(NamedTuple):
    """`key`, only while it does not exist: it may be created, but an existing object is not altered."""

    key: Key


Scope: TypeAlias = Key | Below | Missing


def above(path: str) -> tuple[Missing, ...]:
    """Return every directory above `path` except the root, each only if it has to be created."""
    parts = [part for part in path.split("/") if part][:-1]
    return tuple(Missing(file_key("/" + "/".join(parts[: number + 1]))) for number in range(len(parts)))


def admits(scope: Iterable[Scope], key: Key, *, creates: bool = False) -> bool:
    """Whether the scope contains `key`. `creates`: the object does not exist yet."""
    for item in scope:
        if isinstance(item, Below):
            if _is_below(key, item.key):
                return True
        elif isinstance(item, Missing):
            if creates and _same(key, item.key):
                return True
        elif _same(key, item):
            return True
    return False


def refuse_outside(scope: Sequence[Scope], operation: Operation, before: States) -> None:
    """Raise StepBlocked for an operation that would change anything outside the scope."""
    outside = [str(key) for key in operation.touched(before) if not admits(scope, key, creates=before[key] is None)]
    if outside:
        raise StepBlocked(f"refused, nothing was changed: {', '.join(outside)} is outside the scope of this step")


def _same(one: Key, other: Key) -> bool:
    if one.kind in PATHS and one.kind == other.kind:
        parts = _parts(one.name)
        return parts is not None and parts == _parts(other.name)
    return one == other


def _is_below(key: Key, top: Key) -> bool:
    if key.kind != top.kind or key.kind not in PATHS:
        return False
    parts, head = _parts(key.name), _parts(top.name)
    return parts is not None and head is not None and parts[: len(head)] == head


def _parts(path: str) -> tuple[str, ...] | None:
    """Return the components of an absolute path; None if it is relative, or ambiguous because of `..` or NUL."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    return parts if path.startswith("/") and ".." not in parts and "\0" not in path else None


# Side effects of commands, by the beginning of their command lines.
Effects = Mapping[tuple[str, ...], tuple[tuple[Key, State], ...]]


class Offer(Struct, frozen=True):
    """A package that apt could install: its version, what it creates, and the file that makes it available."""

    version: str
    source: str = ""
    brings: tuple[tuple[Key, State], ...] = ()


class Simulation(Struct, frozen=True):
    """The states of the node, what apt offers, the node's clock, and the side effects of commands."""

    states: Mapping[Key, State]
    offers: Mapping[str, Offer]
    now: float
    effects: Effects
