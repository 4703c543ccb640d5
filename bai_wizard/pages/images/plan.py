"""The Images page: from the desired images to steps, their table, and the page itself."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from bai_wizard.core.errors import KnownAfterApply, StateUnknown
from bai_wizard.core.machine import NodeView
from bai_wizard.core.page import Absent, Context, Fact, Known, Page, Unknown, Unsupported, value_or
from bai_wizard.core.parse import whole
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.images.probe import (
    Archive,
    ImagesFacts,
    ImageStatus,
    daemon_config,
    image_data,
    passwords,
    probe,
)
from bai_wizard.pages.images.rows import ROWS, items, now
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.images.steps import ROOM_FACTOR, LoadedImages, NamedImage, Pull, PulledImages
from bai_wizard.resources.images import Login
from bai_wizard.steps.docker import ENGINES, RegistryAuthority, engine_major, why_missing

# The first engine that uses containerd's store on a node without images (release notes of 29.0).
BEGINS_WITH_CONTAINERD = 29


def predict(facts: ImagesFacts, view: NodeView) -> ImagesFacts:
    """Use the engine's directories as the Docker page of the same plan will set them."""
    result = daemon_config(view)
    features = result.get("features")
    snapshotter = features.get("containerd-snapshotter") if isinstance(features, dict) else None
    if snapshotter is None:
        snapshotter = facts.uses_containerd if facts.engine_answers else _begins_with_containerd(view)
    return replace(
        facts,
        data_root=str(result.get("data-root") or result.get("graph") or facts.data_root),
        uses_containerd=snapshotter is True,
    )


def _begins_with_containerd(view: NodeView) -> bool:
    """Whether the future engine uses containerd's store by default."""
    for name in ENGINES:
        try:
            package = view.package(name)
        except (StateUnknown, KnownAfterApply):
            continue
        if package is not None:
            return engine_major(package.version) >= BEGINS_WITH_CONTAINERD
    return False


def steps(settings: ImagesSettings, facts: ImagesFacts, context: Context) -> tuple[Step, ...]:
    """Return the steps. Archives come first: their images need not be pulled.

    A starter image that the registry does not have is left out, with a message.
    """
    authorities = tuple(
        RegistryAuthority(
            id=f"images.registry-ca.{host}", host=host, text=value_or(text, ""), missing=why_missing(text)
        )
        for host, text in facts.authorities
    )
    loads = tuple(
        _load(number, path, archive, facts) for number, (path, archive) in enumerate(facts.archives, start=1)
    )
    refused = tuple(
        _refusal(result) for result in facts.images if result.standing in ("not-found", "denied", "other-platform")
    )
    pulled = tuple(result for result in facts.images if result.standing in ("here", "offered", "unknown"))
    cramped = _cramped(facts, pulled)
    if cramped:
        return (
            *authorities,
            *loads,
            *refused,
            Unsupported(id="images.room", title="check the free space for the images", reason=cramped),
        )
    return (*authorities, *loads, *refused, *_pull(settings, facts, pulled), *_names(settings, pulled))


def _pull(settings: ImagesSettings, facts: ImagesFacts, images: tuple[ImageStatus, ...]) -> tuple[Step, ...]:
    pulls = tuple(Pull(result.wanted.reference, result.size, _remark(result, facts)) for result in images)
    logins = tuple(Login(registry.host, registry.username, key) for key, registry in passwords(settings))
    step = PulledImages(
        id="images.pull", images=pulls, platform=facts.platform, parallel=settings.parallel, logins=logins
    )
    return (step,) if pulls else ()


def lends(settings: ImagesSettings) -> dict[str, Any]:
    """Return the passwords of registries by their keys in the answers."""
    return {key: registry.password for key, registry in passwords(settings)}


def _names(settings: ImagesSettings, images: tuple[ImageStatus, ...]) -> tuple[Step, ...]:
    if not settings.retag:
        return ()
    return tuple(
        NamedImage(
            id=f"images.name.{result.wanted.canonical}",
            reference=result.wanted.canonical,
            source=result.wanted.reference,
            optional=result.wanted.is_starter,
        )
        for result in images
        if result.wanted.canonical
    )


def _remark(result: ImageStatus, facts: ImagesFacts) -> str:
    """A note on an image: what is known and what is not."""
    lines = []
    if result.standing == "unknown":
        lines.append(f"size unknown: {result.reason}")
    elif result.reason:
        lines.append(result.reason)
    elif result.size:
        lines.append(f"{result.size / 1e6:.0f} MB compressed")
    cuda = _cuda(result, facts.driver)
    return ", ".join([*lines, cuda] if cuda else lines)


def _cuda(result: ImageStatus, driver: Fact[str]) -> str:
    """Whether the driver is new enough for the CUDA version in the tag; the image itself checks that at startup."""
    match = re.search(r"cuda(\d+)\.(\d+)", result.wanted.reference.rpartition(":")[2])
    if match is None or isinstance(driver, Absent):
        return ""
    wanted = (whole(match[1]), whole(match[2]))
    if isinstance(driver, Unknown):
        return f"needs CUDA {wanted[0]}.{wanted[1]}; the driver's CUDA version is unknown: {driver.reason}"
    able = cuda_of_driver(driver.value)
    if able is None or wanted <= able:
        return ""
    limit = f"supports only {able[0]}.{able[1]}" if able[0] else "is too old"
    return f"needs CUDA {wanted[0]}.{wanted[1]}, but driver {driver.value} {limit}"


def cuda_of_driver(version: str) -> tuple[int, int] | None:
    """Return the newest CUDA version that a driver (`580.65.06`) supports; None for one newer than the table."""
    table = {whole(branch): text for branch, text in image_data()["cuda"].items()}
    branch = whole(re.match(r"\d*", version)[0] or 0)  # type: ignore[index]  # the pattern matches anything
    if branch > max(table):
        return None
    known = [number for number in table if number <= branch]
    if not known:
        return (0, 0)
    major, minor = table[max(known)].split(".")
    return whole(major), whole(minor)


def _refusal(result: ImageStatus) -> Unsupported:
    """An unavailable starter image is left out; an image that was explicitly requested blocks the plan."""
    reference = result.wanted.reference
    hint = ' To omit the starter set, set images.starter = "none"' if result.wanted.is_starter else ""
    known = f" Source: {result.wanted.known}." if result.wanted.known else ""
    return Unsupported(
        id=f"images.pull.{reference}",
        title=f"pull the image {reference}",
        reason=f"{reference}: {result.reason}.{known}{hint}",
        optional=result.wanted.is_starter,
    )


def _cramped(facts: ImagesFacts, images: tuple[ImageStatus, ...]) -> str:
    """Why the images do not fit; empty if they do, or if that is unknown."""
    needed = sum(result.size for result in images if result.standing == "offered") * ROOM_FACTOR
    for root in _roots(facts):
        room = facts.room_of(root)
        if room is not None and needed > room.free:
            return (
                f"the images need about {needed / 1e9:.1f} GB while they are unpacked, but {room.mount}, which"
                f" contains {root}, has only {room.free / 1e9:.1f} GB free. Free up space (`docker image prune`"
                " removes unused layers), move docker.data_root to a larger disk, or pull fewer images"
            )
    return ""


def _roots(facts: ImagesFacts) -> tuple[str, ...]:
    """The directories of layers."""
    return (facts.data_root, facts.content_root) if facts.uses_containerd else (facts.data_root,)


def _load(number: int, path: str, archive: Fact[Archive], facts: ImagesFacts) -> Step:
    id = f"images.archives.{number}"
    reason = _unloadable(path, archive, facts)
    if reason or not isinstance(archive, Known):
        is_gone = not isinstance(archive, Known)
        return Unsupported(id=id, title=f"load the images in {path}", reason=reason, source_is_gone=is_gone)
    held = archive.value
    return LoadedImages(id=id, archive=path, sha256=held.sha256, references=held.references, ids=held.ids)


def _unloadable(path: str, archive: Fact[Archive], facts: ImagesFacts) -> str:
    """Why an archive cannot be loaded; empty if it can."""
    if not isinstance(archive, Known):
        return archive.reason if isinstance(archive, Unknown) else f"{path} does not exist"
    other = sorted({name for name in archive.value.architectures if facts.architecture not in ("", name)})
    if other:
        return f"{path} contains images for {', '.join(other)}, but this node is {facts.architecture}"
    rooms = [room for root in _roots(facts) if (room := facts.room_of(root)) is not None]
    room = min(rooms, key=lambda room: room.free, default=None)
    if room is not None and archive.value.size * 2 > room.free:
        needed, free = archive.value.size * 2 / 1e9, room.free / 1e9
        return f"{path} needs about {needed:.1f} GB on {room.mount}, which has only {free:.1f} GB free"
    return ""


PAGE = Page(
    name="images",
    title=TITLES["images"],
    summary="Container images for sessions, pulled in advance because they are large.",
    settings=ImagesSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("images"),
    predict=predict,
    runtime_secrets=lends,
    now=now,
    rows=ROWS,
    items=items,
    unset=lambda _settings, facts, _context: "" if facts.images or facts.archives else "no images are selected",
)
