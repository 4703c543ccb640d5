"""The steps of every volume that the wizard mounts: mount point, guard, line and mount, top directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.top import step_id, top_steps
from bai_wizard.pages.storage.options import BY_WORD, has_no_attributes, judge, kind_of, merged, split, type_of
from bai_wizard.steps.fstab import parse_line
from bai_wizard.steps.guard import Guard, MountPoint
from bai_wizard.steps.mount import MountVolume

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import MountedVolume


@dataclass(frozen=True)
class Share:
    """What fstab is to say of a volume. `line` is a line of the user's own, `warned` what is to be said of it."""

    source: str
    fstype: str
    options: tuple[str, ...]
    needs: tuple[str, ...] = ()
    line: str = ""
    warned: tuple[str, ...] = ()


def layered(kind: str, volume: MountedVolume, *more: tuple[str, ...]) -> tuple[str, ...]:
    """The type's defaults, `more`, the answers' own options, each over the one before; automount where asked for."""
    automount = ("x-systemd.automount",) if volume.automount else ()
    return merged(type_of(kind).defaults, *more, automount, split(volume.options))


def mounted_steps(
    kind: str, volume: MountedVolume, share: Share, facts: StorageFacts, context: Context
) -> tuple[Step, ...]:
    """The steps of one volume. `kind` is the type in `data/storage.toml` that knows its options."""
    known = facts.volume(volume.name)
    judged = judge(kind, share.options)
    refused = known.refused if known else ""
    if known and known.unknown_hosts:
        names = ", ".join(known.unknown_hosts)
        refused = f"nobody knows the address of {names}: correct the name, or add it to [aliases] or to DNS"
    if judged.refused:
        refused = f"options of volume {volume.name}: {'; '.join(judged.refused)}"
    beneath = known.beneath if known else ""
    lacking = beneath if has_no_attributes(beneath) else ""
    guard = Guard(id=step_id(volume, "guard"), path=volume.target, lacking=lacking, optional=True)
    writers = _writers(volume, share, facts, context)
    mount = MountVolume(
        id=step_id(volume, "mount"),
        source=share.source,
        target=volume.target,
        fstype=share.fstype,
        options=",".join(share.options),
        line=share.line,
        automount="x-systemd.automount" in share.options,
        needs=share.needs,
        written_as=writers,
        given_later=volume.owner == "set",
        warned=(*judged.warned, *share.warned),
        refused=refused,
        validator="findmnt" if facts.fstab_is_sound else "",
    )
    point = MountPoint(id=step_id(volume, "point"), path=volume.target, cover=not volume.guard)
    return (point, *((guard,) if volume.guard else ()), mount, *top_steps(volume, facts, context, writers))


def helper_of(volume: object) -> str:
    """The program that mounts this volume; empty where the kernel needs none."""
    kind = getattr(volume, "type", "")
    if kind == "fstab":
        entry = parse_line(getattr(volume, "line", ""))
        kind = kind_of(entry.fstype) if entry else "other"
    return type_of(kind).helper if kind != "other" else ""


def packages_of(volume: object) -> tuple[str, ...]:
    """The distribution's packages with that program."""
    helper = helper_of(volume)
    kinds = [kind for kind in BY_WORD if type_of(kind).helper == helper]
    return type_of(kinds[0]).packages if helper and kinds else ()


def _writers(volume: MountedVolume, share: Share, facts: StorageFacts, context: Context) -> tuple[str, ...]:
    """Who must be able to write: the account, and the ids that an existing agent gives its containers."""
    if volume.owner == "keep" or "ro" in share.options or context.demo:
        return ()
    container = facts.container.value if isinstance(facts.container, Known) else (-1, -1)
    return (context.account, f"{container[0]}:{container[1]}") if min(container) >= 0 else (context.account,)
