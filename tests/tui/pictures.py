"""Pictures of screens, compared with those in `snapshots/`: the text, and the SVG with colours and attributes.

`BAI_SNAPSHOTS=write` writes them anew; look at the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.tui.sitting import Sitting

PLACE = Path(__file__).parent / "snapshots"
# Run ids and times differ each time.
VARIABLE = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}"), "20260101T000000Z-0000"),
    (re.compile(r"\d\d:\d\d:\d\d"), "00:00:00"),
)


def frozen(text: str) -> str:
    """The text with everything that differs each time made the same."""
    for pattern, instead in VARIABLE:
        text = pattern.sub(instead, text)
    return text


def svg_of(seat: Sitting) -> str:
    """The screen as SVG, its identifiers made independent of the content."""
    drawn = frozen(seat.app.export_screenshot(title="bai-wizard"))
    return re.sub(r"terminal-\d+", "terminal", drawn)


def compare(seat: Sitting, name: str) -> None:
    """Fails with the difference when the screen is not as it was."""
    found = {f"{name}.txt": frozen(seat.text()) + "\n", f"{name}.svg": svg_of(seat)}
    for file, content in found.items():
        path = PLACE / file
        if os.environ.get("BAI_SNAPSHOTS") == "write":
            PLACE.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        assert path.is_file(), f"there is no snapshot {file}; write it with BAI_SNAPSHOTS=write"
        assert content == path.read_text(encoding="utf-8"), f"{file} differs"
