"""The keys of things on the node, made of their names."""

from __future__ import annotations

from bai_wizard.core.state import Key


def member_key(user: str, group: str) -> Key:
    """The key of «user is listed in group»."""
    return Key("member", f"{group}:{user}")


def image_key(reference: str) -> Key:
    """The key of an image by its full reference."""
    return Key("image", reference)


def package_key(name: str) -> Key:
    """The key of an installed package."""
    return Key("package", name)


def interpreter_key(path: str) -> Key:
    """The key of the Python in a directory of its own."""
    return Key("interpreter", path)


def venv_key(path: str) -> Key:
    """The key of a virtual environment by its directory."""
    return Key("venv", path)


def distribution_key(venv: str, name: str) -> Key:
    """The key of a Python package in a virtual environment; its state is a Package."""
    return Key("distribution", f"{venv}:{name}")


def download_key(path: str) -> Key:
    """The key of a file that the wizard fetched."""
    return Key("download", path)


def tree_key(path: str) -> Key:
    """The key of a tree by its root."""
    return Key("tree", path)


def unit_key(name: str) -> Key:
    """The key of a unit."""
    return Key("unit", name)
