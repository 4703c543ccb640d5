"""The kinds of step that several pages use: each a few dozen lines on top of the operations."""

from __future__ import annotations

# Modules of pages that define steps, beside every `*steps.py`.
_WITH_STEPS = ("bai_wizard.pages.docker.packages", "bai_wizard.pages.tuning.login_session")


def load_all() -> None:
    """Import every kind, so that any plan can be decoded and nothing is imported once changes have begun."""
    from importlib import import_module
    from pkgutil import iter_modules, walk_packages

    import_module("bai_wizard.core.page")  # Unsupported
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    # Steps of one page are in its package; this package does not depend on pages otherwise.
    for module in walk_packages(import_module("bai_wizard.pages").__path__, "bai_wizard.pages."):
        if module.name.endswith((".steps", "_steps")) or module.name in _WITH_STEPS:
            import_module(module.name)
