"""Where runs, the lock and the notice of the current run lie on a node."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Paths below a root prefix; the prefix is `/` on a real node."""

    root: Path = Path("/")

    @property
    def runs(self) -> Path:
        """The directory of all run directories; 0700, root's."""
        return self.root / "var/lib/bai-wizard/runs"

    @property
    def volatile(self) -> Path:
        """Lock, notice of the current run, lent secrets; gone after a reboot; 0755, root's."""
        return self.root / "run/bai-wizard"

    @property
    def lock(self) -> Path:
        """The file that the executor holds a flock on while it runs; 0600."""
        return self.volatile / "lock"

    @property
    def current(self) -> Path:
        """Who holds the lock: run, pid, unit, page, since; 0644, for everybody to read."""
        return self.volatile / "current.json"

    def make(self) -> None:
        """Creates the directories with their modes."""
        self.runs.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, mode in ((self.runs, 0o700), (self.volatile, 0o755)):
            path.mkdir(parents=True, exist_ok=True, mode=mode)
            os.chmod(path, mode)
