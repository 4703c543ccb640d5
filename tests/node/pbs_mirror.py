"""A mirror of python-build-standalone whose archives contain real interpreters in the project's layout.

The project's files cannot be fetched where the tests run, so an archive is packed from a CPython of this machine that
was built from source (pyenv's, or the one that runs the tests): top directory `python`, the library found relative to
the program, and the places of the build frozen into sysconfig as the project has them (`/install`, clang).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.cache import cache_directory, digest, locked

DATE = "20240224"
ARCH = "x86_64"
RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"
LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|config-3[^/]*|share)(/|$)|\.(a|pyc)$"
    r"|site-packages/(?!pip(/|-))"
)


@dataclass(frozen=True)
class MirroredBuild:
    """One archive of the mirror: its exact version, its key in the catalog, its file and hash."""

    version: str
    file: Path
    sha256: str

    @property
    def key(self) -> str:
        return f"cpython-{self.version}-linux-{ARCH}-gnu"

    def entry(self, *, sha256: str = "") -> dict[str, object]:
        """The entry as in the catalog, or with a wrong hash for a test."""
        major, minor, patch = map(int, self.version.split("."))
        arch = {"family": ARCH, "variant": None}
        return {
            "name": "cpython", "arch": arch, "os": "linux", "libc": "gnu", "major": major, "minor": minor,
            "patch": patch, "prerelease": "", "variant": None, "build": DATE, "flavour": "install_only",
            "url": f"{RELEASES}/{DATE}/{self.file.name.replace('+', '%2B')}", "sha256": sha256 or self.sha256,
        }  # fmt: skip


def prefixes() -> list[Path]:
    """Return interpreters of this machine that can be packed: built from source, with pip, oldest first."""
    candidates = [*Path.home().glob(".pyenv/versions/3.*"), Path(sys.base_prefix)]
    result = {}
    for prefix in candidates:
        if prefix != Path("/usr") and list(prefix.glob("lib/python3.*/site-packages/pip")):
            version = version_of(prefix)
            if version >= "3.1":
                result[version] = prefix
    return [result[version] for version in sorted(result, key=lambda text: [int(part) for part in text.split(".")])]


def obstacle() -> str | None:
    """Return why no mirror can be created here."""
    there = [version_of(prefix) for prefix in prefixes()]
    return None if len(there) >= 2 else f"two CPythons built from source are needed, there is {there or 'none'}"


def version_of(prefix: Path) -> str:
    """Return the exact version from the header."""
    for header in prefix.glob("include/python3.*/patchlevel.h"):
        match = re.search(r'define\s+PY_VERSION\s+"([\d.]+)"', header.read_text())
        if match:
            return match[1]
    return ""


def mirrored(version: str) -> MirroredBuild:
    """Return the archive of an interpreter of this machine, packed once and kept. KeyError if it does not exist."""
    by_version = {version_of(prefix): prefix for prefix in prefixes()}
    prefix = by_version[version]
    recipe = digest(Path(__file__).read_text(), str(prefix))
    directory = cache_directory() / "pbs-mirror" / recipe / DATE
    file = directory / f"cpython-{version}+{DATE}-{ARCH}-unknown-linux-gnu-install_only.tar.gz"
    with locked(f"pbs-{version}"):
        if not file.exists():
            directory.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial")
            with (
                gzip.open(partial, "wb", compresslevel=1) as stream,
                tarfile.open(fileobj=stream, mode="w|") as archive,
            ):
                _pack(prefix, archive, ".".join(version.split(".")[:2]))
            partial.rename(file)
    done = subprocess.run(["sha256sum", str(file)], capture_output=True, check=True, text=True)
    return MirroredBuild(version, file, done.stdout.split()[0])


def catalogue(*builds: MirroredBuild) -> str:
    """Return a catalog with these builds only."""
    return json.dumps({build.key: build.entry() for build in builds})


def _pack(prefix: Path, archive: tarfile.TarFile, minor: str) -> None:
    for part in ("bin", "lib", "include"):
        for path in sorted((prefix / part).rglob("*")):
            name = str(path.relative_to(prefix))
            if not LEFT_OUT.search(name):
                _add(archive, prefix, path, f"python/{name}", minor)


def _add(archive: tarfile.TarFile, prefix: Path, path: Path, name: str, minor: str) -> None:
    info = archive.gettarinfo(str(path), name)
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    if not info.isreg():
        archive.addfile(info)
        return
    data = path.read_bytes()
    own = str(prefix).encode()
    if name == f"python/bin/python{minor}":
        # The search path of the library, in place: it is shorter than what it replaces.
        old = own + b"/lib\0"
        data = data.replace(old, b"$ORIGIN/../lib".ljust(len(old), b"\0"))
    elif "_sysconfigdata" in name:
        data = data.replace(own, b"/install").replace(b"'gcc", b"'clang").replace(b" gcc", b" clang")
    elif name.startswith("python/bin/") and data.startswith(b"#!"):
        body = data.partition(b"\n")[2]
        start = b'#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python%s" "$0" "$@"\n\' \'\'\'\n'
        data = start % minor.encode() + body
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
