"""Guided troubleshooting: every check, what it found, and the remedy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.keys import Keys


class DoctorScreen(WizardScreen[None]):
    """Root causes first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="doctor.back")]
    HELP = "doctor"

    def compose(self) -> ComposeResult:
        yield Static(tr("Troubleshoot"), markup=False, classes="title")
        yield Keys((("Enter", "Remedy"), ("Esc", "Back")))
