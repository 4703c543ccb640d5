"""A cache of reads: within one plan, step or doctor run, each read of the node is made only once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from bai_wizard.core.errors import WizardError
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, HardwarePart, Machine, Space
from bai_wizard.core.state import Account, Group, Key, State, Tree, Unit, unit_key

if TYPE_CHECKING:
    from bai_wizard.core.consent import Affected, Interrupt
    from bai_wizard.core.operation import Operation

T = TypeVar("T")


class _Answer:
    """What a read returned or raised. Threads that make the same read wait for the first one."""

    __slots__ = ("error", "is_known", "lock", "value")

    def __init__(self) -> None:
        self.lock = Lock()
        self.is_known = False
        self.value: Any = None
        self.error: WizardError | None = None


class RememberingMachine(Machine):
    """Passes reads on to `machine` and remembers the answers, including errors; every write makes it forget them all.

    Interruptions, free space and what the node would refuse are never cached: they change without a write by the
    wizard.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._answers: dict[Hashable, _Answer] = {}

    def forget(self) -> None:
        """Repeat every read. A read that is still in progress in another thread is not remembered either."""
        self._answers = {}

    def _once(self, read: Hashable, ask: Callable[[], T]) -> T:
        answer = self._answers.setdefault(read, _Answer())
        if not answer.is_known:
            with answer.lock:
                if not answer.is_known:
                    try:
                        answer.value = ask()
                    except WizardError as error:
                        answer.error = error
                    answer.is_known = True
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        result: T = answer.value
        return result

    def state(self, key: Key) -> State | None:
        return self._once(key, lambda: self._machine.state(key))

    def units(self, names: Sequence[str]) -> dict[str, Unit | None]:
        new = [name for name in names if unit_key(name) not in self._answers]
        found = self._once(("units", *new), lambda: self._machine.units(new)) if new else {}
        for name in new:
            self._once(unit_key(name), partial(found.__getitem__, name))
        return {name: self.unit(name) for name in names}

    def names(self, directory: str) -> tuple[str, ...]:
        return self._once(("names", directory), lambda: self._machine.names(directory))

    def accounts(self) -> tuple[Account, ...]:
        return self._once("accounts", self._machine.accounts)

    def groups(self) -> tuple[Group, ...]:
        return self._once("groups", self._machine.groups)

    def candidate(self, package: str) -> str | None:
        return self._once(("candidate", package), lambda: self._machine.candidate(package))

    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        return self._once(("tree", path, parts), lambda: self._machine.tree_without(path, parts))

    def changed_at(self, path: str) -> float:
        return self._once(("changed", path), lambda: self._machine.changed_at(path))

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        return self._once(("query", *argv), lambda: self._machine.query(argv, deadline=deadline))

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        return self._once(("kernel", path), lambda: self._machine.kernel_text(path, deadline=deadline))

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        return self._once(("engine", path), lambda: self._machine.engine(path, deadline=deadline))

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        return self._once(("size", url, proxy), lambda: self._machine.remote_size(url, proxy, deadline=deadline))

    def in_container(self) -> bool:
        return self._once("container", self._machine.in_container)

    def hardware(self, part: HardwarePart) -> Any:
        return self._once(("hardware", part), lambda: self._machine.hardware(part))

    @property
    def is_root(self) -> bool:
        return self._machine.is_root

    @property
    def host(self) -> str:
        return self._once("host", lambda: self._machine.host)

    @property
    def packages_from(self) -> str:
        return self._machine.packages_from

    @packages_from.setter
    def packages_from(self, directory: str) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if directory != self._machine.packages_from:
            self._machine.packages_from = directory
            self.forget()

    @property
    def wheels_from(self) -> str:
        return self._machine.wheels_from

    @wheels_from.setter
    def wheels_from(self, directory: str) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if directory != self._machine.wheels_from:
            self._machine.wheels_from = directory
            self.forget()

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        return self._machine.disruption(interrupt)

    def space(self, path: str) -> Space:
        return self._machine.space(path)

    def refusal(self, operation: Operation) -> str:
        return self._machine.refusal(operation)

    def helpers(self) -> AbstractContextManager[None]:
        return self._machine.helpers()

    def apply(self, operation: Operation, log: Log = silent) -> None:
        self.forget()
        try:
            self._machine.apply(operation, log)
        finally:
            self.forget()
