"""The kinds of step: each a few dozen lines over the primitives."""

from __future__ import annotations


def load_all() -> None:
    """Imports every kind, so that a plan can be read and nothing is imported once changes have begun."""
    from importlib import import_module
    from pkgutil import iter_modules

    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
