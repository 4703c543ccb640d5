"""Install from a bundle: check it, redirect the settings to it, copy and verify the files that root uses."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.page import Context, Settings, value_or
from bai_wizard.node.cache import BUNDLES, make_directory
from bai_wizard.node.package_tool import INDEX
from bai_wizard.node.safe_path import Trust, from_root
from bai_wizard.offline.fetch_bundle import fetch_bundle, is_url
from bai_wizard.offline.manifest import (
    MANIFEST,
    Held,
    Manifest,
    content_faults,
    copy_held,
    open_bundle,
    read_manifest,
    sums_of,
)
from bai_wizard.offline.needs import archive_name, missing_items, saved_name
from bai_wizard.offline.packages import likeness
from bai_wizard.pages.account.probe import lacks_sudo
from bai_wizard.pages.images.probe import wanted as wanted_images
from bai_wizard.pages.images.settings import ArchiveSettings, ImagesSettings
from bai_wizard.pages.node.settings import SourcesSettings
from bai_wizard.pages.node_state import ARCHITECTURES, system_of
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.resources.local import LocalMachine

if TYPE_CHECKING:
    from bai_wizard.compose import DesiredState


# The parts that are copied, with their modes: uv reads wheels as the account.
COPIED = {"packages": 0o700, "wheels": 0o755}
DIGEST = re.compile(r"[0-9a-f]{64}")
# Bytes that stay free besides the copies.
MARGIN = 64 << 20


class Provided(Struct, frozen=True):
    """Directories of copies that only root can change; empty for a run without a bundle."""

    packages: str = ""
    wheels: str = ""


@contextmanager
def provided(settings: Mapping[str, Any], root: Path = Path("/")) -> Iterator[Provided]:
    """The copies of the bundle that a run's settings name; it must be complete and unchanged since the plan.

    Reads every byte of it. Leftovers of a killed run are removed first, so the run's lock has to be held; the copies
    are removed at the end. Raises PreflightError, also if there is not enough space for the copies.
    """
    base = root / BUNDLES.lstrip("/")
    _remove_leftovers(base)
    sources = settings.get("tables", {}).get("sources", {})
    directory = str(sources.get("bundle", ""))
    if not directory:
        yield Provided()
        return
    location = Path(directory)
    manifest = read_manifest(location)
    if sources.get("bundle_digest") not in (None, "", manifest.digest):
        raise PreflightError(f"the bundle {location} has changed since the plan was made: plan again")
    with open_bundle(location) as bundle:
        result = content_faults(bundle, manifest)
        if result:
            raise _changed(location, result)
        _refuse_without_room(base, manifest, settings.get("pages", ()))
        with _private(base) as private:
            copied = _copy(bundle, manifest, private)
            if copied:
                raise _changed(location, copied)
            yield Provided(f"{private}/packages", f"{private}/wheels")


@contextmanager
def _private(base: Path) -> Iterator[Path]:
    """A new directory that only root can change."""
    try:
        make_directory(str(base))
        private = Path(mkdtemp(dir=base))
        # Searchable by the account, which reads the wheels.
        private.chmod(0o711)
    except (OSError, StepFailed) as error:
        raise PreflightError(f"the directory for copies of the bundle cannot be created: {error}") from error
    try:
        yield private
    finally:
        # The next run removes what cannot be removed now, or reports why it cannot.
        shutil.rmtree(private, ignore_errors=True)


def _remove_leftovers(base: Path) -> None:
    """Remove the copies of a run that was killed. Raises PreflightError."""
    for old in base.iterdir() if base.is_dir() else ():
        try:
            shutil.rmtree(old)
        except OSError as error:
            raise PreflightError(f"{old} of an earlier run cannot be removed: {error.strerror}") from error


def _refuse_without_room(base: Path, manifest: Manifest, pages: Any) -> None:
    """Raise PreflightError if space is insufficient. Image archives are copied one at a time."""
    sizes = [held.size for held in manifest.files if held.part in COPIED]
    images = [held.size for held in manifest.files if held.part == "images" and "images" in pages]
    needed = sum(sizes) + max(images, default=0) + MARGIN
    existing = next(each for each in (base, *base.parents) if each.exists())
    room = os.statvfs(existing)
    free = room.f_bavail * room.f_frsize
    if free < needed:
        raise PreflightError(
            f"copying files of the bundle to {base} needs {needed >> 20} MiB, but only"
            f" {free >> 20} MiB are free. Nothing was changed; free some space, then retry"
        )


def _copy(bundle: int, manifest: Manifest, private: Path) -> list[str]:
    """Compare every file and copy those that are needed. Returns the first few mismatches."""
    result: list[str] = []
    try:
        for part, mode in COPIED.items():
            (private / part).mkdir()
            (private / part).chmod(mode)
        (private / MANIFEST).write_text(manifest.text())
        for held in (sums_of(manifest), *manifest.files):
            fault = _copy_one(bundle, held, private) if held.part in COPIED else copy_held(bundle, held)
            result += [fault] if fault else []
            if len(result) == 5:
                break
        (private / "packages" / INDEX).write_text(_index(manifest))
    except OSError as error:
        raise PreflightError(
            f"the bundle cannot be copied to {private}: {error.strerror}. Free some space there"
        ) from error
    return result


def _copy_one(bundle: int, held: Held, private: Path) -> str:
    target = private / held.path
    for above in reversed(target.relative_to(private).parents[:-2]):
        (private / above).mkdir(mode=0o755, exist_ok=True)
        (private / above).chmod(0o755)
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(copy, 0o644)
        return copy_held(bundle, held, copy)
    finally:
        os.close(copy)


def _index(manifest: Manifest) -> str:
    """apt's index of the copied packages, built from the manifest alone; an index in the bundle is never used."""
    return "\n".join(
        f"{held.control}\nFilename: ./{held.path.partition('/')[2]}\nSize: {held.size}\nSHA256: {held.sha256}\n"
        for held in manifest.files
        if held.part == "packages"
    )


def _changed(directory: Path, result: list[str] | tuple[str, ...]) -> PreflightError:
    return PreflightError(
        f"the bundle {directory} does not match its manifest: {'; '.join(result)}. Nothing was changed; copy it again"
    )


def from_bundle(
    desired: DesiredState,
    directory: str = "",
    digest: str = "",
    *,
    trusted_only: bool = True,
    like: str = "",
    log: Log = silent,
) -> DesiredState:
    """The desired state with the bundle as its source: the given one, or that of [sources]; unchanged without one.

    Raises PreflightError for a bundle that is not exactly what its manifest lists, that does not match `digest`, that
    is for another architecture, or that lacks what a page needs; and for a digest without a bundle. Contents are
    compared with the manifest later, by the executor, before it begins. With `trusted_only`, root rejects a bundle
    without a digest that other users can change; without it, only the manifest of a bundle on a web server is
    downloaded. `like`: a directory with the files of a node, instead of this one. `log` hears of downloads.
    """
    sources = desired.settings.get("sources")
    result = sources if isinstance(sources, SourcesSettings) else SourcesSettings()
    directory, digest = directory or result.bundle, (digest or result.bundle_digest).lower()
    if digest and not DIGEST.fullmatch(digest):
        raise PreflightError(
            f"{digest!r:.100} is not the digest of a bundle: it has 64 hexadecimal digits, as `bai-wizard"
            " bundle` printed"
        )
    if not directory:
        if digest:
            raise PreflightError(
                "a bundle digest was given without a bundle, so it would not be checked: pass the directory as"
                " well (--bundle DIR, or bundle in [sources]), or omit the digest"
            )
        return desired
    if desired.context.demo:
        raise PreflightError("a simulated node cannot install from a bundle: remove [sources] for the demo")
    if is_url(directory):
        location = fetch_bundle(directory, digest, desired.context, files=trusted_only, log=log)
    else:
        location = Path(from_root(directory))
    manifest = read_manifest(location)
    _refuse_mismatch(location, manifest, digest)
    if trusted_only or not is_url(directory):
        _refuse_other_content(location, manifest)
    if trusted_only and not digest:
        _refuse_untrusted(location)
    desired = replace(desired, context=replace(desired.context, bundle=str(location)))
    node = LocalMachine(like or "/")
    system = likeness(like).system if like else value_or(system_of(node), None)
    lacks = missing_items(desired, manifest, system, lacks_sudo=lacks_sudo(node))
    if lacks:
        listed = "\n".join(f"  [{page}] {what}" for page, what in dict.fromkeys(lacks))
        raise PreflightError(
            f"the bundle {location} lacks files that these answers need (add them, or skip these pages):\n{listed}"
        )
    changed = _redirected(desired.settings, location, manifest, desired.context)
    changed["sources"] = replace(result, bundle=str(location), bundle_digest=manifest.digest)
    return replace(desired, settings=changed)


def _refuse_mismatch(directory: Path, manifest: Manifest, digest: str) -> None:
    """Raise PreflightError for a bundle of another origin or for another architecture."""
    if digest and digest != manifest.digest:
        raise PreflightError(
            f"the bundle {directory} is not the expected one: the SHA-256 of its manifest is {manifest.digest},"
            f" expected {digest}. Copy it again, or compare it with the output of `bai-wizard bundle`"
        )
    if manifest.arch != platform.machine():
        raise PreflightError(f"the bundle {directory} is for {manifest.arch}, but this node is {platform.machine()}")


def _refuse_other_content(directory: Path, manifest: Manifest) -> None:
    """Raise PreflightError for a bundle with other files than its manifest lists."""
    with open_bundle(directory) as bundle:
        result = content_faults(bundle, manifest)
    if result:
        raise PreflightError(
            f"the bundle {directory} does not match its manifest: {'; '.join(result)}. Copy it again"
        )


def _refuse_untrusted(directory: Path) -> None:
    """Raise PreflightError if root would trust a bundle that others can change."""
    if os.geteuid() != 0:
        return
    try:
        Trust().judge_content(str(directory))
    except PreflightError as error:
        raise PreflightError(f"{error}, or pass the digest of the bundle (--bundle-digest)") from error


def _redirected(
    tables: Mapping[str, Settings], directory: Path, manifest: Manifest, context: Context
) -> dict[str, Settings]:
    changed: dict[str, Settings] = dict(tables)
    python, images = tables.get("python"), tables.get("images")
    if isinstance(python, PythonSettings) and python.method == "standalone":
        sources = {
            "mirror": f"file://{directory}/python",
            "find_links": (f"{directory}/wheels",),
            "index_url": "",
            "extra_index_urls": (),
        }
        changed["python"] = replace(python, **sources)
    if isinstance(images, ImagesSettings):
        archives = tuple(_archives(images, directory, manifest, context))
        # Images that would be pulled are loaded instead; a second name is in the same archive.
        update = {"archives": archives, "starter": "none", "pull": (), "registries": (), "retag": False}
        changed["images"] = replace(images, **update)
    return changed


def _archives(
    images: ImagesSettings, directory: Path, manifest: Manifest, context: Context
) -> Iterator[ArchiveSettings]:
    for archive in images.archives:
        name = archive_name(archive.file, archive.sha256, str(directory))
        yield replace(archive, file=f"{directory}/images/{name}")
    hashes = {held.path: held.sha256 for held in manifest.files}
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    for image in wanted_images(images, context, architecture):
        path = f"images/{saved_name(image.reference)}"
        if path in hashes:
            yield ArchiveSettings(file=f"{directory}/{path}", sha256=hashes[path])
