"""A file that is being fetched: what is there of it so far, the hash of that, and where it came from."""

from __future__ import annotations

import json
import os
from hashlib import sha256

from bai_wizard.core.errors import StepFailed

CHUNK = 1 << 18


class Part:
    """The file being fetched, with the hash of what it holds so far."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = f"{path}.part"
        self._mark = f"{path}.part.mark"
        self._descriptor = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self.hash = sha256()
        self.size = 0
        while data := os.read(self._descriptor, CHUNK):
            self.hash.update(data)
            self.size += len(data)

    def mark(self) -> str:
        """The server's mark of the version that the part belongs to; empty where it gave none."""
        try:
            with open(self._mark, encoding="utf-8") as file:
                return str(json.load(file))
        except (FileNotFoundError, ValueError):
            return ""

    def set_mark(self, mark: str) -> None:
        """Keeps the mark for a later process."""
        with open(self._mark, "w", encoding="utf-8") as file:
            json.dump(mark, file)

    def begin_again(self) -> None:
        """Throws away what is there."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.hash, self.size = sha256(), 0

    def write(self, data: bytes) -> None:
        """Appends. Raises OSError (no space left …) with nothing counted that is not on disk."""
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except OSError as error:
                error.filename = self.path
                raise
            self.hash.update(view[:written])
            self.size += written
            view = view[written:]

    def finish(self, wanted: str, url: str) -> None:
        """Gives the file its name once its hash is right; a wrong one is thrown away."""
        found = self.hash.hexdigest()
        if found != wanted:
            size = self.size
            drop_part(self.path)
            raise StepFailed(
                f"{url}: {size} bytes came whose sha256 is {found[:16]}… and not {wanted[:16]}…: the file was "
                "altered or damaged on its way, or the mirror holds another one. Nothing of it was kept"
            )
        # Whatever the umask: the account that unpacks it has to read it, and there is nothing secret in it.
        os.fchmod(self._descriptor, 0o644)
        os.fsync(self._descriptor)
        os.rename(self.name, self.path)
        drop_part(self.path)

    def close(self) -> None:
        """Closes the file; an empty part is no use to anybody."""
        os.close(self._descriptor)
        if self.size == 0 and os.path.lexists(self.name):
            drop_part(self.path)


def drop(path: str) -> None:
    """Removes a fetched file and what is left of fetching it."""
    for name in (path, f"{path}.part", f"{path}.part.mark"):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue


def drop_part(path: str) -> None:
    """Removes the resumable part of `path` and its mark."""
    for name in (f"{path}.part", f"{path}.part.mark"):
        if os.path.lexists(name):
            os.unlink(name)
