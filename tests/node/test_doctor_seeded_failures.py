"""Failures of the list, made for real on one prepared node one after the other: each is named first, and no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.doctor_output import findings_of
from tests.node.faults import KEEP, ON_A_NODE, STALE, diagnosed, healed_and_taken_back
from tests.node.reference_answers import ANSWERS as ANSWERS_TEXT
from tests.node.reference_answers import prepare
from tests.sampling import sampled

# Asks its question at the end of every installation, unless it is suspended; it gets no answer here.
NEEDRESTART = '#!/bin/sh\n[ -n "$NEEDRESTART_SUSPEND" ] || exec sleep 3600\ntouch /run/suspended\n'
FUSE = Path("/dev/fuse")
ANSWERS = ("--answers", "/root/answers.toml")
# So many remedies are carried out in an ordinary run.
FIXES = 2


@pytest.fixture
def node(node_factory: NodeFactory, tmp_path: Path) -> ContainerNode:
    """A prepared node with Docker, a self-signed certificate, and a copy of its files."""
    node = node_factory("trixie-docker", devices=(str(FUSE),) if FUSE.exists() else ())
    node.run(["mount", "-o", "remount,exec", "/tmp"], check=True)
    node.own_hosts_file()
    prepare(node, ANSWERS_TEXT + '[docker]\nsource = "distro"\n')
    node.write("/usr/lib/needrestart/apt-pinvoke", NEEDRESTART, 0o755)
    node.write("/etc/apt/apt.conf.d/99needrestart", 'DPkg::Post-Invoke { "/usr/lib/needrestart/apt-pinvoke"; };\n')
    done = node.wizard("--headless", "/root/answers.toml", timeout=180)
    assert done.rc == 0, done.out + done.err
    assert node.exists("/run/suspended"), "packages were installed, and nothing was asked"
    node.write("/root/tls.pem", certificate(tmp_path))
    script(node, KEEP)
    return node


def certificate(directory: Path) -> bytes:
    """A key and a certificate for localhost, signed by itself."""
    key, signed = directory / "key", directory / "certificate"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*argv, "-keyout", str(key), "-out", str(signed)], check=True, capture_output=True)
    return key.read_bytes() + signed.read_bytes()


def script(node: ContainerNode, text: str) -> None:
    node.run(["sh", "-c", text], check=True)


def test_each_is_named_first_and_no_other(node: ContainerNode) -> None:
    """One examination after each: what an earlier failure left behind would be found beside the next one."""
    wrong = []
    healing = {fault.id for fault in sampled("fixes", [fault for fault in ON_A_NODE if fault.heals], FIXES)}
    for fault in (*ON_A_NODE, *((STALE,) if FUSE.exists() else ())):
        script(node, fault.plant)
        output = diagnosed(node, fault)
        if not output and fault.id in healing:
            output = healed_and_taken_back(node, fault)
        wrong += [output] if output else []
        script(node, fault.mend)
    left = findings_of(node, *ANSWERS)
    assert not wrong, "\n".join(wrong)
    assert left == [], "all is well again"
