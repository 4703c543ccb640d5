"""The top directory of a volume: owner, mode, version.txt; what every type of volume shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.version_file import VersionFile
from bai_wizard.steps.volume_check import VolumeCheck
from bai_wizard.steps.volume_owner import VolumeOwner

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import VolumeSettings


def step_id(volume: VolumeSettings, part: str) -> str:
    """`storage.vol1.mount`: unique, as volumes' names are."""
    return f"storage.{volume.name}.{part}"


def top_steps(
    volume: VolumeSettings,
    facts: StorageFacts,
    context: Context,
    writers: tuple[str, ...] = (),
    *,
    expects: Literal["", "directory", "mount"] = "",
) -> tuple[Step, ...]:
    """Owner and mode of the top directory as the answers say, then version.txt. A silent server keeps from both.

    `writers` must be able to write there once it is theirs.
    """
    known = facts.volume(volume.name)
    if known and known.silent:
        return (VolumeCheck(id=step_id(volume, "check"), path=volume.target, silent=known.silent),)
    found: list[Step] = []
    if volume.owner == "set":
        found.append(_owned(volume, context, writers))
    else:
        owner = context.account if volume.owner == "check" else ""
        found.append(VolumeCheck(id=step_id(volume, "check"), path=volume.target, expects=expects, owner=owner))
    if volume.version_file != "no":
        write = volume.version_file == "if-empty"
        found.append(
            VersionFile(id=step_id(volume, "version"), path=volume.target, owner=context.account, write=write)
        )
    return tuple(found)


def _owned(volume: VolumeSettings, context: Context, writers: tuple[str, ...]) -> Step:
    id, path, mode = step_id(volume, "owner"), volume.target, volume.permissions
    if not writers:
        return Directory(id=id, path=path, owner=context.account, mode=mode)
    return VolumeOwner(id=id, path=path, owner=context.account, mode=mode, written_as=writers)
