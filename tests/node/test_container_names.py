"""The doctor resolves a name from a container: with working name servers, and with such as a container cannot use."""

from __future__ import annotations

import json
from typing import Any

from tests.node.api import Node
from tests.node.conftest import NodeFactory

NAME = "packages.site.test"
# Answers every query for an IPv4 address, from the address that was asked.
NAME_SERVER = """
import select, socket, sys
def bound(address):
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    return server
servers = [bound(address) for address in sys.argv[1:]]
while True:
    for server in select.select(servers, [], [])[0]:
        query, client = server.recvfrom(4096)
        end = query.index(b"\\0", 12) + 5
        is_a = query[end - 4 : end - 2] == b"\\0\\1"
        head = query[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if is_a else b"\\0\\0") + b"\\0\\0\\0\\0"
        answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\xc0\\0\\2\\7" if is_a else b""
        server.sendto(head + query[12:end] + answer, client)
"""
# An image with getent and what it needs to ask a name server.
MAKE_IMAGE = """set -e
mkdir -p /tmp/tree/etc
for file in /usr/bin/getent $(ldd /usr/bin/getent | grep -o '/[^ ]*'); do
    mkdir -p "/tmp/tree$(dirname "$file")"; cp "$file" "/tmp/tree$file"
done
libraries=$(dirname "$(ldd /usr/bin/getent | grep -o '/[^ ]*libc.so.6')")
cp "$libraries/libnss_dns.so.2" "$libraries/libresolv.so.2" "/tmp/tree$libraries/"
echo 'hosts: dns' >/tmp/tree/etc/nsswitch.conf
tar -C /tmp/tree -c . | docker import --change 'LABEL ai.backend.kernelspec=1' - names:1 >/dev/null
"""


def finding(node: Node) -> dict[str, Any]:
    """The check's finding; afterwards, no container is left."""
    done = node.wizard("doctor", "--json", "--only", "docker.container-dns", timeout=120)
    events = [json.loads(line) for line in done.out.splitlines()]
    (found,) = [each["data"] for each in events if each["data"].get("id") == "docker.container-dns"]
    assert node.run(["docker", "ps", "--all", "--quiet"], check=True).out == ""
    return dict(found)


def use(node: Node, *servers: str) -> None:
    node.write("/tmp/resolv.conf", "".join(f"nameserver {server}\n" for server in servers))
    node.run(["sh", "-c", "cat /tmp/resolv.conf >/etc/resolv.conf"], check=True)  # it is a bind mount
    assert node.run(["getent", "ahosts", NAME]).rc == 0, "the node itself resolves the name"


def test_names_are_resolved_in_a_container(node_factory: NodeFactory) -> None:
    node = node_factory("trixie-docker")
    node.run(["sh", "-c", "rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*"], check=True)
    node.write("/etc/apt/sources.list", f"deb http://{NAME}/debian trixie main\n")
    node.write("/root/names.py", NAME_SERVER)
    shown = node.run(["ip", "-4", "-o", "address", "show", "dev", "eth0"], check=True).out
    own = shown.split()[3].partition("/")[0]
    loopback = ["127.0.0.1", *(["::1"] if has_ipv6(node) else [])]
    node.run(["python3", "-I", "/root/names.py", own, *loopback], detach=True)
    node.wait_for(lambda: ":53 " in node.run(["ss", "-ulnH"]).out, what="the name server")
    use(node, own)
    found = finding(node)
    assert found["result"] == "cannot-tell", found
    assert "no images" in found["cause"]

    node.run(["sh", "-c", MAKE_IMAGE], check=True, timeout=120)
    found = finding(node)
    assert found["result"] == "ok", found
    assert found["evidence"][0]["found"] == "192.0.2.7"

    for server in loopback:
        use(node, server)
        found = finding(node)
        assert found["result"] == "problem", (server, found)
        assert NAME in found["cause"]
        done = node.wizard("doctor", "--json", "--only", "docker.container-dns,docker.dns-loopback", timeout=120)
        assert '"id": "docker.dns-loopback", "result": "problem"' in done.out, server

    # With the daemon's own setting, containers no longer depend on the node's file.
    node.write("/etc/docker/daemon.json", json.dumps({"dns": [own]}))
    node.run(["systemctl", "restart", "docker.service"], check=True)
    assert finding(node)["result"] == "ok"

    node.run(["sh", "-c", "docker rmi names:1 && tar -C /tmp/tree/etc -c . | docker import - empty:1"], check=True)
    found = finding(node)
    assert found["result"] == "cannot-tell", found
    assert "getent" in found["cause"]


def has_ipv6(node: Node) -> bool:
    return "::1" in node.run(["ip", "-6", "address", "show", "dev", "lo"], check=True).out
