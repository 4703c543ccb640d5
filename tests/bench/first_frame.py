"""How long until the first picture, against a minimal Textual application: run by hand, prints the ratio.

`python -m tests.bench.first_frame [RUNS]` drives both on a real pseudo-terminal, in turn, and takes the medians.
Wanted: at most 1.5 times the minimal application, whatever the probes do.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from tests.tui.terminal import Terminal

REPOSITORY = str(Path(__file__).parents[2])
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("to do")
Minimal().run()
"""
COMMANDS = {
    "minimal Textual application": [sys.executable, "-c", MINIMAL],
    "bai-wizard --demo bare": [sys.executable, "-m", "bai_wizard", "--demo", "bare"],
}
# What stands on the first picture of each.
SEEN = {"minimal Textual application": "to do", "bai-wizard --demo bare": "Troubleshoot"}


def first_frame(name: str) -> float:
    """Seconds from the start of the process until its first picture stands."""
    begun = time.monotonic()
    one = Terminal(COMMANDS[name], directory=REPOSITORY)
    try:
        one.until(lambda: SEEN[name] in one.text())
        return time.monotonic() - begun
    finally:
        one.kill()


def main(runs: int) -> None:
    """Prints the medians and their ratio."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name in COMMANDS:
            taken[name].append(first_frame(name))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, median in medians.items():
        print(f"{name:<32} {median:.3f} s  (of {runs}, {min(taken[name]):.3f} to {max(taken[name]):.3f})")
    minimal, wizard = medians.values()
    print(f"ratio {wizard / minimal:.2f}, wanted at most 1.5")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
