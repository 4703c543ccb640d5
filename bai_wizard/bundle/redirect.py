"""Answers of a node with a bundle: every source that the bundle serves is the bundle, and nothing outside."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bai_wizard.bundle.collect import archive_name
from bai_wizard.bundle.manifest import damaged, read_manifest
from bai_wizard.compose import Wish
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.page import Settings
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.python.settings import PythonSettings


def bundle_of(tables: Mapping[str, Settings]) -> str:
    """The directory that [sources] names; empty without one."""
    return str(getattr(tables.get("sources"), "bundle", ""))


def from_bundle(wish: Wish, directory: str = "") -> Wish:
    """The wish with the bundle as its source: the given one, else that of [sources]; without one as it is.

    Raises PreflightError for a bundle that is not whole, is for another architecture, or lacks what a page needs.
    """
    directory = directory or bundle_of(wish.settings)
    if not directory:
        return wish
    place = Path(directory).absolute()
    manifest = read_manifest(place)
    if manifest.arch != platform.machine():
        raise PreflightError(f"the bundle {place} is for {manifest.arch}, this node is {platform.machine()}")
    gone = damaged(place, manifest, hashes=False)
    if gone:
        raise PreflightError(f"the bundle {place} is damaged: {', '.join(gone[:5])}; copy it again")
    lacks = [f"  [{page}] {what}" for page, what in manifest.lacks if page in wish.pages]
    if lacks:
        told = "\n".join(lacks)
        raise PreflightError(f"the bundle {place} lacks what these answers need (or leave out these pages):\n{told}")
    return replace(wish, settings=_redirected(wish.settings, place))


def _redirected(tables: Mapping[str, Settings], place: Path) -> dict[str, Settings]:
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
        archives = tuple(
            archive.model_copy(update={"file": f"{place}/images/{archive_name(archive.file, archive.sha256)}"})
            for archive in images.archives
        )
        changed["images"] = images.model_copy(update={"archives": archives})
    return changed
