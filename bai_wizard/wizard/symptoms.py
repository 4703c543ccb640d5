"""What an error text most likely means, from the doctor's list of failures."""

from __future__ import annotations


def likely_cause(text: str, page: str) -> str:
    """The cause and the way out in words; empty where nothing is known about what a step of `page` said."""
    from bai_wizard.doctor.search import likely

    failure = likely(text, page)
    return f"{failure.cause} {failure.remedy}".strip() if failure is not None else ""
