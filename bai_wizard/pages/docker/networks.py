"""Networks of the node and of Docker, and where they meet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.machine import Machine

ROUTES = "/proc/net/route"
ROUTES_6 = "/proc/net/ipv6_route"
# Interfaces that engines make for their containers; a bridge that a site calls br-mgmt is none of them.
OF_ENGINES = re.compile(r"docker|br-[0-9a-f]{12}$|veth|cni|flannel|cali|podman|virbr")
# Flags of a route (linux/route.h): up, and «reject», which leads nowhere.
UP, REJECT = 0x1, 0x200


def own_networks(machine: Machine) -> Fact[tuple[str, ...]]:
    """The networks that this node has a route to besides the default one; those of engines left out."""
    try:
        text, text_6 = machine.kernel_text(ROUTES), machine.kernel_text(ROUTES_6)
    except CannotTell as error:
        return Unknown(str(error))
    if text is None:
        return Unknown(f"{ROUTES} is not there")
    # A kernel without IPv6 has no such file, and no such networks.
    found = [*parse_routes(text), *parse_routes_6(text_6 or "")]
    return Known(tuple(dict.fromkeys(str(network) for network in found)))


def is_of_engine(device: str) -> bool:
    """True for an interface that an engine made for its containers."""
    return OF_ENGINES.match(device) is not None


def parse_routes(text: str) -> Iterable[IPv4Network]:
    """The networks in /proc/net/route, whose addresses are hex in the byte order of the host (little)."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or is_of_engine(fields[0]):
            continue
        flags = int(fields[3], 16)
        destination, mask = (_address(fields[1]), _address(fields[7]))
        if flags & UP and not flags & REJECT and int(mask):
            yield IPv4Network(f"{destination}/{mask}", strict=False)


def parse_routes_6(text: str) -> Iterable[IPv6Network]:
    """The networks in /proc/net/ipv6_route; single addresses and what is on every link are none."""
    for fields in (line.split() for line in text.splitlines()):
        if len(fields) < 10 or is_of_engine(fields[9]):
            continue
        network = IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)), strict=False)
        flags = int(fields[8], 16)
        everywhere = network.is_link_local or network.is_multicast or network.prefixlen in (0, 128)
        if flags & UP and not flags & REJECT and not everywhere:
            yield network


def _address(text: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(text), "little"))


def overlaps(ranges: Iterable[str], networks: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Each (range, network) that share addresses."""
    parsed = [ip_network(network) for network in networks]
    return tuple((one, str(network)) for one in ranges for network in parsed if _meet(ip_network(one), network))


def _meet(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)
