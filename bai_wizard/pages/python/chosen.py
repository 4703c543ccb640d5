"""What only the Python that was chosen can be asked: whether the one that is here works, how large the other is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell, WizardError
from bai_wizard.core.examination import argv_of, fault_of
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.operator import as_operator
from bai_wizard.pages.python.sources import proxy_for
from bai_wizard.pages.python.wanted import choose_python, place_of

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings

# A demo node asks nobody; about what the real archives have.
DEMO_SIZE = 34_000_000


def fault_of_chosen(machine: Machine, settings: PythonSettings, facts: PythonFacts, context: Context) -> Fact[str]:
    """What is wrong with it; Known("") where nothing is, Absent where none is here that would be taken."""
    try:
        chosen = choose_python(settings, facts, context)
    except WizardError:
        return Absent()
    path = place_of(settings, facts, chosen.version)
    try:
        there = machine.interpreter(path)
        if not chosen.is_here or there is None or there.version != chosen.version:
            return Absent()
        done = as_operator(machine, context, argv_of(f"{path}/bin/python3"))
    except CannotTell as error:
        return Unknown(str(error))
    return Known(fault_of(done, chosen.version))


def size_of_chosen(machine: Machine, settings: PythonSettings, facts: PythonFacts, context: Context) -> Fact[int]:
    """Bytes of the archive that would be fetched, asked of where it lies; Absent where none would be."""
    try:
        chosen = choose_python(settings, facts, context)
    except WizardError:
        return Absent()
    if chosen.is_here or chosen.build is None or settings.method != "standalone":
        return Absent()
    if context.demo:
        return Known(DEMO_SIZE)
    url = chosen.build.address(settings.mirror)
    try:
        return Known(machine.remote_size(url, proxy_for(url, context)))
    except CannotTell as error:
        return Unknown(str(error))
