"""Whether the clocks of the other nodes agree with this one's."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.aliases import ask_time
from bai_wizard.pages.aliases.present import Present
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.hosts_lines import VIRTUAL, is_own

SECONDS = 1.5
# Where time daemons run, nodes are milliseconds apart; etcd complains from a second on.
APART = 1.0
# Backend.AI refuses requests from then on.
REFUSED = 15 * 60
CLOCKS = Subject("aliases.clocks", "aliases", "The other nodes' clocks agree with this one's", owner="site")


def clocks(machine: Machine, present: Present) -> Finding:
    """Asked of the nodes that our block names; a node that does not tell is not accused."""
    names = {
        alias.ip: alias.names[0]
        for alias in present.aliases
        if not alias.comment.endswith(VIRTUAL) and not any(is_own(name, present.host) for name in alias.names)
    }
    if not names:
        return CLOCKS.not_applicable("no aliases on this node that name other nodes")
    answer = machine.look(program(list(names)), deadline=SECONDS + 2.0)
    if answer.code != 0:
        return CLOCKS.cannot_tell(f"the other nodes cannot be asked: {answer.err.strip()[-200:] or answer.code}")
    ahead = {words[0]: float(words[1]) for line in answer.out.splitlines() if len(words := line.split()) == 2}
    if not ahead:
        return CLOCKS.cannot_tell("no other node tells its time: firewalls often drop ICMP timestamps")
    wrong = {address: seconds for address, seconds in ahead.items() if abs(seconds) > APART}
    if not wrong:
        return CLOCKS.ok(Evidence("nodes asked", "ICMP timestamp", str(len(ahead)), ""))
    told = CLOCKS.problem if max(map(abs, wrong.values())) >= REFUSED else CLOCKS.warning
    alone = len(ahead) > 1 and len(wrong) == len(ahead)
    return told(
        "The clock of this node is apart from all others'" if alone else "The clocks of two nodes are apart",
        [
            Evidence(names[address], address, _shown(seconds), f"within {APART:g} s")
            for address, seconds in wrong.items()
        ],
        cause="No time daemon runs on one of them, or they follow different time servers.",
        guidance="Compare `timedatectl` on both, and give all nodes the same time servers. Let the daemon correct "
        "the clock slowly while databases run.",
    )


def _shown(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this node"


def program(addresses: Sequence[str]) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-I", "-S", ask_time.__file__, str(SECONDS), *addresses]
