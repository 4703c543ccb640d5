"""Short names of values: equal for equal values, different for different ones, and telling nothing of either."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

from bai_wizard.core.secret import Secret


def fingerprint(value: Any) -> str:
    """A digest of plain values, dataclasses of them, sequences and mappings; of a secret's text as well."""
    return blake2b(repr(_plain(value)).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bytes, int, float, type(None))):
        return value
    if isinstance(value, Secret):
        return ("secret", value.reveal())
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return [(key, _plain(value[key])) for key in sorted(value)]
    if is_dataclass(value):
        return (type(value).__name__, *(_plain(getattr(value, field.name)) for field in fields(value)))
    raise TypeError(f"no fingerprint of {type(value).__name__}")


def file_mark(path: str) -> list[int]:
    """What changes with every change of a file (ctime among it), as git's index has it; empty where none is."""
    try:
        about = os.stat(path)
    except OSError:
        return []
    return [
        about.st_dev,
        about.st_ino,
        about.st_size,
        about.st_mtime_ns,
        about.st_ctime_ns,
        about.st_mode,
        about.st_uid,
    ]
