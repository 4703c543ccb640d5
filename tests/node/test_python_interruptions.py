"""The python page when something goes wrong: kills, full disks, servers that misbehave."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.pythons import CATALOGUE, HEADLESS, MIRROR, SERVICES, TOUCHED, as_bai, newest, prepare
from tests.node.snapshot import assert_same
from tests.sampling import sampled

pytestmark = pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle()))

HERE = Path(__file__).parent
CROOKED = HERE.parent / "pages" / "python" / "faulty_server.py"
# Waits until the journal of the next run has so many lines, then so many milliseconds, then kills the executor.
KILLER = (HERE / "killer.py").read_text().replace(
    "            os.kill(", "            __import__('time').sleep(int(sys.argv[2]) / 1000)\n            os.kill("
)  # fmt: skip
SERVER = """
import sys, time
sys.path.insert(0, "/root")
from faulty_server import ServerBehavior, serving
behavior = ServerBehavior(open(sys.argv[1], "rb").read(), **eval(sys.argv[2]))
with serving(behavior) as url:
    open("/root/url", "w").write(url)
    time.sleep(600)
"""
# Journal lines at which these are in the middle of their making: archive, directory, interpreter, a directory of a
# service, the first environment, the second, the second and the third together.
MOMENTS = [(line, delay) for line in (1, 3, 7, 11, 15, 17, 18) for delay in (0, 40, 150, 400, 900)]


def serve(node: ContainerNode, file: str, behavior: str) -> str:
    """Starts a misbehaving server in the node; its address."""
    node.write("/root/faulty_server.py", CROOKED.read_text())
    node.write("/root/server.py", SERVER)
    node.run(["python3", "/root/server.py", file, behavior], detach=True)
    node.wait_for(lambda: node.exists("/root/url"), 30, "the server")
    return node.read("/root/url").decode()


def archive(node: ContainerNode) -> str:
    return f"{MIRROR}/{pbs_mirror.DATE}/{newest().file.name}"


def set_mirror(node: ContainerNode, url: str) -> None:
    answers = node.read("/root/answers.toml").decode()
    node.write("/root/answers.toml", answers.replace(f"file://{MIRROR}", url))


def works(node: ContainerNode) -> None:
    python = f"/home/bai/.static-python/versions/{newest().version}/bin/python3"
    assert as_bai(node, python, "-c", "import ssl, sqlite3, pip; print(1)") == "1"
    for service in SERVICES:
        as_bai(node, f"/home/bai/{service}/.venv/bin/pip", "--version")
    assert node.run(["find", "/home/bai", "-name", "*bai-wizard*"]).out == ""


# An ordinary run has the kills of test_kills.py, on all eight pages.
@pytest.mark.soak
@pytest.mark.parametrize(("line", "delay"), sampled("python-kill", MOMENTS, 1))
def test_killed_in_the_middle_resumed_and_undone(node: ContainerNode, line: int, delay: int) -> None:
    prepare(node, newest())
    before = node.snapshot(TOUCHED)
    node.write("/root/killer.py", KILLER)
    node.run(["python3", "/root/killer.py", str(line), str(delay)], detach=True)
    cut = node.wizard(*HEADLESS)
    version = f"/home/bai/.static-python/versions/{newest().version}"
    if node.exists(version):
        as_bai(node, f"{version}/bin/python3", "-c", "import ssl, sqlite3, pip")
    if cut.rc != 0:
        resumed = node.wizard("resume")
        assert resumed.rc == 0, resumed.out + resumed.err
    works(node)
    assert node.wizard(*HEADLESS, "--plan", "--detailed-exitcode").rc == 0
    node.run(["rm", "/root/killer.py"], check=True)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))


@pytest.mark.parametrize(("line", "delay"), sampled("python-kill-undo", MOMENTS, 1))
def test_killed_in_the_middle_and_undone_without_resuming(node: ContainerNode, line: int, delay: int) -> None:
    prepare(node, newest())
    before = node.snapshot(TOUCHED)
    node.write("/root/killer.py", KILLER)
    node.run(["python3", "/root/killer.py", str(line), str(delay)], detach=True)
    node.wizard(*HEADLESS)
    node.run(["rm", "/root/killer.py"], check=True)
    undone = node.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert_same(before, node.snapshot(TOUCHED))


def test_a_connection_that_breaks_every_five_megabytes(node: ContainerNode) -> None:
    prepare(node, newest())
    set_mirror(node, serve(node, archive(node), "dict(cut=5_000_000)"))
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert "resuming at byte" in done.out + done.err
    works(node)


def test_killed_during_the_download_and_resumed_where_it_stopped(node: ContainerNode) -> None:
    """Each answer of the server is cut and asked again after a pause, so the kill comes in the middle for sure."""
    prepare(node, newest())
    set_mirror(node, serve(node, archive(node), "dict(cut=2_000_000)"))
    node.write("/root/killer.py", KILLER)
    node.run(["python3", "/root/killer.py", "1", "1500"], detach=True)
    cut = node.wizard(*HEADLESS)
    assert cut.rc != 0, cut.out + cut.err
    kept = node.run(["find", "/var/cache/bai-wizard/python", "-name", "*.part", "-size", "+1M"]).out.split()
    assert len(kept) == 1
    assert not node.exists(kept[0].removesuffix(".part"))
    assert not node.exists("/home/bai/.static-python")
    resumed = node.wizard("resume")
    assert resumed.rc == 0, resumed.out + resumed.err
    began = re.findall(r"resuming at byte (\d+)", resumed.out + resumed.err)
    assert int(began[0]) > 2_000_000, "the first answer after the kill continued what was there"
    works(node)
    assert node.run(["find", "/var/cache/bai-wizard/python", "-name", "*.part*"]).out == ""


NO_ARCHIVES = [
    ("dict(page=True)", "not with an archive (text/html): a login page"),
    ("dict(status=404)", "the server does not have this file (404)"),
    ("dict(announce=1_000_000)", "the SHA-256 of the 1000000 bytes received"),
]


# All of them, and more, without a node: tests/pages/python/test_download.py.
@pytest.mark.parametrize(("behavior", "words"), sampled("no archive", NO_ARCHIVES, 1))
def test_an_invalid_archive_is_reported_and_leaves_nothing(node: ContainerNode, behavior: str, words: str) -> None:
    prepare(node, newest())
    before = node.snapshot(("/home",))
    set_mirror(node, serve(node, archive(node), behavior))
    failed = node.wizard(*HEADLESS)
    assert failed.rc == 4, failed.out
    assert words in failed.out
    assert_same(before, node.snapshot(("/home",)))
    assert node.run(["find", "/var/cache/bai-wizard", "-type", "f"]).out == ""


def test_an_archive_that_does_not_match_its_entry(node: ContainerNode) -> None:
    """Right hash, wrong interpreter: found out by running it, before it gets its name."""
    build = newest()
    prepare(node, build)
    major, minor, patch = build.version.split(".")
    wrong = f"{major}.{minor}.{int(patch) + 1}"
    text = pbs_mirror.catalogue(build).replace(f"cpython-{build.version}-linux", f"cpython-{wrong}-linux")
    node.write(CATALOGUE, text.replace(f'"patch": {patch}', f'"patch": {int(patch) + 1}'))
    answers = node.read("/root/answers.toml").decode()
    node.write("/root/answers.toml", answers.replace(f'version = "{build.version}"', f'version = "{wrong}"'))
    failed = node.wizard(*HEADLESS)
    assert failed.rc == 4, failed.out + failed.err
    assert f"it is Python {build.version} instead of {wrong}" in failed.out
    assert node.run(["find", "/home/bai/.static-python/versions", "-mindepth", "1"]).out == ""


def test_no_room_in_the_home_and_then_room(node_factory) -> None:  # type: ignore[no-untyped-def]
    node: ContainerNode = node_factory(tmpfs={"/home": "size=30m,mode=0755,exec"})
    prepare(node, newest())
    failed = node.wizard(*HEADLESS)
    assert failed.rc == 4, failed.out + failed.err
    assert "no space left" in failed.out
    assert node.run(["find", "/home/bai/.static-python/versions", "-mindepth", "1"]).out == ""
    node.run(["mount", "-o", "remount,size=2g", "/home"], check=True)
    resumed = node.wizard("resume")
    assert resumed.rc == 0, resumed.out + resumed.err
    works(node)


def test_no_network_reports_which_source(node_factory) -> None:  # type: ignore[no-untyped-def]
    node: ContainerNode = node_factory(network="none")
    prepare(node, newest())
    failed = node.wizard(*HEADLESS)
    assert failed.rc == 4, failed.out + failed.err
    assert "cannot be resolved" in failed.out or "does not respond" in failed.out
    assert as_bai(node, f"/home/bai/.static-python/versions/{newest().version}/bin/python3", "-c", "print(1)") == "1"
    assert not node.exists("/home/bai/manager/.venv")


def test_offline_from_a_directory_of_wheels(node_factory) -> None:  # type: ignore[no-untyped-def]
    import subprocess
    import sys
    from tempfile import TemporaryDirectory

    node: ContainerNode = node_factory(network="none")
    prepare(node, newest(), venvs='{ service = "manager" }')
    with TemporaryDirectory() as directory:
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory]
        subprocess.run([*argv, "pip", "setuptools", "wheel", "packaging"], check=True)
        for wheel in Path(directory).glob("*.whl"):
            node.write(f"/srv/wheels/{wheel.name}", wheel.read_bytes())
    answers = node.read("/root/answers.toml").decode()
    node.write("/root/answers.toml", f'{answers}find_links = ["/srv/wheels"]\n')
    done = node.wizard(*HEADLESS)
    assert done.rc == 0, done.out + done.err
    assert "pip" in as_bai(node, "/home/bai/manager/.venv/bin/pip", "--version")
