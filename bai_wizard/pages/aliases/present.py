"""The hosts file as it stands on the node: our block, the other lines, this node's own names."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.blocks import find_blocks, outside
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.aliases.probe import hosts_text
from bai_wizard.steps.hosts import MARKERS
from bai_wizard.steps.hosts_lines import Alias, HostsLine, is_own, parse_lines


@dataclass(frozen=True)
class Present:
    """`aliases` are those of our block, `others` the lines outside of it."""

    host: str
    text: str
    aliases: tuple[Alias, ...]
    others: tuple[HostsLine, ...]

    def own_loopback(self) -> tuple[HostsLine, ...]:
        """Lines outside our block that put this node's own name on a loopback address."""
        return tuple(
            line
            for line in self.others
            if line.address.is_loopback and any(is_own(name, self.host) for name in line.names)
        )


def read_present(machine: Machine) -> Present:
    """The file as it is. Raises CannotTell where it cannot be read, BlockDamaged where the markers do not pair up."""
    fact = hosts_text(machine)
    if isinstance(fact, Unknown):
        raise CannotTell(fact.reason)
    text = fact.value if isinstance(fact, Known) else ""
    aliases = []
    for block in find_blocks(text, MARKERS):
        for line in block.lines:
            parsed = parse_lines([(0, line)])
            comment = line.partition("#")[2].strip()
            aliases += [Alias(str(item.address), item.names, comment) for item in parsed]
    return Present(machine.host, text, tuple(aliases), parse_lines(outside(text, MARKERS)))
