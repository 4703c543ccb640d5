"""What a node is, in the few words of the top line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bai_wizard.core.facts import Known, value_or
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.node.facts import NodeFacts
from bai_wizard.texts import tr
from bai_wizard.tui.surveyor import Surveyor

GIB = 2**30


def words(surveyor: Surveyor) -> Iterator[str]:
    """Release, cores, memory, accelerators, roles: as far as they are known by now."""
    node = surveyor.survey.facts("node")
    if isinstance(node, NodeFacts):
        yield from _node(node)
    cards = surveyor.survey.facts("accelerators")
    if isinstance(cards, AcceleratorsFacts) and isinstance(cards.cards, Known):
        counted = Counter(card.model for card in cards.cards.value)
        yield from (f"{count} × {model}" for model, count in counted.items())
    settings = surveyor.draft.settings("node")
    if settings is not None:
        yield "+".join(getattr(settings, "roles", ()))


def _node(node: NodeFacts) -> Iterator[str]:
    release = value_or(node.release, None)
    if release is not None:
        yield f"{release.id.capitalize()} {release.version}"
    processor = value_or(node.processor, None)
    if processor is not None:
        yield tr("{count} cores", count=processor.cores)
    memory = value_or(node.memory, None)
    if memory is not None:
        yield f"{memory / GIB:.0f} GiB"
