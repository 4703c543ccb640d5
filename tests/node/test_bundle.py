"""A node without network, pip and Python, installed from a bundle: every page that applies."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache import cache_directory, locked
from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.egress_counter import lead_nowhere, left, prove_counting
from tests.node.images import with_packages
from tests.node.pythons import newest
from tests.node.suites import SUITES
from tests.node.tree import base_tree
from tests.tools.stand_in import stand_in_archive
from tests.unit.archive.first_install import first_install

pytestmark = [
    pytest.mark.needs_node,
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
]
IMAGE = "tests.example/tool:1"
ANSWERS = """
version = 1
[node]
roles = ["compute"]
[account]
username = "bai"
sudo = "no"
[docker]
source = "distro"
[tuning]
[python]
version = "{version}"
mirror = "file://{mirror}"
[aliases]
own_name = "keep"
hosts = [ {{ ip = "10.20.30.10", names = ["bai-m1"] }} ]
[storage]
volumes = [ {{ name = "local", type = "local" }} ]
[images]
starter = "none"
archives = [ {{ file = "{image}", sha256 = "{sha256}" }} ]
"""
# What the connected machine is told of the nodes' system.
LIKE = ("./etc/os-release", "./usr/lib/os-release", "./etc/apt", "./usr/share/keyrings", "./var/lib/dpkg/status")


@pytest.fixture
def cut_off(docker_engine: Docker) -> Iterator[ContainerNode]:
    """A Debian 13 node without Python whose network leads nowhere."""
    node = ContainerNode(docker_engine, with_packages(docker_engine, SUITES["trixie"], ""), network="none")
    try:
        node.run(["sh", "-ec", "rm -rf /usr/bin/python3* /usr/lib/python3*"], check=True)
        lead_nowhere(node)
        yield node
    finally:
        node.close()


def image_archive(directory: Path) -> Path:
    """An image of one file, as `docker save` writes it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("tool"))
    content = layer.getvalue()
    id = hashlib.sha256(content).hexdigest()
    config = (
        f'{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{id}"]}}}}'.encode()
    )
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = f'[{{"Config":"{name}","RepoTags":["{IMAGE}"],"Layers":["layer.tar"]}}]'.encode()
    target = directory / "tool.tar"
    with tarfile.open(target, "w") as tar:
        for member, data in ((name, config), ("layer.tar", content), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def collected(answers: Path, directory: Path) -> Path:
    """The bundle, made here for Debian 13. Packages are kept between runs: a collection is resumed."""
    from bai_wizard.cli import main

    like = directory / "like"
    like.mkdir()
    subprocess.run(["tar", "-C", str(like), "-xf", str(base_tree(SUITES["trixie"])), *LIKE], check=True)
    bundle = cache_directory() / "bundle"
    bundle.mkdir(exist_ok=True)
    words = ["bundle", str(answers), "-o", str(bundle), "--like", str(like), "--wizard", str(stand_in_archive())]
    assert main(words) == 0
    return bundle


def install(node: ContainerNode) -> None:
    """The wizard out of the bundle, with README's own lines."""
    node.run(["sh", "-c", first_install("/srv/bundle/wizard", stand_in_archive())], check=True, timeout=120)


# Once the executor has made its copies, an attacker replaces every package with one that runs a command.
SWAP = """
mkdir -p /root/aside /root/x/DEBIAN
cat >/root/x/DEBIAN/control <<END
Package: containerd
Version: 99
Architecture: amd64
Maintainer: x
Description: x
END
printf '#!/bin/sh\ntouch /root/others\n' >/root/x/DEBIAN/preinst
chmod 755 /root/x/DEBIAN/preinst
dpkg-deb --build /root/x /root/x.deb
touch /root/ready
until ls /var/cache/bai-wizard/bundles/*/packages/Packages 2>/dev/null; do :; done
for deb in /srv/bundle/packages/*.deb; do
    mv "$deb" /root/aside/
    cp /root/x.deb "$deb"
done
echo swapped >/root/swapped
"""


def swap_after_planning(node: ContainerNode) -> None:
    node.run(["sh", "-c", SWAP], detach=True)
    node.wait_for(lambda: node.exists("/root/ready"), what="the carrier")


def test_an_air_gapped_node_converges_from_a_bundle(
    cut_off: ContainerNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bai_wizard.offline.manifest import digest_of
    from bai_wizard.pages.python import versions

    build = newest()
    text = pbs_mirror.catalogue(build)
    monkeypatch.setattr(versions, "builds", lambda: versions.parse_builds(text))
    image = image_archive(tmp_path)
    answers = tmp_path / "answers.toml"
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    mirror = build.file.parent.parent
    answers.write_text(ANSWERS.format(version=build.version, mirror=mirror, image=image, sha256=sha256))
    with locked("bundle"):
        bundle = collected(answers, tmp_path)
        digest = digest_of(bundle)
        cut_off.run(["mkdir", "/srv/bundle"], check=True)
        for part in ("manifest.json", "SHA256SUMS", "packages", "python", "wheels", "images", "wizard"):
            cut_off.docker("cp", f"{bundle}/{part}", f"{cut_off.hostname}:/srv/bundle/{part}")
    install(cut_off)
    location = "/opt/bai-wizard/current/python/lib/python3*/site-packages/bai_wizard/data/python-catalogue.json"
    cut_off.write(cut_off.run(["sh", "-c", f"echo {location}"], check=True).out.strip(), text)
    cut_off.write("/root/answers.toml", answers.read_bytes(), 0o600)

    source = ("--bundle", "/srv/bundle", "--bundle-digest", digest)
    other = cut_off.wizard("--headless", "/root/answers.toml", "--bundle", "/srv/bundle", "--bundle-digest", "0" * 64)
    assert (other.rc, "not the expected one" in other.err) == (3, True)
    # What apt would prefer to the verified index.
    cut_off.write("/srv/bundle/packages/Release", "Acquire-By-Hash: yes\n")
    more = cut_off.wizard("--headless", "/root/answers.toml", *source)
    assert (more.rc, "packages/Release is not listed" in more.err) == (3, True)
    cut_off.run(["rm", "/srv/bundle/packages/Release"], check=True)
    swap_after_planning(cut_off)
    applied = cut_off.wizard("--headless", "/root/answers.toml", *source)
    assert applied.rc == 0, applied.out + applied.err
    assert cut_off.run(["cat", "/root/swapped"]).out.strip() == "swapped", "the carrier had no chance: no proof"
    assert not cut_off.exists("/root/others")
    assert cut_off.run(["ls", "/var/cache/bai-wizard/bundles"], check=True).out == "", "the copies are removed"
    cut_off.run(["sh", "-ec", "mv /root/aside/*.deb /srv/bundle/packages/"], check=True)
    again = cut_off.wizard("--headless", "/root/answers.toml", *source, "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out + again.err
    cut_off.run(["mv", "/srv/bundle", "/srv/away"], check=True)
    drift = cut_off.wizard("drift")
    # Only an archive says which images it contains.
    assert (drift.rc, "0 objects differ" in drift.out) == (0, True), drift.out + drift.err
    assert "Cannot be determined: " in drift.out
    version = cut_off.run(["/home/bai/agent/.venv/bin/python", "--version"], user="bai", check=True).out
    assert version.strip() == f"Python {build.version}"
    assert cut_off.run(["docker", "image", "inspect", IMAGE], user="bai").rc == 0
    assert cut_off.run(["test", "-d", "/vfroot/local"]).rc == 0
    assert not cut_off.exists("/etc/apt/sources.list.d/docker.sources")
    assert left(cut_off) == 0, "something tried to leave"
    prove_counting(cut_off)
