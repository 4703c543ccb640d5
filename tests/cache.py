"""Cache of trees, images and keys that are slow to create: outside the repository, protected by locks."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def cache_directory() -> Path:
    """Return the cache directory. It can be deleted while no test is running."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(base) / "bai-wizard-tests"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def locked(name: str, directory: Path | None = None) -> Iterator[None]:
    """Hold the lock ``name`` of the cache or another directory. Wait for it without a limit."""
    with ((directory or cache_directory()) / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(*parts: str | bytes) -> str:
    """Return twelve hex digits that change if any of the parts changes."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:12]
