"""Docker images of nodes, in layers that change ever more often: tree, Docker Engine, dependencies, the wizard."""

import os
import secrets
from collections.abc import Sequence

from tests.cache import digest, locked
from tests.node import payload
from tests.node.docker import Docker
from tests.node.engine import LABEL
from tests.node.suites import SUITES, Suite
from tests.node.tree import base_tree

REPOSITORY = "bai-wizard-tests"
COMPILE = "/usr/bin/python3 -m compileall -q -j 2 {place}"
INSTALL = """export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends {packages}
apt-get clean"""


def node_image(docker: Docker, name: str) -> str:
    """The image of ``trixie``, ``bookworm`` or, with a Docker Engine inside, ``trixie-docker``."""
    suite, _, variant = name.partition("-")
    return _with_wizard(docker, SUITES[suite], with_packages(docker, SUITES[suite], variant))


def with_packages(docker: Docker, suite: Suite, variant: str, packages: Sequence[str] = ()) -> str:
    """The suite's tree plus packages: the Docker Engine's for ``docker``, else those given; plain without."""
    base = _base(docker, suite)
    wanted = " ".join(suite.docker_packages if variant == "docker" else packages)
    if not wanted:
        return base
    script = INSTALL.format(packages=wanted)
    tag = f"{REPOSITORY}:{suite.name}-{variant}-{digest(base, script)}"
    return _layer(docker, base, tag, script)


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
