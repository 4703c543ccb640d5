"""The images page: the container images that a compute node starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.page import Page, Sheet
from bai_wizard.pages import TITLES
from bai_wizard.pages.images.facts import ImagesFacts
from bai_wizard.pages.images.plan import lends, predict, steps
from bai_wizard.pages.images.probe import probe
from bai_wizard.pages.images.settings import ImagesSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.images.checks import CHECKS

    return CHECKS


def now(facts: ImagesFacts) -> tuple[tuple[str, str], ...]:
    """Each wanted image and how it stands."""
    from bai_wizard.pages.images.table import WORDS

    return tuple((found.wanted.reference, WORDS[found.standing]) for found in facts.images)


def sheet(settings: ImagesSettings, facts: ImagesFacts, context: Context) -> Sheet:
    """The table of wanted images."""
    from bai_wizard.pages.images.table import sheet as make

    return make(settings, facts, context)


PAGE = Page(
    name="images",
    title=TITLES["images"],
    summary="Container images that sessions start from, pulled beforehand because they are large.",
    settings=ImagesSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    predict=predict,
    lends=lends,
    now=now,
    sheet=sheet,
)
