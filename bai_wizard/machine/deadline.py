"""Calls that may hang in the kernel or in a library: with a deadline, and several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from bai_wizard.core.errors import CannotTell

S = TypeVar("S")
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


def side_by_side(call: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """What `call` gives for each item, in their order, all asked at once: the slowest one decides how long it takes.

    `call` has deadlines of its own. Raises the first error. Nobody who leaves the wizard waits for these threads.
    """
    if len(items) < 2:
        return [call(item) for item in items]
    answers: dict[int, T] = {}
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            answers[place] = call(items[place])
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [answers[place] for place in range(len(items))]
