"""Whether somebody is at an address: asked by a child with a deadline, for every page that talks of other nodes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.pages import knock

SECONDS = 2.0
# The answers of somebody who is there.
ANSWERS = ("open", "refused")


def knock_at(machine: Machine, addresses: Sequence[str], port: int) -> dict[str, str]:
    """`open`, `refused`, `silent` or `unreachable` for each address. Raises CannotTell where no child can run."""
    answer = machine.look(program(addresses, port), deadline=SECONDS + 2.0)
    if answer.code != 0:
        raise CannotTell(f"cannot knock at the addresses: {answer.err.strip() or answer.code}")
    lines = (line.split() for line in answer.out.splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 2}


def program(addresses: Sequence[str], port: int) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-I", "-S", knock.__file__, str(port), str(SECONDS), *addresses]
