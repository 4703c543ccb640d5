"""README's lines that install the wizard from an archive, as a script."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.cache import CHECKOUT


def first_install(directory: str, archive: Path, *, sha256: str = "") -> str:
    """The lines for an archive that is in `directory` on the node; `sha256`: what was printed, if not its own."""
    lines = (CHECKOUT / "README.md").read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("node# new="))
    end = next(number for number in range(begin, len(lines)) if lines[number].endswith("/install.sh"))
    text = "\n".join(lines[begin : end + 1]).removeprefix("node# ")
    digest = sha256 or hashlib.sha256(archive.read_bytes()).hexdigest()
    name = archive.name.removesuffix(".tar.gz")
    return text.replace("/media/usb/bundle/wizard", directory).replace("bai-wizard-VERSION-ARCH", name).replace(
        "SHA256", digest
    )  # fmt: skip
