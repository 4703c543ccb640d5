"""What all checks of this page look at, looked up once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, Card, VendorFacts
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings

PAGE = "accelerators"
# Seconds: the driver's own deadline, then that of an engine that is silent too, and some.
DEADLINE = 28.0
# For how long an answer counts: the checks of one page run one after the other, and nothing changes meanwhile.
KEPT = 60.0
AGAIN = "Apply the accelerators page again."

Nvidia = Callable[[Machine, Context, NvidiaFacts, tuple[Card, ...]], Finding]
Other = Callable[[Machine, Context, VendorFacts, tuple[Card, ...]], Finding]
_known: WeakKeyDictionary[Machine, tuple[float, AcceleratorsFacts]] = WeakKeyDictionary()


def facts_of(machine: Machine, context: Context) -> AcceleratorsFacts:
    """The facts of the page, from a moment ago where they were asked for then."""
    asked, facts = _known.get(machine, (0.0, None))
    if facts is None or time.monotonic() - asked > KEPT:
        facts = probe(machine, _settings(), context)
        _known[machine] = (time.monotonic(), facts)
    return facts


def _settings() -> AcceleratorsSettings:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings

    return AcceleratorsSettings()


def nvidia_check(subject: Subject, look: Nvidia, *needs: str, needs_root: bool = False) -> Check:
    """A check that applies where there are NVIDIA GPUs."""

    def begin(machine: Machine, context: Context) -> Finding:
        facts = facts_of(machine, context)
        if isinstance(facts.cards, Unknown):
            return subject.cannot_tell(facts.cards.reason)
        cards = facts.of("nvidia")
        if facts.nvidia is None or not cards:
            return subject.not_applicable("no NVIDIA GPU in this node")
        return look(machine, context, facts.nvidia, cards)

    return subject.check(begin, needs=needs, deadline=DEADLINE, needs_root=needs_root, cost="shared")


def vendor_check(subject: Subject, vendor: str, name: str, look: Other, *needs: str) -> Check:
    """A check that applies where there are cards of another vendor."""

    def begin(machine: Machine, context: Context) -> Finding:
        facts = facts_of(machine, context)
        if isinstance(facts.cards, Unknown):
            return subject.cannot_tell(facts.cards.reason)
        found = next((one for one in facts.vendors if one.key == vendor), None)
        if found is None:
            return subject.not_applicable(f"no {name} in this node")
        return look(machine, context, found, facts.of(vendor))

    return subject.check(begin, needs=needs, deadline=DEADLINE, cost="shared")


def loaded(facts: NvidiaFacts) -> str:
    """The loaded module's version; empty where none is loaded, or nobody can tell."""
    return facts.loaded.value if isinstance(facts.loaded, Known) else ""


def kernel_log(machine: Machine, pattern: str) -> tuple[str, ...]:
    """Lines of this boot's kernel log that contain a word. Raises CannotTell where it cannot be read."""
    try:
        answer = machine.look(
            ("journalctl", "-k", "-b", "--no-pager", "-q", "-o", "cat", "-g", pattern), deadline=5.0
        )
    except CannotTell:
        answer = machine.look(("dmesg",))
        return tuple(line for line in answer.out.split("\n") if pattern in line)
    return tuple(line for line in answer.out.split("\n") if line)
