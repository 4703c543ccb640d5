"""From the wanted images to steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell, NotYetKnown
from bai_wizard.core.facts import Absent, Fact, Known, Unknown, value_or
from bai_wizard.core.primitives import Login
from bai_wizard.core.step import Step
from bai_wizard.core.view import NodeView
from bai_wizard.pages.images import catalogue
from bai_wizard.pages.images.daemon import config
from bai_wizard.pages.images.facts import Archive, Found, ImagesFacts
from bai_wizard.steps.docker_config import ENGINES, engine_major
from bai_wizard.steps.image import LoadedImages, NamedImage, Pull, PulledImages
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.registry_ca import RegistryAuthority, why_missing

if TYPE_CHECKING:
    from bai_wizard.pages.images.settings import ImagesSettings

# The first engine that takes containerd's store on a node without images (release notes of 29.0).
BEGINS_WITH_CONTAINERD = 29
# Layers need room compressed and unpacked at once (facts: disk-full).
ROOM_FACTOR = 3


def predict(facts: ImagesFacts, view: NodeView) -> ImagesFacts:
    """The engine's directories as the docker page of the same plan will have set them."""
    found = config(view)
    features = found.get("features")
    snapshotter = features.get("containerd-snapshotter") if isinstance(features, dict) else None
    if snapshotter is None:
        snapshotter = facts.uses_containerd if facts.engine_answers else _begins_with_containerd(view)
    return replace(
        facts,
        data_root=str(found.get("data-root") or found.get("graph") or facts.data_root),
        uses_containerd=snapshotter is True,
    )


def _begins_with_containerd(view: NodeView) -> bool:
    """Whether the engine that will be here takes containerd's store unless it is told otherwise."""
    for name in ENGINES:
        try:
            package = view.package(name)
        except (CannotTell, NotYetKnown):
            continue
        if package is not None:
            return engine_major(package.version) >= BEGINS_WITH_CONTAINERD
    return False


def steps(settings: ImagesSettings, facts: ImagesFacts, context: Context) -> tuple[Step, ...]:
    """Archives first: what they bring needs not be pulled.

    A starter that a registry has not is left out, and said.
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
        _refusal(found) for found in facts.images if found.standing in ("not-found", "denied", "other-platform")
    )
    pulled = tuple(found for found in facts.images if found.standing in ("here", "offered", "unknown"))
    cramped = _cramped(facts, pulled)
    if cramped:
        return (
            *authorities,
            *loads,
            *refused,
            Refusal(id="images.room", title="there is room for the images", reason=cramped),
        )
    return (*authorities, *loads, *refused, *_pull(settings, facts, pulled), *_names(settings, pulled))


def _pull(settings: ImagesSettings, facts: ImagesFacts, images: tuple[Found, ...]) -> tuple[Step, ...]:
    if not images:
        return ()
    return (
        PulledImages(
            id="images.pull",
            images=tuple(Pull(found.wanted.reference, found.size, _remark(found, facts)) for found in images),
            platform=facts.platform,
            parallel=settings.parallel,
            logins=logins(settings),
        ),
    )


def logins(settings: ImagesSettings) -> tuple[Login, ...]:
    """The registries with a password, which goes by the name under which it is lent."""
    return tuple(
        Login(registry.host, registry.username, secret_name(number))
        for number, registry in enumerate(settings.registries)
        if registry.username and registry.password is not None
    )


def lends(settings: ImagesSettings) -> dict[str, Any]:
    """The passwords of registries by their keys in the answers."""
    return {
        secret_name(number): registry.password
        for number, registry in enumerate(settings.registries)
        if registry.username and registry.password is not None
    }


def secret_name(number: int) -> str:
    """The key of a registry's password in the answers."""
    return f"images.registries[{number}].password"


def _names(settings: ImagesSettings, images: tuple[Found, ...]) -> tuple[Step, ...]:
    if not settings.retag:
        return ()
    return tuple(
        NamedImage(
            id=f"images.name.{found.wanted.canonical}",
            reference=found.wanted.canonical,
            source=found.wanted.reference,
            optional=found.wanted.is_starter,
        )
        for found in images
        if found.wanted.canonical
    )


def _remark(found: Found, facts: ImagesFacts) -> str:
    """What is known of an image, and what is not, beside its name."""
    told = []
    if found.standing == "unknown":
        told.append(f"size unknown: {found.reason}")
    elif found.reason:
        told.append(found.reason)
    elif found.size:
        told.append(f"{found.size / 1e6:.0f} MB compressed")
    cuda = _cuda(found, facts.driver)
    return ", ".join([*told, cuda] if cuda else told)


def _cuda(found: Found, driver: Fact[str]) -> str:
    """Whether the driver is new enough for the CUDA in the tag; the image's own check is made at its start."""
    wanted = catalogue.cuda_of_tag(found.wanted.reference)
    if wanted is None or isinstance(driver, Absent):
        return ""
    if isinstance(driver, Unknown):
        return f"CUDA {wanted[0]}.{wanted[1]}; the driver's is unknown: {driver.reason}"
    able = catalogue.cuda_of_driver(driver.value)
    if able is None or wanted <= able:
        return ""
    return f"CUDA {wanted[0]}.{wanted[1]} is newer than the {able[0]}.{able[1]} that driver {driver.value} runs"


def _refusal(found: Found) -> Refusal:
    """A starter that is not to be had is left out; an image that somebody asked for by name stops the plan."""
    reference = found.wanted.reference
    hint = ' Leave the starter set out with images.starter = "none"' if found.wanted.is_starter else ""
    known = f" Known of it: {found.wanted.known}." if found.wanted.known else ""
    return Refusal(
        id=f"images.pull.{reference}",
        title=f"image {reference}",
        reason=f"{reference}: {found.reason}.{known}{hint}",
        optional=found.wanted.is_starter,
    )


def _cramped(facts: ImagesFacts, images: tuple[Found, ...]) -> str:
    """Why the images do not fit; empty where they do, or where nobody can tell."""
    needed = sum(found.size for found in images if found.standing == "offered") * ROOM_FACTOR
    for root in _roots(facts):
        room = facts.room_of(root)
        if room is not None and needed > room.free:
            return (
                f"the images need about {needed / 1e9:.1f} GB while they are unpacked, and {room.mount}, which"
                f" holds {root}, has {room.free / 1e9:.1f} GB free. Make room (docker image prune removes unused"
                " layers), move docker.data_root to a larger disk, or pull fewer images"
            )
    return ""


def _roots(facts: ImagesFacts) -> tuple[str, ...]:
    """Where layers lie."""
    return (facts.data_root, facts.content_root) if facts.uses_containerd else (facts.data_root,)


def _load(number: int, path: str, archive: Fact[Archive], facts: ImagesFacts) -> Step:
    id = f"images.archives.{number}"
    if not isinstance(archive, Known):
        reason = archive.reason if isinstance(archive, Unknown) else f"{path} is not there"
        return Refusal(id=id, title=f"the images in {path}", reason=reason)
    held = archive.value
    other = sorted({one for one in held.architectures if facts.architecture and one != facts.architecture})
    if other:
        reason = f"{path} holds images for {', '.join(other)}, this node is {facts.architecture}"
        return Refusal(id=id, title=f"the images in {path}", reason=reason)
    rooms = [room for root in _roots(facts) if (room := facts.room_of(root)) is not None]
    room = min(rooms, key=lambda one: one.free) if rooms else None
    if room is not None and held.size * 2 > room.free:
        needed, free = held.size * 2 / 1e9, room.free / 1e9
        reason = f"{path} needs about {needed:.1f} GB on {room.mount}, which has {free:.1f} GB free"
        return Refusal(id=id, title=f"the images in {path}", reason=reason)
    return LoadedImages(id=id, archive=path, sha256=held.sha256, references=held.references, ids=held.ids)
