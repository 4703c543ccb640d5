"""A page of the wizard: settings, probe, plan and checks of one matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bai_wizard.core.context import Context
    from bai_wizard.core.finding import Check
    from bai_wizard.core.machine import Machine
    from bai_wizard.core.step import Step
    from bai_wizard.core.view import NodeView

Settings = Any
Facts = Any


@dataclass(frozen=True)
class Sheet:
    """A table that a page shows besides its facts. `marked` is the row that counts for this node, -1 for none.

    `details` are pairs (what, value) about what would be taken.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int = -1
    details: tuple[tuple[str, str], ...] = ()


def never(settings: Settings) -> bool:
    """The `reproducible` of a page that asks others than this node."""
    return False


def always(settings: Settings) -> bool:
    """The `reproducible` of a page that asks nobody but this node."""
    return True


def keep_facts(facts: Facts, predicted: NodeView) -> Facts:
    """The `predict` of a page whose facts no other page can change."""
    return facts


@dataclass(frozen=True)
class Page:
    """Joins the parts of a page; each part is a plain function in the page's own package.

    `probe` reads (impure), `steps` decides (pure), `predict` folds what earlier pages of the same plan will have
    done into the facts, `checks` are what the doctor and the preflight ask, `now` sums the facts up as (what, value)
    pairs for the screens. `table` is the table of the answers that makes this page apply; empty: its own name.
    `lends` are the secrets that its steps need in clear while they run: name → where the secret comes from.
    `sheet` is a table to look things up in, for a page that has one.
    `probe_telling` is `probe` of a page whose facts stand each for itself: it hands over what there is so far, the
    rest `Asked`, each time one more is there.
    `reproducible` is True for settings whose plan follows from the answers and from what Machine reads of the node:
    not from the network, not from the time, not from how much room is left.
    """

    name: str
    title: str
    summary: str
    settings: type
    probe: Callable[[Machine, Settings, Context], Facts]
    steps: Callable[[Settings, Facts, Context], tuple[Step, ...]]
    checks: Callable[[], tuple[Check, ...]]
    predict: Callable[[Facts, NodeView], Facts] = keep_facts
    now: Callable[[Facts], tuple[tuple[str, str], ...]] = lambda _facts: ()
    table: str = ""
    lends: Callable[[Settings], Mapping[str, Any]] = lambda _settings: {}
    sheet: Callable[[Settings, Facts, Context], Sheet] | None = None
    probe_telling: Callable[[Machine, Settings, Context, Callable[[Facts], None]], Facts] | None = None
    reproducible: Callable[[Settings], bool] = never
