"""Networks of the node and of Docker, and where they meet."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.machine import Machine

ROUTES = "/proc/net/route"
# Interfaces that engines make for their containers.
OF_ENGINES = ("docker", "br-", "veth", "cni", "flannel", "cali", "podman", "virbr")
# Flags of a route (linux/route.h): up, and «reject», which leads nowhere.
UP, REJECT = 0x1, 0x200


def own_networks(machine: Machine) -> Fact[tuple[str, ...]]:
    """The IPv4 networks that this node has a route to besides the default one; those of engines left out."""
    try:
        text = machine.kernel_text(ROUTES)
    except CannotTell as error:
        return Unknown(str(error))
    if text is None:
        return Unknown(f"{ROUTES} is not there")
    return Known(tuple(dict.fromkeys(str(network) for network in parse_routes(text))))


def parse_routes(text: str) -> Iterable[IPv4Network]:
    """The networks in /proc/net/route, whose addresses are hex in the byte order of the host (little)."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[0].startswith(OF_ENGINES):
            continue
        flags = int(fields[3], 16)
        destination, mask = (_address(fields[1]), _address(fields[7]))
        if flags & UP and not flags & REJECT and int(mask):
            yield IPv4Network(f"{destination}/{mask}", strict=False)


def _address(text: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(text), "little"))


def overlaps(ranges: Iterable[str], networks: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Each (range, network) that share addresses."""
    parsed = [ip_network(network) for network in networks]
    return tuple((one, str(network)) for one in ranges for network in parsed if _meet(ip_network(one), network))


def _meet(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)
