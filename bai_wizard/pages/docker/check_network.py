"""What the doctor looks at in Docker's networks: ranges, forwarding, firewall, names, packet sizes."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker.look import NotApplicable, check, networks, require_info
from bai_wizard.pages.docker.networks import ROUTES, is_of_engine
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.docker_config import DAEMON_JSON

PAGE = "docker"
POOLS = Subject("docker-address-pool", PAGE, "Docker has ranges left for networks")
CHAINS = Subject("docker-iptables-chain", PAGE, "Docker's firewall chains are there")
UFW = Subject("ufw-docker-bypass", PAGE, "The firewall knows of published ports", owner="site")
NAMES = Subject("docker-dns-loopback", PAGE, "Containers get name servers that they can reach")
MTU = Subject("mtu-mismatch", PAGE, "Containers' packets fit through the network", owner="site")
FIX = 'Set "bip" and "default-address-pools" in daemon.json (docker.address_pools) to ranges that nobody uses here'
# Docker's own ranges hold thirty-one networks (moby, daemon/libnetwork/ipamapi); this near to it is worth a word.
NEARLY_FULL = 28
# What Docker calls «published on all addresses».
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def pools(machine: Machine, context: Context) -> Finding:
    """How many networks Docker has given out of its own ranges."""
    config = _config(machine)
    if "default-address-pools" in config:
        raise NotApplicable("ranges of one's own are set")
    count = len([name for name, subnet in networks(machine) if ":" not in subnet])
    if count < NEARLY_FULL:
        return POOLS.ok(Evidence("networks", "docker network ls", str(count), f"fewer than {NEARLY_FULL}"))
    return POOLS.warning(
        "Docker has nearly no ranges left for networks",
        (Evidence("networks", "docker network ls", str(count), f"fewer than {NEARLY_FULL}"),),
        cause="Every network takes a /16 or /20 of Docker's own ranges.",
        guidance=f"docker network prune after a look at docker network ls; {FIX}, with a size of 24.",
        risk="prune removes networks that no container uses right now.",
    )


def chains(machine: Machine, context: Context) -> Finding:
    """Whether somebody flushed the firewall while Docker ran."""
    require_info(machine)
    if _config(machine).get("iptables") is False:
        raise NotApplicable('"iptables" is false in daemon.json')
    missing = []
    for table, chain in (("nat", "DOCKER"), ("filter", "DOCKER-USER")):
        found = machine.look(("iptables", "--wait", "2", "-t", table, "-S", chain))
        if found.code != 0 and re.search(r"does not exist|No chain", found.err):
            missing.append((table, chain))
        elif found.code != 0:
            raise CannotTell(f"iptables -t {table} -S {chain}: {found.err.strip()[:200]}")
    if not missing:
        return CHAINS.ok()
    return CHAINS.problem(
        "Docker's firewall chains were removed",
        tuple(Evidence(f"chain {chain}", f"iptables -t {table}", "not there", "there") for table, chain in missing),
        cause="A reload of ufw, nftables or firewalld, or a script, flushed the rules while Docker ran.",
        guidance="systemctl restart docker makes them anew. For good, take «flush ruleset» out of"
        " /etc/nftables.conf, or let it run before Docker.",
        risk="The restart stops containers unless live-restore is on.",
    )


def ufw(machine: Machine, context: Context) -> Finding:
    """ufw does not see what Docker forwards."""
    text = machine.text("/etc/ufw/ufw.conf") or ""
    if not re.search(r"^ENABLED=yes", text, re.MULTILINE):
        raise NotApplicable("ufw is off")
    containers = machine.engine("/containers/json")
    if not isinstance(containers, list):
        raise NotApplicable("no container engine runs")
    published = sorted(
        {
            f"{port['PublicPort']}/{port.get('Type', 'tcp')}"
            for container in containers
            for port in container.get("Ports") or []
            if port.get("PublicPort") and port.get("IP") in EVERYWHERE
        }
    )
    if not published:
        return UFW.ok()
    return UFW.warning(
        "ufw does not protect ports that containers publish",
        (Evidence("published on all addresses", "docker ps", ", ".join(published), "an address of this node's"),),
        cause="Published ports are forwarded, and ufw looks at what is addressed to the node itself only.",
        guidance="Publish on a private address (daemon.json «ip», or 10.0.0.1:PORT:PORT), or put rules into the chain"
        ' DOCKER-USER. Never set "iptables" to false.',
        risk="A wrong rule in DOCKER-USER cuts sessions off.",
    )


def names(machine: Machine, context: Context) -> Finding:
    """A name server on loopback is another machine's loopback inside a container."""
    require_info(machine)
    if _config(machine).get("dns"):
        return NAMES.ok(Evidence("dns", DAEMON_JSON, "set", "set"))
    servers = _servers(machine.kernel_text("/etc/resolv.conf") or "")
    if servers == ["127.0.0.53"]:
        servers = _servers(machine.kernel_text("/run/systemd/resolve/resolv.conf") or "")
    if not servers or any(not _is_loopback(server) for server in servers):
        return NAMES.ok()
    return NAMES.problem(
        "Containers get no name server of this site",
        (Evidence("name servers", "/etc/resolv.conf", ", ".join(servers), "one that is not on loopback"),),
        cause="Docker leaves out name servers on loopback, and containers fall back to public ones.",
        guidance='Name the site\'s servers: "dns": ["10.0.0.2"] in daemon.json; then restart Docker.',
        risk="The restart stops containers unless live-restore is on; such addresses are wrong in another network.",
    )


def mtu(machine: Machine, context: Context) -> Finding:
    """docker0 against the interface of the default route."""
    require_info(machine)
    device = _default_device(machine.kernel_text(ROUTES) or "")
    outer = machine.kernel_text(f"/sys/class/net/{device}/mtu") if device else None
    inner = machine.kernel_text("/sys/class/net/docker0/mtu")
    if not outer or not inner:
        raise NotApplicable("there is no default route, or no docker0")
    if int(inner) <= int(outer):
        return MTU.ok()
    return MTU.problem(
        "Large packets of containers are lost",
        (Evidence("mtu of docker0", "/sys/class/net", inner, f"at most {outer}, as {device} has"),),
        cause=f"{device} takes smaller packets than Docker's bridge; where ICMP is filtered, transfers hang.",
        guidance=f'"mtu": {outer} in daemon.json, and "default-network-opts" for other networks; then restart'
        " Docker and make user networks anew.",
        risk="The restart stops containers unless live-restore is on.",
    )


def _config(machine: Machine) -> dict[str, object]:
    try:
        found = json.loads(machine.text(DAEMON_JSON) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _servers(text: str) -> list[str]:
    return re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)


def _is_loopback(server: str) -> bool:
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _default_device(text: str) -> str:
    """The interface of the default route in /proc/net/route."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and not is_of_engine(fields[0]):
            return fields[0]
    return ""


CHECKS = (
    check(POOLS, pools, needs=("docker-not-running",)),
    check(CHAINS, chains, needs=("docker-not-running",), needs_root=True),
    check(UFW, ufw, needs=("docker-not-running",)),
    check(NAMES, names, needs=("docker-not-running",)),
    check(MTU, mtu, needs=("docker-not-running",)),
)
