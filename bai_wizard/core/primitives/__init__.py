"""The closed set of ways in which the wizard changes a node.

A primitive is plain data. Its keys say what it touches, `after` says what will then be true, `inverse` how it is
taken back. The planner, the simulated node, the journal and undo need nothing else; the one door to the real
node (`bai_wizard.machine.perform`) carries them out.

Each topic's module is imported when one of its names is asked for: a converged run needs few of them, and making
all these classes would be a good part of its time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from bai_wizard.core.primitives.base import BasePrimitive

if TYPE_CHECKING:
    from bai_wizard.core.primitives.accounts import (
        AddGroup,
        AddMember,
        AddUser,
        RemoveGroup,
        RemoveMember,
        RemoveUser,
        SetPassword,
    )
    from bai_wizard.core.primitives.command import RunCommand
    from bai_wizard.core.primitives.files import (
        MakeDirectory,
        MakeLink,
        RemovePath,
        SetImmutable,
        WriteFile,
    )
    from bai_wizard.core.primitives.images import LoadImages, Login, PullImages, RemoveImages, TagImage
    from bai_wizard.core.primitives.kernel import SetSysctl
    from bai_wizard.core.primitives.mounts import SetMount
    from bai_wizard.core.primitives.packages import HoldPackages, InstallPackages, RefreshPackages, RemovePackages
    from bai_wizard.core.primitives.pythons import (
        BuildPython,
        DropDownload,
        FetchFile,
        InstallDistributions,
        InstallPython,
        MakeVenv,
        RemovePython,
    )
    from bai_wizard.core.primitives.trees import CloneRepository, RemoveTree
    from bai_wizard.core.primitives.units import ReloadUnits, RestartUnit, SetUnit

# One of the closed set, for hints.
Primitive: TypeAlias = BasePrimitive

# Module of this package → what it brings.
MODULES: dict[str, tuple[str, ...]] = {
    "accounts": (
        "AddGroup",
        "AddMember",
        "AddUser",
        "RemoveGroup",
        "RemoveMember",
        "RemoveUser",
        "SetPassword",
    ),
    "command": ("RunCommand",),
    "files": (
        "MakeDirectory",
        "MakeLink",
        "RemovePath",
        "SetImmutable",
        "WriteFile",
    ),
    "images": (
        "LoadImages",
        "Login",
        "PullImages",
        "RemoveImages",
        "TagImage",
    ),
    "kernel": ("SetSysctl",),
    "mounts": ("SetMount",),
    "packages": (
        "HoldPackages",
        "InstallPackages",
        "RefreshPackages",
        "RemovePackages",
    ),
    "pythons": (
        "BuildPython",
        "DropDownload",
        "FetchFile",
        "InstallDistributions",
        "InstallPython",
        "MakeVenv",
        "RemovePython",
    ),
    "trees": (
        "CloneRepository",
        "RemoveTree",
    ),
    "units": (
        "ReloadUnits",
        "RestartUnit",
        "SetUnit",
    ),
}
# A part of PullImages, and none itself.
PARTS = ("Login",)


def closed_set() -> Any:
    """All primitives as one union, for reading them back; imports every topic."""
    names = [name for names in MODULES.values() for name in names if name not in PARTS]
    return Union[tuple(_named(name) for name in names)]  # noqa: UP007 - the members are known at run time only


def _named(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A primitive by its name (PEP 562); type checkers see the imports above instead."""
        value = globals()[name] = _named(name)
        return value


__all__ = [
    "AddGroup",
    "AddMember",
    "AddUser",
    "BasePrimitive",
    "BuildPython",
    "CloneRepository",
    "DropDownload",
    "FetchFile",
    "HoldPackages",
    "InstallDistributions",
    "InstallPackages",
    "InstallPython",
    "LoadImages",
    "Login",
    "MakeDirectory",
    "MakeLink",
    "MakeVenv",
    "Primitive",
    "PullImages",
    "RefreshPackages",
    "ReloadUnits",
    "RemoveGroup",
    "RemoveImages",
    "RemoveMember",
    "RemovePackages",
    "RemovePath",
    "RemovePython",
    "RemoveTree",
    "RemoveUser",
    "RestartUnit",
    "RunCommand",
    "SetImmutable",
    "SetMount",
    "SetPassword",
    "SetSysctl",
    "SetUnit",
    "TagImage",
    "WriteFile",
    "closed_set",
]
