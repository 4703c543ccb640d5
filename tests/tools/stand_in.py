"""The archive for this machine, with a local interpreter if the real one cannot be downloaded; kept between runs."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.cache import CHECKOUT, cache_directory, digest, locked
from tests.node import pbs_mirror
from tests.node.payload import dependencies
from tests.tools.build_archive import make_tree, pack
from tests.tools.build_deb import build_deb

KEPT = 2


@cache
def stand_in_archive() -> Path:
    """Build it from the current checkout with the newest interpreter of this machine; the .deb is next to it."""
    build = pbs_mirror.mirrored(pbs_mirror.version_of(pbs_mirror.prefixes()[-1]))
    minor = ".".join(build.version.split(".")[:2])
    sources = [path for part in ("bai_wizard", "packaging") for path in sorted((CHECKOUT / part).rglob("*"))]
    recipe = digest(
        build.sha256,
        dependencies(minor).name,
        *(part for path in sources if path.is_file() and "__pycache__" not in path.parts for part in _parts(path)),
        *(part for path in sorted((CHECKOUT / "tests/tools").glob("*.py")) for part in _parts(path)),
    )
    home = cache_directory() / "archives"
    with locked("archive"):
        directory = home / recipe
        if not directory.exists():
            home.mkdir(exist_ok=True)
            _make(directory, build.file, dependencies(minor))
            _drop_old(home)
    return next(directory.glob("*.tar.gz"))


def _parts(path: Path) -> tuple[str, bytes]:
    return str(path.relative_to(CHECKOUT)), path.read_bytes()


def _make(directory: Path, python: Path, wheels: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir=directory.parent) as work,
        tempfile.TemporaryDirectory(dir=directory.parent) as out,
    ):
        tree = Path(work) / "tree"
        make_tree(tree, python, pbs_mirror.ARCH, wheels=wheels)
        pack(Path(out), Path(work), pbs_mirror.ARCH)
        build_deb(Path(out), tree, pbs_mirror.ARCH, level=0)
        directory.mkdir()
        for file in Path(out).iterdir():
            file.rename(directory / file.name)


def _drop_old(home: Path) -> None:
    known = sorted((path for path in home.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in known[:-KEPT]:
        shutil.rmtree(old)
