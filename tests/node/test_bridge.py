"""The tests' Docker Engine uses its own network and affects nothing else on this machine."""

import ipaddress
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node import bridge
from tests.node.conftest import NodeFactory
from tests.node.container import ContainerNode
from tests.node.docker import Docker
from tests.node.engine import SOCKET

PORT = 8080
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
LISTEN = (
    "import socket, sys; one = socket.create_server((sys.argv[1], int(sys.argv[2])));"
    "print('up', flush=True); [one.accept() for _ in range(9)]"
)


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.fixture
def neighbor() -> Iterator[str]:
    """The address of a container of another engine: a network namespace behind an interface of its own."""
    name = f"bai-{secrets.token_hex(3)}"
    lines = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name],
        ["ip", "address", "add", "203.0.113.1/24", "dev", name],
        ["ip", "link", "set", name, "up"],
        ["ip", "-n", name, "address", "add", "203.0.113.2/24", "dev", "eth0"],
        ["ip", "-n", name, "link", "set", "eth0", "up"],
        ["ip", "-n", name, "route", "add", "default", "via", "203.0.113.1"],
    ]
    try:
        for line in lines:
            subprocess.run(line, check=True, capture_output=True)
        argv = ["ip", "netns", "exec", name, sys.executable, "-c", LISTEN, "203.0.113.2", str(PORT)]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as service:
            assert service.stdout is not None
            assert service.stdout.readline() == b"up\n"
            yield "203.0.113.2"
            service.terminate()
    finally:
        run("ip", "link", "delete", name)
        run("ip", "netns", "delete", name)


def test_nodes_use_the_tests_own_range(docker_engine: Docker, node: ContainerNode) -> None:
    assert docker_engine.address == f"unix://{SOCKET}"
    address, _ = node.ssh_address()
    assert any(ipaddress.ip_address(address) in network for network in bridge.CANDIDATES)
    assert address.startswith(
        docker_engine("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}")[:-1]
    )


def link_address() -> str:
    return Path(f"/sys/class/net/{bridge.NAME}/address").read_text().strip()


def test_the_gateway_keeps_its_link_address(node_factory: NodeFactory) -> None:
    """A node that starts or stops gives the bridge a port or takes one away."""
    seen = [link_address()]
    for _ in range(3):
        other = node_factory()
        seen.append(link_address())
        other.close()
        seen.append(link_address())
    assert set(seen) == {bridge.ADDRESS}


def test_nodes_do_not_reach_containers_of_another_engine(node: ContainerNode, neighbor: str) -> None:
    here = run(sys.executable, "-c", CONNECT, neighbor, str(PORT))
    assert here.returncode == 0, f"this machine itself reaches the neighbor: {here.stderr}"
    gateway = node.run(["sh", "-c", "ip route show default | cut -d' ' -f3"], check=True).out.strip()
    with socket.create_server((gateway, 0)) as server:
        port = str(server.getsockname()[1])
        assert node.run(["python3", "-c", CONNECT, gateway, port]).rc == 0, "the node reaches this machine"
    there = node.run(["python3", "-c", CONNECT, neighbor, str(PORT)])
    assert there.rc != 0
    assert "TimeoutError" in there.err
