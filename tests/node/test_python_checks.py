"""The checks of the python page: silent on a healthy node, and each detects its failure, caused for real."""

from __future__ import annotations

import struct

import pytest

from tests.node import pbs_mirror
from tests.node.container import ContainerNode
from tests.node.pythons import HEADLESS, as_bai, look, newest, prepare

pytestmark = pytest.mark.skipif(pbs_mirror.obstacle() is not None, reason=str(pbs_mirror.obstacle()))

QUIET = ("ok", "not-applicable")


def elf(machine: int, interpreter: bytes = b"/lib64/ld-linux-x86-64.so.2\0") -> bytes:
    """The smallest program of a machine (62: x86-64, 183: ARM) that asks for a loader."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0x1000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    where = 64 + 2 * 56
    size = where + len(interpreter)
    ask = struct.pack("<IIQQQQQQ", 3, 4, where, where, where, len(interpreter), len(interpreter), 1)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0x1000)
    return header + ask + load + interpreter


def test_silent_on_a_healthy_node_and_loud_on_a_broken_one(node: ContainerNode) -> None:
    version = newest().version
    prepare(node, newest(), venvs='{ service = "manager" }')
    bare = look(node)
    assert all(result in QUIET for result in bare.values()), bare
    assert node.wizard(*HEADLESS).rc == 0
    healthy = look(node)
    assert all(result in QUIET for result in healthy.values()), healthy
    location = f"/home/bai/.static-python/versions/{version}"
    minor = version.rpartition(".")[0]
    # A page in the place of an archive.
    node.write(
        "/home/bai/cpython-3.12.2+20240224-x86_64-unknown-linux-gnu.tar.gz", "<html>Not Found</html>", owner="bai:bai"
    )
    assert look(node)["python.pbs-url-404"] == "problem"
    # An archive unpacked by hand: the places of its own build are in it.
    node.run(
        ["sh", "-c", f"sed -i 's#{location}#/install#g' {location}/lib/python{minor}/_sysconfigdata*.py"], check=True
    )
    assert look(node)["python.pbs-sysconfig-paths"] == "warning"
    # Parts that are missing.
    node.run(["sh", "-c", f"mv {location}/lib/python{minor}/lib-dynload/_ssl*.so /root/"], check=True)
    assert look(node)["python.pyenv-missing-libs"] == "problem"
    # The page takes no interpreter that does not work, though its files say that it is the right one.
    refused = node.wizard(*HEADLESS)
    assert refused.rc == 3, refused.out + refused.err
    assert "it lacks ssl" in refused.err
    assert f"{location} is Python {version}" in refused.err
    # Builds for something else.
    node.run(["mv", f"{location}/bin/python{minor}", "/root/kept"], check=True)
    node.write(f"{location}/bin/python{minor}", elf(183), 0o755, "bai:bai")
    assert look(node)["python.pbs-wrong-arch"] == "problem"
    node.write(f"{location}/bin/python{minor}", elf(62, b"/lib/ld-musl-x86_64.so.1\0"), 0o755, "bai:bai")
    assert look(node)["python.pbs-musl-variant"] == "problem"
    node.write(f"{location}/bin/python{minor}", "#!/bin/sh\nkill -ILL $$\n", 0o755, "bai:bai")
    assert look(node)["python.pbs-microarch"] == "problem"
    output = "python3: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99' not found (required by python3)"
    node.write(
        f"{location}/bin/python{minor}", f"#!/bin/sh\ncat >&2 <<'END'\n{output}\nEND\nexit 1\n", 0o755, "bai:bai"
    )
    assert look(node)["python.pbs-old-glibc"] == "problem"
    # The environment that stood on it.
    node.run(["rm", "-r", location], check=True)
    assert look(node)["python.venv-broken"] == "problem"
    planned = node.wizard(*HEADLESS, "--plan", "--diff")
    assert "its Python is gone" in planned.out + planned.err
    # The system's own.
    node.run(["sh", "-c", "rm -rf /usr/lib/python3*/ensurepip"], check=True)
    assert look(node)["python.venv-ensurepip"] == "warning"
    node.write("/home/bai/.config/pip/pip.conf", "[global]\nbreak-system-packages = true\n", owner="bai:bai")
    assert look(node)["python.pip-externally-managed"] == "warning"
    as_bai(node, "true")


def test_an_interpreter_that_trusts_no_one(node: ContainerNode) -> None:
    prepare(node, newest(), venvs="")
    assert node.wizard(*HEADLESS).rc == 0
    assert look(node)["python.tls-ca"] == "ok"
    # Where the build looks for certificates by itself there is nothing any more.
    node.run(
        ["sh", "-c", "mv /etc/ssl/certs /etc/ssl/elsewhere; rm -f /usr/lib/ssl/certs /usr/lib/ssl/cert.pem"],
        check=True,
    )
    assert look(node)["python.tls-ca"] == "problem"
