"""Finds, at the last moment, the function that carries a primitive out.

Each module of this package has a table `PERFORMERS: Performers` from a primitive's kind to a function
`(machine, primitive, log)`, which raises StepFailed with the cause in plain words.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.event import Log

if TYPE_CHECKING:
    from bai_wizard.core.primitives import Primitive
    from bai_wizard.machine.local import LocalMachine

Performer = Callable[["LocalMachine", Any, Log], None]
Performers = dict[str, Performer]

MODULES: dict[str, tuple[str, ...]] = {
    "files": ("write-file", "make-directory", "make-link", "remove-path", "set-immutable"),
    "accounts": (
        "add-group",
        "remove-group",
        "add-user",
        "remove-user",
        "add-member",
        "remove-member",
        "set-password",
    ),
    "packages": ("install-packages", "remove-packages", "refresh-packages", "hold-packages"),
    "units": ("set-unit", "restart-unit", "reload-units"),
    "kernel": ("set-sysctl",),
    "mounts": ("set-mount",),
    "images": ("pull-images", "load-images", "tag-image", "remove-images"),
    "trees": ("clone-repository", "remove-tree"),
    "downloads": ("fetch-file", "drop-download"),
    "pythons": ("install-python", "build-python", "remove-python"),
    "venvs": ("make-venv", "install-distributions"),
    "command": ("run-command",),
}


def performer(kind: str) -> Performer:
    """The function for a kind of primitive. Raises StepFailed where this build has none."""
    for module, kinds in MODULES.items():
        if kind in kinds:
            return _table(module)[kind]
    raise StepFailed(f"this build of the wizard cannot do {kind!r}")


def load_all() -> None:
    """Imports every module now, so that a run does not depend on the code tree staying as it is."""
    for module in MODULES:
        _table(module)


def carry_out(machine: LocalMachine, primitive: Primitive, log: Log) -> None:
    """Carries one primitive out on a real node. Raises StepFailed with the cause in plain words."""
    try:
        performer(primitive.kind)(machine, primitive, log)
    except CannotTell as error:
        # A command without an answer, or a read that failed in the middle of a change, is a failure of the step.
        raise StepFailed(str(error)) from error


def _table(module: str) -> Performers:
    table = import_module(f"{__name__}.{module}").PERFORMERS
    assert isinstance(table, dict)
    return table
