"""The bridge of the tests' Docker Engine: an interface and an address range that no other engine uses.

The engine does not touch the packet filter (two engines on one machine remove each other's chains). What its
containers need is here, in separate chains: they can reach each other, this machine and the Internet, but nothing
that another engine runs.
"""

import ipaddress
import json
import os
import subprocess

NAME = "bai-tests0"
# RFC 2544: for tests only, so a site routes none of it. The first range that no interface or route here overlaps.
CANDIDATES = tuple(ipaddress.IPv4Network(f"198.18.{number}.0/24") for number in range(0, 64, 8))
# Locally administered. Without its own address, a bridge uses that of a port, which changes whenever a node
# starts or stops, and the other nodes lose their gateway until their ARP caches expire.
ADDRESS = "02:42:c6:12:00:01"
# For networks that a test creates itself; outside every candidate.
POOL = "base=198.19.0.0/16,size=24"


def engine_flags() -> list[str]:
    """Return the arguments that make dockerd use this bridge and change nothing else."""
    return ["--bridge", NAME, "--iptables=false", "--ip6tables=false", "--default-address-pool", POOL]


def create_bridge() -> None:
    """Create the bridge and its packet filter rules; leftovers of a killed engine are replaced."""
    remove_bridge()
    network = _free_range(_routes())
    _run("ip", "link", "add", "name", NAME, "address", ADDRESS, "type", "bridge")
    _run("ip", "address", "add", f"{network[1]}/{network.prefixlen}", "dev", NAME)
    _run("ip", "link", "set", NAME, "up")
    for table, chain, own, rules in _rules(str(network), _uplink()):
        _run("iptables", "-w", "-t", table, "-N", own)
        for rule in rules:
            _run("iptables", "-w", "-t", table, "-A", own, *rule)
        _run("iptables", "-w", "-t", table, "-I", chain, "1", "-j", own)


def remove_bridge() -> None:
    """Remove the bridge and its rules, as far as they exist."""
    for table, chain, own, _ in _rules("0.0.0.0/0", ""):
        for words in (["-D", chain, "-j", own], ["-F", own], ["-X", own]):
            _try("iptables", "-w", "-t", table, *words)
    _try("ip", "link", "delete", NAME)


def _rules(network: str, uplink: str) -> list[tuple[str, str, str, list[list[str]]]]:
    """Table, built-in chain, our chain that it jumps to, and the rules of that."""
    reply = ["-o", NAME, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"]
    outward = [["-i", NAME, "-o", uplink, "-j", "ACCEPT"]] if uplink else []
    forward = [
        ["-i", NAME, "-o", NAME, "-j", "ACCEPT"],
        reply,
        *outward,
        ["-i", NAME, "-j", "DROP"],
        ["-o", NAME, "-j", "DROP"],
    ]
    masquerade = [["-s", network, "!", "-o", NAME, "-j", "MASQUERADE"]]
    return [
        ("filter", "FORWARD", "BAI-TESTS-FORWARD", forward),
        ("nat", "POSTROUTING", "BAI-TESTS-NAT", masquerade),
    ]


def _free_range(taken: list[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    for network in CANDIDATES:
        if not any(network.overlaps(other) for other in taken):
            return network
    raise RuntimeError(f"no free address range for {NAME}: {', '.join(map(str, CANDIDATES))} are all in use")


def _routes() -> list[ipaddress.IPv4Network]:
    """Return every IPv4 network with a specific route on this machine."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all"))
    result = (ipaddress.ip_network(route["dst"]) for route in routes if route["dst"] != "default")
    return [network for network in result if isinstance(network, ipaddress.IPv4Network)]


def _uplink() -> str:
    """Return the interface of the default route, or an empty string."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "default"))
    return str(routes[0]["dev"]) if routes else ""


def _run(*argv: str) -> str:
    done = _try(*argv)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _try(*argv: str) -> subprocess.CompletedProcess[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return subprocess.run(
        argv, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
