"""The one function through which every sentence for people goes; the English sentence is the key.

Catalogues are `<language>.toml` beside this file: `"English" = "translation"`, with the same `{names}` in both.
A sentence that a catalogue lacks is shown in English.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

LANGUAGES = ("en", "ko")
_chosen = "en"


def tr(text: str, /, **values: object) -> str:
    """`text` in the chosen language, its `{names}` filled in."""
    told = catalogue(_chosen).get(text, text)
    return told.format(**values) if values else told


def choose(language: str) -> None:
    """Takes a language for this process; one that has no catalogue means English."""
    global _chosen
    _chosen = language if language in LANGUAGES else "en"


def chosen() -> str:
    """The language in use."""
    return _chosen


def language_of(environment: Mapping[str, str] | None = None) -> str:
    """The language that the locale asks for, as POSIX orders it: LC_ALL, LC_MESSAGES, LANG."""
    variables = os.environ if environment is None else environment
    locale = next((variables[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if variables.get(name)), "")
    word = locale.partition("_")[0].partition(".")[0].lower()
    return word if word in LANGUAGES else "en"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """The sentences of one language; empty for English, which is its own catalogue."""
    if language == "en":
        return {}
    import tomllib
    from importlib.resources import files

    text = files(__name__).joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return {key: str(value) for key, value in tomllib.loads(text).items()}
