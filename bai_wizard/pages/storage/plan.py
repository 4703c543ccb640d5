"""The storage page: from volumes to steps, and the page itself."""

from __future__ import annotations

from typing import Any, Literal

from bai_wizard.core.page import Context, Known, Page
from bai_wizard.core.parse import fstab_options
from bai_wizard.core.paths import has_attributes
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.storage.fstab import packages_of
from bai_wizard.pages.storage.kinds import Share, share
from bai_wizard.pages.storage.mount_steps import Guard, MountPoint, MountVolume, OrphanedVolume
from bai_wizard.pages.storage.options import judge, type_names, type_of
from bai_wizard.pages.storage.probe import StorageFacts, predict, probe
from bai_wizard.pages.storage.rows import ROWS, items, now
from bai_wizard.pages.storage.settings import MountedVolume, StorageSettings, VolumeSettings
from bai_wizard.pages.storage.volume_steps import ClientVolume, VersionFile, VersionSays, VolumeCheck, VolumeOwner
from bai_wizard.steps.files import Directory
from bai_wizard.steps.packages import PackageLists, Packages


def steps(settings: StorageSettings, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """Return steps for missing client programs, then the steps of every volume in the order of the answers."""
    found_steps: list[Step] = [*_clients(settings, facts)]
    for volume in settings.volumes:
        found_steps += volume_steps(volume, facts, context)
    found_steps += [
        OrphanedVolume(id=f"storage.left.{number}", path=path) for number, path in enumerate(facts.left, start=1)
    ]
    return tuple(found_steps)


def _clients(settings: StorageSettings, facts: StorageFacts) -> tuple[Step, ...]:
    missing = [volume for volume in settings.volumes if (known := facts.volume(volume.name)) and not known.client]
    if not missing:
        return ()
    names = tuple(dict.fromkeys(name for volume in missing for name in packages_of(volume)))
    if not names:
        return ()
    return (
        PackageLists(id="storage.lists", packages=names),
        Packages(id="storage.client", names=names, why="install client programs for shared storage"),
    )


def volume_steps(volume: Any, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """Return the steps of one volume of the answers.

    A local directory is set up itself, never its content: a `chown -R` over existing data would do damage. What the
    vendor's own client mounts is checked before anything is written to its top directory.
    """
    if volume.type == "local":
        return _top_steps(volume, facts, context, expects="directory")
    by_wizard = isinstance(volume, MountedVolume)
    if not by_wizard:
        if volume.owner != "set":
            return _top_steps(volume, facts, context, expects="mount")
        return (_check(volume, expects="mount"), *_top_steps(volume, facts, context))
    return _mounted_steps(volume, share(volume, facts.volume(volume.name)), facts, context)


def step_id(volume: VolumeSettings, part: str) -> str:
    """`storage.vol1.mount`: unique, because volume names are."""
    return f"storage.{volume.name}.{part}"


def _top_steps(
    volume: VolumeSettings,
    facts: StorageFacts,
    context: Context,
    writers: tuple[str, ...] = (),
    *,
    expects: Literal["", "directory", "mount"] = "",
) -> tuple[Step, ...]:
    """Set or check owner and mode of the top directory, then handle version.txt. Neither if the server is silent.

    `writers` must be able to write there after the owner has been set.
    """
    known = facts.volume(volume.name)
    if known and known.silent:
        return (VolumeCheck(id=step_id(volume, "check"), path=volume.target, silent=known.silent),)
    steps: list[Step] = []
    if volume.owner == "set":
        steps.append(_owned(volume, context, writers))
    else:
        owner = context.account if volume.owner == "check" else ""
        steps.append(_check(volume, expects=expects, owner=owner))
    if volume.version_file != "no":
        write = volume.version_file == "if-empty"
        steps.append(
            VersionFile(id=step_id(volume, "version"), path=volume.target, owner=context.account, write=write)
        )
        steps.append(VersionSays(id=step_id(volume, "layout"), path=volume.target))
    return tuple(steps)


def _check(volume: VolumeSettings, *, expects: Literal["", "directory", "mount"], owner: str = "") -> VolumeCheck:
    id, kind = step_id(volume, "check"), getattr(volume, "type", "")
    advice = type_of(kind).mounts_itself.replace("{path}", volume.target) if kind in type_names() else ""
    if not advice:
        return VolumeCheck(id=id, path=volume.target, expects=expects, owner=owner)
    fstype = type_of(kind).fstype
    return ClientVolume(id=id, path=volume.target, expects=expects, owner=owner, fstype=fstype, advice=advice)


def _owned(volume: VolumeSettings, context: Context, writers: tuple[str, ...]) -> Step:
    id, path, mode = step_id(volume, "owner"), volume.target, volume.permissions
    if not writers:
        return Directory(id=id, path=path, owner=context.account, mode=mode)
    return VolumeOwner(id=id, path=path, owner=context.account, mode=mode, written_as=writers)


def _mounted_steps(volume: MountedVolume, given: Share, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    known = facts.volume(volume.name)
    judged = judge(given.kind, given.options)
    refused = known.refused if known else ""
    if known and known.unknown_hosts:
        names = ", ".join(known.unknown_hosts)
        refused = f"cannot resolve {names}: correct the name, or add it to [aliases] or to DNS"
    if judged.refused:
        refused = f"options of volume {volume.name}: {'; '.join(judged.refused)}"
    below = known.below if known else ""
    missing = below if below and not has_attributes(below) else ""
    guard = Guard(id=step_id(volume, "guard"), path=volume.target, lacking=missing, optional=True)
    writers = _writers(volume, given, facts, context)
    mount = MountVolume(
        id=step_id(volume, "mount"),
        source=given.source,
        target=volume.target,
        fstype=given.fstype,
        options=",".join(given.options) if given.line else fstab_options(given.options),
        line=given.line,
        automount="x-systemd.automount" in given.options,
        needs=given.needs,
        written_as=writers,
        given_later=volume.owner == "set",
        warned=(*judged.warned, *given.warned),
        refused=refused,
        validator="findmnt" if facts.fstab_is_sound else "",
    )
    point = MountPoint(id=step_id(volume, "point"), path=volume.target, cover=not volume.guard)
    return (point, *((guard,) if volume.guard else ()), mount, *_top_steps(volume, facts, context, writers))


def _writers(volume: MountedVolume, given: Share, facts: StorageFacts, context: Context) -> tuple[str, ...]:
    """Who must be able to write: the account, and the UID and GID that an existing agent gives its containers."""
    if volume.owner == "keep" or "ro" in given.options or context.demo:
        return ()
    container = facts.container.value if isinstance(facts.container, Known) else (-1, -1)
    return (context.account, f"{container[0]}:{container[1]}") if min(container) >= 0 else (context.account,)


PAGE = Page(
    name="storage",
    title=TITLES["storage"],
    summary="Volumes under /vfroot, at the same path on every node.",
    settings=StorageSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("storage"),
    predict=predict,
    now=now,
    rows=ROWS,
    items=items,
    unset=lambda settings, _facts, _context: "" if settings.volumes else "no volumes are configured",
)
