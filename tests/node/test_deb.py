"""The life of the .deb on every release, with a small tree in it; test_archive.py installs the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.offline.collect import pack_wizard
from tests.cache import CHECKOUT
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.sampling import sampled
from tests.tools.build_deb import build_deb
from tests.unit.archive.small_tree import small_tree

pytestmark = pytest.mark.needs_node

LOCK = "/run/bai-wizard/lock"
HELD = f"flock --nonblock {LOCK} true || touch /run/was-held"


def bring(node: ContainerNode, directory: Path, version: str) -> str:
    """The path of a package of this version on the node."""
    deb = build_deb(directory, small_tree(directory / version, version, "x86_64"), "x86_64", level=0)
    node.docker("cp", str(deb), f"{node.hostname}:/root/{deb.name}")
    return f"/root/{deb.name}"


def active(node: ContainerNode) -> str:
    return node.run(["/usr/bin/bai-wizard"]).out.strip()


def is_free(node: ContainerNode) -> bool:
    return node.run(["flock", "--nonblock", LOCK, "true"]).rc == 0


@pytest.mark.parametrize("suite", ["trixie", *sampled("suites of the .deb", ("bookworm", "noble", "resolute"), 1)])
def test_install_upgrade_downgrade_remove_purge(suite: str, node_factory: NodeFactory, tmp_path: Path) -> None:
    node = node_factory(suite)
    node.run(["rm", "-rf", "/usr/local/bin/bai-wizard", "/opt/bai-wizard"], check=True)
    assert node.run(["ls", "-A", "/opt"]).out == "", "an empty /opt is what dpkg could remove"
    older, newer = bring(node, tmp_path, "1.0.0"), bring(node, tmp_path, "1.1.0")
    for deb, version in ((older, "1.0.0"), (older, "1.0.0"), (newer, "1.1.0"), (older, "1.0.0"), (newer, "1.1.0")):
        done = node.run(["dpkg", "--install", deb])
        assert (done.rc, active(node)) == (0, version), done.out + done.err
        assert is_free(node)
    assert node.run(["dpkg", "--verify", "bai-wizard"]).out == ""
    _holds_the_lock_while_files_are_replaced(node, older)
    _waits_for_no_run(node, newer, older)
    node.write("/var/lib/bai-wizard/runs/kept", "")
    assert node.run(["dpkg", "--remove", "bai-wizard"]).rc == 0
    assert is_free(node)
    assert not node.exists("/usr/lib/bai-wizard")
    assert node.run(["stat", "-c", "%a %U", "/opt"]).out.split() == ["755", "root"]
    assert node.exists("/var/lib/bai-wizard/runs/kept")
    assert node.run(["dpkg", "--purge", "bai-wizard"]).rc == 0
    assert not node.exists("/var/lib/bai-wizard")
    assert node.run(["dpkg", "--status", "bai-wizard"]).rc != 0


def _holds_the_lock_while_files_are_replaced(node: ContainerNode, deb: str) -> None:
    """Seen by a hook, while dpkg runs: after unpacking the lock is held, after configuring it is not."""
    node.run(["dpkg", f"--post-invoke={HELD}", "--unpack", deb], check=True)
    assert node.exists("/run/was-held")
    node.run(["rm", "/run/was-held"], check=True)
    # dpkg has ended without configuring the package.
    node.wait_for(lambda: is_free(node), what="the lock")
    node.run(["dpkg", f"--post-invoke={HELD}", "--configure", "bai-wizard"], check=True)
    assert not node.exists("/run/was-held")
    node.run(["dpkg", f"--post-invoke={HELD}", "--install", deb], check=True)
    assert not node.exists("/run/was-held")


def _waits_for_no_run(node: ContainerNode, newer: str, older: str) -> None:
    """While a run holds the lock, every operation is refused, and the installed version keeps working."""
    before = active(node)
    node.run(["sh", "-c", f"exec 9>>{LOCK}; flock 9; echo $$ >/run/held; exec sleep 600"], detach=True)
    node.wait_for(lambda: node.run(["cat", "/run/held"]).out.strip(), what="a holder of the lock")
    for words in (["--install", newer], ["--install", older], ["--remove", "bai-wizard"], ["--purge", "bai-wizard"]):
        done = node.run(["dpkg", *words])
        assert (done.rc != 0, "a run is in progress" in done.err) == (True, True), done.out + done.err
        assert active(node) == before
    node.run(["kill", node.run(["cat", "/run/held"]).out.strip()], check=True)
    node.wait_for(lambda: is_free(node), what="the lock")
    assert node.run(["dpkg", "--configure", "--pending"]).rc == 0
    assert active(node) == before


def timer(node: ContainerNode) -> tuple[str, str]:
    """Whether the timer is enabled, and whether it is active."""
    asked = (node.run(["systemctl", what, "bai-wizard-drift.timer"]) for what in ("is-enabled", "is-active"))
    enabled, active = (done.out.strip() for done in asked)
    return enabled, active


def _is_enabled_by_the_administrator_only(node: ContainerNode, remove: list[str]) -> None:
    """Valid, disabled at first, also by the presets of a first boot; nothing of it is left after the removal."""
    for unit in ("bai-wizard-drift.service", "bai-wizard-drift.timer"):
        verified = node.run(["systemd-analyze", "--man=no", "verify", unit])
        assert (verified.rc, verified.out, verified.err) == (0, "", "")
    assert timer(node) == ("disabled", "inactive")
    node.run(["systemctl", "preset-all", "--preset-mode=enable-only"])
    assert timer(node) == ("disabled", "inactive")
    node.run(["systemctl", "enable", "--now", "bai-wizard-drift.timer"], check=True)
    assert timer(node) == ("enabled", "active")
    assert node.run(remove).rc == 0
    # systemd 252 prints nothing.
    assert timer(node) in (("not-found", "inactive"), ("", "inactive"))
    left = ["find", "/etc/systemd", "/usr/lib/systemd", "/usr/local/lib/systemd", "-name", "*bai-wizard*"]
    assert node.run([*left, "-printf", "%p -> %l"]).out == ""


def test_the_timer_of_the_package(node: ContainerNode, tmp_path: Path) -> None:
    node.run(["rm", "-rf", "/usr/local/bin/bai-wizard", "/opt/bai-wizard"], check=True)
    node.run(["dpkg", "--install", bring(node, tmp_path, "1.0.0")], check=True)
    _is_enabled_by_the_administrator_only(node, ["dpkg", "--remove", "bai-wizard"])


@pytest.mark.parametrize("suite", sampled("suites of the timer", ("trixie", "bookworm", "noble", "resolute"), 1))
def test_the_timer_of_the_archive(suite: str, node_factory: NodeFactory, tmp_path: Path) -> None:
    node = node_factory(suite)
    node.run(["rm", "-rf", "/usr/local/bin/bai-wizard", "/opt/bai-wizard"], check=True)
    archive = tmp_path / "bai-wizard-1.0.0-x86_64.tar.gz"
    pack_wizard(small_tree(tmp_path / "tree", "1.0.0", "x86_64"), CHECKOUT / "packaging/install.sh", archive)
    node.docker("cp", str(archive), f"{node.hostname}:/root/{archive.name}")
    node.run(["tar", "-C", "/root", "-xzf", f"/root/{archive.name}"], check=True)
    script = f"/root/{archive.name.removesuffix('.tar.gz')}/install.sh"
    installed = node.run(["sh", script])
    assert installed.rc == 0, installed.err
    remove = ["sh", "/opt/bai-wizard/current/install.sh", "--uninstall"]
    _is_enabled_by_the_administrator_only(node, remove)
