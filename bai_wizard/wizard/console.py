"""What the terminal can do, decided before anything heavy is imported: full screen, line prompts, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bai_wizard.texts import LANGUAGES, language_of

Mode = Literal["screen", "lines", "none"]
# Terminals that cannot draw a screen at all, and those whose fonts have ASCII only.
WITHOUT_SCREEN = ("", "dumb", "unknown")
ASCII_ONLY = ("linux", "vt", "cons", "ansi", "sun")
# Few bytes for slow lines: no animation, five frames a second.
SERIAL = {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_FPS": "5"}

NO_TERMINAL = """\
bai-wizard: there is no terminal here, so nobody could be asked.
Write what you want into a file and apply it without screens:
  bai-wizard answers > answers.toml         a commented file to begin with
  bai-wizard --headless answers.toml --plan  shows every change, makes none
  bai-wizard --headless answers.toml         makes them"""


@dataclass(frozen=True)
class Console:
    """The decision. `theme` is the name of one of ours or Textual's; `environment` is set before it is imported."""

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
    """How to talk to whoever is there. `encoding` is that of the output."""
    if not is_terminal:
        return Console("none")
    term = environment.get("TERM", "")
    serial = serial or term.startswith("vt")
    only_ascii = ascii or serial or term.startswith(ASCII_ONLY) or encoding.lower().replace("-", "") != "utf8"
    wanted = language or environment.get("BAI_WIZARD_LANG") or language_of(environment)
    spoken = "en" if only_ascii or wanted not in LANGUAGES else wanted
    mode: Mode = "lines" if plain or term in WITHOUT_SCREEN else "screen"
    return Console(mode, only_ascii, serial, theme_of(environment, serial), spoken, SERIAL if serial else {})


def theme_of(environment: Mapping[str, str], serial: bool = False) -> str:
    """The terminal's own colours where there are few or none are wanted; else ours, dark unless it says light."""
    term, depth = environment.get("TERM", ""), environment.get("COLORTERM", "").lower()
    rich = depth in ("truecolor", "24bit") or "256color" in term or "direct" in term
    light = environment.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
    if serial or "NO_COLOR" in environment or not rich:
        return "ansi-light" if light else "ansi-dark"
    return "wizard-light" if light else "wizard-dark"
