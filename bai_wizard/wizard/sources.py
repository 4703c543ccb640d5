"""Where a wish is served from: the bundle that [sources] names, as in a headless run, else what the tables say."""

from __future__ import annotations

from dataclasses import replace

from bai_wizard.compose import Wish


def sourced(wish: Wish) -> Wish:
    """The wish with its bundle as the source. Reads the disk. Raises PreflightError for a bundle that will not do."""
    if not getattr(wish.settings.get("sources"), "bundle", ""):
        return wish
    from bai_wizard.bundle.redirect import from_bundle

    return from_bundle(wish)


def sourced_to_look(wish: Wish) -> Wish:
    """The same for looking at the node: what the bundle lacks is for the plan to refuse."""
    return replace(sourced(replace(wish, pages=())), pages=wish.pages)
