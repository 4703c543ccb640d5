"""Files fetched into the wizard's cache."""

from __future__ import annotations

import os
from hashlib import sha256
from posixpath import dirname
from typing import TYPE_CHECKING

from bai_wizard.core.event import Log
from bai_wizard.core.primitives import DropDownload, FetchFile
from bai_wizard.core.state import Download
from bai_wizard.machine.failures import changing, reading

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers


def download_state(machine: LocalMachine, path: str) -> Download | None:
    """The hash of a fetched file; None where there is none."""
    digest = sha256()
    with reading(path):
        try:
            with open(machine.prefix + path, "rb") as file:
                while data := file.read(1 << 20):
                    digest.update(data)
        except FileNotFoundError:
            return None
    return Download(digest.hexdigest())


def fetch_file(machine: LocalMachine, primitive: FetchFile, log: Log) -> None:
    """Fetches, going on where an earlier attempt stopped. Raises StepFailed with the cause."""
    from bai_wizard.machine.cache import make_directory
    from bai_wizard.machine.download import Source, fetch

    make_directory(dirname(primitive.path))
    fetch(Source(primitive.url, primitive.sha256, primitive.proxy), primitive.path, log)


def drop_download(machine: LocalMachine, primitive: DropDownload, log: Log) -> None:
    """Removes the file, its resumable part, and the directory when that is empty then."""
    from bai_wizard.machine.part import drop

    with changing(primitive.path):
        drop(primitive.path)
        directory = dirname(primitive.path)
        if os.path.isdir(directory) and not os.listdir(directory):
            os.rmdir(directory)


PERFORMERS: Performers = {FetchFile.kind: fetch_file, DropDownload.kind: drop_download}
