"""The Aliases page: from the desired names to steps, and the page itself."""

from __future__ import annotations

from ipaddress import ip_address

from bai_wizard.core.page import Context, Fact, Known, Page, refusals, value_or
from bai_wizard.core.parse import jinja_text
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.aliases.probe import OUR_DROP_IN, AliasesFacts, CloudHosts, probe
from bai_wizard.pages.aliases.rows import ROWS, now
from bai_wizard.pages.aliases.settings import AliasesSettings, HostSettings
from bai_wizard.pages.aliases.steps import MARKERS, HostsBlock
from bai_wizard.steps.files import BlockDamaged, DropIn, EditBlock, outside
from bai_wizard.steps.hosts_lines import VIRTUAL, Alias, HostsLine, names_one_of, own_names, parse_lines, render


def steps(settings: AliasesSettings, facts: AliasesFacts, context: Context) -> tuple[Step, ...]:
    """Handle cloud-init first: a power failure in between then never leaves aliases that the next boot removes.

    Without hosts nothing is done: an empty table must not remove a block that was written by hand.
    """
    if not settings.hosts:
        return ()
    aliases = tuple(Alias(host.ip, host.names, _comment(host)) for host in settings.hosts)
    own_ip, stays = _own(aliases, facts) if settings.own_name == "move" else ("", "")
    block = HostsBlock(id="aliases.hosts", aliases=aliases, host=facts.host, own_ip=own_ip, stays=stays)
    cloud = keep_from_cloud_init(aliases, value_or(facts.cloud, None), moves=bool(own_ip))
    return (*cloud, block, *refusals(facts.unfixed))


def _comment(host: HostSettings) -> str:
    return f"{host.comment} {VIRTUAL}".strip() if host.virtual else host.comment


def _own(aliases: tuple[Alias, ...], facts: AliasesFacts) -> tuple[str, str]:
    try:
        others = parse_lines(outside(value_or(facts.hosts, ""), MARKERS))
    except BlockDamaged:
        others = ()  # the step is refused
    return own_alias(aliases, facts.host, others, facts.addresses)


def own_alias(
    aliases: tuple[Alias, ...], host: str, others: tuple[HostsLine, ...], addresses: Fact[tuple[str, ...]]
) -> tuple[str, str]:
    """Return the alias address to move this node's names to, and why they must stay: one of them is empty, or both.

    `others` are the lines outside our block. The address must be one of this node's own `addresses`. Names that are
    assigned to another address stay where they are, because that address belongs to another machine.
    """
    own = own_names(host, others)
    if not isinstance(addresses, Known):
        named = any(names_one_of(alias, own) for alias in aliases)
        return "", f"{host} is not moved from 127.0.1.1: the addresses of this node are unknown" if named else ""
    mine = {ip_address(address) for address in addresses.value}
    fixed = [alias for alias in aliases if ip_address(alias.ip) in mine and not alias.is_virtual]
    foreign = [alias.ip for alias in aliases if alias not in fixed and names_one_of(alias, own)]
    foreign += [
        str(line.address)
        for line in others
        if names_one_of(line, own) and not line.address.is_loopback and line.address not in mine
    ]
    if foreign:
        return (
            "",
            f"{host} is not moved from 127.0.1.1: it is also assigned to {foreign[0]}, which is not this node's",
        )
    return next((alias.ip for alias in fixed if names_one_of(alias, own)), fixed[0].ip if fixed else ""), ""


def keep_from_cloud_init(aliases: tuple[Alias, ...], cloud: CloudHosts | None, *, moves: bool) -> tuple[Step, ...]:
    """Keep cloud-init from undoing the block, or our move of the node's own name, at the next boot."""
    if cloud is None or (cloud.value == "localhost" and not moves):
        return ()
    drop_in = DropIn(
        id="aliases.cloud-init",
        path=OUR_DROP_IN,
        text="# Written by bai-wizard: /etc/hosts holds the aliases of Backend.AI nodes.\nmanage_etc_hosts: false\n",
        why=f"keep cloud-init from rewriting /etc/hosts ({cloud.by} makes it do so at every boot)",
    )
    if not (cloud.overrules_drop_in and cloud.template):
        return (drop_in,)
    # Data of the cloud's user takes precedence over every file here, so its template must contain the names.
    template = EditBlock(
        id="aliases.cloud-template",
        path=cloud.template,
        begin=MARKERS.begin,
        end=MARKERS.end,
        lines=tuple(jinja_text(line) for line in render(aliases)),
        why=f"add the aliases: cloud-init writes /etc/hosts from it at every boot ({cloud.by})",
    )
    return (drop_in, template)


PAGE = Page(
    name="aliases",
    title=TITLES["aliases"],
    summary="Host aliases for the other nodes, kept in a managed block of /etc/hosts.",
    settings=AliasesSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("aliases"),
    now=now,
    rows=ROWS,
    unset=lambda settings, _facts, _context: "" if settings.hosts else "no hosts are configured",
)
