"""The pages of the wizard in order, and the settings class of each answers table; everything is imported lazily."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bai_wizard.core.page import Check, Page
    from bai_wizard.pages.fields import SettingsTable

# In the wizard's order. Defined here and not in the pages, so that titles can be shown before pages are imported.
TITLES: dict[str, str] = {
    "node": "Node",
    "account": "Account",
    "docker": "Docker",
    "tuning": "Tuning",
    "python": "Python",
    "aliases": "Aliases",
    "storage": "Storage",
    "accelerators": "Accelerators",
    "images": "Images",
}
ORDER: tuple[str, ...] = tuple(TITLES)

# Answers table → package of the page and class in its settings.py.
_SETTINGS: dict[str, tuple[str, str]] = {
    "node": ("node", "NodeSettings"),
    "network": ("node", "NetworkSettings"),
    "sources": ("node", "SourcesSettings"),
    "account": ("account", "AccountSettings"),
    "docker": ("docker", "DockerSettings"),
    "tuning": ("tuning", "TuningSettings"),
    "python": ("python", "PythonSettings"),
    "aliases": ("aliases", "AliasesSettings"),
    "storage": ("storage", "StorageSettings"),
    "accelerators": ("accelerators", "AcceleratorsSettings"),
    "images": ("images", "ImagesSettings"),
    "doctor": ("node", "DoctorSettings"),
    "maintenance": ("node", "MaintenanceSettings"),
}
TABLES: tuple[str, ...] = tuple(_SETTINGS)


def load(name: str) -> Page:
    """Return the page with this name. Raises KeyError for an unknown name."""
    if name not in ORDER:
        raise KeyError(name)
    page: Page = import_module(f"bai_wizard.pages.{name}.plan").PAGE
    return page


def checks_of(page: str) -> Callable[[], tuple[Check, ...]]:
    """Return a function that imports the checks of a page."""

    def checks() -> tuple[Check, ...]:
        result: tuple[Check, ...] = import_module(f"bai_wizard.pages.{page}.checks").CHECKS
        return result

    return checks


def settings_of(table: str) -> type[SettingsTable]:
    """Return the settings class of an answers table. Raises KeyError for an unknown name."""
    package, name = _SETTINGS[table]
    settings: type[SettingsTable] = getattr(import_module(f"bai_wizard.pages.{package}.settings"), name)
    return settings
