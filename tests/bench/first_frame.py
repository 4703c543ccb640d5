"""Time to the first frame, compared with a minimal Textual application: run by hand, prints the ratios.

`python -m tests.bench.first_frame [RUNS]` drives both on a real pseudo-terminal, in turn, and takes the medians: of
the clock, and of the processor time that the process had used by then, which other work on the machine moves less.
Wanted: at most 1.5 times the minimal application, whatever the probes do.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

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
# Text on the first frame of each; for the wizard, the last page name on the left.
SEEN = {"minimal Textual application": "to do", "bai-wizard --demo bare": "Troubleshoot"}


class Taken(NamedTuple):
    """Return seconds from the start of the process to its first frame."""

    clock: float
    processor: float


def first_frame(name: str) -> Taken:
    """Start one of the two and wait for its first frame."""
    begun = time.monotonic()
    one = Terminal(COMMANDS[name], directory=REPOSITORY)
    try:
        one.until(lambda: SEEN[name] in one.text())
        return Taken(time.monotonic() - begun, processor(one.pid))
    finally:
        one.kill()


def processor(pid: int) -> float:
    """Return the CPU seconds of the threads of a process."""
    spent = [int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(spent) / 1e9


def main(runs: int) -> None:
    """Print the medians, and the median of the ratios of pairs."""
    taken: dict[str, list[Taken]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name in COMMANDS:
            taken[name].append(first_frame(name))
    for name, times in taken.items():
        clock, spent = (statistics.median(values) for values in zip(*times, strict=True))
        low, high = min(times).clock, max(times).clock
        print(f"{name:<32} {clock:.3f} s ({low:.3f} to {high:.3f}), processor {spent:.3f} s")
    pairs = list(zip(*taken.values(), strict=True))
    for what in range(2):
        ratio = statistics.median(wizard[what] / minimal[what] for minimal, wizard in pairs)
        print(f"ratio by {Taken._fields[what]}: {ratio:.2f}, wanted at most 1.5")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
