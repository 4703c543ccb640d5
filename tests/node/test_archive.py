"""The self-contained archive and the .deb on a node without network and without Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.images import with_packages
from tests.node.suites import SUITES
from tests.tools.stand_in import stand_in_archive

pytestmark = [
    pytest.mark.needs_node,
    pytest.mark.skipif(not pbs_mirror.prefixes(), reason="no CPython built from source that could be packed"),
]

ANSWERS = """
version = 1
[node]
roles = ["compute"]
[account]
username = "bai"
sudo = "no"
[tuning]
profile = "official"
[aliases]
own_name = "keep"
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"] } ]
"""
# Bytes and packets of every interface but loopback; a node whose network is cut has only the kernel's own tunnels.
SENT = "cat /sys/class/net/*/statistics/tx_packets 2>/dev/null | paste -sd+ | tr -d '\\n'"


@pytest.fixture
def cut_off(docker_engine: Docker) -> Iterator[ContainerNode]:
    """A Debian 13 node with loopback alone, no Python, no pip, no wizard."""
    node = ContainerNode(docker_engine, with_packages(docker_engine, SUITES["trixie"], ""), network="none")
    try:
        node.run(["sh", "-c", "rm -rf /usr/bin/python3* /usr/lib/python3*"], check=True)
        yield node
    finally:
        node.close()


def bring(node: ContainerNode, file: Path) -> None:
    """The archive, as carried there on a stick."""
    node.docker("cp", str(file), f"{node.hostname}:/root/{file.name}")


def has_translations(node: ContainerNode) -> bool:
    """Whether the installed wizard has its Korean catalog."""
    home = "/opt/bai-wizard/current" if node.exists("/opt/bai-wizard/current") else "/usr/lib/bai-wizard"
    site = f"{home}/python/lib/python3*/site-packages"
    return node.run(["sh", "-c", f"ls {site}/bai_wizard/locale/ko/LC_MESSAGES/bai-wizard.mo"]).rc == 0


def unpack_and_install(node: ContainerNode) -> None:
    file = stand_in_archive()
    bring(node, file)
    node.run(["tar", "-C", "/root", "-xzf", f"/root/{file.name}"], check=True, timeout=120)
    node.run(["sh", f"/root/{file.name.removesuffix('.tar.gz')}/install.sh"], check=True, timeout=120)


def test_an_air_gapped_node_is_prepared_undone_and_left_clean(cut_off: ContainerNode) -> None:
    before = cut_off.run(["sh", "-c", SENT]).out
    unpack_and_install(cut_off)
    assert re.match(r"bai-wizard \d", cut_off.wizard("--version").out)
    assert has_translations(cut_off)
    cut_off.write("/root/answers.toml", ANSWERS, 0o600)
    applied = cut_off.wizard("--headless", "/root/answers.toml")
    assert applied.rc == 0, applied.out + applied.err
    assert cut_off.run(["id", "-u", "bai"]).out.strip() == "1100"
    again = cut_off.wizard("--headless", "/root/answers.toml", "--plan", "--detailed-exitcode")
    assert again.rc == 0, again.out + again.err
    assert cut_off.run(["sh", "-c", SENT]).out == before, "packets were sent on another interface than loopback"
    undone = cut_off.wizard("undo")
    assert undone.rc == 0, undone.out + undone.err
    assert cut_off.run(["id", "bai"]).rc != 0
    cut_off.run(["sh", "/opt/bai-wizard/current/install.sh", "--uninstall"], check=True)
    assert not cut_off.exists("/opt/bai-wizard")
    assert cut_off.run(["ls", "/var/lib/bai-wizard/runs"]).out.split(), "runs are kept"


def test_an_upgrade_is_refused_while_the_lock_is_held(cut_off: ContainerNode) -> None:
    unpack_and_install(cut_off)
    lock = "/run/bai-wizard/lock"
    held = "exec 9>>/run/bai-wizard/lock; flock 9; touch /run/held; exec sleep 120"
    cut_off.run(["sh", "-c", held], detach=True)
    cut_off.wait_for(lambda: cut_off.exists("/run/held"), what=f"a holder of {lock}")
    refused = cut_off.run(["sh", "/opt/bai-wizard/current/install.sh", "--uninstall"])
    assert (refused.rc, "a run is in progress" in refused.err) == (3, True)
    assert cut_off.wizard("--version").rc == 0


def test_the_package_brings_the_same_tree(cut_off: ContainerNode) -> None:
    deb = next(stand_in_archive().parent.glob("*.deb"))
    bring(cut_off, deb)
    cut_off.run(["dpkg", "--install", f"/root/{deb.name}"], check=True, timeout=120)
    assert re.match(r"bai-wizard \d", cut_off.wizard("--version").out)
    assert has_translations(cut_off)
    cut_off.write("/var/lib/bai-wizard/runs/kept", "")
    cut_off.run(["dpkg", "--remove", "bai-wizard"], check=True)
    assert cut_off.exists("/var/lib/bai-wizard/runs/kept")
    cut_off.run(["dpkg", "--purge", "bai-wizard"], check=True)
    assert not cut_off.exists("/var/lib/bai-wizard")


def test_archive_and_package_are_not_installed_over_each_other(cut_off: ContainerNode) -> None:
    unpack_and_install(cut_off)
    deb = next(stand_in_archive().parent.glob("*.deb"))
    bring(cut_off, deb)
    refused = cut_off.run(["dpkg", "--install", f"/root/{deb.name}"])
    assert (refused.rc != 0, "install.sh --uninstall" in refused.err) == (True, True), refused.out + refused.err
    assert re.match(r"bai-wizard \d", cut_off.wizard("--version").out)
    cut_off.run(["sh", "/opt/bai-wizard/current/install.sh", "--uninstall"], check=True)
    cut_off.run(["dpkg", "--install", f"/root/{deb.name}"], check=True, timeout=120)
    held = "flock 9; touch /run/held; exec sleep 120"
    script = next(iter(cut_off.run(["sh", "-c", "echo /root/bai-wizard-*/install.sh"]).out.split()))
    refused = cut_off.run(["sh", script])
    assert (refused.rc, "apt-get remove bai-wizard" in refused.err) == (3, True)
    cut_off.run(["sh", "-c", f"exec 9>>/run/bai-wizard/lock; {held}"], detach=True)
    cut_off.wait_for(lambda: cut_off.exists("/run/held"), what="a holder of the lock")
    for words in (["--install", f"/root/{deb.name}"], ["--remove", "bai-wizard"]):
        refused = cut_off.run(["dpkg", *words])
        assert (refused.rc != 0, "a run is in progress" in refused.err) == (True, True)
    assert re.match(r"bai-wizard \d", cut_off.wizard("--version").out)
