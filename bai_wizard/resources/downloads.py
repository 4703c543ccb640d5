"""Files downloaded into the wizard's cache."""

from __future__ import annotations

import os
from hashlib import sha256
from posixpath import dirname
from typing import TYPE_CHECKING, ClassVar

from bai_wizard.core.event import Log
from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.state import Download, Key, State, States, Unpredictable, download_key
from bai_wizard.node.error_hints import changing, reading
from bai_wizard.resources import performs, reads

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine


class FetchFile(Operation, frozen=True):
    """Download `url` (http, https or file) to `path` in a directory owned by root, resuming an interrupted download.

    The file appears under its name only with the right `sha256`. `proxy` is used if not empty.
    """

    kind: ClassVar[str] = "fetch-file"
    url: str
    path: str
    sha256: str
    proxy: str = ""

    def keys(self) -> tuple[Key, ...]:
        return (download_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Download(self.sha256)}

    def inverse(self, before: States) -> Operation | None:
        return DropDownload(self.path)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(self.path, verb_of(before, after), attributes=f"from {self.url}, sha256 {self.sha256[:12]}…")


class DropDownload(Operation, frozen=True):
    """Remove a downloaded file and its partial download."""

    kind: ClassVar[str] = "drop-download"
    path: str

    def keys(self) -> tuple[Key, ...]:
        return (download_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}


@reads("download")
def download_state(machine: LocalMachine, path: str) -> Download | None:
    """Return the hash of a downloaded file; None if it does not exist."""
    digest = sha256()
    with reading(path):
        try:
            with open(machine.prefix + path, "rb") as file:
                while data := file.read(1 << 20):
                    digest.update(data)
        except FileNotFoundError:
            return None
    return Download(digest.hexdigest())


@performs(FetchFile)
def fetch_file(machine: LocalMachine, operation: FetchFile, log: Log) -> None:
    """Download, continuing where an earlier attempt stopped. Raises StepFailed with the cause."""
    from bai_wizard.node.cache import make_directory
    from bai_wizard.node.download import Source, fetch

    make_directory(dirname(operation.path))
    fetch(Source(operation.url, operation.sha256, operation.proxy), operation.path, log)


@performs(DropDownload)
def drop_download(machine: LocalMachine, operation: DropDownload, log: Log) -> None:
    """Remove the file, its resumable part, and the directory if it becomes empty."""
    from bai_wizard.node.download import drop_download

    with changing(operation.path):
        drop_download(operation.path)
        directory = dirname(operation.path)
        if os.path.isdir(directory) and not os.listdir(directory):
            os.rmdir(directory)
