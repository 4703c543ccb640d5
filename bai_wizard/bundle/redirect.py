"""Answers of a node with a bundle: every source that the bundle serves is the bundle, and nothing outside."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bai_wizard.bundle.images import archive_name, saved_name, to_pull
from bai_wizard.bundle.manifest import Manifest, damaged, digest_of, read_manifest
from bai_wizard.bundle.needs import missing
from bai_wizard.compose import Wish
from bai_wizard.core.context import Context
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.facts import value_or
from bai_wizard.core.page import Settings
from bai_wizard.machine.local import LocalMachine
from bai_wizard.pages.docker.probe import ARCHITECTURES, system_of
from bai_wizard.pages.images.settings import ArchiveSettings, ImagesSettings
from bai_wizard.pages.node.settings import SourcesSettings
from bai_wizard.pages.python.settings import PythonSettings


def from_bundle(wish: Wish, directory: str = "", digest: str = "") -> Wish:
    """The wish with the bundle as its source: the given one, else that of [sources]; without one as it is.

    Raises PreflightError for a bundle that is not whole, not the one of `digest`, for another architecture, or that
    lacks what a page needs. Contents are compared with the manifest later, by the executor, before it begins.
    """
    sources = wish.settings.get("sources")
    told = sources if isinstance(sources, SourcesSettings) else SourcesSettings()
    directory, digest = directory or told.bundle, digest or told.bundle_digest
    if not directory:
        return wish
    place = Path(directory).absolute()
    manifest = read_manifest(place)
    _refuse_stranger(place, manifest, digest)
    wish = replace(wish, context=replace(wish.context, bundle=str(place)))
    lacks = missing(wish, manifest, value_or(system_of(LocalMachine()), None))
    if lacks:
        listed = "\n".join(f"  [{page}] {what}" for page, what in dict.fromkeys(lacks))
        raise PreflightError(
            f"the bundle {place} lacks what these answers need (or leave out these pages):\n{listed}"
        )
    changed = _redirected(wish.settings, place, manifest, wish.context)
    changed["sources"] = told.model_copy(update={"bundle": str(place), "bundle_digest": digest_of(place)})
    return replace(wish, settings=changed)


def _refuse_stranger(place: Path, manifest: Manifest, digest: str) -> None:
    """Raises PreflightError for a bundle of another origin, for another machine, or with files gone or cut."""
    if digest and digest != digest_of(place):
        raise PreflightError(
            f"the bundle {place} is not the one that was expected: its manifest has the sha256 {digest_of(place)},"
            f" asked for was {digest}. Copy it again, or compare with what `bai-wizard bundle` printed"
        )
    if manifest.arch != platform.machine():
        raise PreflightError(f"the bundle {place} is for {manifest.arch}, this node is {platform.machine()}")
    gone = damaged(place, manifest, hashes=False)
    if gone:
        raise PreflightError(f"the bundle {place} is damaged: {', '.join(gone[:5])}; copy it again")


def _redirected(
    tables: Mapping[str, Settings], place: Path, manifest: Manifest, context: Context
) -> dict[str, Settings]:
    changed: dict[str, Settings] = dict(tables)
    python, images = tables.get("python"), tables.get("images")
    if isinstance(python, PythonSettings) and python.method == "standalone":
        sources = {
            "mirror": f"file://{place}/python",
            "find_links": (f"{place}/wheels",),
            "index_url": "",
            "extra_index_urls": (),
        }
        changed["python"] = python.model_copy(update=sources)
    if isinstance(images, ImagesSettings):
        archives = tuple(_archives(images, place, manifest, context))
        # What would be pulled is loaded; a second name lies in the same archive.
        update = {"archives": archives, "starter": "none", "pull": (), "registries": (), "retag": False}
        changed["images"] = images.model_copy(update=update)
    return changed


def _archives(images: ImagesSettings, place: Path, manifest: Manifest, context: Context) -> Iterator[ArchiveSettings]:
    for archive in images.archives:
        yield archive.model_copy(update={"file": f"{place}/images/{archive_name(archive.file, archive.sha256)}"})
    hashes = {held.path: held.sha256 for held in manifest.files}
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    for image in to_pull(images, context, architecture):
        path = f"images/{saved_name(image.reference)}"
        if path in hashes:
            yield ArchiveSettings(file=f"{place}/{path}", sha256=hashes[path])
