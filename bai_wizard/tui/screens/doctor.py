"""Guided troubleshooting: every check, what it found, and the remedy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Static

from bai_wizard.texts import tr


class DoctorScreen(Screen[None]):
    """Root causes first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="doctor.back")]
    HELP = "doctor"

    def compose(self) -> ComposeResult:
        yield Static(tr("Troubleshoot"), markup=False, classes="title")
        yield Footer(compact=True, show_command_palette=False)
