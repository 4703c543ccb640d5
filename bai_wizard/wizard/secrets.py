"""Secrets that were typed: in memory only, handed to whoever makes the plan."""

from __future__ import annotations

from typing import Any

from bai_wizard.core.secret import Secret, use_resolver


class Secrets:
    """Answers for `{ prompt = true }` with what was typed; variables and files are read when they are needed."""

    def __init__(self) -> None:
        self._typed: dict[str, Secret] = {}

    def begin(self) -> None:
        """From now on this process's pages get their secrets here."""
        use_resolver(self.resolve)

    def keep(self, key: str, secret: Secret) -> None:
        """Keeps what was typed for a key such as `account.password`."""
        self._typed[key] = secret

    def has(self, key: str) -> bool:
        """True when something was typed for it."""
        return key in self._typed

    def resolve(self, key: str, source: Any) -> Secret | None:
        """The secret; None where it has not been typed yet. Raises AnswersError for a variable or file without it."""
        if getattr(source, "prompt", False):
            return self._typed.get(key)
        from bai_wizard.answers.secrets import resolve

        return resolve(key, source)
