"""The pages of the wizard in their order, and the settings of each table of the answers; everything imported late."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bai_wizard.core.page import Page
    from bai_wizard.pages.fields import SettingsTable

# pydantic loads plugins that any installed distribution offers, into a process that may be root's. We want none, and
# save the search: its module alone, imported with the first schema, brings importlib.metadata, zipfile and tempfile
# (25 ms of CPU). So it finds an empty one in its place. The variable says the same to a pydantic that is built
# otherwise. Both have to stand before the first model is made; every page module comes after this.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
_no_plugins: Any = ModuleType("pydantic.plugin._loader", "No plugins: `bai_wizard.pages` says why.")
_no_plugins.get_plugins = lambda: ()
sys.modules.setdefault(_no_plugins.__name__, _no_plugins)

# In the wizard's order. Here and not with the pages, so that their names stand on a screen before they are imported.
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

# Table of the answers → the page's package and the class in its settings.py.
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
}
TABLES: tuple[str, ...] = tuple(_SETTINGS)


def load(name: str) -> Page:
    """The page of that name. Raises KeyError when there is none."""
    if name not in ORDER:
        raise KeyError(name)
    page: Page = import_module(f"bai_wizard.pages.{name}.page").PAGE
    return page


def settings_of(table: str) -> type[SettingsTable]:
    """The settings class of a table of the answers. Raises KeyError when there is none."""
    package, name = _SETTINGS[table]
    settings: type[SettingsTable] = getattr(import_module(f"bai_wizard.pages.{package}.settings"), name)
    return settings
