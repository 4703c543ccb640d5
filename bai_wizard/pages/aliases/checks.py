"""What the doctor looks at in /etc/hosts. It needs no answers: our block on the node says what is meant."""

from __future__ import annotations

from collections.abc import Callable

from bai_wizard.core.blocks import BlockDamaged
from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Unknown
from bai_wizard.core.finding import Check, Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.aliases.clocks import CLOCKS, clocks
from bai_wizard.pages.aliases.cloud_init import cloud_hosts
from bai_wizard.pages.aliases.plan import keep_from_cloud_init, own_alias
from bai_wizard.pages.aliases.present import Present, read_present
from bai_wizard.pages.aliases.probe import HOSTS, own_addresses
from bai_wizard.pages.aliases.reach import AGREE, ANSWER, KNOWN, dns_disagree, name_unknown, no_answer
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.hosts import MARKERS, HostsBlock
from bai_wizard.steps.hosts_comment import CommentHosts
from bai_wizard.steps.hosts_lines import is_own, shadows

PAGE = "aliases"
NONE = "no aliases on this node"
WHOLE = Subject("hosts-block-damaged", PAGE, "The block in /etc/hosts is whole")
ONE = Subject("hosts-duplicate", PAGE, "Every alias has one address in /etc/hosts")
LOOPBACK = Subject("hosts-loopback-alias", PAGE, "This node's name is reachable from other nodes")
CLOUD = Subject("hosts-cloud-init", PAGE, "cloud-init leaves /etc/hosts alone")
CLOUD_OF_SITE = Subject(CLOUD.id, PAGE, CLOUD.title, owner="site")


def whole(machine: Machine, context: Context) -> Finding:
    """The markers pair up, stand once, and the lines end as they should."""
    try:
        present = read_present(machine)
    except CannotTell as error:
        return WHOLE.cannot_tell(str(error))
    except BlockDamaged as error:
        return WHOLE.problem(
            "The block for Backend.AI in /etc/hosts is broken",
            [Evidence("marker lines", HOSTS, str(error), f"{MARKERS.begin} … {MARKERS.end}, once each")],
            cause="Somebody edited one of the marker lines, or another tool copied half of the block.",
            guidance="Put the two marker lines around the lines that are ours, or delete the stray one by hand: the "
            "wizard cannot know which lines belong to you.",
        )
    blocks = present.text.count(MARKERS.begin)
    strange_ends = "\r" in present.text
    if blocks < 2 and not strange_ends:
        return WHOLE.ok()
    found = "line ends of another system (CR LF)" if strange_ends else f"{blocks} blocks"
    once = HostsBlock(id="aliases.hosts", aliases=present.aliases, host=present.host)
    return WHOLE.warning(
        "The block for Backend.AI in /etc/hosts is not as the wizard writes it",
        [Evidence("the block", HOSTS, found, "one block, plain line ends")],
        cause="Another tool or an editor wrote the file too.",
        guidance="Plan the aliases again: one block is kept in the first one's place.",
        remedy=() if strange_ends else (once,),
    )


def one_address(machine: Machine, present: Present) -> Finding:
    """No line outside our block gives one of its names to another address."""
    if not present.aliases:
        return ONE.not_applicable(NONE)
    clashes = {
        line: (name, alias.ip)
        for line in present.others
        for alias in present.aliases
        for name in shadows(line, alias, present.host)
    }
    if not clashes:
        return ONE.ok()
    return ONE.problem(
        "A name has two addresses in /etc/hosts",
        [
            Evidence(name, f"{HOSTS} line {line.number}", str(line.address), ip)
            for line, (name, ip) in clashes.items()
        ],
        cause="A line outside our block gives the name to another address; programs get both, most use the first.",
        guidance="If our block is right, let the other line become a comment.",
        risk="Software that relies on the old line loses it.",
        remedy=[CommentHosts(id="aliases.comment", lines=tuple(dict.fromkeys(line.text for line in clashes)))],
    )


def loopback(machine: Machine, present: Present) -> Finding:
    """This node's own name, where our block gives it an address, is not on a loopback address as well."""
    named = [alias for alias in present.aliases if any(is_own(name, present.host) for name in alias.names)]
    if not named:
        return LOOPBACK.not_applicable("our block does not name this node")
    lines = present.own_loopback()
    if not lines:
        return LOOPBACK.ok()
    own_ip = own_alias(present.aliases, present.host, own_addresses(machine))
    return LOOPBACK.warning(
        "This node's own name points to itself only",
        [Evidence(present.host, f"{HOSTS} line {line.number}", str(line.address), named[0].ip) for line in lines],
        cause="The installer wrote the name to a loopback address, and that answer comes first: services that look "
        "their own name up listen where no other node can reach them.",
        guidance='Move the name to the real address (answers: own_name = "move").',
        risk="If the address comes from DHCP and changes, the name is wrong until the block is changed too.",
        remedy=[HostsBlock(id="aliases.hosts", aliases=present.aliases, host=present.host, own_ip=own_ip)],
    )


def cloud_init(machine: Machine, present: Present) -> Finding:
    """cloud-init does not make the file anew at the next boot, or makes it with our block."""
    cloud = cloud_hosts(machine)
    if isinstance(cloud, Unknown):
        return CLOUD.cannot_tell(cloud.reason)
    moved = bool(present.aliases) and not present.own_loopback()
    if isinstance(cloud, Absent) or (cloud.value.value == "localhost" and not moved):
        return CLOUD.ok()
    if not present.aliases:
        return CLOUD.not_applicable("no aliases on this node that could be lost")
    steps = keep_from_cloud_init(present.aliases, cloud, moves=moved)
    helpless = cloud.value.overrules_drop_in and not cloud.value.template
    if not helpless and all(not step.verify(machine) for step in steps):
        return CLOUD.ok()
    return (CLOUD_OF_SITE if helpless else CLOUD).problem(
        "cloud-init will undo /etc/hosts at the next boot",
        [Evidence("manage_etc_hosts", cloud.value.by, cloud.value.value, "false")],
        cause=f"{cloud.value.by} tells cloud-init to write /etc/hosts at every boot.",
        guidance="Change manage_etc_hosts in the user data at your cloud: it wins over every file on this node."
        if helpless
        else "Let the wizard write its drop-in, and the block into cloud-init's template where that is needed.",
        risk="An upgrade of cloud-init may ask about the changed template." if cloud.value.overrules_drop_in else "",
        remedy=() if helpless else steps,
    )


def _on_file(look: Callable[[Machine, Present], Finding], subject: Subject) -> Callable[[Machine, Context], Finding]:
    """A look at the readable, undamaged file; anything else is said, not guessed."""

    def examine(machine: Machine, context: Context) -> Finding:
        try:
            return look(machine, read_present(machine))
        except (BlockDamaged, CannotTell) as error:
            return subject.cannot_tell(f"{HOSTS}: {error}")

    return examine


NEEDS = (WHOLE.id,)
CHECKS: tuple[Check, ...] = (
    WHOLE.check(whole, root_cause=True),
    ONE.check(_on_file(one_address, ONE), needs=NEEDS),
    LOOPBACK.check(_on_file(loopback, LOOPBACK), needs=NEEDS),
    CLOUD.check(_on_file(cloud_init, CLOUD), needs=NEEDS),
    KNOWN.check(_on_file(name_unknown, KNOWN), needs=NEEDS, deadline=8.0, cost="dear"),
    AGREE.check(_on_file(dns_disagree, AGREE), needs=(*NEEDS, "dns-broken"), deadline=20.0, cost="dear"),
    CLOCKS.check(_on_file(clocks, CLOCKS), needs=NEEDS, needs_root=True, cost="dear"),
    ANSWER.check(_on_file(no_answer, ANSWER), needs=NEEDS, deadline=8.0, cost="dear"),
)
