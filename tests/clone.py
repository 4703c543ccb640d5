"""Clones of the checkout, with its files as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cache import CHECKOUT
from tests.tools.release import git


def clone(directory: Path) -> Path:
    """Clone the checkout there, and commit its uncommitted files. They belong to Alice."""
    git(CHECKOUT, "clone", "--quiet", str(CHECKOUT), str(directory))
    git(directory, "rm", "-r", "--quiet", ".")
    for name in (
        git(CHECKOUT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").rstrip("\0").split("\0")
    ):
        if (CHECKOUT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, directory / name, follow_symlinks=False)
    git(directory, "config", "user.name", "Alice")
    git(directory, "config", "user.email", "alice@example.org")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", "Change")
    return directory
