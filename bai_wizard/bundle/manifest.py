"""The manifest of a bundle: which files it holds, with their hashes, and what it does not hold."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from bai_wizard.core.errors import PreflightError

# A page, and in words what it needs and a bundle does not bring.
Lack = tuple[str, str]
NAME = "manifest.json"
VERSION = 1


@dataclass(frozen=True)
class Held:
    """A file of the bundle by its path below it; `size` in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """`lacks` are sentences by page: what the answers need and the bundle does not bring.

    `system` is the code name of the release that its packages are for; empty without packages.
    """

    arch: str
    wizard: str
    files: tuple[Held, ...]
    lacks: tuple[Lack, ...] = ()
    system: str = ""

    def write(self, directory: Path) -> None:
        """Writes manifest.json, and SHA256SUMS for `sha256sum --check`; the manifest last, for it says «complete»."""
        sums = "".join(f"{held.sha256}  {held.path}\n" for held in self.files)
        _put(directory / "SHA256SUMS", sums)
        body = {
            "version": VERSION,
            "arch": self.arch,
            "wizard": self.wizard,
            "system": self.system,
            "files": [{"path": held.path, "sha256": held.sha256, "size": held.size} for held in self.files],
            "lacks": [{"page": page, "what": what} for page, what in self.lacks],
        }
        _put(directory / NAME, json.dumps(body, indent=1, ensure_ascii=False) + "\n")


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a complete bundle. Raises PreflightError for anything else, naming what is wrong."""
    try:
        body = json.loads((directory / NAME).read_text())
        if body["version"] != VERSION:
            raise PreflightError(f"{directory} is a bundle of version {body['version']}; this wizard reads {VERSION}")
        files = tuple(Held(item["path"], item["sha256"], item["size"]) for item in body["files"])
        lacks = tuple((item["page"], item["what"]) for item in body["lacks"])
        return Manifest(body["arch"], body["wizard"], files, lacks, body["system"])
    except FileNotFoundError:
        raise PreflightError(
            f"{directory} is no complete bundle: it has no {NAME}; make it with: bai-wizard bundle ANSWERS -o DIR"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PreflightError(f"{directory / NAME} cannot be read as a manifest: {error}") from error


def digest_of(directory: Path) -> str:
    """The sha256 of the manifest itself, which vouches for every file. Raises PreflightError without a manifest."""
    try:
        return sha256_of(directory / NAME)
    except OSError as error:
        raise PreflightError(f"{directory / NAME} cannot be read: {error.strerror}") from error


def damaged(directory: Path, manifest: Manifest, *, hashes: bool) -> tuple[str, ...]:
    """The files that are not there or have another size; with `hashes`, also those with another content."""
    return tuple(held.path for held in manifest.files if not _is_whole(directory / held.path, held, hashes))


def held_in(directory: Path, parts: tuple[str, ...]) -> tuple[Held, ...]:
    """Every finished file below the parts of a bundle, hashed."""
    found = []
    for part in parts:
        for path in sorted((directory / part).rglob("*")):
            if path.is_file() and not path.name.endswith((".part", ".mark")):
                found.append(Held(str(path.relative_to(directory)), sha256_of(path), path.stat().st_size))
    return tuple(found)


def sha256_of(path: Path) -> str:
    """In hex."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _is_whole(path: Path, held: Held, hashes: bool) -> bool:
    try:
        return path.stat().st_size == held.size and (not hashes or sha256_of(path) == held.sha256)
    except OSError:
        return False


def _put(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text)
    os.replace(partial, path)
