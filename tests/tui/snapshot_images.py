"""Compares screens with `snapshots/`: the text, and the SVG with colors and attributes.

`BAI_SNAPSHOTS=write` writes them again; review the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.tui.app_driver import AppDriver

TARGET = Path(__file__).parent / "snapshots"
# Run ids and times differ each time.
VARIABLE = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}"), "20260101T000000Z-0000"),
    (re.compile(r"\d\d:\d\d:\d\d"), "00:00:00"),
)


def frozen(text: str) -> str:
    """Return the text with variable parts replaced."""
    for pattern, instead in VARIABLE:
        text = pattern.sub(instead, text)
    return text


def svg_of(driver: AppDriver) -> str:
    """Return the screen as SVG with identifiers that do not depend on the content."""
    drawn = frozen(driver.app.export_screenshot(title="bai-wizard"))
    return re.sub(r"terminal-\d+", "terminal", drawn)


def compare(driver: AppDriver, name: str) -> None:
    """Fail with the difference if the screen has changed."""
    result = {f"{name}.txt": frozen(driver.text()) + "\n", f"{name}.svg": svg_of(driver)}
    for file, content in result.items():
        path = TARGET / file
        if os.environ.get("BAI_SNAPSHOTS") == "write":
            TARGET.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        assert path.is_file(), f"there is no snapshot {file}; write it with BAI_SNAPSHOTS=write"
        assert content == path.read_text(encoding="utf-8"), f"{file} differs"
