"""Settings from plain values, validated as those of an answers file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bai_wizard.answers.validate import convert

T = TypeVar("T")


class RefusedSettings(ValueError):
    """The reasons for which values were refused."""


def settings_from(model: Callable[..., T], plain: Any) -> T:
    """The settings. Raises RefusedSettings with all reasons."""
    settings: T
    settings, problems = convert(model, plain)
    if problems:
        raise RefusedSettings("; ".join(problem.reason for problem in problems))
    return settings
