"""Packages out of a bundle: a flat repository in a directory that is apt's only source, whatever the node names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.machine import Completed

INDEX = "Packages"
# Seconds to read an index that lies on a disk or a stick.
READING = 120.0


def newest(directory: str, package: str) -> str | None:
    """The version of a package that the bundle would give; None where it has none. Raises CannotTell."""
    index = Path(directory, INDEX)
    try:
        state = index.stat()
        versions = _versions(str(index), state.st_mtime_ns, state.st_size).get(package, ())
    except OSError as error:
        raise CannotTell(f"{index}: {error.strerror}") from error
    best: str | None = None
    for version in versions:
        if best is None or _is_newer(version, best):
            best = version
    return best


@lru_cache(maxsize=4)
def _versions(index: str, _changed: int, _size: int) -> dict[str, tuple[str, ...]]:
    """Every package of an index with its versions; kept until the file is another one."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in Path(index).read_text(encoding="utf-8").splitlines():
        if line.startswith("Package: "):
            name = line[9:].strip()
        elif line.startswith("Version: "):
            found[name] = (*found.get(name, ()), line[9:].strip())
    return found


def _is_newer(one: str, other: str) -> bool:
    from bai_wizard.machine.runner import run

    return run(["dpkg", "--compare-versions", one, "gt", other], timeout=10.0).code == 0


@contextmanager
def only_source(directory: str, apt: Callable[[Sequence[str]], Completed]) -> Iterator[tuple[str, ...]]:
    """The options with which apt-get knows this repository and nothing else. `apt` runs apt-get with such words.

    Its index is read into a state of its own, so the node's sources and lists are neither asked nor changed. It
    counts as trusted: the executor compares every file of a bundle with its manifest before the first change.
    Raises StepFailed.
    """
    with TemporaryDirectory(prefix="bai-wizard-apt-") as name:
        place = Path(name)
        (place / "lists/partial").mkdir(parents=True)
        (place / "sources.list").write_text(f"deb [trusted=yes] file:{quote(directory)} ./\n")
        options = tuple(
            word
            for option in (
                f"Dir::Etc::SourceList={place}/sources.list",
                "Dir::Etc::SourceParts=/dev/null",
                f"Dir::State::Lists={place}/lists",
                "Dir::Cache::pkgcache=",
                "Dir::Cache::srcpkgcache=",
                # apt's own user may not be able to read a stick or a directory of root's.
                "APT::Sandbox::User=root",
            )
            for word in ("-o", option)
        )
        read = apt([*options, "update"])
        if read.code != 0:
            raise StepFailed(f"the packages in {directory} cannot be read: {(read.err or read.out).strip()[-500:]}")
        yield options
