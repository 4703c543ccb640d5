"""What the doctor looks at in /etc/hosts. It needs no answers: our block on the node says what is meant."""

from __future__ import annotations

from collections.abc import Callable

from bai_wizard.core.blocks import BlockDamaged
from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Unknown
from bai_wizard.core.finding import Check, Evidence, Finding, Result
from bai_wizard.core.machine import Machine
from bai_wizard.pages.aliases.cloud_init import OUR_DROP_IN, cloud_hosts
from bai_wizard.pages.aliases.plan import DROP_IN_TEXT, keep_from_cloud_init, own_alias
from bai_wizard.pages.aliases.present import Present, read_present
from bai_wizard.pages.aliases.probe import own_addresses
from bai_wizard.pages.aliases.reach import dns_disagree, name_unknown, no_answer
from bai_wizard.steps.hosts import MARKERS, HostsBlock
from bai_wizard.steps.hosts_comment import CommentHosts
from bai_wizard.steps.hosts_lines import is_own, shadows

HOSTS = "/etc/hosts"


def _on_file(id: str, title: str) -> Callable[[Callable[[Machine, Present], Finding]], Check]:
    """A check over the readable, undamaged file; anything else is said, not guessed."""

    def wrap(look: Callable[[Machine, Present], Finding]) -> Check:
        def examine(machine: Machine, context: Context) -> Finding:
            try:
                return look(machine, read_present(machine))
            except (BlockDamaged, CannotTell) as error:
                return Finding(id, "cannot-tell", title, "aliases", cause=f"{HOSTS}: {error}")

        return Check(id=id, page="aliases", title=title, look=examine, needs=("hosts-block-damaged",), deadline=8.0)

    return wrap


def _damaged(machine: Machine, context: Context) -> Finding:
    title = "The block in /etc/hosts is whole"
    try:
        present = read_present(machine)
    except CannotTell as error:
        return Finding("hosts-block-damaged", "cannot-tell", title, "aliases", cause=str(error))
    except BlockDamaged as error:
        return Finding(
            "hosts-block-damaged",
            "problem",
            "The block for Backend.AI in /etc/hosts is broken",
            "aliases",
            evidence=(Evidence("marker lines", HOSTS, str(error), f"{MARKERS.begin} … {MARKERS.end}, once each"),),
            cause="Somebody edited one of the marker lines, or another tool copied half of the block.",
            guidance="Put the two marker lines around the lines that are ours, or delete the stray one by hand: the "
            "wizard cannot know which lines belong to you.",
        )
    blocks = present.text.count(MARKERS.begin)
    crlf = "\r" in present.text
    if blocks > 1 or crlf:
        found = "line ends of another system (CR LF)" if crlf else f"{blocks} blocks"
        remedy = HostsBlock(id="aliases.hosts", aliases=present.aliases, host=present.host)
        return Finding(
            "hosts-block-damaged",
            "warning",
            "The block for Backend.AI in /etc/hosts is not as the wizard writes it",
            "aliases",
            evidence=(Evidence("the block", HOSTS, found, "one block, plain line ends"),),
            cause="Another tool or an editor wrote the file too.",
            guidance="Plan the aliases again: one block is kept in the first one's place.",
            remedy=() if crlf else (remedy,),
        )
    return Finding("hosts-block-damaged", "ok", title, "aliases")


def _duplicate(machine: Machine, present: Present) -> Finding:
    id, title = "hosts-duplicate", "Every alias has one address in /etc/hosts"
    if not present.aliases:
        return Finding(id, "not-applicable", title, "aliases", cause="no aliases on this node")
    clashes = {
        line: (name, alias.ip)
        for line in present.others
        for alias in present.aliases
        for name in shadows(line, alias, present.host)
    }
    if not clashes:
        return Finding(id, "ok", title, "aliases")
    return Finding(
        id,
        "problem",
        "A name has two addresses in /etc/hosts",
        "aliases",
        evidence=tuple(
            Evidence(name, f"{HOSTS} line {line.number}", str(line.address), ip)
            for line, (name, ip) in clashes.items()
        ),
        cause="A line outside our block gives the name to another address; programs get both, most use the first.",
        guidance="If our block is right, let the other line become a comment.",
        risk="Software that relies on the old line loses it.",
        remedy=(CommentHosts(id="aliases.comment", lines=tuple(dict.fromkeys(line.text for line in clashes))),),
    )


def _loopback(machine: Machine, present: Present) -> Finding:
    id, title = "hosts-loopback-alias", "This node's name is reachable from other nodes"
    named = [alias for alias in present.aliases if any(is_own(name, present.host) for name in alias.names)]
    if not named:
        return Finding(id, "not-applicable", title, "aliases", cause="our block does not name this node")
    lines = present.own_loopback()
    if not lines:
        return Finding(id, "ok", title, "aliases")
    own_ip = own_alias(present.aliases, present.host, own_addresses(machine))
    step = HostsBlock(id="aliases.hosts", aliases=present.aliases, host=present.host, own_ip=own_ip)
    return Finding(
        id,
        "warning",
        "This node's own name points to itself only",
        "aliases",
        evidence=tuple(
            Evidence(present.host, f"{HOSTS} line {line.number}", str(line.address), named[0].ip) for line in lines
        ),
        cause="The installer wrote the name to a loopback address, and that answer comes first: services that look "
        "their own name up listen where no other node can reach them.",
        guidance='Move the name to the real address (answers: own_name = "move").',
        risk="If the address comes from DHCP and changes, the name is wrong until the block is changed too.",
        remedy=(step,),
    )


def _cloud(machine: Machine, present: Present) -> Finding:
    id, title = "hosts-cloud-init", "cloud-init leaves /etc/hosts alone"
    cloud = cloud_hosts(machine)
    if isinstance(cloud, Unknown):
        return Finding(id, "cannot-tell", title, "aliases", cause=cloud.reason)
    moved = bool(present.aliases) and not present.own_loopback()
    if isinstance(cloud, Absent) or (cloud.value.value == "localhost" and not moved):
        return Finding(id, "ok", title, "aliases")
    if not present.aliases:
        return Finding(id, "not-applicable", title, "aliases", cause="no aliases on this node that could be lost")
    drop_in = machine.entry(OUR_DROP_IN)
    in_place = drop_in is not None and drop_in.content == DROP_IN_TEXT.encode()
    overruled = cloud.value.overrules_drop_in
    steps = keep_from_cloud_init(present.aliases, cloud, moves=moved)
    kept = all(not step.verify(machine) for step in steps)
    if in_place and kept and not (overruled and not cloud.value.template):
        return Finding(id, "ok", title, "aliases")
    result: Result = "problem"
    return Finding(
        id,
        result,
        "cloud-init will undo /etc/hosts at the next boot",
        "aliases",
        evidence=(Evidence("manage_etc_hosts", cloud.value.by, cloud.value.value, "false"),),
        cause=f"{cloud.value.by} tells cloud-init to write /etc/hosts at every boot.",
        guidance="Let the wizard write the drop-in and the template."
        if not overruled or cloud.value.template
        else "Change manage_etc_hosts in the user data at your cloud: it wins over every file on this node.",
        risk="An upgrade of cloud-init may ask about the changed template." if overruled else "",
        remedy=steps,
        owner="site" if overruled and not cloud.value.template else "bai-wizard",
    )


CHECKS: tuple[Check, ...] = (
    Check("hosts-block-damaged", "aliases", "The block in /etc/hosts is whole", _damaged),
    _on_file("hosts-duplicate", "Every alias has one address in /etc/hosts")(_duplicate),
    _on_file("hosts-loopback-alias", "This node's name is reachable from other nodes")(_loopback),
    _on_file("hosts-cloud-init", "cloud-init leaves /etc/hosts alone")(_cloud),
    _on_file("hosts-sudo-slow", "This node knows its own name")(name_unknown),
    _on_file("hosts-dns-disagree", "DNS and /etc/hosts agree about the aliases")(dns_disagree),
    _on_file("hosts-no-answer", "The other nodes answer at their addresses")(no_answer),
)
