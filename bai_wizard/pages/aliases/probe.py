"""Reads what the aliases page needs: the hosts file, this node's addresses, cloud-init's wishes."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.aliases.cloud_init import cloud_hosts
from bai_wizard.pages.aliases.facts import AliasesFacts

if TYPE_CHECKING:
    from bai_wizard.pages.aliases.settings import AliasesSettings

HOSTS = "/etc/hosts"
# In /proc/net/fib_trie an address stands on a line of its own, what it is on the next.
_LOCAL = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


def probe(machine: Machine, settings: AliasesSettings, context: Context) -> AliasesFacts:
    """Looks at the node; nothing here waits for the network."""
    return AliasesFacts(
        host=machine.host,
        hosts=hosts_text(machine),
        addresses=own_addresses(machine),
        cloud=cloud_hosts(machine),
    )


def hosts_text(machine: Machine) -> Fact[str]:
    """The hosts file's text; bytes that are no UTF-8 are kept as surrogates."""
    try:
        entry = machine.entry(HOSTS)
    except CannotTell as error:
        return Unknown(str(error))
    if entry is None:
        return Absent()
    if entry.content is None:
        return Unknown(f"{HOSTS} is a {entry.type}, not a file")
    return Known(entry.content.decode("utf-8", "surrogateescape"))


def own_addresses(machine: Machine) -> Fact[tuple[str, ...]]:
    """The addresses of this node's interfaces, as the kernel's tables say (no child, no waiting)."""
    try:
        v4 = machine.kernel_text("/proc/net/fib_trie")
        v6 = machine.kernel_text("/proc/net/if_inet6")
    except CannotTell as error:
        return Unknown(str(error))
    if v4 is None:
        return Unknown("/proc/net/fib_trie is not there")
    found = [address for address in _LOCAL.findall(v4) if not address.startswith("127.")]
    for line in (v6 or "").splitlines():
        address = IPv6Address(int(line.split()[0], 16))
        if not address.is_loopback and not address.is_link_local:
            found.append(str(address))
    return Known(tuple(dict.fromkeys(found)))
