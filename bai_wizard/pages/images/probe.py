"""Asks the node and the registries about the wanted images. What is here already is looked up nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell, WizardError
from bai_wizard.core.facts import Absent, Fact, Known, Unknown, value_or
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import Secret, resolve
from bai_wizard.pages.images import catalogue
from bai_wizard.pages.images.archives import archive_of
from bai_wizard.pages.images.daemon import data_root_of, insecure_of
from bai_wizard.pages.images.facts import Found, ImagesFacts, Room, Wanted
from bai_wizard.pages.images.plan import secret_name
from bai_wizard.steps.containerd import content_root
from bai_wizard.steps.registry_ca import CERTS

if TYPE_CHECKING:
    from bai_wizard.machine.registry import Access
    from bai_wizard.pages.images.settings import ImagesSettings

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# File systems on this node's own disks; asking a network's for its room may hang.
LOCAL_TYPES = ("ext4", "ext3", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs")
DRIVER = "/proc/driver/nvidia/version"
# What the engine calls its driver where images lie in containerd's store.
SNAPSHOTTERS = ("overlayfs", "native", "stargz", "erofs")
# Seconds for all look-ups together; each has its own limits for connecting and reading.
LOOKUP_DEADLINE = 20.0
LOOKUPS_AT_ONCE = 6
# What a demo says that a registry answered: it has the image, of this many bytes.
DEMO_SIZE = 6_400_000_000


def probe(machine: Machine, settings: ImagesSettings, context: Context) -> ImagesFacts:
    """The facts of the page."""
    architecture = _architecture(machine)
    images = wanted(settings, context, architecture)
    data_root, uses_containerd, answers = _engine(machine)
    return ImagesFacts(
        architecture=architecture,
        images=_standings(machine, settings, context, images, f"linux/{architecture}" if architecture else ""),
        archives=tuple((one.file, archive_of(machine, one.file, one.sha256)) for one in settings.archives),
        data_root=data_root,
        uses_containerd=uses_containerd,
        engine_answers=answers,
        content_root=content_root(machine),
        rooms=_rooms(machine),
        driver=_driver(machine),
        authorities=tuple((one.host, _file(machine, one.ca_file)) for one in settings.registries if one.ca_file),
    )


def wanted(settings: ImagesSettings, context: Context, architecture: str) -> tuple[Wanted, ...]:
    """The starter set, rewritten to the own registry, then further images; each once."""
    found: dict[str, Wanted] = {}
    if settings.starter != "none":
        for starter in catalogue.starters(settings.starter, context.roles, architecture):
            reference = catalogue.rewritten(starter.reference, settings.registry)
            canonical = starter.reference if reference != starter.reference else ""
            found[reference] = Wanted(reference, True, canonical, starter.known)
    for reference in settings.pull:
        found.setdefault(reference, Wanted(reference))
    return tuple(found.values())


def _standings(
    machine: Machine, settings: ImagesSettings, context: Context, images: Iterable[Wanted], platform: str
) -> tuple[Found, ...]:
    standings: dict[Wanted, Found] = {}
    missing = []
    for image in images:
        try:
            here = machine.image(image.reference)
        except CannotTell:
            here = None
        if here is not None:
            standings[image] = Found(image, "here")
        else:
            missing.append(image)
    if missing and context.demo:
        standings |= {image: Found(image, "offered", DEMO_SIZE, platforms=(platform,)) for image in missing}
    elif missing:
        access = access_of(machine, settings, context)
        with ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="registry") as pool:
            for found in pool.map(lambda image: look_up(image, platform, access), missing):
                standings[found.wanted] = _told_by_content(machine, found)
    return tuple(standings[image] for image in images)


def look_up(image: Wanted, platform: str, access: Access) -> Found:
    """What the registry says of one image. Never raises: what nobody can tell is unknown, with the reason."""
    from bai_wizard.machine.deadline import within
    from bai_wizard.machine.docker_engine import registry_of
    from bai_wizard.machine.registry import Denied, NotOffered, Registry
    from bai_wizard.machine.registry_causes import plain

    host = registry_of(image.reference)
    try:
        offer = within(LOOKUP_DEADLINE, host, lambda: Registry(host, access).offer(image.reference, platform))
    except NotOffered as error:
        return Found(image, "not-found", reason=f"{host} has no such image ({error})")
    except Denied as error:
        return Found(image, "denied", reason=plain(host, str(error)))
    except CannotTell as error:
        return Found(image, "unknown", reason=plain(host, str(error)))
    if platform and not any(one == platform or one.startswith(f"{platform}/") for one in offer.platforms):
        told = ", ".join(offer.platforms) or "no platform at all"
        return Found(
            image,
            "other-platform",
            reason=f"it exists for {told}, this node is {platform}",
            platforms=offer.platforms,
        )
    ids = tuple(id for id in (offer.image_id, offer.digest) if id)
    return Found(image, "offered", offer.size, platforms=offer.platforms, ids=ids)


def _told_by_content(machine: Machine, found: Found) -> Found:
    """An image whose content is here under another name, or none, costs neither room nor time."""
    try:
        here = any(machine.image(id) is not None for id in found.ids)
    except CannotTell:
        here = False
    return replace(found, size=0, reason="its content is here already under another name") if here else found


def access_of(machine: Machine, settings: ImagesSettings, context: Context) -> Access:
    """Logins, authorities and proxies for the look-ups; an authority's file that cannot be read is left out."""
    from bai_wizard.machine.registry import Access

    logins: dict[str, tuple[str, Secret]] = {}
    files = list(context.ca_certificates)
    for number, registry in enumerate(settings.registries):
        password = _password(secret_name(number), registry.password)
        if registry.username and password is not None:
            logins[registry.host] = (registry.username, password)
        files += [registry.ca_file] if registry.ca_file else []
    named = [registry.host for registry in settings.registries]
    for host in dict.fromkeys([*named, *(image.partition("/")[0] for image in (settings.registry, *settings.pull))]):
        files += trusted(machine, f"{CERTS}/{host}") if host else []
    return Access(
        logins=logins,
        authorities=tuple(text for text in (_text(machine, path) for path in dict.fromkeys(files)) if text),
        proxy_http=context.proxy_http,
        proxy_https=context.proxy_https,
        no_proxy=context.no_proxy,
        insecure=insecure_of(machine),
    )


def trusted(machine: Machine, directory: str) -> list[str]:
    """The authorities in a registry's directory, as Docker reads them."""
    try:
        return [f"{directory}/{name}" for name in machine.names(directory) if name.endswith(".crt")]
    except CannotTell:
        return []


def _password(key: str, source: Any) -> Secret | None:
    try:
        return resolve(key, source) if source is not None else None
    except WizardError:
        return None  # the run says so when it needs the password; looking things up does without it


def _engine(machine: Machine) -> tuple[str, bool, bool]:
    """Data directory, whether images lie in containerd's store, and whether the engine itself said so."""
    try:
        info = machine.engine("/info")
    except CannotTell:
        info = None
    if isinstance(info, dict) and info.get("DockerRootDir"):
        return str(info["DockerRootDir"]), str(info.get("Driver", "")) in SNAPSHOTTERS, True
    return data_root_of(machine), False, False


def _rooms(machine: Machine) -> tuple[Room, ...]:
    try:
        text = machine.kernel_text("/proc/self/mounts") or ""
    except CannotTell:
        return ()
    found = []
    for fields in (line.split() for line in text.splitlines()):
        if len(fields) < 3 or fields[2] not in LOCAL_TYPES or fields[1].startswith(("/proc", "/sys", "/dev", "/run")):
            continue
        mount = fields[1].replace("\\040", " ")
        try:
            found.append(Room(mount, machine.free_bytes(mount)))
        except CannotTell:
            continue
    return tuple(found)


def _driver(machine: Machine) -> Fact[str]:
    try:
        text = machine.kernel_text(DRIVER)
    except CannotTell as error:
        return Unknown(str(error))
    if text is None:
        return Absent()
    found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
    return Known(found[1]) if found else Unknown(f"{DRIVER} names no version")


def _architecture(machine: Machine) -> str:
    """dpkg's name of the architecture; empty where nothing tells."""
    try:
        name = machine.kernel_text("/proc/sys/kernel/arch") or machine.look(("uname", "-m")).out.strip()
    except CannotTell:
        return ""
    return ARCHITECTURES.get(name, name)


def _text(machine: Machine, path: str) -> str:
    return value_or(_file(machine, path), "")


def _file(machine: Machine, path: str) -> Fact[str]:
    try:
        text = machine.text(path)
    except CannotTell as error:
        return Unknown(str(error))
    return Absent() if text is None else Known(text)
