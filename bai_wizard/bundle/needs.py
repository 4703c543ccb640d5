"""What a set of answers needs and a bundle does not hold, found out before anything is done."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator

from bai_wizard.bundle.images import archive_name, saved_name, to_pull
from bai_wizard.bundle.manifest import Lack, Manifest
from bai_wizard.bundle.nvidia import wanted_drivers
from bai_wizard.bundle.wanted import wanted_packages
from bai_wizard.compose import Wish
from bai_wizard.core.errors import WizardError
from bai_wizard.pages.docker.facts import System
from bai_wizard.pages.docker.probe import ARCHITECTURES
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.plan import BASICS, services
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.wanted import choose_python

# The name that a requirement begins with, before versions, extras and markers.
NAME = re.compile(r"[A-Za-z0-9._-]+")
PYENV = 'pyenv builds from sources that it fetches itself; choose method = "standalone"'


def not_served(wish: Wish) -> tuple[Lack, ...]:
    """By page, what no bundle brings."""
    python = wish.settings.get("python")
    if "python" in wish.pages and isinstance(python, PythonSettings) and python.method != "standalone":
        return (("python", PYENV),)
    return ()


def missing(wish: Wish, manifest: Manifest, system: System | None) -> tuple[Lack, ...]:
    """By page, what these answers need and the manifest does not name. `system` is the node's, None if unknown.

    Which kernel modules a node needs only its plan knows: it refuses what the bundle does not offer.
    """
    names = {held.path for held in manifest.files}
    return (
        *not_served(wish),
        *(("python", what) for what in _python(wish, names)),
        *(("images", what) for what in _images(wish, names)),
        *(_packages(wish, names, manifest, system) if system else ()),
    )


def _python(wish: Wish, names: set[str]) -> Iterator[str]:
    settings = wish.settings.get("python")
    if "python" not in wish.pages or not isinstance(settings, PythonSettings) or settings.method != "standalone":
        return
    build = choose_python(settings, PythonFacts(arch=platform.machine()), wish.context).build
    if build is not None and f"python/{build.place}" not in names:
        yield f"the build {build.file}"
    wheels = {_plain(path.removeprefix("wheels/").partition("-")[0]) for path in names if path.startswith("wheels/")}
    for wanted in (*BASICS, *(name for _, packages in services(settings, wish.context) for name in packages)):
        found = NAME.match(wanted)
        if found and _plain(found[0]) not in wheels:
            yield f"a wheel of {found[0]}"


def _plain(name: str) -> str:
    """A distribution's name as wheels spell it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _images(wish: Wish, names: set[str]) -> Iterator[str]:
    settings = wish.settings.get("images")
    if "images" not in wish.pages or not isinstance(settings, ImagesSettings):
        return
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    for archive in settings.archives:
        if f"images/{archive_name(archive.file, archive.sha256)}" not in names:
            yield f"the archive {archive.file}"
    for image in to_pull(settings, wish.context, architecture):
        if f"images/{saved_name(image.reference)}" not in names:
            yield f"the image {image.reference}"


def _packages(wish: Wish, names: set[str], manifest: Manifest, system: System) -> Iterator[Lack]:
    held = {path.removeprefix("packages/").partition("_")[0] for path in names if path.startswith("packages/")}
    try:
        wanted = wanted_packages(wish, system)
    except WizardError as error:
        yield "docker", str(error)
        return
    needed = [(each.page, each.names) for each in wanted]
    flavours = [each.certain() for each in wanted_drivers(wish, system)]
    if flavours:
        # Either flavour may be the one for the cards of this node.
        needed.append(("accelerators", min(flavours, key=lambda names: sum(name not in held for name in names))))
    for page, names_of_page in needed:
        gone = [name for name in names_of_page if name not in held]
        if gone:
            yield page, f"the packages {', '.join(gone)}"
        elif manifest.system and manifest.system != system.codename:
            yield page, f"packages for {system.codename}: it was made for {manifest.system}"
