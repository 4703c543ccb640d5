"""Writing so that it is there after a power cut."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


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
