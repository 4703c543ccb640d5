"""Reads of a node by name and arguments: noted while a plan is made, asked again later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import WizardError
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, Hardware, Machine
from bai_wizard.core.state import Account, Group, Key, State
from bai_wizard.engine.proof.fingerprint import fingerprint

if TYPE_CHECKING:
    from bai_wizard.core.primitives import Primitive
    from bai_wizard.core.step import Interrupt

# A read: the method of Machine, its arguments, its named arguments. What JSON keeps.
Read = tuple[str, list[Any], dict[str, Any]]


class NotingMachine(Machine):
    """A machine that notes every read with the fingerprint of its answer, in the order of the first asking."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.noted: dict[str, tuple[Read, str]] = {}

    @property
    def packages_from(self) -> str:
        return self._machine.packages_from

    @packages_from.setter
    def packages_from(self, directory: str) -> None:
        self._machine.packages_from = directory

    @property
    def is_root(self) -> bool:
        return bool(self._note("is_root"))

    @property
    def host(self) -> str:
        return str(self._note("host"))

    def state(self, key: Key) -> State | None:
        found: State | None = self._note("state", key.sort, key.name)
        return found

    def names(self, directory: str) -> tuple[str, ...]:
        return tuple(self._note("names", directory))

    def accounts(self) -> tuple[Account, ...]:
        return tuple(self._note("accounts"))

    def groups(self) -> tuple[Group, ...]:
        return tuple(self._note("groups"))

    def candidate(self, package: str) -> str | None:
        found: str | None = self._note("candidate", package)
        return found

    def changed_at(self, path: str) -> float:
        return float(self._note("changed_at", path))

    def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        found: Completed = self._note("look", list(argv), deadline=deadline)
        return found

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        found: str | None = self._note("kernel_text", path, deadline=deadline)
        return found

    def affected(self, interrupt: Interrupt) -> tuple[str, ...]:
        return tuple(self._note("affected", interrupt))

    def free_bytes(self, path: str) -> int:
        return int(self._note("free_bytes", path))

    def in_container(self) -> bool:
        return bool(self._note("in_container"))

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        return self._note("engine", path, deadline=deadline)

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        return int(self._note("remote_size", url, proxy, deadline=deadline))

    def hardware(self) -> Hardware:
        found: Hardware = self._note("hardware")
        return found

    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        raise TypeError("a machine that notes reads changes nothing")

    def _note(self, method: str, *args: Any, **named: Any) -> Any:
        read: Read = (method, list(args), named)
        answer, error = _asked(self._machine, read)
        self.noted.setdefault(repr(read), (read, _told(read, answer, error)))
        if error is not None:
            raise error
        return answer


def answer_of(machine: Machine, read: Read) -> str:
    """The fingerprint of what a read answers now; an error is an answer too."""
    if read[0] == "free_bytes":
        return fingerprint("some")  # never looked at, see `_told`
    return _told(read, *_asked(machine, read))


def _asked(machine: Machine, read: Read) -> tuple[Any, WizardError | None]:
    method, args, named = read
    try:
        if method == "state":
            return machine.state(Key(*args)), None
        found = getattr(machine, method)
        return (found(*args, **named) if callable(found) else found), None
    except WizardError as error:
        return None, error


def _told(read: Read, answer: Any, error: WizardError | None) -> str:
    if error is not None:
        return fingerprint((type(error).__name__, str(error)))
    # How much room is left changes all the time; a page whose plan depends on it has no proof (Page.reproducible).
    return fingerprint("some") if read[0] == "free_bytes" else fingerprint(answer)
