"""The closed set of ways in which the wizard changes a node.

A primitive is plain data. Its keys say what it touches, `after` says what will then be true, `inverse` how it is
taken back. The planner, the simulated node, the journal and undo need nothing else; the one door to the real
node (`bai_wizard.machine.perform`) carries them out.
"""

from bai_wizard.core.primitives.accounts import (
    AddGroup,
    AddMember,
    AddUser,
    RemoveGroup,
    RemoveMember,
    RemoveUser,
    SetPassword,
)
from bai_wizard.core.primitives.base import BasePrimitive
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

Primitive = (
    WriteFile
    | RemovePath
    | MakeDirectory
    | MakeLink
    | SetImmutable
    | AddGroup
    | RemoveGroup
    | AddUser
    | RemoveUser
    | AddMember
    | RemoveMember
    | SetPassword
    | InstallPackages
    | RemovePackages
    | RefreshPackages
    | HoldPackages
    | SetUnit
    | RestartUnit
    | ReloadUnits
    | SetSysctl
    | SetMount
    | PullImages
    | LoadImages
    | TagImage
    | RemoveImages
    | CloneRepository
    | RemoveTree
    | FetchFile
    | DropDownload
    | InstallPython
    | RemovePython
    | BuildPython
    | MakeVenv
    | InstallDistributions
    | RunCommand
)

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
]
