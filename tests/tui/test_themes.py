"""Our themes are readable: contrast of every text color on every background it is used on."""

from __future__ import annotations

from itertools import product

import pytest
from textual.color import Color
from textual.theme import Theme

from bai_wizard.ui.tui.terminal import THEMES

# What the styles and the widgets write with, and what they write on.
TEXTS = ("foreground", "text-primary", "text-success", "text-warning", "text-error", "text-accent")
GROUNDS = ("background", "surface", "panel")


def luminance(color: Color) -> float:
    """How bright a colour is, as WCAG 2 has it."""
    parts = [part / 255 for part in color.rgb]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: Color, ground: Color) -> float:
    """The contrast of two colours, from 1 to 21."""
    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_contrast(theme: Theme) -> None:
    colors = theme.to_color_system().generate()
    wanted = 7.0 if theme.name == "wizard-contrast" else 4.5
    weak = {
        (text, ground): round(result, 2)
        for text, ground in product(TEXTS, GROUNDS)
        if (result := contrast(Color.parse(colors[text]), Color.parse(colors[ground]))) < wanted
    }
    assert not weak


def test_the_measure_is_that_of_the_standard() -> None:
    assert round(contrast(Color.parse("#ffffff"), Color.parse("#000000")), 1) == 21.0
    assert round(contrast(Color.parse("#777777"), Color.parse("#ffffff")), 2) == 4.48
