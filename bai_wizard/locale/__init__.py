"""Translation of user-visible messages with gettext; the English text is the message ID.

`<language>/LC_MESSAGES/bai-wizard.po` is the source of a catalog, `bai-wizard.mo` beside it is what is loaded;
`make catalog` updates both. A sentence that a catalog lacks is shown in English, which itself loads nothing.

Everything below the front ends uses English; `tr` also translates such texts, see `catalog.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bai_wizard.locale.catalog import Catalog

LANGUAGES = ("en", "ko")
_catalog: Catalog | None = None


def tr(text: str, /, **values: object) -> str:
    """`text` in the chosen language, its `{names}` filled in; without values, `text` may already be filled in."""
    if _catalog is None:
        return text.format(**values) if values else str(text)
    # The translation of an empty message is the header of the catalog.
    if values:
        return _catalog.filled(_catalog.messages.gettext(text) if text else text, values)
    return _catalog.text(text)


def ntr(one: str, many: str, number: int, /, **values: object) -> str:
    """The plural form for `number` in the chosen language, filled in as by `tr`; `{count}` is the number."""
    values = {"count": number, **values}
    if _catalog is None:
        return (one if number == 1 else many).format(**values)
    return _catalog.filled(_catalog.messages.ngettext(one, many, number), values)


def N_(text: str, /) -> str:
    """Mark `text` for translation: it is passed to `tr` later, when it is drawn."""
    return text


def choose(language: str) -> None:
    """Use a language in this process; one without a catalog means English."""
    global _catalog
    _catalog = load(language) if language in LANGUAGES and language != "en" else None


def load(language: str) -> Catalog:
    """The compiled catalog of a language other than English."""
    import gettext

    from bai_wizard.locale.catalog import Catalog

    messages = gettext.translation("bai-wizard", os.path.dirname(__file__), [language])
    # Plural forms have the key (English text, number).
    texts: dict[str | tuple[str, int], str] = vars(messages)["_catalog"]
    return Catalog(messages, {key if isinstance(key, str) else key[0]: text for key, text in texts.items() if key})


def language_of(environment: Mapping[str, str]) -> str:
    """The language that the locale asks for, as POSIX orders it: LC_ALL, LC_MESSAGES, LANG."""
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    word = locale.partition("_")[0].partition(".")[0].lower()
    return word if word in LANGUAGES else "en"
