"""Collecting a bundle on a machine with a way out. What is there already is not fetched again."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bai_wizard import __version__
from bai_wizard.bundle.manifest import Manifest, held_in, sha256_of
from bai_wizard.compose import Wish
from bai_wizard.core.errors import StepFailed
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.plan import BASICS, services
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.sources import environment, package_sources, proxy_for
from bai_wizard.pages.python.wanted import choose_python

Say = Callable[[str], None]
PARTS = ("python", "wheels", "images")
# Seconds for all packages with what they depend on, over a slow line.
WHEELS = 1800.0
# Wheels that run on every supported distribution: glibc of Debian 12 and what is older.
GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_17")
# Pages that take from outside and that a bundle does not serve yet.
NOT_COLLECTED = {
    "docker": "the packages of the container engine: give [docker] apt_url and key_file of a mirror inside",
    "accelerators": "the packages of driver and toolkit: give the page's apt_url and key_file of a mirror inside",
}


def collect(wishes: tuple[Wish, ...], directory: Path, say: Say) -> Manifest:
    """Brings all that these wishes need into the directory and writes its manifest. Raises WizardError."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").unlink(missing_ok=True)
    lacks: list[tuple[str, str]] = []
    for wish in wishes:
        python = wish.settings.get("python")
        if "python" in wish.pages and isinstance(python, PythonSettings):
            lacks += _python(python, wish, directory, say)
        images = wish.settings.get("images")
        if "images" in wish.pages and isinstance(images, ImagesSettings):
            lacks += _images(images, directory, say)
        lacks += [
            (page, what) for page, what in NOT_COLLECTED.items() if page in wish.pages and _from_outside(wish, page)
        ]
    say("hashing what is there")
    manifest = Manifest(platform.machine(), __version__, held_in(directory, PARTS), tuple(dict.fromkeys(lacks)))
    manifest.write(directory)
    return manifest


def _from_outside(wish: Wish, page: str) -> bool:
    """True where the page's packages come from no mirror that the answers name."""
    settings = wish.settings[page]
    if page == "docker":
        return getattr(settings, "source", "") == "docker-ce" and not getattr(settings, "apt_url", "")
    return True


def _python(settings: PythonSettings, wish: Wish, directory: Path, say: Say) -> list[tuple[str, str]]:
    from bai_wizard.machine.download import Source, fetch

    if settings.method != "standalone":
        return [("python", 'pyenv builds from sources that it fetches itself; choose method = "standalone"')]
    facts = PythonFacts(arch=platform.machine())
    build = choose_python(settings, facts, wish.context).build
    assert build is not None, "on a node without any interpreter a build is chosen, or NoBuild raised"
    target = directory / "python" / build.place
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and sha256_of(target) == build.sha256:
        say(f"already here: {build.file}")
    else:
        url = build.address(settings.mirror)
        say(f"fetching {url}")
        fetch(Source(url, build.sha256, proxy_for(url, wish.context)), str(target))
    _wheels(settings, wish, facts, build.version, directory / "wheels", say)
    return []


def _wheels(settings: PythonSettings, wish: Wish, facts: PythonFacts, version: str, place: Path, say: Say) -> None:
    """By pip, for the Python that the nodes will have. Raises StepFailed with pip's own words."""
    from bai_wizard.machine.runner import run

    place.mkdir(exist_ok=True)
    packages = [name for _, wanted in services(settings, wish.context) for name in wanted]
    sources = package_sources(settings, facts, wish.context)
    options = ["--index-url", sources.index_url] if sources.index_url else []
    options += ["--no-index"] if sources.no_index else []
    options += [word for url in sources.extra_index_urls for word in ("--extra-index-url", url)]
    options += [word for url in sources.find_links for word in ("--find-links", url)]
    minor = ".".join(version.split(".")[:2])
    tags = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{facts.arch}")]
    target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", minor, *tags]
    say(f"fetching wheels for Python {minor}: {' '.join((*BASICS, *packages))}")
    done = run(
        [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--dest", str(place), *target, *options, *BASICS, *packages],
        timeout=WHEELS, env=dict(environment(wish.context)),
    )  # fmt: skip
    if done.code != 0:
        raise StepFailed(f"the wheels could not be collected: {(done.err or done.out).strip()[-2000:]}")


def _images(settings: ImagesSettings, directory: Path, say: Say) -> list[tuple[str, str]]:
    """Archives that the answers name are copied; what would be pulled is told."""
    place = directory / "images"
    for archive in settings.archives:
        place.mkdir(exist_ok=True)
        target = place / archive_name(archive.file, archive.sha256)
        if not target.exists():
            say(f"copying {archive.file}")
            _copy(Path(archive.file), target)
        if sha256_of(target) != archive.sha256:
            target.unlink()
            raise StepFailed(f"{archive.file} does not have the sha256 that the answers say")
    pulled = [*settings.pull, *([f"the starter set ({settings.starter})"] if settings.starter != "none" else [])]
    if not pulled:
        return []
    return [("images", f"{', '.join(pulled)}: save them with `docker save` and list the files in [images] archives")]


def archive_name(file: str, sha256: str) -> str:
    """What an archive is called in the bundle: two of the same name have two hashes."""
    return f"{sha256[:12]}-{os.path.basename(file)}"


def _copy(origin: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(origin, partial)
    except OSError as error:
        raise StepFailed(f"{origin} cannot be copied into the bundle: {error.strerror}") from error
    partial.rename(target)
