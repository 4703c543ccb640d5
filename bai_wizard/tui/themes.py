"""Our colours. Contrast of every pair of text and ground is at least 4.5:1, of the last theme 7:1 (tests/tui)."""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme(
        name="wizard-dark",
        primary="#7aa2f7",
        secondary="#7dcfff",
        accent="#7dcfff",
        success="#9ece6a",
        warning="#e0af68",
        error="#ff8a9a",
        foreground="#d7dcee",
        background="#16181f",
        surface="#1d2029",
        panel="#2a2f3d",
        dark=True,
    ),
    Theme(
        name="wizard-light",
        primary="#24539b",
        secondary="#0b6477",
        accent="#0b6477",
        success="#2c6415",
        warning="#7a4a00",
        error="#a3142e",
        foreground="#1c2230",
        background="#f6f6f3",
        surface="#ecece7",
        panel="#dcdcd4",
        dark=False,
    ),
    Theme(
        name="wizard-contrast",
        primary="#ffffff",
        secondary="#00ffff",
        accent="#00ffff",
        success="#5fff5f",
        warning="#ffff00",
        error="#ff9f9f",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#1a1a1a",
        dark=True,
    ),
)
