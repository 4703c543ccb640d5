"""The wanted images as the screen shows them: how each stands, and what is to be fetched."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.page import Sheet
from bai_wizard.pages.images.facts import Found, ImagesFacts, Room
from bai_wizard.pages.images.settings import ImagesSettings

HEADINGS = ("Image", "To fetch", "State")
WORDS = {
    "here": "here",
    "offered": "can be pulled",
    "not-found": "not in the registry",
    "denied": "login wanted",
    "other-platform": "for another architecture",
    "unknown": "cannot tell",
}


def sheet(settings: ImagesSettings, facts: ImagesFacts, context: Context) -> Sheet:
    """A row for each image; below, the sum and the room for it, and why a state is not known."""
    rows = tuple((short(found.wanted.reference), _size(found), WORDS[found.standing]) for found in facts.images)
    return Sheet("Wanted images", HEADINGS, rows, details=_details(facts))


def _details(facts: ImagesFacts) -> tuple[tuple[str, str], ...]:
    told = []
    missing = [found for found in facts.images if found.standing == "offered"]
    if missing:
        least = "at least " if any(not found.size for found in missing) else ""
        told.append(("To fetch", f"{least}{megabytes(sum(found.size for found in missing))} compressed"))
    root: Room | None = facts.room_of(facts.content_root if facts.uses_containerd else facts.data_root)
    if root is not None:
        told.append(("Room", f"{root.free / 1e9:.0f} GB free on {root.mount}"))
    told += [
        ("Not known", reason) for reason in dict.fromkeys(found.reason for found in facts.images if found.reason)
    ]
    return tuple(told)


def _size(found: Found) -> str:
    if found.standing == "here":
        return "-"
    return megabytes(found.size) if found.size else "not known"


def megabytes(count: int) -> str:
    """Bytes in megabytes of 10^6, as registries and `docker pull` tell them."""
    return f"{count / 1e6:.0f} MB" if count >= 10**6 else f"{count / 1e6:.1f} MB"


def short(reference: str) -> str:
    """The reference without the registry's host, which is the same for most."""
    host, slash, rest = reference.partition("/")
    return rest if slash and ("." in host or ":" in host) else reference
