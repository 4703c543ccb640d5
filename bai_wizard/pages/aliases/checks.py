"""Checks of /etc/hosts. They need no answers: the managed block contains what is desired."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import ip_address

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, read_fact
from bai_wizard.pages import network_probes
from bai_wizard.pages.aliases import probe
from bai_wizard.pages.aliases.plan import keep_from_cloud_init, own_alias
from bai_wizard.pages.aliases.probe import HOSTS, CurrentAliases, cloud_hosts, own_addresses, read_current
from bai_wizard.pages.aliases.steps import MARKERS, CommentHosts, HostsBlock
from bai_wizard.pages.check import (
    NotApplicable,
    Outcome,
    check,
    checks_in,
    not_applicable,
    ok,
    problem,
    unknown,
    warning,
)
from bai_wizard.pages.node_state import TCP_ANSWERS, probe_tcp
from bai_wizard.steps.files import BlockDamaged
from bai_wizard.steps.hosts_lines import Alias, folded, names_one_of, shadows

NO_ALIASES = "this node has no aliases"
# sshd listens on every managed node, and a refused connection is a response too.
PORT = 22
# The resolver is queried for one name after the other; more names would exceed the check's timeout.
MAX_NAMES = 8
# Seconds to wait for the responses of the other nodes.
CLOCK_TIMEOUT = 1.5
# Seconds. With time synchronization, nodes differ by milliseconds; etcd reports a difference of one second.
CLOCK_TOLERANCE = 1.0
# Seconds. Backend.AI rejects signed requests that are older or newer than this.
REQUEST_WINDOW = 15 * 60


@check("aliases.block-damaged", root_cause=True)
def block_damaged(machine: Machine, context: Context) -> Outcome:
    """The markers form one pair, and the lines have Unix line endings."""
    try:
        present = read_current(machine)
    except BlockDamaged as error:
        expected = f"{MARKERS.begin} … {MARKERS.end}, once each"
        return problem(Evidence("marker lines", HOSTS, str(error), expected))
    blocks = present.text.count(MARKERS.begin)
    has_crlf = "\r" in present.text
    if blocks < 2 and not has_crlf:
        return ok()
    evidence = Evidence(
        "managed block", HOSTS, "CRLF line endings" if has_crlf else f"{blocks} blocks", "one, with LF"
    )
    once = HostsBlock(id="aliases.hosts", aliases=present.aliases, host=present.host)
    return warning(evidence, variant="unusual", remedy=() if has_crlf else (once,))


def hosts_file(machine: Machine) -> CurrentAliases:
    """The current /etc/hosts. Raises StateUnknown if it cannot be read or its block is damaged."""
    try:
        return read_current(machine)
    except (BlockDamaged, StateUnknown) as error:
        raise StateUnknown(f"{HOSTS}: {error}") from error


def hosts_with_aliases(machine: Machine) -> CurrentAliases:
    """The current /etc/hosts. Raises NotApplicable if its block has no aliases."""
    present = hosts_file(machine)
    if not present.aliases:
        raise NotApplicable(NO_ALIASES)
    return present


NEEDS = ("aliases.block-damaged",)


@check("aliases.duplicate", needs=NEEDS)
def duplicate(machine: Machine, context: Context) -> Outcome:
    present = hosts_with_aliases(machine)
    own = present.own_names()
    # Both can have thousands of lines.
    with_name: dict[str, list[Alias]] = {}
    for alias in present.aliases:
        for name in alias.names:
            with_name.setdefault(folded(name), []).append(alias)
    conflicts = {
        line: (name, alias.ip)
        for line in present.others
        for word in line.names
        for alias in with_name.get(folded(word), ())
        for name in shadows(line, alias, own)
    }
    comment = CommentHosts(id="aliases.comment", lines=tuple(dict.fromkeys(line.text for line in conflicts)))
    return problem(
        *(
            Evidence(name, f"{HOSTS} line {line.number}", str(line.address), ip)
            for line, (name, ip) in conflicts.items()
        ),
        remedy=[comment],
    )


@check("aliases.loopback-alias", needs=NEEDS)
def loopback_alias(machine: Machine, context: Context) -> Outcome:
    present = hosts_file(machine)
    addresses = read_fact(lambda: own_addresses(machine))
    own_ip, _stays = own_alias(present.aliases, present.host, present.others, addresses)
    own = present.own_names()
    if not any(alias.ip == own_ip and names_one_of(alias, own) for alias in present.aliases):
        return not_applicable("the managed block does not list this node")
    lines = present.own_loopback()
    return warning(
        *(Evidence(present.host, f"{HOSTS} line {line.number}", str(line.address), own_ip) for line in lines),
        remedy=[HostsBlock(id="aliases.hosts", aliases=present.aliases, host=present.host, own_ip=own_ip)],
    )


@check("aliases.cloud-init", needs=NEEDS)
def cloud_init(machine: Machine, context: Context) -> Outcome:
    present = hosts_file(machine)
    cloud = cloud_hosts(machine)
    moved = bool(present.aliases) and not present.own_loopback()
    if cloud is None or (cloud.value == "localhost" and not moved):
        return ok()
    if not present.aliases:
        return not_applicable(NO_ALIASES)
    steps = keep_from_cloud_init(present.aliases, cloud, moves=moved)
    only_user_data = cloud.overrules_drop_in and not cloud.template
    if not only_user_data and all(not step.verify(machine) for step in steps):
        return ok()
    evidence = Evidence("manage_etc_hosts", cloud.by, cloud.value, "false")
    if only_user_data:
        return problem(evidence, variant="user-data", source=cloud.by)
    return problem(evidence, variant="template" if cloud.overrules_drop_in else "", remedy=steps, source=cloud.by)


@check("aliases.sudo-slow", needs=NEEDS, deadline=8.0, cost="expensive")
def own_name_unknown(machine: Machine, context: Context) -> Outcome:
    host = hosts_file(machine).host
    if machine.query(["getent", "ahosts", host], deadline=5.0).code == 0:
        return ok()
    return warning(Evidence("getent ahosts", host, "no address", "an address"), host=host)


@check("aliases.dns-disagree", needs=(*NEEDS, "node.dns-broken"), deadline=20.0, cost="expensive")
def dns_disagrees(machine: Machine, context: Context) -> Outcome:
    present = hosts_with_aliases(machine)
    differing: list[Evidence] = []
    for alias in present.aliases[:MAX_NAMES]:
        name = alias.names[0]
        answer = machine.query(["getent", "-s", "hosts:dns", "ahosts", name], deadline=2.0)
        addresses = list(dict.fromkeys(line.split()[0] for line in answer.out.splitlines() if line.strip()))
        if addresses and ip_address(alias.ip) not in [ip_address(address) for address in addresses]:
            differing.append(Evidence(name, "DNS", ", ".join(addresses), alias.ip))
    return warning(*differing)


@check("aliases.clocks", needs=NEEDS, needs_root=True, cost="expensive")
def clocks(machine: Machine, context: Context) -> Outcome:
    """The clocks of the nodes in the block agree with this one's; a node that does not respond is not reported."""
    present = hosts_file(machine)
    own = present.own_names()
    names = {
        alias.ip: alias.names[0] for alias in present.aliases if not alias.is_virtual and not names_one_of(alias, own)
    }
    if not names:
        return not_applicable("the managed block lists no other nodes")
    answer = machine.query(clock_query(list(names)), deadline=CLOCK_TIMEOUT + 2.0)
    if answer.code != 0:
        return unknown(f"the other nodes cannot be queried: {answer.err.strip()[-200:] or answer.code}")
    ahead = {words[0]: float(words[1]) for line in answer.out.splitlines() if len(words := line.split()) == 2}
    if not ahead:
        return unknown("no other node responded: firewalls often drop ICMP timestamp requests")
    wrong = {address: seconds for address, seconds in ahead.items() if abs(seconds) > CLOCK_TOLERANCE}
    if not wrong:
        return ok(Evidence("nodes queried", "ICMP timestamp", str(len(ahead)), ""))
    evidence = [
        Evidence(names[address], address, _offset(seconds), f"within {CLOCK_TOLERANCE:g} s")
        for address, seconds in wrong.items()
    ]
    conclude = problem if max(map(abs, wrong.values())) >= REQUEST_WINDOW else warning
    return conclude(*evidence, variant="this-node" if 1 < len(ahead) == len(wrong) else "")


def _offset(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this node"


def clock_query(addresses: Sequence[str]) -> list[str]:
    """Return the command that queries the time at each address."""
    return [sys.executable, "-I", "-S", network_probes.__file__, "clocks", str(CLOCK_TIMEOUT), *addresses]


@check("aliases.no-answer", needs=NEEDS, deadline=8.0, cost="expensive")
def no_answer(machine: Machine, context: Context) -> Outcome:
    """Each address in the block responds. A refused connection is a response; silence may be a firewall."""
    fixed = [alias for alias in hosts_file(machine).aliases if not alias.is_virtual]
    if not fixed:
        return not_applicable("the managed block lists no addresses that belong to one node")
    answers = probe_tcp(machine, [alias.ip for alias in fixed], PORT)
    names = {alias.ip: alias.names[0] for alias in fixed}
    silent = [
        Evidence(names[address], f"{address} port {PORT}", word, "open or refused")
        for address, word in answers.items()
        if word not in TCP_ANSWERS
    ]
    return warning(*silent)


CHECKS = checks_in(probe, sys.modules[__name__])
