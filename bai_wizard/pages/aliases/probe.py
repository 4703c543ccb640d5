"""Probe /etc/hosts: our block, the other lines, this node's own names, and what rewrites or precedes the file."""

from __future__ import annotations

import re
from ipaddress import ip_interface

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Interface, Machine, NodeView
from bai_wizard.core.page import Context, Evidence, Fact, Finding, read_fact
from bai_wizard.pages.aliases.settings import AliasesSettings
from bai_wizard.pages.aliases.steps import MARKERS, block_aliases
from bai_wizard.pages.check import Outcome, check, not_applicable, ok, problem, unfixed
from bai_wizard.pages.node_state import NSSWITCH, ends_before, lookup_order
from bai_wizard.steps.files import outside
from bai_wizard.steps.hosts_lines import Alias, HostsLine, names_one_of, own_names, parse_lines


class CloudHosts(Struct, frozen=True):
    """cloud-init writes /etc/hosts at every boot.

    `value` is the effective `manage_etc_hosts` without our drop-in: `template` (the whole file is rewritten) or
    `localhost` (only this node's 127.0.1.1 line). `by` is the file that sets it. `overrules_drop_in` is true if that
    file takes precedence over /etc/cloud/cloud.cfg.d: data of the cloud's user or vendor. `template` is the path of
    the template for the file, or empty.
    """

    value: str
    by: str
    overrules_drop_in: bool
    template: str


class AliasesFacts(Struct, frozen=True):
    """`hosts` is the text of /etc/hosts; `addresses` are those of this node's own interfaces, without loopback.

    `unfixed` are problems that keep programs from using the file and that no step of the page fixes.
    """

    host: str
    hosts: Fact[str]
    addresses: Fact[tuple[str, ...]]
    cloud: Fact[CloudHosts]
    unfixed: tuple[Finding, ...] = ()


CLOUD_CONFIG = "/etc/cloud/cloud.cfg"
CLOUD_DROP_INS = "/etc/cloud/cloud.cfg.d"
CLOUD_INIT_DISABLED = "/etc/cloud/cloud-init.disabled"
# Sorts late, after files of the image and of installers (50-curtin-*, 99-installer.cfg).
OUR_DROP_IN = f"{CLOUD_DROP_INS}/99-zz-bai-wizard.cfg"
# Merged over the configuration files, the later over the earlier (cloud-init's boot order).
BOOT_DATA = ("/var/lib/cloud/instance/vendor-cloud-config.txt", "/var/lib/cloud/instance/cloud-config.txt")
# Named after the distribution family: Ubuntu uses it too.
HOSTS_TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"

# A top-level key of a YAML mapping; the values that cloud-init accepts are single words or 1.
_MANAGE_ETC_HOSTS = re.compile(r"^([\"']?)manage_etc_hosts\1\s*:\s*[\"']?(\w+)", re.MULTILINE | re.ASCII)
_MANAGE_VALUES = {
    "true": "template",
    "yes": "template",
    "on": "template",
    "1": "template",
    "template": "template",
    "localhost": "localhost",
}


def cloud_hosts(view: NodeView) -> CloudHosts | None:
    """Return cloud-init's handling of /etc/hosts without our drop-in; None if it leaves the file alone."""
    if view.entry(CLOUD_CONFIG) is None or view.entry(CLOUD_INIT_DISABLED) is not None:
        return None
    drop_ins = sorted(f"{CLOUD_DROP_INS}/{name}" for name in view.names(CLOUD_DROP_INS) if name.endswith(".cfg"))
    paths = (CLOUD_CONFIG, *(path for path in drop_ins if path != OUR_DROP_IN), *BOOT_DATA)
    given = [(path, value) for path in paths if (value := _manage_etc_hosts(view, path)) is not None]
    by, value = given[-1] if given else ("", "")
    if value not in _MANAGE_VALUES:
        return None
    overrules = by in BOOT_DATA or (by.startswith(CLOUD_DROP_INS) and by > OUR_DROP_IN)
    template = HOSTS_TEMPLATE if view.entry(HOSTS_TEMPLATE) is not None else ""
    return CloudHosts(_MANAGE_VALUES[value], by, overrules, template)


def _manage_etc_hosts(view: NodeView, path: str) -> str | None:
    entry = view.entry(path)
    if entry is None or entry.content is None:
        return None
    result = _MANAGE_ETC_HOSTS.findall(entry.content.decode("utf-8", "replace"))
    return result[-1][1].lower() if result else None


HOSTS = "/etc/hosts"
# Sources that know only this machine and its containers, or that read /etc/hosts themselves (systemd-resolved).
HARMLESS_SOURCES = ("myhostname", "mymachines", "resolve")


class CurrentAliases(Struct, frozen=True):
    """`aliases` are those of our block, `others` the lines outside it."""

    host: str
    text: str
    aliases: tuple[Alias, ...]
    others: tuple[HostsLine, ...]

    def own_loopback(self) -> tuple[HostsLine, ...]:
        """Return lines outside our block that map this node's own name to a loopback address."""
        own = self.own_names()
        return tuple(line for line in self.others if line.address.is_loopback and names_one_of(line, own))

    def own_names(self) -> frozenset[str]:
        """Return this node's names: its host name, and what the loopback lines call it beside that."""
        return own_names(self.host, self.others)


def read_current(machine: Machine) -> CurrentAliases:
    """Return the current file.

    Raises StateUnknown if it cannot be read, BlockDamaged if the markers do not form a pair.
    """
    text = hosts_text(machine) or ""
    return CurrentAliases(machine.host, text, block_aliases(text), parse_lines(outside(text, MARKERS)))


def hosts_text(machine: Machine) -> str | None:
    """Return the hosts file's text; bytes that are not UTF-8 are kept as surrogates. Raises StateUnknown."""
    entry = machine.entry(HOSTS)
    if entry is None:
        return None
    if entry.content is None:
        raise StateUnknown(f"{HOSTS} is a {entry.type}, not a file")
    return entry.content.decode("utf-8", "surrogateescape")


# More than any node has; each costs some time.
MAX_ADDRESSES = 10_000


def own_addresses(machine: Machine) -> tuple[str, ...]:
    """Return the addresses of this node's interfaces, IPv4 first, without loopback and link-local IPv6 addresses."""
    interfaces: tuple[Interface, ...] = machine.hardware("interfaces")
    found = [ip_interface(text).ip for each in interfaces for text in each.addresses]
    if len(found) > MAX_ADDRESSES:
        raise StateUnknown(f"{len(found)} addresses, more than any node has")
    result = [each for each in found if not each.is_loopback and not (each.version == 6 and each.is_link_local)]
    return tuple(dict.fromkeys(str(each) for each in sorted(result, key=lambda each: (each.version, each))))


def lookup_problem(order: tuple[str, ...]) -> str:
    """Why /etc/hosts is not consulted first; empty if it is."""
    wanted = ("files", "resolve")
    if reason := ends_before(order, wanted):
        return reason
    for source in order:
        if source in wanted:
            break
        if not source.startswith("[") and source not in HARMLESS_SOURCES:
            return f"{source} is consulted before files"
    return ""


@check("aliases.nsswitch")
def nsswitch(machine: Machine, context: Context) -> Outcome:
    text = machine.text(NSSWITCH)
    if text is None:
        return not_applicable(f"{NSSWITCH} does not exist")
    order = lookup_order(text, "hosts")
    reason = lookup_problem(order) if order else ""
    return problem(Evidence("hosts", NSSWITCH, f"{' '.join(order)}: {reason}", "files first")) if reason else ok()


def probe(machine: Machine, settings: AliasesSettings, context: Context) -> AliasesFacts:
    """Return the facts of the page; nothing here waits for the network."""
    return AliasesFacts(
        host=machine.host,
        hosts=read_fact(lambda: hosts_text(machine)),
        addresses=read_fact(lambda: own_addresses(machine)),
        cloud=read_fact(lambda: cloud_hosts(machine)),
        unfixed=unfixed(machine, context, nsswitch),
    )
