"""What widgets and screens of the wizard have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from textual.dom import DOMNode
from textual.message import Message

if TYPE_CHECKING:
    from bai_wizard.tui.app import WizardApp
    from bai_wizard.wizard.draft import Path


def wizard(node: DOMNode) -> WizardApp:
    """The application, as what it is."""
    return cast("WizardApp", node.app)


class Changed(Message):
    """A field has a new value; `value` is as in the answers file, or the raw text where it is none."""

    def __init__(self, table: str, path: Path, value: Any) -> None:
        super().__init__()
        self.table = table
        self.path = path
        self.value = value


class Place:
    """Where in the draft a field stands."""

    def __init__(self, table: str, path: Path) -> None:
        self.table = table
        self.path = path

    def below(self, *more: str | int) -> Place:
        """A place further down."""
        return Place(self.table, (*self.path, *more))
