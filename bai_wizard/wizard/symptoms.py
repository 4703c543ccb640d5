"""What an error text most likely means, from the doctor's list of symptoms."""

from __future__ import annotations


def likely_cause(text: str) -> str:
    """The cause in words; empty where nothing is known about such a text."""
    from importlib.util import find_spec

    if find_spec("bai_wizard.doctor.symptoms") is None:
        return ""
    return ""
