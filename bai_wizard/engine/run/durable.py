"""Writing so that it is there after a power cut."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bai_wizard.core.errors import WizardError

# A file in the run's directory, and its bytes: given up when the disk is full, for the words of the run's end.
RESERVE = "reserve"
RESERVED = 1 << 17
T = TypeVar("T")


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Puts `data` at `path` by a synced temporary file and a rename; the old file stays whole until then."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
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
    """`write_durably` for one JSON document, readable by people."""
    write_durably(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(), mode)


def sync_directory(path: Path) -> None:
    """Makes renames and creations in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(descriptor: int, line: bytes) -> None:
    """Appends a whole line or nothing: a part of one would spoil the next."""
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
    """Turns a full disk and its like, met while a run writes down what it does, into `error`."""
    try:
        yield
    except OSError as problem:
        raise error(f"{what}: {(problem.strerror or str(problem)).lower()}: {tail}") from problem


def with_reserve(reserve: Path, write: Callable[[], T]) -> T:
    """`write()`; where the disk is full, once more with the reserved room given up. Raises OSError."""
    try:
        return write()
    except OSError as error:
        if error.errno != errno.ENOSPC or not reserve.exists():
            raise
    reserve.unlink()
    return write()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; a torn last line is left out, a torn one elsewhere is a ValueError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = raw.split(b"\n")
    whole, tail = lines[:-1], lines[-1]
    records = []
    for number, line in enumerate(whole, 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number == len(whole) and not tail:
                break
            raise ValueError(f"{path}:{number}: damaged: {error}") from error
    return records
