"""The node at a glance: gauges, cards and networks, and what each page would change, in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bai_wizard.core.machine import Disk
from bai_wizard.core.operation import Change
from bai_wizard.core.page import Known, value_or
from bai_wizard.core.step import Blocked, Pending, PlannedStep
from bai_wizard.locale import ntr, tr
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.node.probe import NodeFacts
from bai_wizard.ui.change_words import change_words, telling
from bai_wizard.ui.present import reason_in_words

GIB = 2**30
# File systems below this size hold no data of Backend.AI, such as the one of the firmware.
LEAST = 2 * GIB
# Follows from other changes.
ASIDE = ("package-lists", "group", "download", "restart")


class Gauge(NamedTuple):
    """One line: `share` is what a bar shows, from 0 to 1; -1 for a line without one."""

    label: str
    text: str
    share: float = -1


def node_gauges(facts: object) -> Iterator[Gauge]:
    """Memory, file systems, networks and the processor, the most telling first."""
    if not isinstance(facts, NodeFacts):
        return
    if isinstance(facts.memory, Known) and facts.memory.value.total:
        memory = facts.memory.value
        used = memory.total - memory.available
        yield Gauge(tr("Memory"), _of(used, memory.total), used / memory.total)
    found: tuple[Disk, ...] = value_or(facts.disks, ())
    disks = sorted(found, key=lambda disk: (disk.path != "/", -disk.total))
    large = [disk for disk in disks if disk.total >= LEAST]
    yield from map(_disk, large[:2])
    up = [network for network in value_or(facts.networks, ()) if network.addresses and network.name != "lo"]
    yield from (Gauge(network.name, f"{', '.join(network.addresses)}  {network.state.lower()}") for network in up[:1])
    processor = value_or(facts.processor, None)
    if processor is not None:
        cores = ntr("{count} core", "{count} cores", processor.cores)
        yield Gauge(tr("Processor"), f"{processor.threads} × {processor.model or tr('unknown model')} ({cores})")
    yield from map(_disk, large[2:])
    yield from (Gauge(network.name, f"{', '.join(network.addresses)}  {network.state.lower()}") for network in up[1:])


def _disk(disk: Disk) -> Gauge:
    return Gauge(disk.path, f"{_of(disk.used, disk.total)}  {disk.fstype}", disk.used / disk.total)


def _of(used: int, total: int) -> str:
    return tr("{used} of {total} GiB", used=f"{used / GIB:.0f}", total=f"{total / GIB:.0f}")


def card_gauges(facts: object) -> Iterator[Gauge]:
    """The accelerators: one line per GPU with its memory if the driver answers, otherwise one per model."""
    if not isinstance(facts, AcceleratorsFacts) or not isinstance(facts.cards, Known):
        return
    if facts.nvidia is not None and facts.nvidia.gpus:
        driver = facts.nvidia.nvml.value.driver if isinstance(facts.nvidia.nvml, Known) else ""
        for gpu, count in Counter((gpu.name, gpu.memory) for gpu in facts.nvidia.gpus).items():
            size = f"{gpu[1] / GIB:.0f} GiB" if gpu[1] else ""
            yield Gauge("GPU", f"{count} × {gpu[0]}  {size}  {tr('driver {version}', version=driver)}")
    else:
        for (model, driver), count in Counter((card.model, card.driver) for card in facts.cards.value).items():
            yield Gauge("GPU", f"{count} × {model}  {driver or tr('no driver')}")
    if facts.nvidia is not None and facts.nvidia.switches:
        yield Gauge("NVSwitch", str(facts.nvidia.switches))


def summary(steps: Sequence[PlannedStep]) -> str:
    """What the steps of a page change, or what blocks them, in one line."""
    blocked = [item.verdict for item in steps if isinstance(item.verdict, Blocked)]
    if blocked:
        return reason_in_words(next((verdict for verdict in blocked if not verdict.depends_on), blocked[0]))
    changes = [change for item in steps if isinstance(item.verdict, Pending) for change in item.verdict.changes]
    kinds: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        kinds.setdefault((change.key.kind if change.key is not None else "", change.verb), []).append(change)
    known = sorted((kind for kind in kinds if kind[0] not in ASIDE), key=lambda kind: telling(kind[0]))
    return ", ".join(change_words(kinds[kind]) for kind in known)
