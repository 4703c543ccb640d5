"""What classes declare about themselves: which records can change, and how the engine treats each operation."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest

import bai_wizard
from bai_wizard.core.operation import Operation
from bai_wizard.steps import load_all

# Records that collect results; all others are values, which plans, journals and threads share.
MUTABLE = {
    "engine.executor.JournalledNode", "engine.records.Records", "engine.undo.RollbackResult",
    "resources.images_apply.Pull", "resources.images_apply.Layer", "resources.images_apply.ImageProgress",
    "resources.pythons_apply.BuildLog",
}  # fmt: skip

# Several files in sequence: an interruption can leave the first as predicted and the others as they were.
NOT_ATOMIC = {"add-group", "add-user", "add-member", "remove-group", "remove-user", "remove-member", "repair-venv"}
# Can stop something that users run, so that a step with one of them needs consent.
DISRUPTIVE = {"reload-units", "restart-unit", "run-command", "set-mount", "set-unit"}
# Undone after everything else, when the files that they read are restored.
UNDONE_LAST = {"reload-units", "restart-unit"}


def classes() -> Iterator[tuple[str, type]]:
    for package in ("core", "engine", "resources", "answers"):
        found = importlib.import_module(f"bai_wizard.{package}")
        for module in pkgutil.iter_modules(found.__path__, f"{found.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, type) and value.__module__ == module.name:
                    yield f"{module.name.removeprefix(f'{bai_wizard.__name__}.')}.{name}", value


def is_frozen(value: type) -> bool | None:
    """Whether a record is a value; None for a class that is no record."""
    if issubclass(value, msgspec.Struct):
        return value.__struct_config__.frozen
    if dataclasses.is_dataclass(value):
        return bool(getattr(value, "__dataclass_params__").frozen)  # noqa: B009 - not known to type checkers
    return None


def test_records_are_values_unless_they_collect_results() -> None:
    assert {name for name, value in classes() if is_frozen(value) is False} == MUTABLE


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("is_disruptive", DISRUPTIVE), ("undo_last", UNDONE_LAST)],
)
def test_how_the_engine_treats_operations(name: str, kinds: set[str]) -> None:
    load_all()
    assert {kind for kind, value in Operation.kinds.items() if getattr(value, name) is True} == kinds


def test_operations_that_write_several_files() -> None:
    load_all()
    assert {kind for kind, value in Operation.kinds.items() if not value.is_atomic} == NOT_ATOMIC
