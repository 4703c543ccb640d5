"""A deadline for calls that may hang in the kernel or in a library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from bai_wizard.core.errors import CannotTell

T = TypeVar("T")


def within(seconds: float, what: str, call: Callable[[], T]) -> T:
    """The result of `call`, made in a thread that is left behind when it does not answer in time.

    Raises CannotTell after `seconds`, and whatever `call` raised.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True, name=f"within {what}")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise CannotTell(f"{what}: no answer within {seconds:g} s")
    return answers[0]
