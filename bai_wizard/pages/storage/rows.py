"""The table of the Storage page: each volume, now and desired."""

from __future__ import annotations

from bai_wizard.core.display import gauge
from bai_wizard.core.page import Context, Item, Known, Row, Unknown, cannot_tell
from bai_wizard.locale import N_, tr
from bai_wizard.pages.storage.probe import StorageFacts, VolumeFacts
from bai_wizard.pages.storage.settings import StorageSettings

ROWS = (Row("storage.volumes", now=(N_("Volumes"),), steps=("storage.lists", "storage.client")),)


def items(settings: StorageSettings, facts: StorageFacts, context: Context) -> tuple[Item, ...]:
    """Each volume of the answers."""
    known = {volume.path: _volume_summary(volume) for volume in facts.volumes}
    return tuple(
        Item(volume.target, known.get(volume.target, ""), _wanted(volume), (f"storage.{volume.name}.",))
        for volume in settings.volumes
    )


def _wanted(volume: object) -> str:
    source = str(getattr(volume, "source", "") or getattr(volume, "device", ""))
    kind = str(getattr(volume, "type", ""))
    return f"{kind} {source}".strip()


def now(facts: StorageFacts) -> tuple[tuple[str, str], ...]:
    """Summarize each volume on one line: what is mounted, its owner and free space."""
    return tuple((volume.path, _volume_summary(volume)) for volume in facts.volumes) or (
        (N_("Volumes"), tr("none configured")),
    )


def _volume_summary(volume: VolumeFacts) -> str:
    if volume.silent:
        return tr("mounted, but not responding: {reason}", reason=volume.silent)
    if isinstance(volume.top, Unknown):
        return cannot_tell(volume.top)
    parts = []
    if isinstance(volume.mount, Known):
        parts.append(f"{volume.mount.value.fstype} {volume.mount.value.source}")
    elif volume.type != "local":
        parts.append(tr("not mounted"))
    if isinstance(volume.top, Known):
        top = volume.top.value
        if top.type != "directory":
            parts.append(f"a {top.type}")
        else:
            parts.append(tr("owner {owner}, mode {mode}", owner=f"{top.uid}:{top.gid}", mode=f"{top.mode:04o}"))
    else:
        parts.append(tr("does not exist"))
    if isinstance(volume.free, Known) and volume.total:
        free, total = size(volume.free.value), size(volume.total)
        parts.append(
            f"{gauge(1 - volume.free.value / volume.total)} {tr('{free} of {total} free', free=free, total=total)}"
        )
    elif isinstance(volume.free, Known):
        parts.append(tr("{size} free", size=size(volume.free.value)))
    return ", ".join(parts)


def size(count: int) -> str:
    """Format bytes in the largest fitting unit of 1024, as `df -h` does."""
    amount: float = count
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} PiB"
