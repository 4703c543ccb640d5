"""Generate bai_wizard/data/python-catalogue.json: every standalone CPython that a node can need, with its SHA-256.

    python -m tests.tools.make_python_catalogue OUTPUT PBS_INSTALLER.whl [...] [--uv UV_BINARY]

Sources: the data of PyPI's pbs-installer (wheels of several years, because each generation lists one flavour of a
build only: give them oldest first), and the table inside the uv program, which alone knows the builds for newer
x86-64 levels. Where both know a file their hashes have to agree. Not used by the wizard, only by its developers.
Needs the program zstd.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

OLDEST = (3, 8)
FILE = re.compile(
    r"cpython-(?P<version>\d+\.\d+\.\d+)\+(?P<build>\d{8})-(?P<arch>x86_64|aarch64)(?:_(?P<level>v[234]))?"
    r"-unknown-linux-gnu-(?P<flavour>install_only(?:_stripped)?)\.tar\.gz"
)
ZSTD = b"\x28\xb5\x2f\xfd"


class Build(NamedTuple):
    """An archive that can be installed."""

    version: tuple[int, ...]
    arch: str
    level: str
    flavour: str
    build: str
    url: str
    sha256: str

    @property
    def key(self) -> str:
        """The name under which uv knows it."""
        arch = f"{self.arch}_{self.level}" if self.level else self.arch
        return f"cpython-{'.'.join(map(str, self.version))}-linux-{arch}-gnu"


def build_of(url: str, sha256: str | None) -> Build | None:
    """Return the build at an address; None if it is not for us, or has no hash."""
    match = FILE.fullmatch(unquote(url.rsplit("/", 1)[1]))
    if match is None or not sha256:
        return None
    version = tuple(int(part) for part in match["version"].split("."))
    if version[:2] < OLDEST:
        return None
    return Build(version, match["arch"], match["level"] or "", match["flavour"], match["build"], url, sha256)


def from_pbs_installer(wheel: Path) -> Iterator[Build]:
    """The builds in one wheel of pbs-installer: JSON in newer ones, a literal in a module in older ones."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        if "pbs_installer/versions.json" in names:
            payload = json.loads(archive.read("pbs_installer/versions.json"))
            pairs = [(file["url"], file["sha256"]) for entry in payload for file in entry["files"]]
        else:
            pairs = _pairs(ast.parse(archive.read("pbs_installer/_versions.py")))
    yield from filter(None, (build_of(url, sha256) for url, sha256 in pairs))


def _pairs(module: ast.Module) -> list[tuple[str, str | None]]:
    """Every (address, hash) tuple of literals in a module."""
    result = []
    for node in ast.walk(module):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            values = [element.value if isinstance(element, ast.Constant) else ... for element in node.elts]
            if isinstance(values[0], str) and values[0].startswith("https://"):
                result.append((values[0], values[1] if isinstance(values[1], str) else None))
    return result


def from_uv(binary: Path) -> Iterator[Build]:
    """The builds in the table that the uv program carries, plain in older versions, compressed in newer ones."""
    table = _table(binary.read_bytes())
    for entry in table.values():
        if entry["name"] == "cpython" and entry["os"] == "linux" and not entry["variant"] and not entry["prerelease"]:
            build = build_of(entry["url"], entry["sha256"])
            if build is not None:
                yield build


def _table(data: bytes) -> dict[str, Any]:
    begin = data.find(b'{"cpython-')
    if begin >= 0:
        table, _ = json.JSONDecoder().raw_decode(data[begin : begin + 16_000_000].decode(errors="replace"))
        assert isinstance(table, dict)
        return table
    for match in re.finditer(re.escape(ZSTD), data):
        done = subprocess.run(
            ["zstd", "-dc"], input=data[match.start() : match.start() + 8_000_000], capture_output=True, check=False
        )
        if done.stdout.startswith(b'{"cpython-'):
            parsed = json.loads(done.stdout)
            assert isinstance(parsed, dict)
            return parsed
    raise SystemExit("no table of builds was found inside the uv program")


def merged(builds: Iterable[Build]) -> dict[str, dict[str, Any]]:
    """The catalogue: of one key and flavour the newest build. SystemExit where two sources disagree on a hash."""
    hashes: dict[str, str] = {}
    newest: dict[tuple[str, str], Build] = {}
    for build in builds:
        file = unquote(build.url.rsplit("/", 1)[1])
        if hashes.setdefault(file, build.sha256) != build.sha256:
            raise SystemExit(f"two hashes for {file}: {hashes[file]} and {build.sha256}")
        path = (build.key, build.flavour)
        if path not in newest or newest[path].build < build.build:
            newest[path] = build
    catalogue: dict[str, dict[str, Any]] = {}
    for (key, flavour), build in sorted(newest.items(), key=lambda item: (item[1].version, item[0])):
        entry = _entry(build)
        if key in catalogue:
            # uv knows one archive for a key; the other flavour stands beside it.
            catalogue[key]["others"] = {flavour: {name: entry[name] for name in ("build", "url", "sha256")}}
        else:
            catalogue[key] = {**entry, "flavour": flavour}
    return catalogue


def _entry(build: Build) -> dict[str, Any]:
    major, minor, patch = build.version
    return {
        "name": "cpython",
        "arch": {"family": build.arch, "variant": build.level or None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        # The project has moved; a mirror replaces the new address only.
        "url": build.url.replace("github.com/indygreg/", "github.com/astral-sh/"),
        "sha256": build.sha256,
        "variant": None,
        "build": build.build,
    }


def main() -> None:
    """Read the sources and write the catalog, one build per line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("wheels", type=Path, nargs="+")
    parser.add_argument("--uv", type=Path)
    options = parser.parse_args()
    builds = [build for wheel in options.wheels for build in from_pbs_installer(wheel)]
    if options.uv:
        builds += from_uv(options.uv)
    catalogue = merged(builds)
    lines = (f"{json.dumps(key)}: {json.dumps(entry, separators=(',', ':'))}" for key, entry in catalogue.items())
    options.output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(catalogue)} keys, {options.output.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
