"""Secrets have a type: their text is never shown by accident, and every text that leaves is redacted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MASK = "***"
# A shorter one would blot out half of every log; the answers refuse such passwords anyway.
SHORTEST_REDACTED = 4

_registered: set[str] = set()


class Secret:
    """A string that prints as `***`. Creating one registers it for redaction in this process."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) >= SHORTEST_REDACTED:
            _registered.add(text)

    def reveal(self) -> str:
        """The clear text; call it only where it is handed to the one program that needs it."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


def redact(text: str) -> str:
    """`text` with every registered secret replaced; the longest first, for one may contain another."""
    for secret in sorted(_registered, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def registered() -> frozenset[str]:
    """Every secret of this process that `redact` replaces, in clear: for a scan of what is about to leave."""
    return frozenset(_registered)


# Turns where a secret comes from (a table of the answers: prompt, env, file) into the secret; the key names it to
# people. Asking people and reading files is no business of pages, so whoever starts the wizard says who does it.
Resolver = Callable[[str, Any], Secret | None]
_resolver: Resolver | None = None


def use_resolver(resolver: Resolver | None) -> None:
    """Says who turns sources into secrets in this process; None takes it back."""
    global _resolver
    _resolver = resolver


def resolve(key: str, source: Any) -> Secret | None:
    """The secret that `source` stands for; None where nobody in this process can give it.

    Raises what the resolver raises: a WizardError that names the source and never the value.
    """
    return _resolver(key, source) if _resolver is not None else None
