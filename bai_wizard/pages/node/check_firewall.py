"""Whether the firewall lets in what other nodes send to this one's ports, by its roles."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.known_ports import ports
from bai_wizard.pages.node.nft import allowed_by
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.better import Interval

FIREWALL = Subject("node.ports", "node", "The firewall lets the ports of this node's roles in", owner="site")


def firewall(machine: Machine, context: Context) -> Finding:
    """Ports by role against the rules of ufw or, where it is off, of nftables; a rule for some sources is one."""
    needed = [
        (interval, entry.what)
        for entry in ports()
        if set(entry.roles) & set(context.roles)
        for interval in entry.ports
    ]
    where, rules = "ufw status", _ufw(machine)
    if rules is None:
        where, rules = "nft list ruleset (input: drop)", _nft(machine)
    if rules is None:
        listed = (Evidence(_shown(interval), "data/ports.toml", "open", what) for interval, what in needed)
        return FIREWALL.ok(*listed)
    closed = [(interval, what) for interval, what in needed if not _covered(interval, rules)]
    if not closed:
        return FIREWALL.ok()
    return FIREWALL.warning(
        "The firewall may drop what other nodes send to this one",
        [Evidence(f"TCP {_shown(interval)}", where, "no rule that allows it", what) for interval, what in closed],
        cause="A policy of the site drops what no rule allows.",
        guidance="Give this list to whoever runs the firewall: these ports from the cluster's network only.",
        risk="A rule without a source opens the ports to everybody.",
    )


def _ufw(machine: Machine) -> list[Interval] | None:
    """The intervals that ufw allows; None where it is not active."""
    try:
        answer = machine.look(("ufw", "status"))
    except CannotTell:
        return None
    if answer.code != 0 or "Status: active" not in answer.out:
        return None
    allowed: list[Interval] = []
    for line in answer.out.split("\n"):
        target, allows, source = line.partition(" ALLOW ")
        if not allows or "(v6)" in line:
            continue
        name = target.split()[0] if target.split() else ""
        if name == "Anywhere" and source.strip():
            allowed.append((1, 65535))
        for part in name.partition("/")[0].split(",") if "/udp" not in name else ():
            first, _, last = part.partition(":")
            if first.isdecimal() and (last or first).isdecimal():
                allowed.append((int(first), int(last or first)))
    return allowed


def _nft(machine: Machine) -> list[Interval] | None:
    """The intervals that nftables lets in; None where nothing is dropped by default, or there is no nft."""
    try:
        answer = machine.look(("nft", "--json", "list", "ruleset"))
    except CannotTell:
        return None
    return allowed_by(answer.out) if answer.code == 0 else None


def _covered(interval: Interval, rules: list[Interval]) -> bool:
    port = interval[0]
    for first, last in sorted(rules):
        if first <= port <= last:
            port = last + 1
    return port > interval[1]


def _shown(interval: Interval) -> str:
    first, last = interval
    return str(first) if first == last else f"{first}-{last}"


CHECKS = (FIREWALL.check(firewall, needs_root=True, cost="dear"),)
