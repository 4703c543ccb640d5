"""The wizard as installed in a node: the checkout's package and its dependencies for the node's Python."""

import io
import shutil
import tarfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from tests.cache import CHECKOUT, cache_directory, digest, locked
from tests.node import host

HOME = "/opt/bai-wizard"
LAUNCHER = '#!/bin/sh\nexec /usr/bin/python3 -I -m bai_wizard "$@"\n'


def project() -> dict[str, Any]:
    """Return the ``[project]`` table of the checkout."""
    table: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return table


def dependencies(python: str) -> Path:
    """Return a directory with the dependencies for CPython ``python``; created once per list of requirements."""
    requirements: list[str] = project()["dependencies"]
    directory = cache_directory() / f"wheels-{python}-{digest(*requirements)}"
    with locked(f"wheels-{python}"):
        if not directory.exists():
            for old in cache_directory().glob(f"wheels-{python}-*/"):
                shutil.rmtree(old)
            partial = cache_directory() / f"work-wheels-{python}"
            shutil.rmtree(partial, ignore_errors=True)
            host.pip_install(python, partial, requirements)
            partial.rename(directory)
    return directory


def launcher(python: str) -> dict[str, tuple[int, bytes]]:
    """Return files that start ``bai-wizard`` and ``python3 -I -m bai_wizard``: relative path → mode, content."""
    return {
        f"usr/local/lib/python{python}/dist-packages/bai-wizard.pth": (0o644, f"{HOME}\n".encode()),
        "usr/local/bin/bai-wizard": (0o755, LAUNCHER.encode()),
    }


@cache
def wizard(python: str) -> bytes:
    """Return a tar file relative to the root: the current package, its metadata, the launcher and the search path."""
    name, version = project()["name"], project()["version"]
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (mode, content) in launcher(python).items():
            _add(archive, path, content, mode)
        _add(archive, f"opt/bai-wizard/{name.replace('-', '_')}-{version}.dist-info/METADATA", metadata.encode())
        for source in sorted((CHECKOUT / "bai_wizard").rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                _add(archive, f"opt/bai-wizard/{source.relative_to(CHECKOUT)}", source.read_bytes())
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    """Add a file of root; the same content always gives the same bytes."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
