"""A bundle's manifest, and the comparison of its files with it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Annotated, Any
from unicodedata import normalize

from msgspec import Meta, Struct, convert, to_builtins

from bai_wizard.core.errors import PreflightError, StepFailed
from bai_wizard.core.paths import parents
from bai_wizard.node.package_tool import LARGEST
from bai_wizard.node.package_tool import VERSION as VERSION_OF_PACKAGE
from bai_wizard.node.regular import kind_of, open_regular

# A page, and a text that says what it needs and a bundle does not contain.
MissingItem = tuple[str, str]
MANIFEST = "manifest.json"
SUMS_NAME = "SHA256SUMS"
# 2: a package has its control fields, from which the node builds apt's index; 1 trusted the index in the bundle.
VERSION = 2
# The parts of a bundle besides the two files above.
PARTS = ("python", "wheels", "packages", "images", "wizard")
# The maximum number of files in a manifest: a bundle of everything has a few thousand.
MAX_FILES = 100_000
MAX_COMPONENTS = 4
PACKAGE_FILE = re.compile(r"packages/[A-Za-z0-9][A-Za-z0-9.+~%_-]*\.deb")
FIELD = re.compile(r"((?![#-])[!-9;-~]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
CONTINUED = re.compile(r"[ \t][^\x00-\x08\x0a-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x08\x0a-\x1f\x7f]*")
# The required fields, with their allowed values.
NEEDED_FIELDS = {
    "package": re.compile(r"[a-z0-9][a-z0-9.+-]+"),
    "version": VERSION_OF_PACKAGE,
    "architecture": re.compile(r"[a-z0-9][a-z0-9-]*"),
}
# Fields that the node adds to a package itself: a bundle must not set them.
OUR_FIELDS = {"filename", "size", "sha256", "sha512", "sha1", "md5sum"}


class Held(Struct, frozen=True, omit_defaults=True):
    """A file of the bundle by its path below it.

    `size` is in bytes; `control` holds the fields of a package as shown by dpkg-deb, empty for other files.
    """

    path: str
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    size: Annotated[int, Meta(ge=0)]
    control: str = ""

    @property
    def part(self) -> str:
        """The part of the bundle that it belongs to."""
        return self.path.partition("/")[0]


class Manifest(Struct, frozen=True):
    """The content of a manifest. `lacks` says by page what the answers need and the bundle does not contain.

    `system` is the code name of the release that its packages are for; empty without packages. `digest` is the
    SHA-256 of the manifest as it was read, which covers every file; empty if it was not read.
    """

    arch: str
    wizard: str
    files: tuple[Held, ...]
    lacks: tuple[MissingItem, ...] = ()
    system: str = ""
    digest: str = ""

    def sums(self) -> str:
        """The content of SHA256SUMS, for `sha256sum --check`."""
        return "".join(f"{held.sha256}  {held.path}\n" for held in self.files)

    def text(self) -> str:
        """The content of manifest.json."""
        body = {
            "version": VERSION,
            "arch": self.arch,
            "wizard": self.wizard,
            "system": self.system,
            "files": to_builtins(self.files),
            "lacks": [{"page": page, "what": what} for page, what in self.lacks],
        }
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"

    def write(self, directory: Path) -> None:
        """Write both files; the manifest last, because it marks the bundle as complete."""
        _put(directory / SUMS_NAME, self.sums())
        _put(directory / MANIFEST, self.text())


def read_manifest(directory: Path, name: str = MANIFEST) -> Manifest:
    """The manifest of a complete bundle. Raises PreflightError for anything else, with the reason."""
    data = _read(directory, name)
    try:
        body = json.loads(data)
        if body["version"] != VERSION:
            raise PreflightError(
                f"{directory} is a bundle of version {body['version']!r:.20}; this wizard reads version {VERSION}:"
                " create it again with `bai-wizard bundle` of this release"
            )
        return _manifest(body, sha256(data).hexdigest())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PreflightError(f"{directory / name} cannot be read as a manifest: {error!r:.300}") from error


def digest_of(directory: Path) -> str:
    """The SHA-256 of the manifest file, which covers every file. Raises PreflightError without a manifest."""
    return sha256(_read(directory)).hexdigest()


def path_fault(path: str) -> str:
    """Why a path is not allowed in a manifest; empty if it is allowed."""
    parts = path.split("/")
    if parts[0] not in PARTS or not 2 <= len(parts) <= MAX_COMPONENTS:
        return f"is not below {', '.join(PARTS)}"
    for part in parts:
        if not part or part[0] in ".-" or part != part.strip() or "\\" in part or not part.isprintable():
            return "has a component that is not allowed"
        if len(part.encode(errors="surrogatepass")) > 255:
            return "has a component that is too long"
    if parts[0] == "packages" and not PACKAGE_FILE.fullmatch(path):
        return "is not the name of a package file"
    return ""


def control_fault(control: str) -> str:
    """Why a text is not exactly one paragraph of package fields; empty if it is."""
    fields: dict[str, str] = {}
    for line in control.split("\n"):
        match = FIELD.fullmatch(line)
        if match:
            name = match[1].lower()
            if name in fields or name in OUR_FIELDS:
                return f"has the field {match[1]} twice, or a field that only the node may set"
            fields[name] = match[2].strip()
        elif not fields or not CONTINUED.fullmatch(line):
            return "is not a single paragraph of fields"
    for name, allowed in NEEDED_FIELDS.items():
        if not allowed.fullmatch(fields.get(name, "")):
            return f"has no valid field {name.capitalize()}"
    return ""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _read(directory: Path, name: str = MANIFEST) -> bytes:
    try:
        with os.fdopen(open_regular(str(directory / name)), "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise PreflightError(
            f"{directory} is not a complete bundle: it has no {MANIFEST}; create it: bai-wizard bundle ANSWERS -o DIR"
        ) from None
    except OSError as error:
        raise PreflightError(f"{directory / name} cannot be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise PreflightError(f"{directory / name} is larger than {LARGEST >> 20} MiB: it is not a manifest")
    return data


def _manifest(body: dict[str, Any], digest: str) -> Manifest:
    """Raises ValueError, KeyError or TypeError for invalid content."""
    if len(body["files"]) > MAX_FILES:
        raise ValueError(f"it lists more than {MAX_FILES} files")
    files = convert(body["files"], tuple[Held, ...])
    # The file system of a USB stick may ignore case and Unicode normalization: two names could be one file.
    seen: set[str] = set()
    for held in files:
        same = normalize("NFKC", held.path.casefold())
        if same in seen:
            raise ValueError(f"it lists {held.path!r:.200} twice")
        seen.add(same)
        fault = path_fault(held.path)
        if not fault and (held.part == "packages" or held.control):
            fault = control_fault(held.control) and f"has a control paragraph that {control_fault(held.control)}"
        if fault:
            raise ValueError(f"{held.path!r:.200} {fault}")
    lacks = convert([(item["page"], item["what"]) for item in body["lacks"]], tuple[MissingItem, ...])
    arch, wizard, system = (convert(body[name], str) for name in ("arch", "wizard", "system"))
    return Manifest(arch, wizard, files, lacks, system, digest)


def _put(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text)
    os.replace(partial, path)


# Compare the files in a bundle's directory with its manifest: exactly the listed files, with the listed content.
#
# Paths are resolved component by component from one descriptor of the bundle's directory. Links are never followed,
# and only regular files are opened.

# The maximum number of faults reported; a directory with a million unlisted files is not read to its end.
MAX_FAULTS = 5
CHUNK = 1 << 20
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def open_bundle(location: Path) -> Iterator[int]:
    """A descriptor of the bundle's directory. Raises PreflightError."""
    try:
        directory = os.open(location, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PreflightError(f"the bundle {location} cannot be read: {error.strerror}") from error
    try:
        yield directory
    finally:
        os.close(directory)


def content_faults(bundle: int, manifest: Manifest) -> tuple[str, ...]:
    """The first few files that are missing, unlisted, not regular or of the wrong size. Opens no file."""
    listed = {held.path: held for held in (*manifest.files, sums_of(manifest))}
    seen: set[str] = set()
    result: list[str] = []
    for path, status in _walk(bundle, _directories(manifest)):
        held = listed.get(path)
        if held is None and path != MANIFEST:
            result.append(f"{path} is not listed in the manifest")
        elif not stat.S_ISREG(status.st_mode):
            result.append(f"{path} is {kind_of(status.st_mode)}")
        elif held is not None and status.st_size != held.size:
            result.append(f"{path} has {status.st_size} bytes, expected {held.size}")
        seen.add(path)
        if len(result) >= MAX_FAULTS:
            return _shown(result)
    result += [f"{path} is missing" for path in listed if path not in seen]
    return _shown(result[:MAX_FAULTS])


def sums_of(manifest: Manifest) -> Held:
    """SHA256SUMS, which the manifest does not list, but determines."""
    data = manifest.sums().encode()
    return Held(SUMS_NAME, sha256(data).hexdigest(), len(data))


def copy_held(bundle: int, held: Held, copy: int | None = None) -> str:
    """Read a listed file once, hash it and copy it to `copy`. Returns why it is not the listed file.

    Empty if it is. Raises OSError if the copy cannot be written.
    """
    try:
        file = _open(bundle, held.path)
    except OSError as error:
        return f"{held.path}: {error.strerror}"
    digest, left = sha256(), held.size + 1
    try:
        while data := _read_file(file, min(CHUNK, left)):
            digest.update(data)
            left -= len(data)
            view = memoryview(data)
            while copy is not None and view:
                view = view[os.write(copy, view) :]
    except _Unreadable as error:
        return f"{held.path}: {error}"
    finally:
        os.close(file)
    if left != 1 or digest.hexdigest() != held.sha256:
        return f"{held.path} has different content"
    return ""


def held_in(directory: Path) -> tuple[Held, ...]:
    """Every file in the parts of a bundle being created, hashed.

    Raises StepFailed for anything that is not a file.
    """
    result = []
    with open_bundle(directory) as bundle:
        for path, status in _walk(bundle, None):
            if path.partition("/")[0] not in PARTS:
                continue
            if not stat.S_ISREG(status.st_mode):
                raise StepFailed(
                    f"{directory / path} is {kind_of(status.st_mode)}: a bundle contains only regular files"
                )
            with os.fdopen(_open(bundle, path), "rb") as file:
                digest, size = sha256(), 0
                while data := file.read(CHUNK):
                    digest.update(data)
                    size += len(data)
            result.append(Held(path, digest.hexdigest(), size))
    return tuple(sorted(result, key=lambda held: held.path))


class _Unreadable(Exception):
    """A file of the bundle cannot be read, as opposed to a copy that cannot be written."""


def _read_file(file: int, limit: int) -> bytes:
    try:
        return os.read(file, limit) if limit else b""
    except OSError as error:
        raise _Unreadable(error.strerror or str(error)) from error


def _directories(manifest: Manifest) -> set[str]:
    """The directories that contain the listed files, and those of the parts, which may be empty."""
    result: set[str] = set(PARTS)
    for held in manifest.files:
        result.update(parents(held.path))
    return result


def _walk(bundle: int, directories: set[str] | None) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below the bundle with its status, except the given directories (None: any), which are traversed."""
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            directory = _descend(bundle, above.split("/") if above else [])
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        path = f"{above}/{entry.name}" if above else entry.name
                        status = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode) and (directories is None or path in directories):
                            waiting.append(path)
                        else:
                            yield path, status
            finally:
                os.close(directory)
        except OSError as error:
            raise PreflightError(f"the bundle cannot be read: {above or '.'}: {error.strerror}") from error


def _open(bundle: int, path: str) -> int:
    *above, name = path.split("/")
    directory = _descend(bundle, above)
    try:
        return open_regular(name, directory=directory)
    finally:
        os.close(directory)


def _descend(bundle: int, parts: list[str]) -> int:
    """A new descriptor of a directory below the bundle. Raises OSError; links are never followed."""
    directory = os.open(".", DIRECTORY, dir_fd=bundle)
    for part in parts:
        try:
            below = os.open(part, DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = below
    return directory


def _shown(result: list[str]) -> tuple[str, ...]:
    """Escape names, which may be any bytes, for a message."""
    return tuple(text.encode(errors="surrogateescape").decode(errors="backslashreplace") for text in result)
