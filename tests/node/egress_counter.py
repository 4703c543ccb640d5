"""A node whose default route leads nowhere, and the number of packets sent along it."""

from __future__ import annotations

from tests.node.api import Node

# The default route leads to a pair of interfaces without a listener: packets sent there were meant to leave the node.
WAY_OUT = """
if [ -e /sys/class/net/eth0 ]; then ip link set eth0 down; fi
ip link add out0 type veth peer name out1
for each in out0 out1; do sysctl -qw net.ipv6.conf.$each.disable_ipv6=1; ip link set $each up; done
ip address add 192.0.2.1/24 dev out0
ip route add default via 192.0.2.254 dev out0
echo nameserver 192.0.2.53 > /etc/resolv.conf
"""
LEFT = "/sys/class/net/out0/statistics/tx_packets"


def lead_nowhere(node: Node) -> None:
    """Count and drop all packets that the node sends to others from now on; remove its other routes."""
    node.run(["sh", "-ec", WAY_OUT], check=True)


def left(node: Node) -> int:
    """Return the number of packets that would have left."""
    return int(node.read(LEFT))


def prove_counting(node: Node) -> None:
    """Verify the counter by sending one packet."""
    node.run(["ping", "-c1", "-W1", "198.51.100.1"])
    assert left(node) > 0, "the counter counts nothing"
