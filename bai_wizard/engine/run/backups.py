"""Old and new contents of a run, each under its sha256, written before anything that needs them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from bai_wizard.core.codec import Codec
from bai_wizard.core.secret import Secret
from bai_wizard.engine.run.durable import write_durably


class Backups:
    """A directory of blobs; also the codec that keeps bytes and secrets there instead of in the journal."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.codec = Codec(
            write_bytes=self._keep,
            read_bytes=self._get,
            write_secret=lambda secret: self._keep(secret.reveal().encode()),
            read_secret=lambda name: Secret(self._get(name).decode()),
        )

    def _keep(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        path = self._directory / digest
        if not path.exists():
            write_durably(path, data)
        return f"sha256:{digest}"

    def _get(self, name: str) -> bytes:
        """Raises ValueError when a backup is missing or not what its name says."""
        digest = name.removeprefix("sha256:")
        try:
            data = (self._directory / digest).read_bytes()
        except OSError as error:
            raise ValueError(f"backup {name} cannot be read: {error.strerror}") from error
        if sha256(data).hexdigest() != digest:
            raise ValueError(f"backup {name} is damaged")
        return data
