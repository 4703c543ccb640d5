"""From the wished-for names to steps."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Fact, Known, value_or
from bai_wizard.core.step import Step
from bai_wizard.pages.aliases.cloud_init import OUR_DROP_IN
from bai_wizard.pages.aliases.facts import AliasesFacts, CloudHosts
from bai_wizard.steps.edit_block import EditBlock
from bai_wizard.steps.hosts import MARKERS, HostsBlock
from bai_wizard.steps.hosts_lines import VIRTUAL, Alias, is_own, render
from bai_wizard.steps.write_file import DropIn

if TYPE_CHECKING:
    from bai_wizard.pages.aliases.settings import AliasesSettings, HostSettings

DROP_IN_TEXT = "# Written by bai-wizard: /etc/hosts holds the aliases of Backend.AI nodes.\nmanage_etc_hosts: false\n"


def steps(settings: AliasesSettings, facts: AliasesFacts, context: Context) -> tuple[Step, ...]:
    """cloud-init first, so that a power cut in between never leaves aliases that the next boot removes.

    Without hosts nothing is done: a block that somebody made by hand is not to vanish because of an empty table.
    """
    if not settings.hosts:
        return ()
    aliases = tuple(Alias(host.ip, host.names, _comment(host)) for host in settings.hosts)
    own_ip = own_alias(aliases, facts.host, facts.addresses) if settings.own_name == "move" else ""
    block = HostsBlock(id="aliases.hosts", aliases=aliases, host=facts.host, own_ip=own_ip)
    return (*keep_from_cloud_init(aliases, facts.cloud, moves=bool(own_ip)), block)


def _comment(host: HostSettings) -> str:
    return f"{host.comment} {VIRTUAL}".strip() if host.virtual else host.comment


def own_alias(aliases: tuple[Alias, ...], host: str, addresses: Fact[tuple[str, ...]]) -> str:
    """The alias address that is this node's own: by its name, else by its interfaces. Empty where there is none."""
    for alias in aliases:
        if any(is_own(name, host) for name in alias.names):
            return alias.ip
    mine = {ip_address(address) for address in value_or(addresses, ())}
    for alias in aliases:
        if ip_address(alias.ip) in mine:
            return alias.ip
    return ""


def keep_from_cloud_init(aliases: tuple[Alias, ...], cloud: Fact[CloudHosts], *, moves: bool) -> tuple[Step, ...]:
    """What keeps cloud-init from undoing the block, or our move of the own name, at the next boot."""
    if not isinstance(cloud, Known):
        return ()
    if cloud.value.value == "localhost" and not moves:
        return ()
    drop_in = DropIn(
        id="aliases.cloud-init",
        path=OUR_DROP_IN,
        text=DROP_IN_TEXT,
        why=f"cloud-init is to leave /etc/hosts alone ({cloud.value.by} lets it write the file at every boot)",
    )
    if not (cloud.value.overrules_drop_in and cloud.value.template):
        return (drop_in,)
    # Data of the cloud's user wins over every file here, so the template that it renders has to know the names.
    template = EditBlock(
        id="aliases.cloud-template",
        path=cloud.value.template,
        begin=MARKERS.begin,
        end=MARKERS.end,
        lines=render(aliases),
        why=f"cloud-init makes /etc/hosts from it at every boot, because {cloud.value.by} says so",
    )
    return (drop_in, template)
