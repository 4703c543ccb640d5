"""Writing what somebody wants to keep: answers, logs, reports. Never over another content without keeping it."""

from __future__ import annotations

import os
from pathlib import Path

from bai_wizard.texts import tr


def refuse_path(text: str) -> str:
    """Why nothing can be written there; empty if it can."""
    if not text.strip():
        return tr("a file name must be given")
    path = Path(text).expanduser()
    if path.is_dir():
        return tr("this is a directory; add a file name")
    if not path.parent.is_dir():
        return tr("there is no directory {path}", path=path.parent)
    if not os.access(path.parent, os.W_OK):
        return tr("the directory {path} cannot be written by you", path=path.parent)
    return ""


def save_text(path: Path, text: str) -> str:
    """Writes the file for its owner only; an older one is kept as `NAME~`. Returns what was done, for people."""
    kept = ""
    if path.exists() and not path.is_symlink():
        if path.read_text(encoding="utf-8", errors="replace") == text:
            return tr("{path} has this content already", path=path)
        older = path.with_name(path.name + "~")
        os.replace(path, older)
        kept = " " + tr("(the older one is kept as {path})", path=older)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return tr("saved as {path}", path=path) + kept
