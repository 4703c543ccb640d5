"""Durable file writes: fsync, rename, fsync the directory."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bai_wizard.core.errors import PreflightError, WizardError
from bai_wizard.node.regular import sync_directory

# A file in the run directory and its size in bytes: deleted when the disk is full, to make room for the run's result.
RESERVE = "reserve"
RESERVED = 1 << 17
# The largest file in the state directory that is read whole, and the longest line of one that is read by line, in
# bytes. The wizard itself writes far less; the limits bound the memory that a damaged file can use.
LARGEST = 1 << 30
LONGEST = 16 << 20
T = TypeVar("T")


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `data` to `path` through a synced temporary file and a rename; the old file stays intact until then."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    sync_directory(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o600) -> None:
    """`write_durably` for a JSON document, indented for readability."""
    write_durably(path, json_bytes(value), mode)


def json_bytes(value: Any) -> bytes:
    """A JSON document as `write_json` writes it."""
    return (json.dumps(value, indent=1) + "\n").encode()


def append_line(descriptor: int, line: bytes) -> None:
    """Append a whole line or nothing: a partial line would corrupt the next one."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        raise


@contextmanager
def recording(what: Path, error: type[WizardError], tail: str) -> Iterator[None]:
    """Convert I/O errors such as a full disk, raised while a run writes its records, to `error`."""
    try:
        yield
    except OSError as problem:
        raise error(f"{what}: {(problem.strerror or str(problem)).lower()}: {tail}") from problem


def with_reserve(reserve: Path, write: Callable[[], T]) -> T:
    """Call `write()`; if the disk is full, delete the reserve and retry once. Raises OSError."""
    try:
        return write()
    except OSError as error:
        if error.errno != errno.ENOSPC or not reserve.exists():
            raise
    reserve.unlink()
    return write()


# What decoding raises for JSON of the wrong shape, besides ValueError.
MALFORMED = (KeyError, TypeError, AttributeError, IndexError, AssertionError, RecursionError, OverflowError)


class Damaged(PreflightError, ValueError):
    """A record of a run that cannot be read: truncated by a power loss, modified, or malformed."""


def open_record(path: Path) -> int:
    """Open a file of the state directory for reading, never a FIFO or a link. Raises FileNotFoundError, Damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Damaged(f"{path} is not a regular file")
    return descriptor


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a file of the state directory. Raises FileNotFoundError, Damaged."""
    with os.fdopen(open_record(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise Damaged(f"{path} is larger than {largest >> 20} MiB")
        try:
            # Not `largest`: that much memory would be reserved, and a small node does not have it.
            return file.read(size)
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def read_end(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file of the state directory. Raises FileNotFoundError, Damaged."""
    with os.fdopen(open_record(path), "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - limit))
            return file.read(min(size, limit))
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def last_line_end(descriptor: int) -> int:
    """The byte offset where the last complete line of an open file ends; read backwards, in chunks.

    Raises OSError for a file larger than `LARGEST`.
    """
    end = os.fstat(descriptor).st_size
    if end > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    while end:
        begin = max(0, end - (1 << 20))
        result = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if result >= 0:
            return begin + result + 1
        end = begin
    return 0


def skip_hole(descriptor: int, index: int) -> int:
    """The next offset at or after `index` outside the holes of a sparse file: reading terabytes of zeros takes hours.

    Keeps the descriptor's position. Raises OSError.
    """
    here = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        return os.lseek(descriptor, index, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole up to the end
            return max(index, os.fstat(descriptor).st_size)
        if error.errno == errno.EINVAL:  # a file system without SEEK_DATA
            return index
        raise
    finally:
        os.lseek(descriptor, here, os.SEEK_SET)


def lines_of(path: Path, longest: int = LONGEST) -> Iterator[bytes | None]:
    """The lines of a file with their line breaks; a torn last line has none.

    A line longer than `longest` bytes is never held in memory; None is yielded in its place.
    Raises FileNotFoundError, Damaged.
    """
    with os.fdopen(open_record(path), "rb") as file:
        try:
            while line := file.readline(longest + 1):
                if len(line) <= longest:
                    yield line
                    continue
                while line and not line.endswith(b"\n"):
                    file.seek(skip_hole(file.fileno(), file.tell()))
                    line = file.readline(longest)
                yield None
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises FileNotFoundError, Damaged."""
    try:
        value = json.loads(read_bytes(path, LONGEST * 4))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"{path} is damaged: {_why(error)}") from error
    if not isinstance(value, dict):
        raise Damaged(f"{path} is damaged: it is not a JSON object")
    return value


def _why(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
