"""What an error text most likely means, from the doctor's list of failures."""

from __future__ import annotations


def likely_cause(text: str) -> str:
    """The cause and the way out in words; empty where nothing is known about such a text."""
    from bai_wizard.doctor.search import likely

    failure = likely(text)
    return f"{failure.cause} {failure.remedy}".strip() if failure is not None else ""
