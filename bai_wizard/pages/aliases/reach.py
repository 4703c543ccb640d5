"""Checks of the aliases that ask the resolver or the network; every one is a child with a deadline."""

from __future__ import annotations

from ipaddress import ip_address

from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.aliases.present import Present
from bai_wizard.pages.knocking import ANSWERS, knock_at
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.hosts_lines import VIRTUAL

# Every node that is looked after has a way in; a closed port answers as well as an open one.
PORT = 22
# glibc asks names one by one: more of them would outlast the check.
NAMES_ASKED = 8
KNOWN = Subject("hosts-sudo-slow", "aliases", "This node knows its own name", owner="site")
AGREE = Subject("hosts-dns-disagree", "aliases", "DNS and /etc/hosts agree about the aliases", owner="site")
ANSWER = Subject("hosts-no-answer", "aliases", "The other nodes answer at their addresses", owner="site")


def name_unknown(machine: Machine, present: Present) -> Finding:
    """The resolver knows this node's own name; otherwise sudo and many services wait for DNS at every start."""
    answer = machine.look(["getent", "ahosts", present.host], deadline=5.0)
    if answer.code == 0:
        return KNOWN.ok()
    return KNOWN.warning(
        "The node does not know its own name",
        [Evidence("getent ahosts", present.host, "no address", "an address")],
        cause="The host name was changed without /etc/hosts, or its line was removed; sudo then warns at each call.",
        guidance=f"Add this node to [aliases] hosts, or put the line «127.0.1.1 {present.host}» into /etc/hosts.",
    )


def dns_disagree(machine: Machine, present: Present) -> Finding:
    """DNS, where it knows an alias at all, gives the address of our block: containers ask DNS, not the file."""
    if not present.aliases:
        return AGREE.not_applicable("no aliases on this node")
    differing: list[Evidence] = []
    for alias in present.aliases[:NAMES_ASKED]:
        name = alias.names[0]
        answer = machine.look(["getent", "-s", "hosts:dns", "ahosts", name], deadline=2.0)
        found = list(dict.fromkeys(line.split()[0] for line in answer.out.splitlines() if line.strip()))
        if found and ip_address(alias.ip) not in [ip_address(address) for address in found]:
            differing.append(Evidence(name, "DNS", ", ".join(found), alias.ip))
    if not differing:
        return AGREE.ok()
    return AGREE.warning(
        "DNS and /etc/hosts disagree about a node",
        differing,
        cause="This node follows /etc/hosts, while containers and nodes without the block follow DNS.",
        guidance="Use the same block on all nodes, or have the DNS record changed.",
    )


def no_answer(machine: Machine, present: Present) -> Finding:
    """Each address answers; a refused connection is an answer, silence may be a firewall."""
    lasting = [alias for alias in present.aliases if not alias.comment.endswith(VIRTUAL)]
    if not lasting:
        return ANSWER.not_applicable("no aliases on this node that stay at one node")
    answers = knock_at(machine, [alias.ip for alias in lasting], PORT)
    names = {alias.ip: alias.names[0] for alias in lasting}
    quiet = {address: word for address, word in answers.items() if word not in ANSWERS}
    if not quiet:
        return ANSWER.ok()
    return ANSWER.warning(
        "A node did not answer at its address",
        [
            Evidence(names[address], f"{address} port {PORT}", word, "open or refused")
            for address, word in quiet.items()
        ],
        cause="The node is off, the address is wrong, or a firewall drops what is sent to it.",
        guidance="Compare the address with the node's own («ip address» there), then look at firewalls in between.",
    )
