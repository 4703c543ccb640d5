"""The last look before a run takes anything out of a bundle: each file by the manifest, that by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bai_wizard.bundle.manifest import damaged, digest_of, read_manifest
from bai_wizard.core.errors import PreflightError


def verify(settings: Mapping[str, Any]) -> str:
    """The bundle that a run's settings name, whole and unchanged since the plan; empty where they name none.

    Reads every byte of it. Raises PreflightError.
    """
    sources = settings.get("tables", {}).get("sources", {})
    directory = str(sources.get("bundle", ""))
    if not directory:
        return ""
    place = Path(directory)
    manifest = read_manifest(place)
    if sources.get("bundle_digest") not in (None, "", digest_of(place)):
        raise PreflightError(f"the bundle {place} is another one than when the plan was made: plan again")
    changed = damaged(place, manifest, hashes=True)
    if changed:
        raise PreflightError(
            f"files of the bundle {place} are not those of its manifest: {', '.join(changed[:5])}."
            " Nothing was touched; copy the bundle again"
        )
    return directory
