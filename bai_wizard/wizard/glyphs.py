"""Our signs where only ASCII can be shown."""

from __future__ import annotations

from collections.abc import Mapping

# What stands for a glyph where there is ASCII only; anything else becomes `?`.
ASCII: Mapping[str, str] = {
    "─": "-", "━": "-", "│": "|", "┃": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+",
    "┴": "+", "┼": "+", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "▔": "-", "▁": "_", "▂": "_", "▃": "_", "▄": "=",
    "▅": "=", "▆": "=", "▇": "=", "█": "#", "▊": "|", "▎": "|", "▌": "|", "▐": "|", "▕": "|", "▏": "|",
    "•": "*", "·": "-", "×": "x", "◀": "<", "▶": ">", "▮": "#", "▯": ".", "…": "~", "→": ">", "←": "<", "↑": "^",
    "↓": "v", "«": '"', "»": '"', "“": '"', "”": '"', "’": "'", "‘": "'", "–": "-", "—": "-", "⏎": ">", "✓": "x",
}  # fmt: skip


def to_ascii(text: str) -> str:
    """The text in ASCII; wide characters become two question marks, so that columns stay."""
    if text.isascii():
        return text
    from rich.cells import cell_len

    return "".join(letter if letter.isascii() else ASCII.get(letter, "?" * cell_len(letter)) for letter in text)
