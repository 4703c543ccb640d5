"""pyenv on a real node: the real pyenv of this machine, and a definition that installs a real interpreter.

Building CPython takes a quarter of an hour here, so `python-build`'s definition of the version is a stub that unpacks
the interpreter of the mirror; everything around it (clone, build packages, pyenv, environments, shell) is real.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.pythons import HEADLESS, MIRROR, look, newest, prepare
from tests.node.snapshot import assert_same

PYENV = Path.home() / ".pyenv"
pytestmark = [
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
    pytest.mark.skipif(
        not (PYENV / "plugins" / "pyenv-virtualenv").is_dir(), reason="no pyenv with pyenv-virtualenv on this machine"
    ),
]
DEFINITION = """
echo "Downloading Python-{version}.tar.xz..." >&2
echo "checking for gcc... gcc" >&2
mkdir -p "$PREFIX_PATH"
tar -xzf {archive} --strip-components=1 -C "$PREFIX_PATH"
echo "Installed Python-{version} to $PREFIX_PATH" >&2
"""
WITHOUT_LZMA = DEFINITION + 'rm -f "$PREFIX_PATH"/lib/python3.*/lib-dynload/_lzma*.so\n'
NO_COMPILER = """
echo "checking for gcc... no" >&2
echo 'configure: error: no acceptable C compiler found in $PATH' >&2
return 1
"""
LEFT_OUT = {
    "versions",
    "shims",
    "cache",
    ".git",
    "version",
    "terminal_output.png",
    "install_local_python.gif",
    "test",
}


def packed(directory: Path, replaced: dict[str, str]) -> bytes:
    """A tar of a directory as it is, with some files replaced."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(entry.name for entry in directory.iterdir()):
            if name not in LEFT_OUT and name != "plugins":
                archive.add(directory / name, name)
        build = directory / "plugins" / "python-build"
        if build.is_dir():
            archive.add(build, "plugins/python-build")
        for name, text in replaced.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def repository(node: ContainerNode, name: str, content: bytes) -> None:
    """A git repository of the account with one commit."""
    node.write(f"/tmp/{name}.tar", content)
    script = f"""
    set -e
    mkdir -p /srv/git/{name}
    tar -xf /tmp/{name}.tar -C /srv/git/{name}
    cd /srv/git/{name}
    git init -q
    git add -A
    git -c user.name=t -c user.email=t@example commit -q -m all
    chown -R bai:bai /srv/git/{name}
    """
    node.run(["sh", "-c", script], check=True, timeout=120)


@pytest.fixture
def pyenv_node(node: ContainerNode) -> ContainerNode:
    node.run(["apt-get", "-qq", "update"], check=True, timeout=120)
    node.run(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "git"], check=True, timeout=300)
    prepare(node, newest(), venvs='{ service = "manager" }')
    answers = node.read("/root/answers.toml").decode().replace(f'mirror = "file://{MIRROR}"', 'method = "pyenv"')
    node.write("/root/answers.toml", answers.replace("[python]", '[python]\npyenv_url = "file:///srv/git/pyenv"'))
    repository(node, "pyenv-virtualenv", packed(PYENV / "plugins" / "pyenv-virtualenv", {}))
    return node


def with_definition(node: ContainerNode, text: str) -> None:
    build = newest()
    archive = f"{MIRROR}/{pbs_mirror.DATE}/{build.file.name}"
    location = f"plugins/python-build/share/python-build/{build.version}"
    repository(node, "pyenv", packed(PYENV, {location: text.format(version=build.version, archive=archive)}))


def login(node: ContainerNode, command: str) -> str:
    """What an interactive login shell of the account prints."""
    done = node.run(["su", "-", "bai", "-c", f"bash -i -c '{command}'"], timeout=60)
    return done.out.strip()


def test_built_local_to_its_service_and_undone(pyenv_node: ContainerNode) -> None:
    node, version = pyenv_node, newest().version
    with_definition(node, DEFINITION)
    before = node.snapshot(("/home",))
    done = node.wizard(*HEADLESS, timeout=590)
    assert done.rc == 0, done.out + done.err
    assert node.run(["dpkg", "-s", "libffi-dev"]).rc == 0
    name = f"bai-{version}-manager"
    assert login(node, "cd ~/manager && pyenv version-name") == name
    assert login(node, "cd ~/manager && python --version") == f"Python {version}"
    assert name in login(node, "pyenv virtualenvs --bare")
    assert f"/envs/{name}/" in login(node, "cd ~/manager && pip --version")
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    assert node.run(["find", "/home/bai", "-not", "-user", "bai"]).out == ""
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(("/home",)))


def test_a_missing_compiler_is_named_and_the_build_done_again(pyenv_node: ContainerNode) -> None:
    node, version = pyenv_node, newest().version
    with_definition(node, NO_COMPILER)
    failed = node.wizard(*HEADLESS, timeout=590)
    assert failed.rc == 4, failed.out + failed.err
    assert "no C compiler was found. Install build-essential" in failed.out
    build = newest()
    archive = f"{MIRROR}/{pbs_mirror.DATE}/{build.file.name}"
    location = f"/home/bai/.pyenv/plugins/python-build/share/python-build/{version}"
    node.write(location, WITHOUT_LZMA.format(version=version, archive=archive), owner="bai:bai")
    missing = node.wizard("resume", timeout=300)
    assert missing.rc == 4, missing.out + missing.err
    assert "it lacks lzma" in missing.out
    assert "Install liblzma-dev and rebuild it" in missing.out
    assert look(node)["python.pyenv-build-failed"] == "problem"
    node.write(location, DEFINITION.format(version=version, archive=archive), owner="bai:bai")
    resumed = node.wizard("resume", timeout=300)
    assert resumed.rc == 0, resumed.out + resumed.err
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
