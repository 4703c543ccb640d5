"""The images of a bundle: archives that the answers name, and what they would pull, saved by the engine at hand."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.bundle.manifest import sha256_of
from bai_wizard.core.errors import StepFailed
from bai_wizard.pages.images.facts import Wanted

if TYPE_CHECKING:
    from bai_wizard.core.context import Context
    from bai_wizard.pages.images.settings import ImagesSettings

Say = Callable[[str], None]
PLACE = "images"
# Seconds to pull or to save one image; those with CUDA have many gigabytes.
LONGEST = 7200.0


def archive_name(file: str, sha256: str) -> str:
    """What an archive is called in the bundle: two of the same name have two hashes."""
    return f"{sha256[:12]}-{os.path.basename(file)}"


def saved_name(reference: str) -> str:
    """What an image that would be pulled is called in the bundle."""
    name = reference.rpartition("/")[2].replace(":", "-").replace("@", "-")
    return f"{hashlib.sha256(reference.encode()).hexdigest()[:12]}-{name}.tar"


def to_pull(settings: ImagesSettings, context: Context, architecture: str) -> tuple[Wanted, ...]:
    """The starter set and further images as the page wants them on such a node; `architecture` is Docker's name."""
    from bai_wizard.pages.images.probe import wanted

    return wanted(settings, context, architecture)


def collect_images(
    settings: ImagesSettings, images: tuple[Wanted, ...], directory: Path, platform: str, say: Say
) -> list[str]:
    """Archives are copied, the others pulled and saved. What cannot be had is told. Raises StepFailed."""
    place = directory / PLACE
    place.mkdir(exist_ok=True)
    for archive in settings.archives:
        _bring(archive.file, archive.sha256, place / archive_name(archive.file, archive.sha256), say)
    missing = [image for image in images if not (place / saved_name(image.reference)).exists()]
    if not missing:
        return []
    if shutil.which("docker") is None:
        names = ", ".join(image.reference for image in missing)
        return [
            f"{names}: there is no docker here to pull and save them; repeat where there is one, or save them"
            " elsewhere (docker save NAME:TAG -o FILE) and list the files in [images] archives"
        ]
    told = (_save(image, place / saved_name(image.reference), platform, settings.retag, say) for image in missing)
    return [lack for lack in told if lack]


def _bring(file: str, sha256: str, target: Path, say: Say) -> None:
    if not target.exists():
        say(f"copying {file}")
        partial = target.with_name(target.name + ".part")
        try:
            shutil.copyfile(file, partial)
        except OSError as error:
            raise StepFailed(f"{file} cannot be copied into the bundle: {error.strerror}") from error
        partial.rename(target)
    if sha256_of(target) != sha256:
        target.unlink()
        raise StepFailed(f"{file} does not have the sha256 that the answers say")


def _save(image: Wanted, target: Path, platform: str, retag: bool, say: Say) -> str:
    """Pulls one image, gives it its second name where one is wanted, and saves it. Why not, where that fails."""
    say(f"pulling {image.reference}")
    fault = _docker("pull", "--quiet", "--platform", platform, image.reference)
    if fault:
        return f"{image.reference}: {fault}; log in with «docker login», or correct the name"
    names = [image.reference]
    if retag and image.canonical:
        fault = _docker("tag", image.reference, image.canonical)
        names.append(image.canonical)
    say(f"saving {image.reference}")
    partial = target.with_name(target.name + ".part")
    fault = fault or _docker("save", "--output", str(partial), *names)
    if fault:
        partial.unlink(missing_ok=True)
        return f"{image.reference}: {fault}"
    partial.rename(target)
    return ""


def _docker(*words: str) -> str:
    """Empty, or what docker complained of. Which engine is asked is the caller's environment's choice."""
    from bai_wizard.machine.runner import run

    done = run(["docker", *words], timeout=LONGEST, env=_environment())
    return "" if done.code == 0 else " ".join((done.err or done.out).split())[-500:]


def _environment() -> Mapping[str, str]:
    """Where the engine is and how to log in to registries: what the caller's own docker would know."""
    names = ("HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}
