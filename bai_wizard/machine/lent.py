"""Secrets that a run needs in clear: on tmpfs, one file each, root's alone, for as long as the run lasts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.secret import Secret

DIRECTORY = "run/bai-wizard/lent"


def lend(root: Path, secrets: Mapping[str, Secret]) -> None:
    """Puts secrets where the executor finds them; those of an earlier run are gone."""
    take_back(root)
    directory = root / DIRECTORY
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    directory.mkdir(mode=0o700)
    for name, secret in secrets.items():
        descriptor = os.open(
            directory / _file(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret.reveal().encode())


def lent(root: Path, name: str) -> Secret:
    """A secret by its name. Raises StepFailed where nobody lent it: the run was resumed without it, for instance."""
    try:
        descriptor = os.open(root / DIRECTORY / _file(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StepFailed(f"the password for {name} is not at hand any more: start the run anew with it") from error
    with os.fdopen(descriptor, "rb") as file:
        return Secret(file.read().decode())


def take_back(root: Path) -> None:
    """Removes what was lent."""
    directory = root / DIRECTORY
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def _file(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:32]
