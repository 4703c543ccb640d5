"""Situations of public bug reports that only real programs can show, one after the other on one node."""

from __future__ import annotations

import json

from tests.node.api import Completed, Node
from tests.node.conftest import NodeFactory
from tests.node.doctor_output import findings_of

ANSWERS = """version = 1
[account]
sudo = "no"
[tuning]
limits = { nofile = 8192 }
services = {}
"""
CE = 'version = 1\n[docker]\nsource = "docker-ce"\nremove_conflicts = true\nusers = []\n'
DISTRO = 'version = 1\n[docker]\nsource = "distro"\nusers = []\n'
PAGE = "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
LIST = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
DROP_IN = "/etc/systemd/system/docker.service.d/site.conf"


def text_of(done: Completed) -> str:
    return " ".join((done.out + done.err).split())


def planned(node: Node, answers: str) -> Completed:
    return node.wizard("--headless", "-", "--plan", input=answers)


def configured(node: Node, config: object) -> None:
    node.write("/etc/docker/daemon.json", json.dumps(config))
    node.run(["systemctl", "daemon-reload"], check=True)
    node.run(["systemctl", "reset-failed", "docker.service"])
    node.run(["systemctl", "restart", "docker.service"])


def property_of(node: Node, name: str) -> str:
    return node.run(["systemctl", "show", "docker.service", f"--property={name}", "--value"]).out.strip()


def test_docker_and_apt_as_others_left_them(node_factory: NodeFactory) -> None:
    node = node_factory("trixie-docker")

    # The engine falls back to vfs: its data directory, behind a link, is on the overlay file system of this node.
    storage = ("--only", "docker.storage-backing")
    node.run(["sh", "-c", "mkdir /root/data && ln -s /root/data /srv/data"], check=True)
    configured(node, {"data-root": "/srv/data"})
    driver = node.run(["docker", "info", "--format", "{{.Driver}}"], check=True).out.strip()
    assert findings_of(node, *storage) == (["docker.storage-backing"] if driver == "vfs" else [])
    assert driver != "vfs" or "does not work on /root/data" in text_of(node.wizard("doctor", *storage))
    configured(node, {"data-root": "/srv/data", "storage-driver": "vfs"})
    assert findings_of(node, *storage) == [], "that was chosen"

    # It is restarted repeatedly, whatever systemd calls its state at the moment.
    node.write(DROP_IN, "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\n")
    configured(node, {"storage-driver": "aufs"})
    node.wait_for(lambda: int(property_of(node, "NRestarts")) > 0, what="a restart")
    done = node.wizard("doctor", "--only", "docker.not-running")
    assert done.rc == 4, done.out
    assert "restart loop" in text_of(done)
    assert "the aufs storage-driver has been" in text_of(done), "dockerd's own reason"
    node.run(["rm", DROP_IN], check=True)
    configured(node, {})
    assert findings_of(node, "--only", "docker.not-running") == []
    node.run(["systemctl", "mask", "docker.socket"], check=True)
    assert "systemctl unmask docker.socket" in text_of(node.wizard("doctor", "--only", "docker.not-running"))
    node.run(["systemctl", "unmask", "docker.socket"], check=True)

    # A web page in the place of a source list or of preferences, and held packages.
    sources = ("--only", "node.apt-source")
    node.write(LIST, PAGE)
    done = planned(node, DISTRO)
    assert done.rc == 3
    assert f"{LIST}, line 1" in text_of(done)
    assert f"apt cannot read {LIST}, line 1" in text_of(node.wizard("doctor", *sources))
    node.run(["mv", LIST, "/etc/apt/preferences.d/site"], check=True)
    assert node.run(["apt-cache", "policy"]).rc != 0
    assert "/etc/apt/preferences.d/site" in text_of(node.wizard("doctor", *sources))
    node.run(["rm", "/etc/apt/preferences.d/site"], check=True)
    assert findings_of(node, *sources) == []
    for name, answers in (("docker.io", CE), ("docker-compose", DISTRO)):  # one that is installed, one that is not
        node.run(["apt-mark", "hold", name], check=True)
        done = planned(node, answers)
        assert done.rc == 3
        assert f"apt-mark unhold {name}" in text_of(done)


def test_useradd_and_the_environment_as_others_left_them(node_factory: NodeFactory) -> None:
    node = node_factory()
    defs = node.read("/etc/login.defs").decode()
    node.write("/root/answers.toml", ANSWERS)

    node.write("/etc/login.defs", f"{defs}\nSUB_UID_COUNT 65536\nSUB_UID_MIN 100000\nSUB_UID_MAX 100001\n")
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 4, done.out + done.err
    assert "subordinate" in text_of(done), done.out
    node.write("/etc/login.defs", defs.replace("UID_MAX\t\t\t60000", "UID_MAX 1050"))
    node.write("/etc/passwd.lock", "1\n")
    done = node.wizard("--headless", "/root/answers.toml")
    assert done.rc == 4, done.out + done.err
    assert "cannot lock /etc/passwd" in text_of(done), done.out
    node.run(["rm", "--force", "/etc/passwd.lock"], check=True)

    odd = {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "LC_ALL": "xx_XX.UTF-8"}
    done = node.run(["sh", "-c", "umask 077; bai-wizard --headless /root/answers.toml"], env=odd, timeout=120)
    assert done.rc == 0, done.out + done.err
    assert node.run(["id", "-u", "bai"]).out == "1100\n"
    modes = node.run(
        ["stat", "-c", "%a", "/etc/sysctl.d/99-backendai.conf", "/etc/security/limits.d/99-backendai.conf"]
    )
    assert modes.out.split() == ["644", "644"]
    assert findings_of(node, "--only", "account.sudo-missing") == []
