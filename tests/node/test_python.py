"""The python page on real nodes: a real interpreter from a mirror, working environments, complete undo."""

from __future__ import annotations

import re

import pytest

from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.pythons import (
    CATALOGUE,
    HEADLESS,
    MIRROR,
    SERVICES,
    TABLE,
    TOUCHED,
    VENVS,
    as_bai,
    newest,
    older,
    prepare,
)
from tests.node.snapshot import assert_same, difference

pytestmark = pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle()))

EXTENSION = {
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    "setup.py": 'from setuptools import Extension, setup\nsetup(name="small", version="1", ext_modules=['
    'Extension("small", ["small.c"])])\n',
    "small.c": "#include <Python.h>\n"
    "static PyObject *answer(PyObject *s, PyObject *a) { return PyLong_FromLong(42); }\n"
    'static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};\n'
    'static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "small", "", -1, methods};\n'
    "PyMODINIT_FUNC PyInit_small(void) { return PyModule_Create(&module); }\n",
}


@pytest.mark.parametrize("suite", ["trixie", "bookworm"])
def test_interpreter_and_environments_then_nothing_then_undone(node_factory, suite: str) -> None:  # type: ignore[no-untyped-def]
    node: ContainerNode = node_factory(suite)
    # Neither is needed: Debian keeps the first in a package of its own, and 3.11.2 has no data filter for tar.
    node.run(["sh", "-c", "rm -rf /usr/lib/python3*/ensurepip"], check=True)
    build = newest()
    prepare(node, build)
    before = node.snapshot(TOUCHED)
    planned = node.wizard(*HEADLESS, "--plan", "--diff", "--detailed-exitcode")
    assert planned.rc == 7, planned.err
    assert "+ /home/bai/manager/.venv/" in planned.out
    assert_same(before, node.snapshot(TOUCHED))
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    python = f"/home/bai/.static-python/versions/{build.version}/bin/python3"
    assert as_bai(node, python, "--version") == f"Python {build.version}"
    as_bai(node, python, "-c", "import ssl, sqlite3, lzma, ctypes, pip")
    mended = "import sysconfig; print(sysconfig.get_config_var('CC'), sysconfig.get_config_var('LIBDIR'))"
    assert as_bai(node, python, "-c", mended).split() == [
        "cc",
        f"/home/bai/.static-python/versions/{build.version}/lib",
    ]
    for service in SERVICES:
        assert f"/home/bai/{service}/.venv" in as_bai(node, f"/home/bai/{service}/.venv/bin/pip", "--version")
    assert node.run(["find", "/home/bai", "-not", "-user", "bai"]).out == ""
    assert node.run(["find", "/home/bai", "-name", "*bai-wizard*"]).out == ""
    again = node.wizard(*HEADLESS, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))
    assert node.run(["find", "/var/cache/bai-wizard/python", "-type", "f"]).out == ""


def test_a_c_extension_is_built_from_source(node: ContainerNode) -> None:
    prepare(node, newest(), venvs='{ service = "manager" }')
    assert node.wizard(*HEADLESS).rc == 0
    node.run(["apt-get", "-qq", "update"], check=True, timeout=120)
    node.run(["apt-get", "-qq", "install", "--yes", "gcc", "libc6-dev"], check=True, timeout=300)
    for name, text in EXTENSION.items():
        node.write(f"/home/bai/small/{name}", text, owner="bai:bai")
    node.run(["chown", "bai:bai", "/home/bai/small"], check=True)
    pip = "/home/bai/manager/.venv/bin/pip"
    # What an index serves for a package without wheels: a source archive, built here without the network.
    build = f"cd /home/bai/small && {pip.removesuffix('pip')}python setup.py -q sdist"
    as_bai(node, "sh", "-c", build)
    as_bai(node, pip, "install", "--no-build-isolation", "/home/bai/small/dist/small-1.tar.gz")
    assert as_bai(node, "/home/bai/manager/.venv/bin/python", "-c", "import small; print(small.answer())") == "42"
    undone = node.wizard("undo")
    assert undone.rc == 4, "the environment holds what we did not make"
    assert "/home/bai/manager/.venv was changed since" in undone.out + undone.err
    assert "is kept, because it is the Python of /home/bai/manager/.venv" in undone.out + undone.err
    assert as_bai(node, pip, "--version")


def test_packages_in_an_environment_and_one_more_later(node: ContainerNode) -> None:
    prepare(node, newest(), venvs='{ service = "manager", packages = ["six==1.16.0"] }')
    assert node.wizard(*HEADLESS).rc == 0
    assert as_bai(node, "/home/bai/manager/.venv/bin/python", "-c", "import six; print(six.__version__)") == "1.16.0"
    answers = node.read("/root/answers.toml").decode()
    node.write("/root/answers.toml", answers.replace('"six==1.16.0"', '"six==1.17.0", "idna>=3"'))
    planned = node.wizard(*HEADLESS, "--plan", "--diff")
    assert "~ six in /home/bai/manager/.venv  1.16.0 → 1.17.0" in planned.out
    assert "+ idna in /home/bai/manager/.venv" in planned.out
    assert node.wizard(*HEADLESS).rc == 0
    assert (
        as_bai(node, "/home/bai/manager/.venv/bin/python", "-c", "import six, idna; print(six.__version__)")
        == "1.17.0"
    )
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0


def test_the_version_table_decides(node: ContainerNode) -> None:
    build = newest()
    minor = build.version.rpartition(".")[0]
    prepare(node, build, older(), version="auto", release="25.6", venvs='{ service = "agent" }')
    table = node.read(TABLE).decode()
    raised = re.sub(rf'python = "{minor}"\nleast = "[\d.]+"', f'python = "{minor}"\nleast = "{minor}.99"', table)
    node.write(TABLE, raised)
    refused = node.wizard(*HEADLESS)
    assert refused.rc == 3, "the table asks for a higher patch level than the mirror has"
    assert f"the newest build of Python {minor} is {build.version}, at least {minor}.99 is required" in refused.err
    node.write(TABLE, table)
    assert node.wizard(*HEADLESS).rc == 0
    assert as_bai(node, "/home/bai/agent/.venv/bin/python", "--version") == f"Python {build.version}"


def test_an_environment_of_another_python_is_shown_and_kept(node: ContainerNode) -> None:
    build, other = newest(), older()
    prepare(node, other, build, version=other.version, venvs='{ service = "manager" }')
    assert node.wizard(*HEADLESS).rc == 0
    answers = node.read("/root/answers.toml").decode()
    node.write("/root/answers.toml", answers.replace(f'version = "{other.version}"', f'version = "{build.version}"'))
    before = node.snapshot(("/home",))
    refused = node.wizard(*HEADLESS)
    assert refused.rc == 3, refused.out
    assert f"/home/bai/manager/.venv uses Python {other.version}" in refused.err
    assert_same(before, node.snapshot(("/home",)))


def test_an_installed_version_wins_over_a_newer_build(node: ContainerNode) -> None:
    build = newest()
    minor, _, patch = build.version.rpartition(".")
    prepare(node, build, version=minor, venvs='{ service = "manager" }')
    assert node.wizard(*HEADLESS).rc == 0
    newer = f"{minor}.{int(patch) + 1}"
    text = pbs_mirror.catalogue(build).replace(f"cpython-{build.version}", f"cpython-{newer}").replace(
        f'"patch": {patch}', f'"patch": {int(patch) + 1}'
    )  # fmt: skip
    node.write(CATALOGUE, text)
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0


def test_a_link_in_the_home_leads_nowhere(node: ContainerNode) -> None:
    """The account points its directories at root's: root does not follow, and nothing of root's is touched."""
    prepare(node, newest(), venvs=VENVS)
    node.run(["mkdir", "-p", "/root/target/versions", "/etc/target"], check=True)
    as_bai(node, "ln", "-s", "/root/target", "/home/bai/.static-python")
    as_bai(node, "ln", "-s", "/etc/target", "/home/bai/manager")
    before = node.snapshot(TOUCHED)
    refused = node.wizard(*HEADLESS)
    assert refused.rc in (3, 4), refused.out + refused.err
    assert "link" in refused.out + refused.err
    assert difference(before, node.snapshot(TOUCHED)) == [] or not any(
        "/root/target" in line or "/etc/target" in line for line in difference(before, node.snapshot(TOUCHED))
    )
    assert node.run(["ls", "-A", "/root/target/versions", "/etc/target"]).out.count("\n") == 3


def test_from_an_empty_mirror(node: ContainerNode) -> None:
    build = newest()
    prepare(node, build, mirror="file:///srv/empty")
    failed = node.wizard(*HEADLESS)
    assert failed.rc == 4
    assert "the mirror does not have this file" in failed.out
    assert node.run(["find", "/home/bai", "-mindepth", "1", "-name", ".static*"]).out == ""
    node.run(["ln", "-s", MIRROR, "/srv/empty"], check=True)
    assert node.wizard("resume").rc == 0
