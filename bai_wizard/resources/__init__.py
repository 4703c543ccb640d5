"""Resources: one module per kind of thing on a node, with its readers, its operations and how they are executed.

Modules register these by decorators, so a new kind of thing touches its own module only. Code that only changes
things is in a module with the suffix `_apply`, which is imported when the first of its operations is executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Key, State

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine


_APART = "_apply"

F = TypeVar("F", bound=Callable[..., Any])

_readers: dict[str, Callable[[LocalMachine, str], State | None]] = {}
_performers: dict[type[Operation], Callable[..., None]] = {}
_refusals: dict[type[Operation], Callable[..., str]] = {}
_sweepers: dict[type[Operation], Callable[..., None]] = {}


def reads(kind: str) -> Callable[[F], F]:
    """Decorator: `function(machine, name)` returns the state of the object `kind:name`; None if it does not exist.

    It raises StateUnknown if that cannot be determined.
    """
    return _adds(_readers, kind)


def performs(kind: type[Operation]) -> Callable[[F], F]:
    """Decorator: `function(machine, operation, log)` executes this kind of operation.

    It raises StepFailed with the cause in plain words.
    """
    return _adds(_performers, kind)


def refuses(kind: type[Operation]) -> Callable[[F], F]:
    """Decorator: `function(machine, operation)` explains why the node would refuse it now; empty if not.

    It raises StateUnknown or StepFailed if that cannot be determined.
    """
    return _adds(_refusals, kind)


def sweeps(kind: type[Any]) -> Callable[[F], F]:
    """Decorator: `function(machine, operation)` removes what an interrupted operation of this kind has left.

    It also serves the subclasses of `kind`.
    """
    return _adds(_sweepers, kind)


def _adds(table: dict[Any, Any], kind: Any) -> Callable[[F], F]:
    def add(function: F) -> F:
        table[kind] = function
        return function

    return add


def read(machine: LocalMachine, key: Key) -> State | None:
    """Return the state of an object on a real node; None if it does not exist. Raises StateUnknown."""
    try:
        reader = _reader(key.kind)
        if reader is None:
            raise StateUnknown(f"{key}: this kind cannot be read")
        return reader(machine, key.name)
    except ImportError as error:
        raise StateUnknown(f"this build of the wizard cannot read it: {error}") from error


def _reader(kind: str) -> Callable[[LocalMachine, str], State | None] | None:
    # The module named after the kind first (`images` for `image`): a plan must not import what it does not use.
    for name in sorted(_modules(), key=lambda name: not name.startswith(kind)) if kind not in _readers else ():
        import_module(f"{__name__}.{name}")
        if kind in _readers:
            break
    return _readers.get(kind)


def execute(machine: LocalMachine, operation: Operation, log: Log) -> None:
    """Execute one operation on a real node. Raises StepFailed with the cause in plain words."""
    _import_for(operation)
    perform = _performers.get(type(operation))
    if perform is None:
        raise StepFailed(f"this build of the wizard cannot do {operation.kind!r}")
    try:
        perform(machine, operation, log)
    except StateUnknown as error:
        # A command without an answer, or a read that failed during a change, is a failure of the step.
        raise StepFailed(str(error)) from error


def refusal_of(machine: LocalMachine, operation: Operation) -> str:
    """Explain why the running node would refuse an operation; empty if no reason is known. Raises StateUnknown."""
    _import_for(operation)
    refusal = _refusals.get(type(operation))
    try:
        return refusal(machine, operation) if refusal is not None else ""
    except StepFailed as error:
        raise StateUnknown(str(error)) from error


def sweep(machine: LocalMachine, operation: Operation) -> None:
    """Remove what an interrupted operation has left. Raises StepFailed if that is not possible."""
    _import_for(operation)
    for kind in type(operation).__mro__:
        if kind in _sweepers:
            _sweepers[kind](machine, operation)
            return


def load_operations() -> None:
    """Import every module that defines operations or states, so that any journal can be decoded."""
    for name in _modules():
        import_module(f"{__name__}.{name}")


def load_all() -> None:
    """Import every module now, so that a run does not depend on the code tree remaining unchanged."""
    for name in _modules(with_apply=True):
        import_module(f"{__name__}.{name}")


def _modules(*, with_apply: bool = False) -> list[str]:
    from pkgutil import iter_modules

    return [module.name for module in iter_modules(__path__) if with_apply or not module.name.endswith(_APART)]


def _import_for(operation: Operation) -> None:
    package, _, module = type(operation).__module__.rpartition(".")
    if package == __name__ and os.path.exists(os.path.join(__path__[0], f"{module}{_APART}.py")):
        import_module(f"{__name__}.{module}{_APART}")
