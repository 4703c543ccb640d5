"""The python page on a node whose network is cut, from a bundle made outside, to convergence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.pythons import CATALOGUE, newest
from tests.node.test_archive import SENT

pytestmark = [
    pytest.mark.needs_node,
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
]
ANSWERS = """
version = 1
[node]
roles = ["compute"]
[account]
username = "bai"
sudo = "no"
[tuning]
[python]
version = "{version}"
mirror = "file://{mirror}"
[images]
apply = false
[sources]
bundle = "/srv/bundle"
"""


@pytest.fixture
def cut_off(docker_engine: Docker, node_images: object) -> Iterator[ContainerNode]:
    """A node with the wizard and with loopback alone."""
    assert callable(node_images)
    node = ContainerNode(docker_engine, node_images("trixie"), network="none")
    yield node
    node.close()


def test_a_cut_off_node_converges_from_a_bundle(
    cut_off: ContainerNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bai_wizard.cli import main
    from bai_wizard.pages.python import catalogue

    build = newest()
    text = pbs_mirror.catalogue(build)
    monkeypatch.setattr(catalogue, "builds", lambda: catalogue.parse(text))
    answers = tmp_path / "answers.toml"
    answers.write_text(ANSWERS.format(version=build.version, mirror=build.file.parent.parent))
    bundle = tmp_path / "bundle"
    assert main(["bundle", str(answers), "-o", str(bundle)]) == 0

    cut_off.docker("cp", f"{bundle}", f"{cut_off.hostname}:/srv/bundle")
    cut_off.run(["chmod", "-R", "go+rX", "/srv"], check=True)
    cut_off.write(CATALOGUE, text)
    cut_off.write("/root/answers.toml", answers.read_bytes(), 0o600)
    before = cut_off.run(["sh", "-c", SENT]).out
    applied = cut_off.wizard("--headless", "/root/answers.toml")
    assert applied.rc == 0, applied.out + applied.err
    again = cut_off.wizard("--headless", "/root/answers.toml", "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out + again.err
    version = cut_off.run(["/home/bai/agent/.venv/bin/python", "--version"], user="bai", check=True).out
    assert version.strip() == f"Python {build.version}"
    assert cut_off.run(["sh", "-c", SENT]).out == before, "packets were sent on another interface than loopback"


def test_a_bundle_that_lost_a_file_is_refused_before_anything(cut_off: ContainerNode, tmp_path: Path) -> None:
    cut_off.write("/root/answers.toml", ANSWERS.format(version="3.13.7", mirror="/nowhere"), 0o600)
    done = cut_off.wizard("--headless", "/root/answers.toml")
    assert done.rc == 3, done.out + done.err
    assert "no complete bundle" in done.err
    assert cut_off.run(["id", "bai"]).rc != 0
