"""The storage page: volumes for the users' data under /vfroot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.page import Page
from bai_wizard.pages import TITLES
from bai_wizard.pages.storage.facts import StorageFacts, VolumeFacts
from bai_wizard.pages.storage.plan import steps
from bai_wizard.pages.storage.probe import predict, probe
from bai_wizard.pages.storage.settings import StorageSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.storage.checks import CHECKS

    return CHECKS


def now(facts: StorageFacts) -> tuple[tuple[str, str], ...]:
    """Each volume in a line: what is mounted, whose it is, how much room there is."""
    return tuple((volume.path, _told(volume)) for volume in facts.volumes) or (("Volumes", "none asked for"),)


def _told(volume: VolumeFacts) -> str:
    if volume.silent:
        return f"mounted, but it does not answer: {volume.silent}"
    if isinstance(volume.top, Unknown):
        return f"cannot tell: {volume.top.reason}"
    parts = []
    if isinstance(volume.mount, Known):
        parts.append(f"{volume.mount.value.fstype} {volume.mount.value.source}")
    elif volume.type != "local":
        parts.append("not mounted")
    if isinstance(volume.top, Known):
        top = volume.top.value
        parts.append(
            f"a {top.type}" if top.type != "directory" else f"owner {top.uid}:{top.gid}, mode {top.mode:04o}"
        )
    else:
        parts.append("not there")
    if isinstance(volume.free, Known):
        parts.append(f"{size(volume.free.value)} free")
    return ", ".join(parts)


def size(count: int) -> str:
    """Bytes in the largest fitting unit of 1024, as `df -h` tells them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} PiB"


PAGE = Page(
    name="storage",
    title=TITLES["storage"],
    summary="Volumes under /vfroot, at the same path on every node.",
    settings=StorageSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    predict=predict,
    now=now,
    reproducible=lambda settings: all(volume.type == "local" for volume in settings.volumes),
)
