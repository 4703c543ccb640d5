"""Query the node and the registries about the desired images. Images already present are not looked up."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, convert, field
from msgspec.structs import replace

from bai_wizard.core.errors import KnownAfterApply, StateUnknown, WizardError
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.page import Absent, Context, Fact, Known, Unknown, read_fact, value_or
from bai_wizard.core.parse import json_object, json_value, whole
from bai_wizard.core.paths import enforces_owners
from bai_wizard.core.secret import Secret, resolve
from bai_wizard.data import read_toml
from bai_wizard.node.hardware import scan_pci
from bai_wizard.node.mounts import parse_mountinfo
from bai_wizard.pages.node_state import architecture_of
from bai_wizard.resources.images import is_missing
from bai_wizard.steps.docker import CERTS, DAEMON_JSON, likely_content_root

if TYPE_CHECKING:
    from bai_wizard.node.registry import Access
    from bai_wizard.pages.images.settings import ImagesSettings, RegistrySettings


Standing = Literal["here", "offered", "not-found", "denied", "other-platform", "unknown"]


class DesiredImage(Struct, frozen=True):
    """A desired image. `canonical` is its name in Backend.AI's registry if it is pulled from another one."""

    reference: str
    is_starter: bool = False
    canonical: str = ""
    known: str = ""


class Starter(Struct, frozen=True):
    """An image of a starter set."""

    reference: str
    sets: tuple[str, ...]
    roles: tuple[str, ...]
    architectures: tuple[str, ...]
    known: str
    nvidia: bool = False


@cache
def image_data() -> dict[str, Any]:
    """The starter sets, and the CUDA versions that drivers support."""
    return read_toml("images.toml")


def starters(name: str, roles: Collection[str], architecture: str, nvidia: bool = False) -> tuple[Starter, ...]:
    """Return the images of a set. The manual's is used as printed; the current one depends on role and hardware.

    An unknown architecture (empty) yields an empty current set rather than a wrong one.
    """
    every = convert(image_data()["image"], tuple[Starter, ...])
    result = tuple(starter for starter in every if name in starter.sets)
    if name == "manual":
        return result
    return tuple(
        starter
        for starter in result
        if architecture in starter.architectures
        and set(starter.roles) & set(roles)
        and (nvidia or not starter.nvidia)
    )


def rewritten(reference: str, registry: str) -> str:
    """Return a starter's reference in the site's own registry; unchanged without one."""
    head = f"{image_data()['registry']}/"
    return f"{registry}/{reference.removeprefix(head)}" if registry and reference.startswith(head) else reference


class ImageStatus(Struct, frozen=True):
    """The status of one desired image. `size` is the compressed bytes to download, 0 if unknown or none.

    `ids` are the ids under which an engine may have the same content: of its configuration and of its manifest.
    """

    wanted: DesiredImage
    standing: Standing
    size: int = 0
    reason: str = ""
    platforms: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


class Archive(Struct, frozen=True):
    """The content of an archive file: references, image ids and architectures, one for each named image."""

    path: str
    sha256: str
    size: int
    references: tuple[str, ...]
    ids: tuple[str, ...]
    architectures: tuple[str, ...]


class Room(Struct, frozen=True):
    """Bytes on a file system, identified by its mount point: free and total (0 if unknown)."""

    mount: str
    free: int
    total: int = 0


class ImagesFacts(Struct, frozen=True):
    """`architecture` is dpkg's name, or empty. `archives` are (path, content) pairs.

    `data_root` is the engine's data directory; with containerd's store, layers are also in `content_root`;
    `engine_answers` is whether both were reported by the engine itself. `driver` is the version of the loaded NVIDIA
    driver. `authorities` are the certificates by registry.
    """

    architecture: str
    images: tuple[ImageStatus, ...] = ()
    archives: tuple[tuple[str, Fact[Archive]], ...] = ()
    data_root: str = "/var/lib/docker"
    uses_containerd: bool = False
    engine_answers: bool = False
    content_root: str = "/var/lib/containerd"
    rooms: tuple[Room, ...] = ()
    driver: Fact[str] = field(default_factory=Absent)
    authorities: tuple[tuple[str, Fact[str]], ...] = ()

    @property
    def platform(self) -> str:
        """The platform in the format of registries and the engine."""
        return f"linux/{self.architecture}" if self.architecture else ""

    def room_of(self, path: str) -> Room | None:
        """Return the file system that contains `path`; None if unknown."""
        holding = [room for room in self.rooms if path == room.mount or path.startswith(room.mount.rstrip("/") + "/")]
        return max(holding, key=lambda room: len(room.mount)) if holding else None


def passwords(settings: ImagesSettings) -> Iterator[tuple[str, RegistrySettings]]:
    """Yield the registries with a login, each after the key of its password in the answers."""
    for number, registry in enumerate(settings.registries):
        if registry.username and registry.password is not None:
            yield f"images.registries[{number}].password", registry


# A plain archive is read by seeking; a compressed one is unpacked up to the requested file, often at its end. The
# timeout is a minute, plus the time that one slow core takes at this rate (bytes per second).
ARCHIVE_DEADLINE = 60.0
SLOWEST_BYTES_PER_SECOND = 10_000_000


def archive_of(machine: Machine, path: str, sha256: str) -> Fact[Archive]:
    """Return the images of an archive created by `docker save`."""
    try:
        size = _archive_size(machine, path)
        deadline = ARCHIVE_DEADLINE + size / SLOWEST_BYTES_PER_SECOND
        manifest = json_value(_archive_member(machine, path, "manifest.json", deadline))
        images = [_archived_image(machine, path, entry, deadline) for entry in manifest]
    except StateUnknown as error:
        return Unknown(str(error))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Unknown(f"{path} is not an archive of container images (create one with `docker save`)")
    named = [(name, id, arch) for names, id, arch in images for name in names]
    if not named:
        return Unknown(f"{path} contains an image without a name: save it by name (`docker save NAME:TAG`)")
    references, ids, architectures = (tuple(column) for column in zip(*named, strict=True))
    return Known(Archive(path, sha256, size, references, ids, architectures))


def _archived_image(
    machine: Machine, path: str, entry: dict[str, Any], deadline: float
) -> tuple[tuple[str, ...], str, str]:
    """Names, id and architecture. The configuration file is named after its sha256, which is the image's id."""
    config = str(entry["Config"])
    id = "sha256:" + config.rpartition("/")[2].removesuffix(".json")
    architecture = str(json_value(_archive_member(machine, path, config, deadline)).get("architecture", ""))
    return tuple(entry.get("RepoTags") or ()), id, architecture


def _archive_member(machine: Machine, path: str, name: str, deadline: float) -> str:
    argv = ("tar", "--extract", "--occurrence=1", "--to-stdout", "--file", path, "--", name)
    done = machine.query(argv, deadline=deadline)
    if done.code != 0:
        raise StateUnknown(f"{path}: {' '.join(done.err.split())[:200]}")
    return done.out


def _archive_size(machine: Machine, path: str) -> int:
    done = machine.query(("stat", "--dereference", "--format", "%f %s", "--", path))
    if done.code != 0:
        raise StateUnknown(f"{path}: {' '.join(done.err.split())[:200] or 'it does not exist'}")
    mode, size = done.out.split()
    if not S_ISREG(whole(mode, 16)):
        raise StateUnknown(f"{path} is not a regular file")
    return whole(size)


def daemon_config(view: NodeView) -> dict[str, Any]:
    """Return the object in daemon.json; empty if the file does not exist or cannot be read."""
    try:
        return json_object(view.text(DAEMON_JSON) or "{}")
    except (StateUnknown, KnownAfterApply, ValueError):
        return {}


def insecure_of(view: NodeView) -> tuple[str, ...]:
    """Return the registries that Docker accesses without TLS."""
    result = daemon_config(view).get("insecure-registries")
    return tuple(str(one) for one in result) if isinstance(result, list) else ()


DRIVER = "/proc/driver/nvidia/version"
# Vendor and base class of NVIDIA's GPUs (pci.ids).
NVIDIA, DISPLAY = 0x10DE, 0x03
# The engine's names of its storage driver if images are in containerd's store.
SNAPSHOTTERS = ("overlayfs", "native", "stargz", "erofs")
# Seconds for all lookups together; each has its own timeouts for connecting and reading.
LOOKUP_DEADLINE = 20.0
LOOKUPS_AT_ONCE = 6
# The response of a registry in the demo: it has the image, with this many bytes.
DEMO_SIZE = 6_400_000_000


def probe(machine: Machine, settings: ImagesSettings, context: Context) -> ImagesFacts:
    """Return the facts of the page."""
    architecture = architecture_of(machine)
    images = wanted(settings, context, architecture, has_nvidia(machine))
    data_root, uses_containerd, answers = _engine(machine)
    return ImagesFacts(
        architecture=architecture,
        images=_standings(machine, settings, context, images, f"linux/{architecture}" if architecture else ""),
        archives=tuple((one.file, archive_of(machine, one.file, one.sha256)) for one in settings.archives),
        data_root=data_root,
        uses_containerd=uses_containerd,
        engine_answers=answers,
        content_root=likely_content_root(machine),
        rooms=_rooms(machine),
        driver=_driver(machine),
        authorities=tuple((one.host, _file(machine, one.ca_file)) for one in settings.registries if one.ca_file),
    )


def wanted(
    settings: ImagesSettings, context: Context, architecture: str, nvidia: bool = False
) -> tuple[DesiredImage, ...]:
    """Return the starter set, rewritten to the site's registry, then additional images, without duplicates.

    `nvidia`: the node is known to have an NVIDIA GPU. A bundle for several nodes has no images for GPUs.
    """
    result: dict[str, DesiredImage] = {}
    if settings.starter != "none":
        for starter in starters(settings.starter, context.roles, architecture, nvidia):
            reference = rewritten(starter.reference, settings.registry)
            canonical = starter.reference if reference != starter.reference else ""
            result[reference] = DesiredImage(reference, True, canonical, starter.known)
    for reference in settings.pull:
        result.setdefault(reference, DesiredImage(reference))
    return tuple(result.values())


def _standings(
    machine: Machine, settings: ImagesSettings, context: Context, images: Iterable[DesiredImage], platform: str
) -> tuple[ImageStatus, ...]:
    standings: dict[DesiredImage, ImageStatus] = {}
    missing = []
    for image in images:
        try:
            here = machine.image(image.reference)
        except StateUnknown:
            here = None
        if not is_missing(here):
            standings[image] = ImageStatus(image, "here")
        else:
            missing.append(image)
    if missing and context.demo:
        standings |= {image: ImageStatus(image, "offered", DEMO_SIZE, platforms=(platform,)) for image in missing}
    elif missing:
        access, silent = access_of(machine, settings, context), dict[str, str]()
        with ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="registry") as pool:
            for result in pool.map(lambda image: look_up(image, platform, access, silent), missing):
                standings[result.wanted] = _matched_by_content(machine, result)
    return tuple(standings[image] for image in images)


def look_up(image: DesiredImage, platform: str, access: Access, silent: dict[str, str]) -> ImageStatus:
    """Return what the registry reports about one image. Never raises: failures become Unknown with the reason.

    `silent` are the registries that do not answer, with the reason. They are not asked for another image: each
    question takes its whole time limit and, until it is collected, the memory of a TLS context.
    """
    from bai_wizard.node.deadline import with_deadline
    from bai_wizard.node.docker import registry_of, with_explanation
    from bai_wizard.node.registry import Denied, NotOffered, Registry, Unreachable

    host = registry_of(image.reference)
    if host in silent:
        return ImageStatus(image, "unknown", reason=silent[host])
    try:
        offer = with_deadline(LOOKUP_DEADLINE, host, lambda: Registry(host, access).offer(image.reference, platform))
    except NotOffered as error:
        return ImageStatus(image, "not-found", reason=f"{host} does not have this image ({error})")
    except Denied as error:
        return ImageStatus(image, "denied", reason=with_explanation(host, str(error)))
    except Unreachable as error:
        silent[host] = with_explanation(host, str(error))
        return ImageStatus(image, "unknown", reason=silent[host])
    except StateUnknown as error:
        return ImageStatus(image, "unknown", reason=with_explanation(host, str(error)))
    if platform and not any(one == platform or one.startswith(f"{platform}/") for one in offer.platforms):
        message = ", ".join(offer.platforms) or "no platform"
        return ImageStatus(
            image,
            "other-platform",
            reason=f"available for {message}, but this node is {platform}",
            platforms=offer.platforms,
        )
    ids = tuple(id for id in (offer.image_id, offer.digest) if id)
    return ImageStatus(image, "offered", offer.size, platforms=offer.platforms, ids=ids)


def _matched_by_content(machine: Machine, result: ImageStatus) -> ImageStatus:
    """An image whose content is already present under another name, or unnamed, needs neither space nor time."""
    try:
        here = any(machine.image(id) is not None for id in result.ids)
    except StateUnknown:
        here = False
    return replace(result, size=0, reason="already present under another name") if here else result


def access_of(machine: Machine, settings: ImagesSettings, context: Context) -> Access:
    """Return logins, certificates and proxies for the lookups; a certificate file that cannot be read is skipped."""
    from bai_wizard.node.registry import Access

    logins: dict[str, tuple[str, Secret]] = {}
    files = list(context.ca_certificates)
    for key, registry in passwords(settings):
        # The run reports a password that is missing when it needs it; lookups work without it.
        with suppress(WizardError):
            if (password := resolve(key, registry.password)) is not None:
                logins[registry.host] = (registry.username, password)
    files += [registry.ca_file for registry in settings.registries if registry.ca_file]
    named = [registry.host for registry in settings.registries]
    for host in dict.fromkeys([*named, *(image.partition("/")[0] for image in (settings.registry, *settings.pull))]):
        files += trusted(machine, f"{CERTS}/{host}") if host else []
    return Access(
        logins=logins,
        authorities=tuple(text for path in dict.fromkeys(files) if (text := value_or(_file(machine, path), ""))),
        proxy_http=context.proxy_http,
        proxy_https=context.proxy_https,
        no_proxy=context.no_proxy,
        insecure=(*insecure_of(machine), *context.insecure_registries),
    )


def trusted(machine: Machine, directory: str) -> list[str]:
    """Return the certificates in a registry's directory, as Docker reads them."""
    try:
        return [f"{directory}/{name}" for name in machine.names(directory) if name.endswith(".crt")]
    except StateUnknown:
        return []


def _engine(machine: Machine) -> tuple[str, bool, bool]:
    """Data directory, whether images are in containerd's store, and whether the engine itself reported that."""
    try:
        info = machine.engine("/info")
    except StateUnknown:
        info = None
    if isinstance(info, dict) and info.get("DockerRootDir"):
        return str(info["DockerRootDir"]), str(info.get("Driver", "")) in SNAPSHOTTERS, True
    config = daemon_config(machine)
    return str(config.get("data-root") or config.get("graph") or "/var/lib/docker"), False, False


def _rooms(machine: Machine) -> tuple[Room, ...]:
    result = []
    try:
        mounts = parse_mountinfo(machine.kernel_text("/proc/self/mountinfo") or "")
    except StateUnknown:
        return ()
    for mount in mounts:
        # Only local file systems: querying a server for its free space may hang.
        if enforces_owners(mount.fstype) and not mount.point.startswith(("/proc", "/sys", "/dev", "/run")):
            with suppress(StateUnknown):
                space = machine.space(mount.point)
                result.append(Room(mount.point, space.free, space.total))
    return tuple(result)


def has_nvidia(machine: Machine) -> bool:
    """Whether the node is known to have an NVIDIA GPU; the same plan may install its driver."""
    devices = value_or(read_fact(lambda: scan_pci(machine)), ())
    return any(device.vendor == NVIDIA and device.kind >> 8 == DISPLAY for device in devices)


def _driver(machine: Machine) -> Fact[str]:
    text = read_fact(lambda: machine.kernel_text(DRIVER))
    if not isinstance(text, Known):
        return text
    match = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text.value)
    return Known(match[1]) if match else Unknown(f"{DRIVER} contains no version")


def _file(machine: Machine, path: str) -> Fact[str]:
    return read_fact(lambda: machine.text(path))
