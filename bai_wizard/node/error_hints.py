"""Explain errors with `data/errors.toml`: those of the kernel, of programs and of the network."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from bai_wizard.core.errors import AccessDenied, StateUnknown, StepFailed
from bai_wizard.core.paths import parents
from bai_wizard.data import read_toml


class ErrorHint(NamedTuple):
    """An entry of `data/errors.toml`, which documents the fields."""

    pattern: str
    cause: str
    example: str
    fix: str = ""
    retry: bool = False


class Explanation(NamedTuple):
    """Cause and fix as sentences. `retry`: another attempt may succeed without intervention."""

    text: str
    retry: bool


@cache
def error_hints(source: str) -> tuple[ErrorHint, ...]:
    """Return the entries for one source of errors."""
    return tuple(ErrorHint(**entry) for entry in read_toml("errors.toml")[source])


def find_hint(source: str, error: str, **values: str) -> Explanation | None:
    """Return the first entry of the source that matches the error, filled with `values`; None if no entry does."""
    for hint in error_hints(source):
        match = re.search(hint.pattern, error)
        if match:
            groups = {name: " ".join((text or "").split()) for name, text in match.groupdict().items()}
            texts = [text.format(**{"what": "", "more": "", **values, **groups}) for text in (hint.cause, hint.fix)]
            filled = ". ".join(filter(None, texts))
            return Explanation(filled.replace(" ()", "").replace(" (, ", " ("), hint.retry)
    return None


def explain_os_error(source: str, error: OSError, name: str = "", **values: str) -> str:
    """Explain an error of the kernel by `name`, by default that of its number, or else by its own text."""
    text = (error.strerror or str(error)).lower()
    hint = find_hint(source, name or errno.errorcode.get(error.errno or 0, ""), **values)
    return hint.text if hint else text


def explain_file_error(error: OSError, path: str) -> str:
    """Explain a failed operation on `path` in one sentence."""
    name = "UntrustedDirectory" if type(error).__name__ == "UntrustedDirectory" else ""
    link = str(error.filename or "")
    reason = explain_os_error(
        "file",
        error,
        name,
        detail=str(error.strerror),
        file_system=file_system_of(path) if error.errno == errno.ENOSPC else "",
        link="" if path.endswith(link) else link,
    )
    return f"{path}: {reason}"


def file_system_of(path: str) -> str:
    """Return the mount point of `path` by comparing device numbers, without accessing anything below it."""
    return next(filter(os.path.ismount, (path.rstrip("/"), *parents(path))), "/")


@contextmanager
def changing(path: str) -> Iterator[None]:
    """Convert an OSError to StepFailed with the cause in plain words."""
    try:
        yield
    except OSError as error:
        raise StepFailed(explain_file_error(error, path)) from error


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Convert an OSError to StateUnknown with the cause in plain words."""
    try:
        yield
    except PermissionError as error:
        if os.geteuid() != 0:
            raise AccessDenied(f"{path}: needs root") from error
        raise AccessDenied(explain_file_error(error, path)) from error
    except OSError as error:
        raise StateUnknown(explain_file_error(error, path)) from error
