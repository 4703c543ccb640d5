"""Collecting a bundle on a machine with a way out. What is there already is not fetched again."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bai_wizard import __version__
from bai_wizard.bundle.images import collect_images, to_pull
from bai_wizard.bundle.itself import collect_itself
from bai_wizard.bundle.manifest import Lack, Manifest, held_in, sha256_of
from bai_wizard.bundle.needs import not_served
from bai_wizard.bundle.nvidia import WantedDriver, wanted_drivers
from bai_wizard.bundle.packages import collect_packages
from bai_wizard.bundle.system import Likeness, likeness
from bai_wizard.bundle.wanted import WantedPackages, wanted_packages
from bai_wizard.compose import Wish
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.facts import Absent, Fact, Known
from bai_wizard.machine.local import LocalMachine
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.accelerators.vendors.nvidia.facts import System as NvidiaSystem
from bai_wizard.pages.accelerators.vendors.nvidia.probe import key
from bai_wizard.pages.docker.probe import ARCHITECTURES
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.plan import BASICS, services
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.sources import environment, package_sources, proxy_for
from bai_wizard.pages.python.wanted import choose_python

Say = Callable[[str], None]
PARTS = ("python", "wheels", "packages", "images", "wizard")
# Seconds for all packages with what they depend on, over a slow line.
WHEELS = 1800.0
# Wheels that run on every supported distribution: glibc of Debian 12 and what is older.
GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_17")


def collect(wishes: tuple[Wish, ...], directory: Path, say: Say, *, like: str = "", wizard: str = "") -> Manifest:
    """Brings all that these wishes need into the directory and writes its manifest. Raises WizardError.

    `like` is a directory with the files of a system like the nodes' (see `likeness`), `wizard` the wizard's archive.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").unlink(missing_ok=True)
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    lacks: list[Lack] = []
    for wish in wishes:
        lacks += not_served(wish)
        python, images = wish.settings.get("python"), wish.settings.get("images")
        if "python" in wish.pages and isinstance(python, PythonSettings) and python.method == "standalone":
            _python(python, wish, directory, say)
        if "images" in wish.pages and isinstance(images, ImagesSettings):
            wanted = to_pull(images, wish.context, architecture)
            found = collect_images(images, wanted, directory, f"linux/{architecture}", say)
            lacks += [("images", what) for what in found]
    system, unoffered = _packages(wishes, directory, say, like)
    lacks += unoffered
    without = collect_itself(wizard, directory, say)
    lacks += [("wizard", without)] if without else []
    say("hashing what is there")
    files = held_in(directory, PARTS)
    manifest = Manifest(platform.machine(), __version__, files, tuple(dict.fromkeys(lacks)), system)
    manifest.write(directory)
    return manifest


def _packages(wishes: tuple[Wish, ...], directory: Path, say: Say, like: str) -> tuple[str, tuple[Lack, ...]]:
    """The code name of the system whose packages were brought, empty where the answers need none; what is lacking."""
    if not any(page in wish.pages for wish in wishes for page in ("docker", "storage", "accelerators")):
        return "", ()
    resembled = likeness(like)
    found: list[WantedPackages | WantedDriver] = []
    for wish in (replace(wish, context=replace(wish.context, bundle="")) for wish in wishes):
        found += wanted_packages(wish, resembled.system)
        found += wanted_drivers(wish, resembled.system, resembled.kernels(), _nvidias_key(wish, resembled))
    wanted = tuple(dict.fromkeys(found))
    lacks = collect_packages(wanted, directory, resembled, say)
    return resembled.system.codename if wanted else "", lacks


def _nvidias_key(wish: Wish, like: Likeness) -> Fact[str]:
    """The key of NVIDIA's repository, by the page's own look at the file or the server."""
    accelerators, system = wish.settings.get("accelerators"), like.system
    if "accelerators" not in wish.pages or not isinstance(accelerators, AcceleratorsSettings):
        return Absent()
    here = Known(NvidiaSystem(system.os, system.version, system.codename, system.architecture))
    return key(LocalMachine(), accelerators.nvidia, wish.context, here)


def _python(settings: PythonSettings, wish: Wish, directory: Path, say: Say) -> None:
    from bai_wizard.machine.download import Source, fetch

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
