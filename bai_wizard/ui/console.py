"""Terminal capabilities, determined before anything heavy is imported, and ASCII replacements for glyphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from bai_wizard.locale import LANGUAGES, language_of

Mode = Literal["screen", "lines", "none"]
# Terminals that cannot draw a screen at all, and those whose fonts have ASCII only.
WITHOUT_SCREEN = ("", "dumb", "unknown")
ASCII_ONLY = ("linux", "vt", "cons", "ansi", "sun")
# Reduced output for slow lines: no animation, five frames a second.
SERIAL = {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_FPS": "5"}

NO_TERMINAL = """\
bai-wizard: no terminal, so it cannot ask questions.
Write an answers file and apply it headless:
  bai-wizard answers > answers.toml          create a commented answers file
  bai-wizard --headless answers.toml --plan  show planned changes and exit
  bai-wizard --headless answers.toml         apply them"""


class Console(Struct, frozen=True):
    """The decision. `theme` is one of our themes or Textual's; `environment` is set before Textual is imported."""

    mode: Mode
    ascii: bool = False
    serial: bool = False
    theme: str = "wizard-dark"
    language: str = "en"
    environment: Mapping[str, str] = field(default_factory=dict)


def decide(
    environment: Mapping[str, str],
    *,
    is_terminal: bool,
    encoding: str,
    plain: bool = False,
    ascii: bool = False,
    serial: bool = False,
    language: str | None = None,
) -> Console:
    """Choose how to communicate with the user. `encoding` is that of the output."""
    if not is_terminal:
        return Console("none")
    term = environment.get("TERM", "")
    serial = serial or term.startswith("vt")
    only_ascii = ascii or serial or term.startswith(ASCII_ONLY) or encoding.lower().replace("-", "") != "utf8"
    requested = language or environment.get("BAI_WIZARD_LANG") or language_of(environment)
    spoken = "en" if only_ascii or requested not in LANGUAGES else requested
    mode: Mode = "lines" if plain or term in WITHOUT_SCREEN else "screen"
    return Console(mode, only_ascii, serial, theme_of(environment, serial), spoken, SERIAL if serial else {})


def theme_of(environment: Mapping[str, str], serial: bool = False) -> str:
    """The terminal's own colors if few are available or wanted; otherwise ours, dark unless it is light."""
    term, depth = environment.get("TERM", ""), environment.get("COLORTERM", "").lower()
    rich = depth in ("truecolor", "24bit") or "256color" in term or "direct" in term
    light = environment.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
    if serial or "NO_COLOR" in environment or not rich:
        return "ansi-light" if light else "ansi-dark"
    return "wizard-light" if light else "wizard-dark"


# The replacement of a glyph if only ASCII is available; anything else becomes `?`.
ASCII: Mapping[str, str] = {
    "─": "-", "━": "-", "│": "|", "┃": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+",
    "┴": "+", "┼": "+", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "▔": "-", "▁": "_", "▂": "_", "▃": "_", "▄": "=",
    "▅": "=", "▆": "=", "▇": "=", "█": "#", "▊": "|", "▎": "|", "▌": "|", "▐": "|", "▕": "|", "▏": "|",
    "•": "*", "·": "-", "×": "x", "◀": "<", "▶": ">", "▸": ">", "▾": "v", "▮": "#", "▯": ".", "…": "~", "→": ">",
    "←": "<", "↑": "^", "↓": "v", "\u00ab": '"', "\u00bb": '"', "“": '"', "”": '"', "’": "'", "‘": "'", "–": "-",
    "—": "-", "⏎": ">", "✓": "x",
}  # fmt: skip


def to_ascii(text: str) -> str:
    """The text in ASCII; wide characters become two question marks, so that columns stay aligned."""
    if text.isascii():
        return text
    from rich.cells import cell_len

    return "".join(
        character if character.isascii() else ASCII.get(character, "?" * cell_len(character)) for character in text
    )
