"""All eight pages on nodes shaped like Ubuntu 24.04 and 26.04, through a boot, verified by other programs, undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.node import pbs_mirror
from tests.node.api import Node
from tests.node.apt_repository import AptRepository, Package, debian_package, served
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker_answers import done, gateway
from tests.node.doctor_output import findings_of
from tests.node.eight_pages import HEADLESS, PLAN, assert_restored, converged, prepared, state_of
from tests.node.faults import ANSWERS, diagnosed, healed_and_taken_back
from tests.node.reference_answers import log_out, text
from tests.node.ubuntu import ARCHIVE_KEY, SHAPES, SNAPS, SOURCES, Shape, assert_shape
from tests.node.ubuntu_faults import FAULTS, OF_CLOUD_INIT
from tests.sampling import sampled

pytestmark = [
    pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle())),
    pytest.mark.timeout(1800),
]

SECURITY = """
## Ubuntu security updates. Aside from URIs and Suites,
## this should mirror your choices in the previous section.
Types: deb
URIs: {address}
Suites: {codename}
Components: main
Signed-By: {key}
"""
# Takes the lock as unattended-upgrades does, and lets it go once the run has said whom it waits for.
HOLDER = "/usr/lib/holder/unattended-upgrade"
HOLD_THE_LOCK = """#!/usr/bin/python3
import fcntl, glob, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
open("/run/held", "w").close()
while not any("waiting for unattended-upgr" in open(path).read()
              for path in glob.glob("/var/lib/bai-wizard/runs/*/events.jsonl")):
    time.sleep(0.1)
"""
# Failures, and fixes among them, in an ordinary run.
FAILURES, FIXES = 15, 1
SYSCTLS = {
    "net.ipv4.tcp_fin_timeout": "10",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.ip_local_port_range": "10000 65000",
    "net.ipv4.tcp_tw_reuse": "1",
    # Ubuntu's own settings stay.
    "net.ipv4.conf.all.rp_filter": "2",
}


@contextmanager
def ubuntus_docker(node: Node, shape: Shape, directory: Path) -> Iterator[None]:
    """Serve Debian's engine and Compose plugin under Ubuntu's names, as a second stanza of ubuntu.sources.

    Ubuntu's docker.io has the command line in it; here it depends on Debian's package.
    """
    repository = AptRepository(directory, suite=shape.codename, component="main")
    depends = "docker-cli, containerd, runc, iptables, adduser"
    engine = Package("docker.io", shape.engine, depends, like=debian_package(node, "docker.io"))
    compose = Package("docker-compose-v2", "2.37.1-0ubuntu1", like=debian_package(node, "docker-compose"))
    repository.publish([engine, compose])
    with served(repository.root) as port:
        node.write(ARCHIVE_KEY, repository.key)
        stanza = SECURITY.format(address=f"http://{gateway(node)}:{port}", codename=shape.codename, key=ARCHIVE_KEY)
        node.write(SOURCES, node.read(SOURCES).decode() + stanza)
        node.run(["apt-get", "-q", "update"], check=True, timeout=120)
        yield


def as_bai(node: Node, command: str) -> str:
    """Return the output of a command in a login shell of the account; cloud images reject passwords over ssh."""
    return text(node, "su", "-", "bai", "-c", command)


def assert_manual_holds(node: Node) -> None:
    """Verify the eight pages with programs other than ours."""
    assert set(text(node, "id", "-Gn", "bai").split()) == {"bai", "docker", "sudo"}
    assert text(node, "stat", "-c", "%U:%G %a", "/home/bai/.ssh/authorized_keys") == "bai:bai 600"
    assert "ops@example" in text(node, "ssh-keygen", "-l", "-f", "/home/bai/.ssh/authorized_keys")
    assert as_bai(node, "sudo -n id -u") == "0"
    text(node, "visudo", "-c")
    node.wait_for(lambda: node.run(["docker", "version"]).rc == 0, 60, "the engine")
    assert as_bai(node, "docker info --format '{{.ServerVersion}}'")
    assert as_bai(node, "docker compose version --short")
    assert as_bai(node, "docker images --quiet").count("\n") == 1, "one pulled, one loaded"
    for key, value in SYSCTLS.items():
        assert text(node, "sysctl", "-n", key).split() == value.split(), key
    assert int(text(node, "sysctl", "-n", "net.core.somaxconn")) >= 1024
    assert text(node, "systemctl", "show", "--value", "--property=LimitNOFILE", "docker") == "1048576"
    assert text(node, "getent", "hosts", "bai-m1").split() == ["10.20.30.10", "bai-m1"]
    assert node.hostname in text(node, "getent", "hosts", node.hostname)
    assert text(node, "cat", "/vfroot/local/version.txt") == "3"
    assert "/srv/vendor/vol" in text(node, "findmnt", "--noheadings", "--output", "SOURCE", "/vfroot/bound")
    for service in ("agent", "storage-proxy"):
        told = as_bai(node, f"{service}/.venv/bin/python -c 'import pip, ssl, sys; print(sys.prefix)'")
        assert told == f"/home/bai/{service}/.venv"
    assert text(node, "ufw", "status").startswith("Status: active")
    assert "passwordauthentication no" in text(node, "/usr/sbin/sshd", "-T")
    text(node, "apt-get", "check")
    log_out(node)


@pytest.mark.parametrize("codename", sampled("shapes of Ubuntu", tuple(SHAPES), 1))
def test_eight_pages_through_a_boot(node_factory: NodeFactory, tmp_path: Path, codename: str) -> None:
    shape = SHAPES[codename]
    node = node_factory(codename)
    # Docker mounts a container's /tmp without exec.
    node.run(["mount", "-o", "remount,exec", "/tmp"], check=True)
    assert_shape(node, shape)
    with ubuntus_docker(node, shape, tmp_path), prepared(node, tls=True):
        refuse_a_snap(node)
        before = state_of(node)
        node.write(HOLDER, HOLD_THE_LOCK, 0o755)
        node.run([HOLDER], detach=True)
        node.wait_for(lambda: node.exists("/run/held"), what="the holder of the lock")
        assert "waiting for unattended-upgr" in done(node.wizard(*HEADLESS, timeout=600))
        assert_healthy(node)
        node.power_cut()
        node.run(["mount", "-o", "remount,exec", "/tmp"], check=True)
        assert_healthy(node)
        assert_failures_are_named_first(node, shape)
        done(node.wizard("undo", timeout=600))
        assert_restored(before, node)


def refuse_a_snap(node: Node) -> None:
    """Docker as a snap is told before anything changes, in the plan and by the doctor; `snap remove` is the cure."""
    node.write(f"{SNAPS}/docker_2963.snap", "")
    assert "snap remove docker" in done(node.wizard(*PLAN), 3)
    assert "docker.snap" in findings_of(node, "--answers", "/root/answers.toml")
    node.run(["rm", f"{SNAPS}/docker_2963.snap"], check=True)


def assert_healthy(node: ContainerNode) -> None:
    """Assert that the manual's statements hold, that nothing is left to do and that the doctor finds nothing."""
    assert_manual_holds(node)
    converged(node)
    assert findings_of(node, "--answers", "/root/answers.toml") == []


def assert_failures_are_named_first(node: ContainerNode, shape: Shape) -> None:
    """Each failure is reported first, with nothing but its consequences; after the last one, the doctor is quiet."""
    faults = {**FAULTS, "cloud-init overwrites the aliases": OF_CLOUD_INIT[shape.codename]}
    if shape.codename == "resolute":
        # Its user data has cloud-init write /etc/hosts from the template, which then differs from the file as well.
        faults["an alias was deleted"] = replace(FAULTS["an alias was deleted"], first="aliases.cloud-init")
    chosen = sampled("failures of Ubuntu", tuple(faults), FAILURES)
    fixed = sampled("fixes of Ubuntu", [name for name in chosen if faults[name].heals], FIXES)
    wrong = []
    for name in chosen:
        fault = faults[name]
        node.run(["sh", "-ec", fault.plant], check=True)
        message = diagnosed(node, fault)
        if not message and name in fixed:
            message = healed_and_taken_back(node, fault)
        wrong += [f"{name}: {message}"] if message else []
        node.run(["sh", "-ec", fault.mend], check=True)
    left = findings_of(node, *ANSWERS)
    assert not wrong, "\n".join(wrong)
    assert left == [], "all is well again"
