"""What apt tells on its status descriptor (`APT::Status-Fd`), as one bar and one sentence."""

from __future__ import annotations

from dataclasses import dataclass

# The bar: the first half is fetching, the second unpacking and setting up. apt counts each from 0 to 100.
HALF = 50


@dataclass(frozen=True)
class AptStatus:
    """One line of the status: `sort` is dlstatus, pmstatus, pmerror or pmconffile, `percent` apt's own figure."""

    sort: str
    percent: float
    text: str

    def done(self) -> int:
        """How far the whole of it is, of 100."""
        return round(self.percent / 2) + (0 if self.sort == "dlstatus" else HALF)


def read_status(line: str) -> AptStatus | None:
    """One line such as `pmstatus:docker.io:45.5:Unpacking docker.io (amd64)`; None for anything else."""
    parts = line.split(":")
    if len(parts) < 4 or parts[0] not in ("dlstatus", "pmstatus", "pmerror", "pmconffile"):
        return None
    # A package may carry its architecture (`libc6:amd64`), so the percentage is the first figure after the name.
    for index in (2, 3):
        try:
            percent = float(parts[index])
        except (ValueError, IndexError):
            continue
        text = ":".join(parts[index + 1 :]).strip()
        return AptStatus(parts[0], min(max(percent, 0.0), 100.0), text)
    return None
