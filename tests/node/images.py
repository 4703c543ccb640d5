"""Docker images of nodes, with layers ordered by how often they change: tree, engine, dependencies, the wizard."""

import os
import secrets
from collections.abc import Sequence

from tests.cache import digest, locked
from tests.node import payload
from tests.node.docker import Docker
from tests.node.engine import LABEL
from tests.node.suites import SUITES, Suite
from tests.node.tree import base_tree
from tests.node.ubuntu import DOWNLOADED, SHAPES, Shape

REPOSITORY = "bai-wizard-tests"
COMPILE = "/usr/bin/python3 -m compileall -q -j 2 {place}"
INSTALL = """export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends {packages}
apt-get clean"""
DOWNLOAD = """apt-get -q update
apt-get -q install -y --no-install-recommends --download-only {packages}"""


def node_image(docker: Docker, name: str) -> str:
    """The image of ``trixie`` or ``bookworm``; ``-docker`` adds a Docker Engine, ``-downloaded`` its packages in
    apt's cache, and ``-tests`` the programs that unit tests run. Nodes shaped like Ubuntu: ``noble``, ``resolute``.
    """
    if name in SHAPES:
        return _with_wizard(docker, SUITES["trixie"], shaped(docker, SHAPES[name]))
    suite, _, variant = name.partition("-")
    packages = SUITES[suite].test_packages if variant == "tests" else ()
    return _with_wizard(docker, SUITES[suite], with_packages(docker, SUITES[suite], variant, packages))


def with_packages(docker: Docker, suite: Suite, variant: str, packages: Sequence[str] = ()) -> str:
    """The suite's tree plus packages: the Docker Engine's for ``docker``, else those given; plain without."""
    base = _base(docker, suite)
    variants = {"docker": suite.docker_packages, "downloaded": suite.downloaded}
    wanted = " ".join(variants.get(variant, packages))
    if not wanted:
        return base
    script = (DOWNLOAD if variant == "downloaded" else INSTALL).format(packages=wanted)
    tag = f"{REPOSITORY}:{suite.name}-{variant}-{digest(base, script)}"
    return _layer(docker, base, tag, script)


def shaped(docker: Docker, shape: Shape, more: Sequence[str] = ()) -> str:
    """Debian 13 with the shape's programs, then `more`, then its files: a changed file installs nothing again."""
    base = _base(docker, SUITES["trixie"])
    script = INSTALL.format(packages=" ".join(shape.packages))
    script += "\n" + DOWNLOAD.format(packages=" ".join(DOWNLOADED))
    packages = f"{REPOSITORY}:{shape.codename}-{digest(base, script)}"
    _layer(docker, base, packages, script)
    if more:
        script = INSTALL.format(packages=" ".join(more))
        packages = _layer(docker, packages, f"{packages}-{digest(script)}", script)
    archive = shape.archive()
    return _layer(docker, packages, f"{packages}-{digest(archive, shape.script)}", shape.script, archive=archive)


def _base(docker: Docker, suite: Suite) -> str:
    archive = base_tree(suite)
    tag = f"{REPOSITORY}:{archive.stem}"
    with locked("images"):
        if not _exists(docker, tag):
            docker("import", "--change", f"LABEL {LABEL}=1", str(archive), tag)
    return tag


def _with_wizard(docker: Docker, suite: Suite, image: str) -> str:
    dependencies = payload.dependencies(suite.python)
    carrier = f"{image}-{digest(dependencies.name)}"
    _layer(docker, image, carrier, COMPILE.format(place=payload.HOME), directory=str(dependencies))
    wizard = payload.wizard(suite.python)
    script = COMPILE.format(place=f"{payload.HOME}/bai_wizard")
    return _layer(docker, carrier, f"{carrier}-{digest(wizard)}", script, archive=wizard)


def _layer(
    docker: Docker, image: str, tag: str, script: str, *, directory: str | None = None, archive: bytes | None = None
) -> str:
    """``tag``: the image plus a directory at the wizard's home or a tar file at the root; then the script ran."""
    if _exists(docker, tag):
        return tag  # without waiting for an image that another process builds
    with locked("images"):
        if _exists(docker, tag):
            return tag
        name = f"build-{secrets.token_hex(4)}"
        docker("create", "--name", name, "--label", f"{LABEL}={os.getpid()}", image, "/bin/sh", "-ec", f"{script}\n")
        try:
            if directory is not None:
                docker("cp", f"{directory}/.", f"{name}:{payload.HOME}")
            if archive is not None:
                docker("cp", "-", f"{name}:/", data=archive)
            docker("start", "--attach", name)
            docker("commit", "--change", f"LABEL {LABEL}=1", name, tag)
        finally:
            docker("rm", "--force", "--volumes", name)
    return tag


def _exists(docker: Docker, tag: str) -> bool:
    return docker.start("image", "inspect", tag).returncode == 0
