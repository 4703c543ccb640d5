"""The table of the Images page: each desired image and its state."""

from __future__ import annotations

from bai_wizard.core.display import gauge
from bai_wizard.core.page import Context, Item, Row
from bai_wizard.locale import N_, tr
from bai_wizard.pages.images.probe import ImagesFacts, Room
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.images.steps import ROOM_FACTOR

ROWS = (
    Row("images.starter"),
    Row("images.pull"),
    Row("images.registry", default="cr.backend.ai"),
    Row("images.registries", steps=("images.registry-ca.",)),
    Row("images.archives"),
    Row("images.parallel", is_advanced=True),
)
WORDS = {
    "here": N_("present"),
    "offered": N_("available"),
    "not-found": N_("not in the registry"),
    "denied": N_("login required"),
    "other-platform": N_("for another architecture"),
    "unknown": N_("unknown"),
}


def now(facts: ImagesFacts) -> tuple[tuple[str, str], ...]:
    """Summarize each desired image and its status."""
    images = tuple((short(result.wanted.reference), tr(WORDS[result.standing])) for result in facts.images)
    return (*images, *_details(facts))


def items(settings: ImagesSettings, facts: ImagesFacts, context: Context) -> tuple[Item, ...]:
    """Each desired image with its download size."""
    return tuple(
        Item(
            short(result.wanted.reference),
            tr("not pulled") if result.standing == "offered" else tr(WORDS[result.standing]),
            tr("present"),
            keys=(f"image:{result.wanted.reference}",),
            steps=(f"images.pull.{result.wanted.reference}",),
        )
        for result in facts.images
    )


def _details(facts: ImagesFacts) -> tuple[tuple[str, str], ...]:
    lines = []
    missing = [result for result in facts.images if result.standing == "offered"]
    download = sum(result.size for result in missing)
    if missing:
        size = megabytes(download)
        is_part = any(not result.size for result in missing)
        text = tr("at least {size} compressed", size=size) if is_part else tr("{size} compressed", size=size)
        lines.append((N_("Download size"), text))
    root: Room | None = facts.room_of(facts.content_root if facts.uses_containerd else facts.data_root)
    if root is not None:
        lines.append((N_("Free space"), _free(root, root.free)))
        if download:
            lines.append((N_("Free while unpacking"), _free(root, max(0, root.free - download * ROOM_FACTOR))))
    lines += [
        (N_("Note"), reason) for reason in dict.fromkeys(result.reason for result in facts.images if result.reason)
    ]
    return tuple(lines)


def _free(room: Room, free: int) -> str:
    size = f"{free / 1e9:.0f}"
    if not room.total:
        return tr("{size} GB free on {path}", size=size, path=room.mount)
    total = f"{room.total / 1e9:.0f}"
    text = tr("{size} of {total} GB free on {path}", size=size, total=total, path=room.mount)
    return f"{gauge(1 - free / room.total)} {text}"


def megabytes(count: int) -> str:
    """Format bytes in megabytes of 10^6, as registries and `docker pull` do."""
    return f"{count / 1e6:.0f} MB" if count >= 10**6 else f"{count / 1e6:.1f} MB"


def short(reference: str) -> str:
    """Return the reference without the registry's host, which is the same for most."""
    host, slash, rest = reference.partition("/")
    return rest if slash and ("." in host or ":" in host) else reference
