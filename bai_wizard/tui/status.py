"""The state of a page in words, as the rail shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from bai_wizard.texts import tr

if TYPE_CHECKING:
    from bai_wizard.core.plan import Plan

Mood = Literal["good", "todo", "bad", "quiet", "busy"]


class Status(NamedTuple):
    """`word` is what is shown, `mood` only chooses a colour for it."""

    word: str
    mood: Mood


def status_of_plan(page: str, plan: Plan) -> Status:
    """What the plan says about one page that applies."""
    from bai_wizard.core.step import Pending

    blocked = [item for item in plan.blocked() if item.step.page == page]
    pending = [item for item in plan.pending() if item.step.page == page]
    if blocked:
        return Status(tr("problem"), "bad")
    if not pending:
        return Status(tr("ready"), "good")
    if all(isinstance(item.verdict, Pending) and item.verdict.known_after for item in pending):
        return Status(tr("waits"), "todo")
    return Status(tr("{count} to do", count=len(pending)), "todo")


def needs_input() -> Status:
    """Something in the form is missing or wrong."""
    return Status(tr("needs input"), "bad")


def skipped() -> Status:
    """The page is not to be touched."""
    return Status(tr("skipped"), "quiet")


def looking() -> Status:
    """The node has not answered yet."""
    return Status(tr("looking…"), "busy")


def cannot_tell() -> Status:
    """The node gave no answer."""
    return Status(tr("no answer"), "bad")


def running() -> Status:
    """A run is at work here."""
    return Status(tr("running"), "busy")
