"""What this node is: every page's probe, summed up as pairs of words and values."""

from __future__ import annotations

from collections.abc import Mapping

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Settings
from bai_wizard.pages import ORDER, load

Detected = dict[str, tuple[tuple[str, str], ...]]


def detect(machine: Machine, settings: Mapping[str, Settings], context: Context) -> Detected:
    """By page: what is there now. A page whose probe has no answer says so instead."""
    found: Detected = {"hardware": _hardware(machine)}
    for name in ORDER:
        page = load(name)
        wanted = settings.get(page.table or name) or page.settings(apply=False)
        try:
            found[name] = page.now(page.probe(machine, wanted, context))
        except CannotTell as error:
            found[name] = (("cannot tell", str(error)),)
    return found


def _hardware(machine: Machine) -> tuple[tuple[str, str], ...]:
    try:
        seen = machine.hardware()
    except CannotTell as error:
        return (("cannot tell", str(error)),)
    disks = [(disk.path, f"{disk.fstype}, {disk.used >> 30} of {disk.total >> 30} GiB used") for disk in seen.disks]
    return (
        ("processor", f"{seen.processor}, {seen.cores} cores, {seen.threads} threads"),
        ("memory", f"{seen.memory >> 30} GiB, {seen.available >> 30} GiB available"),
        *disks,
    )
